"""Which states the search takes for the same: none from which something different can happen."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from rotator.core.protocol import RequestKind
from tools.explore.scenarios import AT_ONCE
from tools.explore.search import search
from tools.explore.states import FIRST, FOREVER, TICK, Scenario
from tools.explore.worlds import Explorer

PASSES = ("a tick passes", 0)
GOES_ON = ("carry out", 0)


def key_after(actions: Sequence[tuple[str, int]], slowest: timedelta) -> bytes:
    explorer = Explorer(Scenario("one run", runners=1, slowest=slowest))
    with explorer.desk.patched():
        state = explorer.start()
        for action in actions:
            state = explorer.after(state, action)
        return explorer.key(state)


@pytest.mark.parametrize("slowest", [TICK, FOREVER])
def test_time_that_passes_within_a_look_counts(slowest: timedelta) -> None:
    """The run takes Vault's clock to be that far from its own from then on; and it can wait for less time."""
    at_once = key_after([GOES_ON, GOES_ON], slowest)
    before = key_after([PASSES, GOES_ON, GOES_ON], slowest)
    between = key_after([GOES_ON, PASSES, GOES_ON], slowest)
    assert len({at_once, before, between}) == 3


def test_time_that_a_request_can_still_wait_counts() -> None:
    assert key_after([GOES_ON, GOES_ON, PASSES], TICK) != key_after([GOES_ON, GOES_ON], TICK)
    assert key_after([GOES_ON, GOES_ON, PASSES], FOREVER) == key_after([GOES_ON, GOES_ON], FOREVER)


def test_adoption_is_the_same_whatever_led_to_where_it_stands() -> None:
    """It is one step: what it was told since it began is longer than what it still needs."""
    scenario = Scenario(
        "an adoption",
        start="replaced",
        runners=2,
        scheduled=False,
        adopts=FIRST,
        adopts_id="id-001",
        requests=(None, RequestKind.MANUAL),
        crashes=0,
        faults=0,
        slowest=AT_ONCE,
    )
    found = search(scenario)
    assert found.complete, found.told()
    assert found.states < 20_000
