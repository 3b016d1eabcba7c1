"""Jobs that cannot be set: counted, shown and tried again; not ready if that concerns every account."""

import pytest

from rotator.daemon.planner import Planning
from testkit.cluster import Cluster
from tests.daemon.test_daemon import QUICK, open_accounts


def after(*accounts: str) -> Planning:
    planning = Planning()
    for account in accounts:
        planning = planning.after_failure(account, f"fault of {account}")
    return planning


def test_single_planning_failure_is_no_general_failure() -> None:
    assert after().failure(accounts=5) is None
    assert after("a").failure(accounts=5) is None
    assert after("a").failure(accounts=1) is None


def test_planning_fails_for_all_after_two_accounts() -> None:
    assert after("a", "b").failure(accounts=5) == "fault of b"


def test_planning_failure_of_one_account_is_its_own() -> None:
    assert after("a", "a", "a").failure(accounts=5) is None
    assert after("a", "a").failure(accounts=1) == "fault of a"


def test_planned_job_shows_that_planning_works() -> None:
    planning = after("a", "b").after_success("c", job_set=True)
    assert planning.failure(accounts=5) is None
    assert planning.failed == ("a", "b")
    assert planning.after_failure("a", "again").failure(accounts=5) is None


def test_account_without_a_job_proves_no_planning() -> None:
    planning = after("a", "b").after_success("b", job_set=False)
    assert planning.failure(accounts=5) == "fault of b"
    assert planning.failed == ("a",)


def test_accounts_are_tried_again_in_turn() -> None:
    planning = after("a", "b", "c")
    assert planning.failed == ("a", "b", "c")
    assert planning.after_failure("a", "again").failed == ("b", "c", "a")


@pytest.mark.parametrize("zone", ['"Europe/Rome"', "UTC+3", ":/no/such/file", "No/Such_Zone"])
def test_daemon_rotates_when_machine_time_zone_is_invalid(cluster: Cluster, zone: str) -> None:
    cluster.configure(open_accounts(cluster, "a"), defaults=QUICK)
    with cluster.daemon(env={"TZ": zone}) as daemon:
        daemon.wait_for("rotation.published", account="a")
        daemon.wait_until_ready()
    assert daemon.find("internal_error") == []
