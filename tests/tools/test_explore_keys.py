"""Which states the search takes for the same: none from which something different can happen."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tools.explore.scenarios import ADOPTION_OF_TWO
from tools.explore.states import FOREVER, TICK, Scenario
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


def test_key_contains_only_what_an_adoption_still_needs() -> None:
    """An adoption is one step. All that it was told since it began is longer than what it still needs."""
    explorer = Explorer(replace(ADOPTION_OF_TWO, runners=1))
    with explorer.desk.patched():
        state = explorer.start()
        for _ in range(3):
            state = explorer.after(state, GOES_ON)
        (runner,) = state.runners
        assert runner.halted is not None
        (name, at, values), *outer = runner.halted.frames
        elsewhere = runner.halted._replace(frames=((name, at + 2, values), *outer))
        same = state._replace(runners=(runner._replace(told=()),))
        other = state._replace(runners=(runner._replace(halted=elsewhere),))
        assert explorer.key(same) == explorer.key(state) != explorer.key(other)
