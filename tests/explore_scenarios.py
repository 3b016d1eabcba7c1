"""What `make model` searches."""

from datetime import timedelta

from tests.explore_states import TICK, Scenario

SCENARIOS = (
    Scenario("one runner, a crash, a fault", runners=1),
    Scenario("one runner, a crash, two faults", runners=1, faults=2),
    Scenario("one runner, new secrets take a while", runners=1, propagation=TICK),
    Scenario("one runner, a person", runners=1, faults=0, by_hand=1),
    Scenario("one runner, room to spare", runners=1, max_secrets=3),
    Scenario("one runner, grace", runners=1, grace=2 * TICK),
    Scenario("two runners", crashes=0, faults=0),
    Scenario("two runners, a fault", crashes=0),
    Scenario("two runners, at once", crashes=0, faults=0, slowest=timedelta()),
    Scenario("two runners, within a tick", crashes=0, faults=0, slowest=TICK),
    Scenario("two runners, a crash each, at once", faults=0, slowest=timedelta()),
    Scenario("two runners, a crash each, within a tick", faults=0, slowest=TICK),
    Scenario("two runners, a crash each", faults=0),
)


