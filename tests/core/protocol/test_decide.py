"""The table of rules, and the rules that stand beside it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Answered,
    Awaited,
    Credential,
    Doubt,
    Event,
    Failure,
    Identity,
    Journal,
    List,
    Observation,
    Poll,
    Prepare,
    Published,
    Publishing,
    Reason,
    RequestKind,
    RestoreEarlierVersion,
    Retiring,
    Target,
    Trigger,
    WriteJournal,
)
from rotator.core.protocol.decide import ask_provider, begin, clear, correct_date, done
from rotator.core.protocol.identity import name_doubt
from tests.core.protocol.situations import (
    AT_REST,
    CANDIDATE_REFUSED,
    DUE,
    LATE,
    LATER,
    MINE,
    MOMENT,
    NOW,
    OTHERS,
    POLICY,
    PREPARED,
    RETIRING,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    event_of,
    failure_of,
    listing,
    pending,
    published,
    reason_of,
    request,
    seen,
    step_of,
)

PUBLISHED_REFUSED = frozenset({Credential.PUBLISHED})
REFUSED: dict[str, Any] = {"refused": PUBLISHED_REFUSED, "waiting_since": {Awaited.PUBLISHED: NOW - WINDOW}}
LOST = replace(AT_REST, **MINE)


# --- which credential authenticates ------------------------------------------------------------------------------


def test_refusal_counts_after_the_consistency_window() -> None:
    refused = seen(refused=PUBLISHED_REFUSED)
    assert step_of(AT_REST, refused) == Poll(SECOND / 10, Awaited.PUBLISHED)
    waiting = {Awaited.PUBLISHED: NOW - WINDOW + MOMENT}
    assert isinstance(step_of(AT_REST, replace(refused, waiting_since=waiting)), Poll)
    assert failure_of(step_of(AT_REST, seen(**REFUSED))) is Failure.CREDENTIALS


def test_earlier_versions_are_tried_under_the_lease() -> None:
    refused = seen(published=published(version=2), **REFUSED)
    assert step_of(replace(LOST, published_version=2), refused) == RestoreEarlierVersion()
    assert event_of(step_of(AT_REST, refused)) is Event.CLAIMED
    tried = replace(refused, earlier_tried=True)
    assert failure_of(step_of(LOST, tried)) is Failure.CREDENTIALS
    first = replace(refused, published=published(version=1))
    assert failure_of(step_of(LOST, first)) is Failure.CREDENTIALS
    deleted = replace(refused, published=published(version=2, secret=None), waiting_since={})
    assert step_of(LOST, deleted) == RestoreEarlierVersion()


def deleted_after(written: timedelta, **facts: Any) -> Observation:
    """Return what a run sees of a deleted document, some time after Vault stored the journal."""
    at: dict[str, Any] = {"journal_at": NOW - written, "journal_read_at": NOW, "observed_at": NOW}
    return seen(**(at | {"published": published(version=2, secret=None, undelete="vault kv undelete")} | facts))


@pytest.mark.parametrize("journal", [RETIRING, replace(AT_REST, publishing=Publishing(2, Retiring("a", NOW)))])
def test_deleted_document_stays_while_revocation_is_late(journal: Journal) -> None:
    """Consumers keep the secret that they have read, which can work longer than the earlier version's."""
    step = step_of(journal, deleted_after(LATE - MOMENT))
    assert (reason_of(step), step.until) == (Reason.LATE_REVOCATION, NOW + MOMENT)
    assert step.detail == (
        "the newest version of the published document is deleted, and an earlier revocation might still be carried out"
    )
    assert step.next_command.args == ("rotate-now", "shop", "--wait", "5m")
    lacking = published(version=2, secret=None, lacks_value=True, field="password")
    renamed = step_of(journal, deleted_after(LATE - MOMENT, published=lacking))
    assert (reason_of(renamed), renamed.until) == (Reason.LATE_REVOCATION, NOW + MOMENT)
    assert renamed.detail.startswith("the newest version of the published document has no value in the field password,")
    assert event_of(step_of(journal, deleted_after(LATE))) is Event.CLAIMED
    assert event_of(step_of(AT_REST, deleted_after(timedelta()))) is Event.CLAIMED


def test_dead_holders_revocation_is_awaited_after_deletion() -> None:
    """Its lease ends now; it can have sent one until a moment ago."""
    dead = replace(RETIRING, **OTHERS)
    step = step_of(dead, deleted_after(POLICY.lease))
    assert (reason_of(step), step.until) == (Reason.LATE_REVOCATION, NOW + WINDOW)
    unknown = seen(published=published(version=2, secret=None))
    assert step_of(dead, unknown).until == NOW + WINDOW
    assert event_of(step_of(RETIRING, unknown)) is Event.CLAIMED
    assert event_of(step_of(replace(dead, lease_until=None), unknown)) is Event.CLAIMED
    endless = replace(dead, lease_until=NOW + timedelta(days=1))
    assert case_of(endless, deleted_after(POLICY.lease)).late_revocation_until == NOW + WINDOW


def test_lost_journals_revocation_is_awaited_after_deletion() -> None:
    """The first run notes the end of the wait; otherwise each run would begin it again."""
    lost = POLICY.lease + LATE
    step = step_of(Journal(), deleted_after(timedelta(), journal_at=None))
    assert (reason_of(step), step.until) == (Reason.LATE_REVOCATION, NOW + lost)
    assert step.journal == Journal(api_key="key1", create_until=step.until, lost_journal_until=step.until), (
        "without the lease"
    )
    later = step_of(step.journal, deleted_after(timedelta()))
    assert (reason_of(later), later.until, later.journal) == (Reason.LATE_REVOCATION, NOW + lost, None)
    over = replace(step.journal, create_until=NOW, lost_journal_until=NOW)
    assert event_of(step_of(over, deleted_after(timedelta()))) is Event.CLAIMED


def test_own_revocation_is_awaited_after_deletion() -> None:
    held = replace(RETIRING, **MINE)
    assert step_of(held, deleted_after(timedelta())) == RestoreEarlierVersion()
    step = step_of(held, deleted_after(timedelta(days=1), revoke_lost_at=NOW))
    assert (reason_of(step), step.until) == (Reason.LATE_REVOCATION, NOW + LATE)


def test_refused_secret_is_replaced_despite_late_revocation() -> None:
    refused = deleted_after(timedelta(), published=published(version=2), **REFUSED)
    assert event_of(step_of(replace(RETIRING, published_version=2), refused)) is Event.CLAIMED


def test_primary_credential_is_used_last() -> None:
    assert step_of(LOST, seen(**REFUSED), has_primary=True) == List(Credential.PRIMARY)
    both = REFUSED | {"refused": PUBLISHED_REFUSED | {Credential.PRIMARY}}
    assert failure_of(step_of(LOST, seen(**both), has_primary=True)) is Failure.CREDENTIALS
    new = seen(published=Published())
    assert step_of(Journal(), new, has_primary=True) == List(Credential.PRIMARY)


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    ("document", "failure", "what"),
    [
        (
            published(),
            Failure.CREDENTIALS,
            "the provider refuses the published secret (401){}; no earlier version of it authenticates",
        ),
        (
            published(secret=None, undelete="vault kv undelete"),
            Failure.PUBLISHED_LOST,
            "the newest version of the published document is deleted{}",
        ),
        (
            published(secret=None),
            Failure.PUBLISHED_LOST,
            "the newest version of the published document is destroyed{}",
        ),
        (
            published(secret=None, lacks_value=True, field="password"),
            Failure.PUBLISHED_LOST,
            "the newest version of the published document has no value in the field password{}",
        ),
        (Published(), Failure.PUBLISHED_LOST, "the published document was deleted with all its versions{}"),
    ],
)
def test_account_without_working_secret_names_adopt(
    document: Published, failure: Failure, what: str, refuses: bool
) -> None:
    refused = PUBLISHED_REFUSED | ({Credential.PRIMARY} if refuses else set())
    step = step_of(AT_REST, seen(**(REFUSED | {"refused": refused, "published": document})), has_primary=refuses)
    assert failure_of(step) is failure
    assert step.what == what.format(", and it refuses the primary account's credentials" if refuses else "")
    assert step.next_command.args == ("adopt", "shop")
    assert step.advice


@pytest.mark.parametrize(
    ("recorded", "told"),
    [("apps/old", "; the last recorded secret is in version 1 of apps/old"), ("apps/shop", ""), (None, "")],
)
def test_refusal_names_path_of_recorded_secret(recorded: str | None, told: str) -> None:
    """A run of the earlier configuration can have rotated after the document was copied."""
    step = step_of(
        replace(AT_REST, published_path=recorded),
        seen(**(REFUSED | {"published": published(path="apps/shop", api_key="key1")})),
    )
    assert failure_of(step) is Failure.CREDENTIALS
    assert step.what.endswith(f"authenticates{told}")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (
            published(version=3),
            "the provider refuses the published secret (401); no other earlier version of it authenticates",
        ),
        (
            published(version=3, secret=None),
            "the newest version of the published document is destroyed",
        ),
    ],
)
def test_withheld_version_is_told(document: Published, what: str) -> None:
    """Nothing else authenticates. `adopt` refuses the compromised secret without --replace."""
    tried: dict[str, Any] = {"published": document, "earlier_tried": True, "withheld": frozenset({2})}
    step = step_of(AT_REST, seen(**(REFUSED | tried)))
    assert step.what == what + ", and rotator does not publish version 2, which might be compromised"
    assert step.next_command.args == ("adopt", "shop", "--replace")
    assert step.advice.endswith(", also a compromised one")


@pytest.mark.parametrize("refuses", [False, True])
def test_new_account_needs_a_secret(refuses: bool) -> None:
    refused = frozenset({Credential.PRIMARY} if refuses else ())
    step = step_of(Journal(), seen(published=Published(), refused=refused), has_primary=refuses)
    assert failure_of(step) is Failure.NOT_ADOPTED
    more = ", and it refuses the primary account's credentials" if refuses else ""
    assert step.what == f"nothing is published for the account yet{more}"
    assert step.next_command.args == ("adopt", "shop")


def test_deleted_document_can_be_restored() -> None:
    undelete = "vault kv undelete -mount=secret -versions=1 apps/shop"
    step = step_of(AT_REST, seen(published=published(secret=None, undelete=undelete)))
    assert step.advice == f"Restore it: {undelete}. If that is impossible, bring the secret in use"
    destroyed = step_of(AT_REST, seen(published=published(secret=None)))
    assert destroyed.advice == "Vault cannot restore it. Instead, bring the secret in use"
    lacking = step_of(AT_REST, seen(published=published(secret=None, lacks_value=True, field="password")))
    assert "vault kv undelete" not in lacking.advice
    assert "correct the configuration" in lacking.advice


def test_candidate_without_an_answer_is_not_awaited() -> None:
    assert ask_provider(case_of(PREPARED, seen(refused=CANDIDATE_REFUSED))) == List(Credential.PUBLISHED)
    answered = seen(refused=CANDIDATE_REFUSED, answered=Answered("rotation-1", "c"))
    assert isinstance(ask_provider(case_of(PREPARED, answered)), Poll)


def test_candidate_credential_is_used_first() -> None:
    assert step_of(PREPARED, seen()) == List(Credential.CANDIDATE)
    assert step_of(AT_REST, seen()) == List(Credential.PUBLISHED)
    assert step_of(AT_REST, seen(listing=listing("b", via=Credential.CANDIDATE))) == List(Credential.PUBLISHED)
    assert ask_provider(case_of(PREPARED, seen(listing=listing("b", via=Credential.CANDIDATE)))) is None
    assert ask_provider(case_of(DUE, seen("b"))) is None
    assert ask_provider(case_of(PREPARED, seen("b", refused=CANDIDATE_REFUSED))) is None


# --- dates -------------------------------------------------------------------------------------------------------

AHEAD = NOW + CLOCK_TOLERANCE


@pytest.mark.parametrize(
    ("rotated_at", "written_at", "corrected"),
    [
        (AHEAD + MOMENT, NOW, True),
        (AHEAD + MOMENT, AHEAD, True),
        (AHEAD, NOW, False),
        (AHEAD + MOMENT, AHEAD + MOMENT, False),
        (AHEAD + MOMENT, None, False),
        (None, NOW, False),
    ],
)
def test_date_ahead_of_every_clock_is_corrected(
    rotated_at: datetime | None, written_at: datetime | None, corrected: bool
) -> None:
    journal = replace(AT_REST, rotated_at=rotated_at)
    step = correct_date(case_of(journal, seen("b", published=published(written_at=written_at))))
    assert step == (WriteJournal(Event.REDATED, replace(journal, rotated_at=written_at)) if corrected else None)


# --- beginning ---------------------------------------------------------------------------------------------------


def test_due_rotation_begins() -> None:
    assert step_of(DUE, seen("b")) == Prepare(Trigger.SCHEDULE)
    assert step_of(DUE, seen("b"), trigger=Trigger.MANUAL) == Prepare(Trigger.MANUAL)
    assert reason_of(step_of(AT_REST, seen("b"))) is Reason.IDLE


@pytest.mark.parametrize(
    ("kind", "trigger"),
    [
        (RequestKind.MANUAL, Trigger.MANUAL),
        (RequestKind.FORCE, Trigger.MANUAL),
        (RequestKind.COMPROMISED, Trigger.COMPROMISED),
    ],
)
def test_requested_rotation_begins(kind: RequestKind, trigger: Trigger) -> None:
    assert step_of(replace(AT_REST, request=request(kind)), seen("b"), due_at=None) == Prepare(trigger)


def test_request_of_a_replaced_secret_begins_nothing() -> None:
    """What is left of it is revocation only: it is done once that is over."""
    asked = request(RequestKind.COMPROMISED, Target(id="a"))
    retiring = replace(AT_REST, request=asked, retiring=(Retiring("a", LATER),))
    assert reason_of(step_of(retiring, seen("a", "b"))) is Reason.GRACE
    young = replace(AT_REST, request=asked)
    assert reason_of(step_of(young, seen("b"))) is Reason.IDLE  # a list can lack the secret
    over = step_of(replace(DUE, request=asked), seen("b"), due_at=None)
    assert event_of(over) is Event.CLEARED
    assert over.journal == DUE


def test_full_account_begins_nothing() -> None:
    step: Any = begin(case_of(replace(DUE, retiring=(Retiring("a", LATER),)), seen("a", "b")))
    assert reason_of(step) is Reason.FULL
    step = begin(case_of(DUE, seen("a", "b")))
    assert failure_of(step) is Failure.FULL
    assert step.what == "the account has 2 of 2 secrets, there is no room for a new one"
    assert step.next_command.args == ("resolve", "shop")
    assert step.advice
    assert begin(case_of(DUE, seen("a", "b"), max_secrets=3)) == Prepare(Trigger.SCHEDULE)


def test_run_for_other_work_begins_nothing() -> None:
    """Nor does it revoke early for a request: room is of no use yet. A candidate in hand needs it."""
    asked = request(RequestKind.FORCE)
    assert begin(case_of(DUE, seen("b"), begins=False)) is None
    assert begin(case_of(replace(AT_REST, request=asked), seen("b"), begins=False)) is None
    full = replace(AT_REST, request=asked, retiring=(Retiring("a", LATER),))
    assert not case_of(full, seen("a", "b"), begins=False).forced
    assert case_of(full, seen("a", "b")).forced
    in_hand = replace(PREPARED, request=replace(asked, of=Target(id="a")))
    assert case_of(in_hand, seen("a", "b"), begins=False).forced


def test_run_for_other_work_names_a_doubt() -> None:
    doubtful = replace(AT_REST, current=eliminated("b"), request=request())
    assert name_doubt(case_of(doubtful, seen("b", "x"), max_secrets=3)) is None
    assert failure_of(name_doubt(case_of(doubtful, seen("b", "x"), max_secrets=3, begins=False))) is Failure.AMBIGUOUS


@pytest.mark.parametrize("identity", [answered("b"), eliminated("b"), pending("b", next_look=LATER)])
def test_added_secret_stops_nothing_while_there_is_room(identity: Identity) -> None:
    """It is neither unknown nor does it put the published secret's id in doubt."""
    journal = replace(DUE, current=identity, added_ids=frozenset({"m"}))
    assert step_of(journal, seen("b", "m"), max_secrets=3) == Prepare(Trigger.SCHEDULE)
    assert case_of(journal, seen("b", "m")).unknown == frozenset()
    assert not case_of(journal, seen("b", "m")).in_doubt
    full = step_of(journal, seen("b", "m"))
    assert failure_of(full) is Failure.FULL
    assert full.next_command.args == ("resolve", "shop", "--revoke", "m")


# --- the end -----------------------------------------------------------------------------------------------------


def test_last_revocation_ends_the_run() -> None:
    gone = seen(revoked=frozenset({"a"}))
    assert reason_of(step_of(AT_REST, gone)) is Reason.IDLE
    assert event_of(step_of(LOST, gone)) is Event.RELEASED
    assert reason_of(step_of(AT_REST, replace(gone, beside_revoked=frozenset({"b"})))) is Reason.IDLE


def test_last_revocation_beside_explained_ids_ends_the_run() -> None:
    beside = seen(revoked=frozenset({"a"}), beside_revoked=frozenset({"a", "b", "x"}))
    assert reason_of(step_of(replace(AT_REST, added_ids=frozenset({"x"})), beside)) is Reason.IDLE


def test_last_revocation_beside_unknown_id_lists_again() -> None:
    """Otherwise nothing tells of the unknown id, and what rests on its absence counts as done."""
    step = step_of(AT_REST, seen(revoked=frozenset({"a"}), beside_revoked=frozenset({"b", "x"})))
    assert step == List(Credential.PUBLISHED)


@pytest.mark.parametrize(
    ("journal", "facts"),
    [
        (AT_REST, {"revoked": frozenset()}),
        (AT_REST, {"listing": listing("b")}),
        (PREPARED, {}),
        (RETIRING, {}),
        (DUE, {}),
    ],
    ids=["nothing revoked", "listed", "candidate", "retiring", "due"],
)
def test_run_does_not_end_otherwise(journal: Journal, facts: dict[str, Any]) -> None:
    assert done(case_of(journal, seen(**({"revoked": frozenset({"x"})} | facts)))) is None


@pytest.mark.parametrize(
    "failure",
    [
        {"ambiguity": "two"},
        {"attempts": 1},
        {"last_error": "it failed"},
        {"next_attempt_at": YESTERDAY},
        {"last_doubt": Doubt(frozenset({"s"}), YESTERDAY)},
    ],
)
def test_failure_is_cleared_when_nothing_is_wrong(failure: dict[str, Any]) -> None:
    step = step_of(replace(AT_REST, **failure), seen("b"))
    assert event_of(step) is Event.CLEARED
    assert step.journal == AT_REST
    assert step_of(replace(DUE, **failure), seen("b")) == Prepare(Trigger.SCHEDULE)


def test_rescue_continues_after_a_revocation() -> None:
    """The published secret is refused: room was made for another one, and the run is not over."""
    room_was_made = seen(**REFUSED, revoked=frozenset({"r"}))
    assert step_of(AT_REST, room_was_made, has_primary=True) == List(Credential.PRIMARY)
    deleted = seen(published=published(secret=None), revoked=frozenset({"r"}))
    assert step_of(AT_REST, deleted, has_primary=True) == List(Credential.PRIMARY)


def test_doubt_is_not_cleared_too_early() -> None:
    noted = Doubt(frozenset({"s"}), NOW - SECOND)
    doubtful = replace(AT_REST, current=eliminated("b"), last_doubt=noted, attempts=1, lease_holder="me")
    assert clear(case_of(doubtful, seen("b"))) is None
    assert reason_of(step_of(doubtful, seen("b"))) is Reason.IDLE
    assert event_of(clear(case_of(replace(doubtful, last_doubt=None), seen("b")))) is Event.CLEARED
    nameless = replace(AT_REST, current=None, attempts=1)
    assert event_of(clear(case_of(nameless, seen()))) is Event.CLEARED


def test_leaked_values_are_forgotten_once_nothing_is_unknown() -> None:
    before = replace(AT_REST, rotated_at=NOW - WINDOW)
    leaked = replace(before, leaked=frozenset({"request-1:digest"}))
    step = step_of(leaked, seen("b"))
    assert event_of(step) is Event.CLEARED
    assert step.journal == before
    assert reason_of(step_of(replace(leaked, rotated_at=NOW), seen("b"))) is Reason.IDLE


def test_unneeded_lease_is_released() -> None:
    step = step_of(LOST, seen("b"))
    assert event_of(step) is Event.RELEASED
    assert step.journal == AT_REST
    assert clear(case_of(AT_REST, seen("b"))) is None
    expired = clear(case_of(replace(AT_REST, lease_holder="other", lease_until=NOW), seen("b")))
    assert isinstance(expired, WriteJournal)
    assert (expired.event, expired.journal.lease_holder, expired.journal.lease_until) == (Event.RELEASED, None, None)
