"""Changes of a journal: how a run ends."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.backoff import backoff
from rotator.core.failures import Blame, Code
from rotator.core.protocol import (
    Credential,
    Doubt,
    Identity,
    Journal,
    Observation,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    transitions,
)
from rotator.core.protocol.requests import URGENT_BACKOFF
from tests.core.protocol.situations import (
    AT_REST,
    FAILURE,
    LATER,
    MINE,
    MOMENT,
    NOW,
    OTHERS,
    POLICY,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    listing,
    noticed,
    pending,
    request,
    seen,
)


def test_recovered_journal_has_no_failure() -> None:
    before = replace(AT_REST, api_key=None, **FAILURE, **MINE)
    assert transitions.recovered(case_of(before, seen())) == AT_REST
    other = transitions.recovered(case_of(replace(before, **OTHERS), seen()))
    assert other == replace(AT_REST, **OTHERS)


def test_recovered_journal_notes_no_leak() -> None:
    before = replace(AT_REST, leaked=frozenset({"request-1:digest"}), later_id="b", rotated_at=YESTERDAY)
    after = transitions.recovered(case_of(before, seen("b")))
    assert (after.leaked, after.later_id) == (frozenset(), None)


@pytest.mark.parametrize(("of", "kept"), [("x", False), ("b", True)])
def test_recovered_journal_has_no_done_request(of: str, kept: bool) -> None:
    asked = request(of=Target(id=of))
    journal = transitions.recovered(case_of(replace(AT_REST, request=asked), seen()))
    assert journal.request == (asked if kept else None)


@pytest.mark.parametrize(
    ("current", "listed", "kept"),
    [(answered("b"), "b", False), (pending("b"), "b", True), (eliminated("b"), "bx", True), (None, "b", True)],
    ids=["certain", "pending", "in doubt", "none"],
)
def test_compromised_request_without_an_id_stays_in_doubt(current: Identity | None, listed: str, kept: bool) -> None:
    asked = request(RequestKind.COMPROMISED, Target())
    before = replace(AT_REST, current=current, request=asked, rotated_at=NOW - WINDOW)
    assert (transitions.recovered(case_of(before, seen(*listed))).request is not None) is kept


@pytest.mark.parametrize("asked", [None, request(RequestKind.COMPROMISED, Target())], ids=["none", "without an id"])
@pytest.mark.parametrize(
    ("facts", "kept"),
    [
        ({}, False),
        ({"retiring": (Retiring("a", NOW), Retiring("x", LATER))}, False),
        ({"retiring": (Retiring("a", NOW), Retiring("x", NOW, compromised=True))}, True),
        ({"publishing": Publishing(1, Retiring("x", NOW, compromised=True))}, True),
    ],
    ids=["nothing retiring", "not compromised", "compromised", "in the mark"],
)
def test_leak_is_kept_while_a_compromised_secret_retires(
    asked: Request | None, facts: dict[str, Any], kept: bool
) -> None:
    """That secret can be the one that leaked, and no other one might be it."""
    before = replace(AT_REST, rotated_at=NOW - WINDOW, request=asked, leaked=frozenset({"request-0:digest"}), **facts)
    journal = transitions.recovered(case_of(before, seen("b")))
    assert (journal.leaked, journal.request) == ((before.leaked, asked) if kept else (frozenset(), None))


@pytest.mark.parametrize(
    ("rotated_at", "kept"), [(NOW - WINDOW, False), (NOW - WINDOW + MOMENT, True), (NOW, True), (None, False)]
)
def test_compromised_request_without_an_id_outlives_old_lists(rotated_at: datetime | None, kept: bool) -> None:
    """For the consistency window, a list can lack the secret that was replaced."""
    asked = request(RequestKind.COMPROMISED, Target())
    before = replace(AT_REST, request=asked, rotated_at=rotated_at)
    assert (transitions.recovered(case_of(before, seen("b"))).request is not None) is kept


def test_window_counts_from_the_publication_by_vaults_clock() -> None:
    asked = request(RequestKind.COMPROMISED, Target())
    before = replace(AT_REST, request=asked, rotated_at=NOW - WINDOW, published_at=NOW - WINDOW + MOMENT)
    assert transitions.recovered(case_of(before, seen("b"))).request == asked


def test_compromised_request_of_known_id_stays_in_doubt() -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="a"))
    before = replace(AT_REST, current=pending("b"), request=asked, rotated_at=NOW - WINDOW)
    assert transitions.recovered(case_of(before, seen("b"))).request == asked


def failed(journal: Journal, observation: Observation, **facts: Any) -> Journal:
    """Return the journal after a failure."""
    options: dict[str, Any] = {"failure": Code.UNANSWERED.value, "ambiguous": False}
    return transitions.failed(observation, journal, POLICY, NOW, "it failed", **(options | facts))


def test_failure_is_recorded_without_the_lease() -> None:
    journal = failed(replace(AT_REST, attempts=2, **MINE), seen())
    backs_off: dict[str, Any] = {"attempts": 3, "next_attempt_at": NOW + backoff("shop", 3)}
    assert journal == replace(AT_REST, last_error="it failed", failure="unanswered", **backs_off)


@pytest.mark.parametrize(
    ("kind", "delay"),
    [
        (RequestKind.MANUAL, backoff("shop", 5)),
        (RequestKind.FORCE, URGENT_BACKOFF),
        (RequestKind.COMPROMISED, URGENT_BACKOFF),
    ],
)
def test_urgent_request_is_retried_soon(kind: RequestKind, delay: timedelta) -> None:
    before = replace(AT_REST, attempts=4, request=request(kind))
    assert failed(before, seen()).next_attempt_at == NOW + delay
    longer = timedelta(minutes=90)
    assert failed(before, seen(), not_before=longer).next_attempt_at == NOW + longer
    assert failed(before, seen(), not_before=SECOND).next_attempt_at == NOW + delay


@pytest.mark.parametrize("kind", [RequestKind.MANUAL, None])
@pytest.mark.parametrize("compromised", [True, False])
def test_compromised_secret_is_revoked_soon_beside_weaker_request(kind: RequestKind | None, compromised: bool) -> None:
    entries = (Retiring("a", NOW, compromised=compromised),)
    asked = request(kind) if kind is not None else None
    before = replace(AT_REST, attempts=4, request=asked, retiring=entries)
    assert failed(before, seen()).next_attempt_at == NOW + (URGENT_BACKOFF if compromised else backoff("shop", 5))


@pytest.mark.parametrize("window", [timedelta(seconds=10), timedelta(seconds=60)])
@pytest.mark.parametrize(
    ("current", "identity", "waits"),
    [
        (answered("b"), None, False),
        (answered("b"), eliminated("a"), False),
        (answered("b"), pending("a"), True),
        (pending("b"), None, True),
        (None, None, False),
    ],
)
def test_urgent_request_waits_for_the_next_list(
    window: timedelta, current: Identity | None, identity: Identity | None, waits: bool
) -> None:
    """The write of each failure delays the list that makes a pending id certain."""
    entries = (Retiring("x", NOW), Retiring("a", NOW, identity=identity))
    urgent = request(RequestKind.COMPROMISED)
    before = replace(AT_REST, attempts=4, request=urgent, current=current, retiring=entries)
    policy = replace(POLICY, window=window)
    facts: dict[str, Any] = {"failure": Code.REFUSED.value, "ambiguous": False}
    after = transitions.failed(seen(), before, policy, NOW, "it failed", **facts)
    delay = max(URGENT_BACKOFF, window + SECOND) if waits else URGENT_BACKOFF
    assert after.next_attempt_at == NOW + delay


@pytest.mark.parametrize("code", [code for code in Code if code.blame is Blame.CREDENTIALS])
def test_urgent_request_is_retried_soon_during_temporary_refusals(code: Code) -> None:
    for attempts, delay in ((59, URGENT_BACKOFF), (60, backoff("shop", 61))):
        before = replace(AT_REST, attempts=attempts, request=request(RequestKind.COMPROMISED))
        assert failed(before, seen(), failure=code.value).next_attempt_at == NOW + delay


@pytest.mark.parametrize("code", [code for code in Code if code.blame not in (Blame.PROVIDER, Blame.CREDENTIALS)])
def test_urgent_request_backs_off_after_other_failures(code: Code) -> None:
    before = replace(AT_REST, attempts=4, request=request(RequestKind.FORCE))
    assert failed(before, seen(), failure=code.value).next_attempt_at == NOW + backoff("shop", 5)


def test_ambiguity_is_recorded_or_kept() -> None:
    earlier = replace(AT_REST, ambiguity="two", unknown_ids=frozenset({"x"}))
    found = failed(noticed(earlier, "c"), seen("b", "c"), ambiguous=True)
    assert (found.ambiguity, found.unknown_ids) == ("it failed", frozenset({"c"}))
    kept = failed(earlier, seen("b", "c"))
    assert (kept.ambiguity, kept.unknown_ids) == ("two", frozenset({"x"}))


@pytest.mark.parametrize(
    ("current", "ids", "ambiguous", "noted"),
    [
        (eliminated("b"), "bs", True, True),
        (eliminated("b"), "bs", False, False),
        (eliminated("b"), "b", True, False),
        (answered("b"), "bs", True, False),
        (None, "", True, False),
    ],
)
def test_doubt_is_recorded_with_its_unknown_ids(
    current: Identity | None, ids: str, ambiguous: bool, noted: bool
) -> None:
    journal = failed(replace(AT_REST, current=current), seen(*ids), ambiguous=ambiguous)
    assert journal.last_doubt == (Doubt(frozenset({"s"}), NOW) if noted else None)


@pytest.mark.parametrize(
    ("current", "ids", "again"),
    [
        (pending("b", looks=1, foreign_ids=frozenset("s")), "bs", False),
        (pending("b", looks=0, foreign_ids=frozenset("s")), "cs", False),
        (pending("b", looks=1, foreign_ids=frozenset("s")), "cs", True),
        (pending("b", looks=1), "bs", True),
        (pending("b", looks=1, foreign_ids=frozenset("s")), "s", True),
    ],
    ids=["agrees", "first", "disagrees", "two", "none"],
)
def test_agreeing_list_does_not_start_again(current: Identity, ids: str, again: bool) -> None:
    """The account is ambiguous because of another id then."""
    after = failed(replace(AT_REST, current=current), seen(*ids), ambiguous=True).current
    assert after is not None
    assert after.restarts == (1 if again else 0)


def test_ids_in_doubt_are_not_called_unknown() -> None:
    """One of them is the published secret's own."""
    doubtful = failed(replace(AT_REST, current=eliminated("b")), seen("b", "s"), ambiguous=True)
    assert doubtful.unknown_ids == frozenset()
    primary = seen(listing=listing("b", "s", via=Credential.PRIMARY))
    assert failed(replace(AT_REST, current=None), primary, ambiguous=True).unknown_ids == {"b", "s"}
    assert failed(AT_REST, seen("s"), ambiguous=True).unknown_ids == frozenset()
    assert failed(noticed(AT_REST, "s"), seen("b", "s"), ambiguous=True).unknown_ids == {"s"}
    assert failed(AT_REST, seen("b", "s"), ambiguous=True).unknown_ids == frozenset()


@pytest.mark.parametrize(
    ("before", "observation", "after"),
    [
        (None, seen("b", "s"), Doubt(frozenset({"s"}), NOW)),
        (Doubt(frozenset({"s"}), YESTERDAY), seen("b", "s"), Doubt(frozenset({"s"}), YESTERDAY)),
        (Doubt(frozenset({"s", "t"}), YESTERDAY), seen("b", "s"), Doubt(frozenset({"s", "t"}), YESTERDAY)),
        (Doubt(frozenset({"s"}), YESTERDAY), seen("b", "s", "t"), Doubt(frozenset({"s", "t"}), NOW)),
        (Doubt(frozenset({"s"}), YESTERDAY), seen("b"), Doubt(frozenset({"s"}), YESTERDAY)),
        (Doubt(frozenset({"s"}), YESTERDAY), seen("t"), Doubt(frozenset({"s"}), YESTERDAY)),
        (None, seen("b"), None),
        (None, seen("s"), None),
        (None, seen(), None),
    ],
    ids=["first", "again", "fewer", "more", "gone", "other list", "none", "not listed", "no list"],
)
def test_run_notes_when_ids_were_first_seen(
    before: Doubt | None, observation: Observation, after: Doubt | None
) -> None:
    assert transitions.released(case_of(replace(AT_REST, noticed=before), observation)).noticed == after


def test_ids_are_noticed_by_latest_vault_time() -> None:
    """Another instance confirms them by the earliest one."""
    asked = YESTERDAY + 2 * SECOND
    slow = seen("b", "s", journal_read_at=YESTERDAY, journal_asked_at=NOW - SECOND, observed_at=NOW)
    assert transitions.released(case_of(AT_REST, slow)).noticed == Doubt(frozenset({"s"}), asked - SECOND)


def test_recovered_account_has_noticed_nothing() -> None:
    assert transitions.recovered(case_of(noticed(AT_REST, "s"), seen("b"))).noticed is None


def test_rate_limit_is_no_failure() -> None:
    journal = transitions.limited(case_of(replace(AT_REST, **MINE), seen()), LATER)
    assert journal == replace(AT_REST, next_attempt_at=LATER)


def test_rate_limit_after_failures_has_its_own_code() -> None:
    before = replace(AT_REST, **FAILURE, **MINE)
    expected = replace(AT_REST, **(FAILURE | {"next_attempt_at": LATER, "failure": "rate_limited"}))
    assert transitions.limited(case_of(before, seen()), LATER) == expected


def test_ambiguity_starts_an_elimination_again() -> None:
    current = pending("b", looks=2)
    restarted = replace(current, id=None, looks=0, restarts=1, next_look=NOW + WINDOW)
    before = replace(AT_REST, current=current)
    assert failed(before, seen("b", "c"), ambiguous=True).current == restarted
    assert failed(before, seen("b", "c")).current == current
    certain = replace(AT_REST, current=eliminated("b"))
    assert failed(certain, seen("b", "c"), ambiguous=True).current == eliminated("b")


@pytest.mark.parametrize("kind", RequestKind)
def test_deferral_withdraws_a_manual_request(kind: RequestKind) -> None:
    asked = request(kind)
    journal = transitions.rested(case_of(replace(AT_REST, request=asked, **MINE), seen()))
    assert journal == replace(AT_REST, request=None if kind is RequestKind.MANUAL else asked)


def test_deferral_without_a_request_releases_the_lease() -> None:
    assert transitions.rested(case_of(replace(AT_REST, **MINE), seen())) == AT_REST
