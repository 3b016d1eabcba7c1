"""Rules about the two documents."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Credential,
    Event,
    Fail,
    Failure,
    Journal,
    List,
    Observation,
    Published,
    Publishing,
    ReadRecorded,
    Reason,
    Refresh,
    RequestKind,
    Retiring,
    Target,
    WriteJournal,
)
from rotator.core.protocol.documents import (
    complete,
    correct_storage_time,
    end_late_write,
    expires_soon,
    follow_rewrite,
    refresh,
    refuse_foreign,
    refuse_lost_journal,
    refuse_lost_secret,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    MINE,
    MOMENT,
    NOW,
    PREPARED,
    YESTERDAY,
    answered,
    case_of,
    event_of,
    failure_of,
    pending,
    published,
    reason_of,
    request,
    seen,
    step_of,
)

HALF = timedelta(days=1)
EXPIRES = {"written_at": NOW - HALF, "expires_at": NOW + HALF}
HELD = replace(AT_REST, **MINE)
MARK = Publishing(1, Retiring("a", LATER))
MARKED = replace(HELD, publishing=MARK)


# --- whose they are ----------------------------------------------------------------------------------------------


def test_document_of_another_account_is_refused() -> None:
    step = step_of(AT_REST, seen(published=published(api_key="key2")))
    assert failure_of(step) is Failure.FOREIGN_DOCUMENT
    assert step.what == "the published document belongs to the account key2, not to key1"
    assert step.next_command.args == ("adopt", "shop", "--replace-foreign", "key2")
    assert step.advice


def test_journal_of_another_account_is_refused() -> None:
    step = step_of(replace(AT_REST, api_key="key2"), seen())
    assert failure_of(step) is Failure.FOREIGN_JOURNAL
    assert step.what == "the journal belongs to the account key2, not to key1"
    assert step.next_command.args == ("adopt", "shop", "--replace-foreign", "key2")
    assert step.advice


@pytest.mark.parametrize("policy", [{"api_key": "key1"}, {"api_key": None}])
def test_document_without_a_key_is_not_foreign(policy: dict[str, Any]) -> None:
    for journal, key in ((AT_REST, "key1"), (replace(AT_REST, api_key=None), None)):
        assert refuse_foreign(case_of(journal, seen(published=published(api_key=key)), **policy)) is None


def test_document_is_not_compared_without_an_expected_key() -> None:
    foreign = case_of(replace(AT_REST, api_key="key2"), seen(published=published(api_key="key3")), api_key=None)
    assert refuse_foreign(foreign) is None


def test_foreign_document_comes_before_every_other_rule() -> None:
    foreign = {"published": published(api_key="key2", **EXPIRES), "journal_lost": True}
    asked = seen(request=request(RequestKind.COMPROMISED), **foreign)
    leased = replace(AT_REST, lease_holder="other", lease_until=LATER)
    assert failure_of(step_of(leased, asked)) is Failure.FOREIGN_DOCUMENT


# --- a lost journal ----------------------------------------------------------------------------------------------


def test_lost_journal_is_refused() -> None:
    asked = request(RequestKind.COMPROMISED, Target(version=1))
    step = step_of(Journal(), seen(journal_lost=True, journal_undelete="vault kv undelete", request=asked))
    assert failure_of(step) is Failure.JOURNAL_LOST
    assert step.next_command.args == ("adopt", "shop")
    assert step.advice.startswith("Restore it: vault kv undelete. If that is impossible, begin again")
    assert step.what == "the journal was deleted"
    destroyed = step_of(Journal(), seen(journal_lost=True))
    assert destroyed.advice.startswith("Vault cannot restore it. Instead, begin again")


def test_new_journal_is_not_lost() -> None:
    assert refuse_lost_journal(case_of(Journal(), seen())) is None


# --- a lost secret -----------------------------------------------------------------------------------------------


def lost(journal: Journal, observation: Observation, **policy: Any) -> Fail:
    """Return how a run without another way out fails."""
    step = refuse_lost_secret(case_of(journal, observation, **policy))
    assert step is not None
    assert step.failure is Failure.PUBLISHED_LOST
    return step


def test_published_secret_is_not_lost() -> None:
    assert refuse_lost_secret(case_of(AT_REST, seen())) is None
    assert refuse_lost_secret(case_of(Journal(), seen(published=Published()))) is None


@pytest.mark.parametrize("document", [Published(path="apps/moved"), Published(4, path="apps/moved")])
def test_secret_at_an_earlier_path_is_lost(document: Published) -> None:
    recorded = replace(AT_REST, published_path="apps/shop")
    step = lost(recorded, seen(published=document))
    assert step.what == "nothing is published at apps/moved, and the last published secret is at apps/shop"
    assert step.advice.startswith("Correct the path of the account. If the new path is right, bring")


def test_history_that_was_deleted_is_no_new_account() -> None:
    recorded = replace(AT_REST, published_path="apps/shop")
    step = lost(recorded, seen(published=Published(path="apps/shop")))
    assert step.what == "the published document was deleted with all its versions"
    assert step.next_command.args == ("adopt", "shop")


def test_primary_account_can_replace_a_lost_secret() -> None:
    gone = {"published": published(secret=None)}
    step = lost(AT_REST, seen(**gone), has_primary=True)
    assert step.next_command.args == ("rotate-now", "shop")
    refused = seen(**gone, refused=frozenset({Credential.PRIMARY}))
    step = lost(AT_REST, refused, has_primary=True)
    assert step.next_command.args == ("adopt", "shop")


# --- versions that expire ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written_at", "expires_at", "soon"),
    [
        (NOW - HALF, NOW + HALF, True),
        (NOW - HALF, NOW + HALF + MOMENT * 2, False),
        (NOW - HALF - MOMENT * 2, NOW + HALF, True),
        (None, NOW, False),
        (YESTERDAY, None, False),
        (NOW - HALF, NOW - HALF / 2, True),
    ],
)
def test_version_expires_soon_after_half_its_life(
    written_at: datetime | None, expires_at: datetime | None, soon: bool
) -> None:
    assert expires_soon(written_at, expires_at, NOW) is soon


def test_journal_is_rewritten_before_it_expires() -> None:
    expiring = {"journal_at": NOW - HALF, "journal_expires_at": NOW + HALF}
    step = step_of(AT_REST, seen(**expiring))
    assert event_of(step) is Event.REFRESHED
    assert step.journal == AT_REST
    later = {"journal_at": NOW, "journal_expires_at": NOW + HALF}
    assert isinstance(step_of(AT_REST, seen(**later)), List)


def test_document_is_rewritten_before_it_expires() -> None:
    expiring = seen(published=published(**EXPIRES))
    assert event_of(step_of(AT_REST, expiring)) is Event.CLAIMED
    assert step_of(HELD, expiring) == Refresh("it would expire")
    assert isinstance(step_of(HELD, seen(published=published(**(EXPIRES | {"written_at": NOW})))), List)


def test_vaults_clock_decides_about_a_refresh() -> None:
    later = NOW + HALF / 2
    for facts in (
        {"published": published(written_at=NOW, expires_at=NOW + HALF)},
        {"journal_at": NOW, "journal_expires_at": NOW + HALF},
    ):
        assert refresh(case_of(HELD, seen(journal_read_at=later, **facts))) is not None
        assert refresh(case_of(HELD, seen(journal_read_at=later - MOMENT, **facts), now=later)) is None


@pytest.mark.parametrize(
    ("journal", "document"),
    [
        (HELD, published(secret=None, **EXPIRES)),
        (MARKED, published(**EXPIRES)),
        (HELD, published()),
        (HELD, published(written_at=NOW - HALF)),
    ],
    ids=["empty", "marked", "lasting", "without an end"],
)
def test_document_is_not_refreshed_otherwise(journal: Journal, document: Published) -> None:
    assert refresh(case_of(journal, seen(published=document))) is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"journal_at": NOW + CLOCK_TOLERANCE + MOMENT, "journal_read_at": NOW}, WriteJournal(Event.REFRESHED, HELD)),
        ({"journal_at": NOW + CLOCK_TOLERANCE, "journal_read_at": NOW}, None),
        ({"journal_at": LATER}, None),
        ({"journal_read_at": NOW}, None),
    ],
    ids=["in the future", "a little later", "Vault is silent", "no journal"],
)
def test_journal_stored_in_the_future_is_rewritten(facts: dict[str, Any], expected: WriteJournal | None) -> None:
    assert correct_storage_time(case_of(HELD, seen(**facts))) == expected


def test_refresh_comes_before_backoff_and_after_leases() -> None:
    expiring = seen(published=published(**EXPIRES))
    failed = replace(AT_REST, attempts=1, next_attempt_at=LATER)
    assert event_of(step_of(failed, expiring)) is Event.CLAIMED
    leased = replace(failed, lease_holder="other", lease_until=LATER)
    assert reason_of(step_of(leased, expiring)) is Reason.LEASED


# --- writes that might land late ---------------------------------------------------------------------------------


def test_late_write_is_ended_by_a_rewrite() -> None:
    assert event_of(step_of(replace(MARKED, lease_holder=None), seen())) is Event.CLAIMED
    assert step_of(MARKED, seen()) == Refresh("a write of an earlier lease holder might still be applied")


def test_mark_is_removed_when_the_document_moved() -> None:
    moved = seen(published=published(version=2))
    step = step_of(MARKED, moved)
    assert event_of(step) is Event.UNMARKED
    assert step.journal.publishing is None
    assert step.journal.retiring == (MARK.entry,)
    assert step.journal.published_version == 1, "another writer wrote that version: it is recognized by the rules"


def test_mark_is_removed_when_version_was_rewritten() -> None:
    moved = published(version=2, written_at=LATER)
    step = step_of(MARKED, seen(published=moved, rewritten_over=1))
    assert event_of(step) is Event.UNMARKED
    assert (step.journal.published_version, step.journal.published_at) == (2, LATER)
    unrecorded = step_of(replace(MARKED, published_version=0), seen(published=moved, rewritten_over=1))
    assert unrecorded.journal.published_version == 0, "the rewritten value might be another one"
    other = step_of(MARKED, seen(published=moved, rewritten_over=0))
    assert other.journal.published_version == 1


@pytest.mark.parametrize(
    ("journal", "observation"),
    [
        (HELD, seen()),
        (MARKED, seen(identified=answered("a"))),
        (MARKED, seen(published=published(secret=None))),
        (replace(MARKED, publishing=Publishing(2)), seen(published=published(version=2, secret=None))),
    ],
    ids=["no mark", "own write", "deleted", "deleted later"],
)
def test_mark_stays_otherwise(journal: Journal, observation: Observation) -> None:
    assert end_late_write(case_of(journal, observation)) is None


def test_document_is_rewritten_when_older_than_the_mark() -> None:
    step = end_late_write(case_of(replace(MARKED, publishing=Publishing(2)), seen()))
    assert isinstance(step, Refresh)


def test_revocation_is_refused_when_deleted_version_is_marked() -> None:
    journal = replace(MARKED, retiring=(Retiring("a", NOW),))
    step = step_of(journal, seen(published=published(secret=None)))
    assert failure_of(step) is Failure.PUBLISHED_LOST


# --- after a rewrite ---------------------------------------------------------------------------------------------


def test_journal_follows_a_rewrite() -> None:
    rewritten = seen(published=published(version=2, written_at=LATER), rewritten_over=1)
    step = step_of(HELD, rewritten)
    assert event_of(step) is Event.CAUGHT_UP
    assert step.journal == replace(HELD, published_version=2, published_at=LATER)


@pytest.mark.parametrize(
    ("version", "over"),
    [(1, 1), (2, None), (3, 1), (2, 0), (3, 2)],
    ids=["unmoved", "none", "edited", "other", "not of"],
)
def test_journal_follows_only_the_rewrite_itself(version: int, over: int | None) -> None:
    observation = seen(published=published(version=version), rewritten_over=over)
    assert follow_rewrite(case_of(HELD, observation)) is None


# --- an id that is certain later ---------------------------------------------------------------------------------

WITHOUT_ID = published(rotated_at=NOW)


def test_document_gets_the_id_once_it_is_certain() -> None:
    assert step_of(HELD, seen("b", published=WITHOUT_ID)) == Refresh("its id is certain now", secret_id="b")
    assert event_of(step_of(AT_REST, seen("b", published=WITHOUT_ID))) is Event.CLAIMED


@pytest.mark.parametrize(
    ("journal", "document"),
    [
        (replace(HELD, current=pending("b")), WITHOUT_ID),
        (HELD, replace(WITHOUT_ID, version=2)),
        (replace(PREPARED, current=answered("b")), WITHOUT_ID),
        (MARKED, WITHOUT_ID),
        (HELD, published()),
        (HELD, replace(WITHOUT_ID, secret_id="b")),
        (HELD, replace(WITHOUT_ID, secret_id="x")),
    ],
    ids=["pending", "edited", "candidate", "marked", "by hand", "named", "named otherwise"],
)
def test_document_keeps_its_id_otherwise(journal: Journal, document: Published) -> None:
    assert complete(case_of(journal, seen("b", published=document))) is None


def test_edited_document_is_read_before_it_is_completed() -> None:
    edited = seen("b", published=replace(WITHOUT_ID, version=2))
    assert step_of(HELD, edited) == ReadRecorded()
