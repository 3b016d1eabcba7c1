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


@pytest.mark.parametrize(("slowest", "same"), [(TICK, False), (FOREVER, True)])
def test_time_that_a_request_can_still_wait_counts(slowest: timedelta, *, same: bool) -> None:
    """A run has just looked at the clock; or it did so a tick ago, so that no more time can pass before its request."""
    assert (key_after([], slowest) == key_after([PASSES], slowest)) == same


def test_time_between_the_two_readings_of_a_run_counts() -> None:
    """The run takes Vault's clock to be that far behind its own from then on."""
    at_once = key_after([GOES_ON, GOES_ON], FOREVER)
    assert key_after([PASSES, GOES_ON, GOES_ON], FOREVER) == at_once
    assert key_after([GOES_ON, PASSES, GOES_ON], FOREVER) != at_once


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
