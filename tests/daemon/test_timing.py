"""When an account needs its next run."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from rotator.core.protocol import Identity, Journal, Learned, Publishing, RequestKind, Retiring
from rotator.daemon.timing import next_run_at, share
from tests.daemon.harness import CURRENT, DAY, NOW, SECOND, Bench, requested, rotated

UNFINISHED: dict[str, Any] = {"current": CURRENT, "candidate": SecretStr("Candidate0001")}


def run_at(journal: Journal, due_at: datetime | None = NOW + 30 * DAY) -> datetime:
    return next_run_at(
        journal,
        due_at,
        instance="me",
        tried_at=NOW,
        verify_interval=DAY,
        window=timedelta(seconds=30),
        now=NOW,
    )


def test_next_run_is_when_due_or_unverified() -> None:
    assert run_at(rotated()) == NOW + DAY
    assert run_at(rotated(), NOW + DAY / 2) == NOW + DAY / 2


def test_next_run_of_unfinished_accounts_is_at_once() -> None:
    assert run_at(Journal(), None) < NOW
    assert run_at(Journal(**UNFINISHED, rotated_at=NOW)) < NOW


def test_next_run_revokes_after_the_last_possible_create() -> None:
    retiring = (Retiring("b", NOW + DAY / 3), Retiring("c", NOW + DAY / 2))
    assert run_at(Journal(current=CURRENT, retiring=retiring)) == NOW + DAY / 3
    late = Journal(current=CURRENT, retiring=retiring, create_until=NOW + DAY / 4 * 3)
    assert run_at(late) == NOW + DAY / 4 * 3


def test_mark_elsewhere_needs_no_run_at_once() -> None:
    """A run at another path cannot end a write that might be applied late."""
    marked = replace(rotated(), publishing=Publishing(1, None, "apps/shop"))
    known: dict[str, Any] = {"instance": "me", "tried_at": NOW, "verify_interval": DAY, "window": SECOND, "now": NOW}
    assert next_run_at(marked, None, path="apps/shop", **known) < NOW
    assert next_run_at(marked, NOW + 30 * DAY, path="apps/typo", **known) == NOW + DAY


def test_next_run_waits_for_backoff_and_foreign_leases() -> None:
    assert run_at(Journal(**UNFINISHED, next_attempt_at=NOW + DAY)) == NOW + DAY
    assert run_at(Journal(**UNFINISHED, lease_holder="other", lease_until=NOW + DAY)) == NOW + DAY
    assert run_at(Journal(**UNFINISHED, lease_holder=None, lease_until=NOW + DAY)) < NOW
    # A run that Vault interrupted could not release its own lease.
    assert run_at(Journal(**UNFINISHED, lease_holder="me", lease_until=NOW + DAY)) < NOW


def test_next_run_ignores_waits_of_a_wrong_clock() -> None:
    assert run_at(Journal(**UNFINISHED, next_attempt_at=NOW + 365 * DAY)) < NOW
    assert run_at(Journal(**UNFINISHED, lease_holder="other", lease_until=NOW + 365 * DAY)) < NOW


def test_next_run_is_at_once_for_a_request() -> None:
    assert run_at(requested(RequestKind.MANUAL)) < NOW
    assert run_at(requested(RequestKind.FORCE, next_attempt_at=NOW + SECOND)) == NOW + SECOND


def test_share_is_stable_and_spread() -> None:
    shares = [share(f"account{number}") for number in range(1000)]
    assert all(0 <= one < 1 for one in shares)
    assert sum(one < 0.5 for one in shares) in range(450, 550)
    assert share("account1") == shares[1]


def test_first_runs_are_spread_over_the_verify_interval(bench: Bench) -> None:
    names = [f"n{number}" for number in range(20)]
    bench.start(*names)
    bench.load(**{name: rotated(DAY) for name in names})
    at = [bench.jobs.at[name] for name in names]
    assert all(NOW < one <= NOW + DAY for one in at)
    assert max(at) - min(at) > DAY / 2


def test_next_run_looks_at_a_pending_identity() -> None:
    pending = Identity("id", Learned.PENDING, next_look=NOW + timedelta(seconds=20))
    assert run_at(Journal(current=pending, rotated_at=NOW)) == NOW + timedelta(seconds=20)
    ahead = replace(pending, next_look=NOW + timedelta(hours=1))
    assert run_at(Journal(current=ahead, rotated_at=NOW)) == NOW + timedelta(seconds=30), "a clock that is ahead"


def test_due_rotation_is_staggered_within_half_a_second(bench: Bench) -> None:
    bench.start("a", daemon={"verify_interval": "365d"})
    bench.load(a=rotated(30 * DAY - timedelta(minutes=1)))
    due_at = NOW + timedelta(minutes=1)
    assert due_at <= bench.jobs.at["a"] <= due_at + timedelta(milliseconds=500)
