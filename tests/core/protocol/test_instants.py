"""The time by several clocks, leases, lists, and creates that might land late."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Doubt,
    Event,
    Gone,
    Identity,
    Journal,
    Published,
    Publishing,
    Retiring,
    WriteJournal,
    told_at,
    transitions,
)
from rotator.core.protocol.retirement import record_gone
from tests.core.protocol.situations import (
    AT_REST,
    HOUR,
    LATE,
    LATER,
    MINUTE,
    MOMENT,
    NOW,
    POLICY,
    PREPARED,
    SECOND,
    WINDOW,
    YESTERDAY,
    case_of,
    eliminated,
    lacking,
    listing,
    noticed,
    pending,
    published,
    read_by,
    seen,
)


@pytest.mark.parametrize(
    ("fetched_at", "expected"), [(None, NOW), (NOW - SECOND, NOW - SECOND), (NOW, NOW), (LATER, NOW)]
)
def test_list_holds_for_the_instant_of_its_fetch(fetched_at: datetime | None, expected: datetime) -> None:
    assert case_of(AT_REST, seen(listing=listing("b", fetched_at=fetched_at))).listed_at == expected
    assert case_of(AT_REST, seen()).listed_at == NOW


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, NOW),
        ({"journal_at": YESTERDAY}, NOW),
        ({"journal_read_at": YESTERDAY}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + WINDOW}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + WINDOW - SECOND}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + 2 * WINDOW}, NOW),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + 9 * SECOND}, NOW + 20 * SECOND),
        ({"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}, NOW + 29 * SECOND),
    ],
)
def test_instant_of_another_clock_waits_by_vaults(facts: dict[str, Any], expected: datetime) -> None:
    """Vault's time of reading has whole seconds, so one second is granted."""
    case = case_of(AT_REST, seen(**facts))
    assert case.not_before(NOW, WINDOW) == expected
    assert case.not_before(LATER, WINDOW) == LATER
    assert case.not_before(NOW - WINDOW, WINDOW) == (NOW - WINDOW if expected == NOW else expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"observed_at": NOW - SECOND}, None),
        ({"journal_read_at": YESTERDAY}, YESTERDAY),
        ({"journal_read_at": YESTERDAY, "observed_at": NOW - 9 * SECOND}, YESTERDAY + 9 * SECOND),
        ({"journal_read_at": YESTERDAY, "observed_at": LATER}, YESTERDAY),
    ],
)
def test_vaults_time_passes_while_the_run_lasts(facts: dict[str, Any], expected: datetime | None) -> None:
    assert case_of(AT_REST, seen(**facts)).vault_now == expected
    waited = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY, "observed_at": NOW - 9 * SECOND}
    assert case_of(AT_REST, seen(**waited)).not_before(NOW, WINDOW) == NOW + 20 * SECOND


@pytest.mark.parametrize(
    ("facts", "latest"),
    [
        ({}, NOW),
        ({"journal_asked_at": NOW - MINUTE, "observed_at": NOW}, NOW),
        ({"journal_read_at": YESTERDAY, "observed_at": NOW - SECOND}, YESTERDAY + SECOND),
        (
            {"journal_read_at": YESTERDAY, "journal_asked_at": NOW - MINUTE, "observed_at": NOW - SECOND},
            YESTERDAY + MINUTE,
        ),
        ({"journal_read_at": YESTERDAY, "journal_asked_at": LATER, "observed_at": NOW - SECOND}, YESTERDAY + SECOND),
    ],
    ids=["nothing is known", "Vault is silent", "not measured", "Vault is slow", "the clock was set back"],
)
def test_latest_time_counts_from_the_journal_request(facts: dict[str, Any], latest: datetime) -> None:
    """Vault read its clock at some moment between the request and the end of the look."""
    case = case_of(AT_REST, seen(**facts))
    assert case.latest_now == latest
    assert case.lease_until == latest + POLICY.lease
    assert transitions.late_create(case).create_until == latest + LATE


def test_own_lease_expires_before_others_can_acquire_it() -> None:
    facts = {"journal_read_at": NOW - MINUTE, "journal_asked_at": NOW - MINUTE, "observed_at": NOW}
    left = POLICY.request_timeout + 2 * SECOND
    journal = replace(AT_REST, lease_holder=POLICY.instance, lease_until=NOW + left)
    assert case_of(journal, seen(**facts)).held
    assert not case_of(journal, seen(**facts | {"journal_asked_at": NOW - MINUTE - 2 * SECOND})).held


def test_missing_id_is_gone_a_window_later() -> None:
    read = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}
    entry = Retiring("a", NOW, missing_since=NOW - WINDOW)
    assert case_of(AT_REST, seen()).gone_at(entry) == NOW
    assert case_of(AT_REST, seen(**read)).gone_at(entry) == NOW + WINDOW - SECOND
    assert case_of(AT_REST, seen(**read)).gone_at(Retiring("a", NOW)) is None


@pytest.mark.parametrize(
    ("ahead", "since"),
    [(CLOCK_TOLERANCE, NOW + CLOCK_TOLERANCE), (CLOCK_TOLERANCE + MOMENT, YESTERDAY)],
)
def test_missing_id_of_wrong_clock_expires_in_time(ahead: timedelta, since: datetime) -> None:
    entry = Retiring("a", NOW, missing_since=NOW + ahead)
    assert case_of(AT_REST, seen(journal_at=YESTERDAY)).gone_at(entry) == since + WINDOW


@pytest.mark.parametrize(
    ("ahead", "since"),
    [
        (-WINDOW, NOW - WINDOW),
        (SECOND, NOW + SECOND),
        (CLOCK_TOLERANCE, NOW + CLOCK_TOLERANCE),
        (timedelta(days=2), YESTERDAY),
    ],
)
def test_unknown_ids_of_wrong_clock_count_in_time(ahead: timedelta, since: datetime) -> None:
    """A note from the future is no reason to revoke anything, and does not last longer than it can."""
    journal = replace(AT_REST, current=eliminated("b"), last_doubt=Doubt(frozenset({"s"}), NOW + ahead))
    ends = since + WINDOW
    assert case_of(journal, seen("b", journal_at=YESTERDAY), ends - MOMENT).in_doubt
    assert not case_of(journal, seen("b", journal_at=YESTERDAY), ends).in_doubt
    stored_now = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY}
    assert case_of(journal, seen("b", **stored_now)).in_doubt
    assert case_of(AT_REST, seen("b")).last_doubt_until is None


@pytest.mark.parametrize(("looks", "waits"), [(0, 29), (1, 14), (2, 14)])
def test_look_waits_by_vaults_clock(looks: int, waits: int) -> None:
    case = case_of(AT_REST, seen(journal_at=YESTERDAY, journal_read_at=YESTERDAY))
    assert case.look_at(pending("b", looks=looks)) == NOW + waits * SECOND
    assert case.look_at(pending("b", looks=looks, next_look=None)) is None


def test_late_create_ends_with_the_latest_one() -> None:
    lost = seen(create_lost_at=NOW)
    ends = NOW + LATE
    assert case_of(AT_REST, seen()).late_create_until is None
    assert case_of(AT_REST, lost).late_create_until == ends
    assert case_of(replace(AT_REST, create_until=LATER), lost).late_create_until == LATER
    assert case_of(replace(AT_REST, create_until=NOW), lost).late_create_until == ends


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        (replace(PREPARED, lease_holder="other"), LATER + WINDOW),
        (replace(PREPARED, lease_holder="other", lease_until=None), None),
        (replace(PREPARED, lease_holder="me"), None),
        (replace(PREPARED, lease_holder=None), None),
        (replace(AT_REST, lease_holder="other", lease_until=LATER), None),
        (replace(PREPARED, lease_holder="other", lease_until=NOW + timedelta(days=1)), NOW + POLICY.lease + WINDOW),
    ],
)
def test_late_create_of_another_instance_ends_with_lease(journal: Journal, expected: datetime | None) -> None:
    assert case_of(journal, seen(journal_at=NOW)).late_create_until == expected


def test_late_create_of_a_wrong_clock_ends_early() -> None:
    longest = POLICY.lease + POLICY.request_timeout + WINDOW
    furthest = NOW + longest + CLOCK_TOLERANCE
    for until, expected in ((furthest, furthest), (furthest + MOMENT, NOW + longest)):
        case = case_of(replace(AT_REST, create_until=until), seen(journal_at=NOW))
        assert case.late_create_until == expected


# The lease of a run whose journal is lost might begin now.
LOST_LEASE = POLICY.lease + LATE


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({"published": published(secret_id="a")}, LOST_LEASE, id="document names an id"),
        pytest.param({"published": published(rotated_at=YESTERDAY)}, LOST_LEASE, id="document has a date"),
        pytest.param({"published": published(secret=None)}, LOST_LEASE, id="document was deleted"),
        pytest.param({"journal_lost": True}, LOST_LEASE, id="journal was deleted"),
        pytest.param({"journal_at": NOW - LATE}, POLICY.lease, id="journal was stored and is empty"),
        pytest.param({"journal_at": NOW - LOST_LEASE + MOMENT, "journal_lost": True}, MOMENT, id="almost over"),
        pytest.param({"journal_at": NOW - LOST_LEASE, "journal_lost": True}, None, id="over"),
        pytest.param({}, None, id="written by a person"),
        pytest.param({"published": lacking()}, None, id="person's field is missing"),
        pytest.param({"published": lacking(secret_id="a")}, None, id="another application's id"),
        pytest.param({"published": lacking(rotated_at=YESTERDAY)}, None, id="another application's date"),
        pytest.param({"published": lacking(secret_id="a", api_key="key1")}, LOST_LEASE, id="own field is missing"),
        pytest.param({"published": Published()}, None, id="new account"),
    ],
)
def test_lost_journals_requests_end_with_its_lease(facts: dict[str, Any], expected: timedelta | None) -> None:
    """Its create might still be carried out, and its revocation."""
    until = None if expected is None else NOW + expected
    case = case_of(Journal(), seen(**facts))
    assert case.journal.lost_journal_until == until
    assert (case.late_create_until, case.late_revocation_until) == (until, until)
    known = case_of(AT_REST, seen(**facts))
    assert (known.journal, known.late_revocation_until) == (AT_REST, None)


def test_lost_journals_end_is_noted_in_shared_time() -> None:
    vault_now = NOW + timedelta(minutes=5)
    read = seen(published=published(secret_id="a"), journal_read_at=vault_now, observed_at=NOW)
    case = case_of(Journal(), read)
    assert case.journal.lost_journal_until == vault_now + LOST_LEASE
    assert (case.late_create_until, case.late_revocation_until) == (NOW + LOST_LEASE, NOW + LOST_LEASE)


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (LATER, LATER),
        (NOW + MOMENT, NOW + MOMENT),
        (NOW, None),
        (NOW + LOST_LEASE + CLOCK_TOLERANCE, NOW + LOST_LEASE + CLOCK_TOLERANCE),
        (NOW + LOST_LEASE + CLOCK_TOLERANCE + MOMENT, NOW + LOST_LEASE),
    ],
)
def test_noted_end_of_lost_journal_counts_until_over(until: datetime, expected: datetime | None) -> None:
    case = case_of(replace(AT_REST, lost_journal_until=until), seen(journal_at=NOW))
    assert case.journal.lost_journal_until == expected
    assert (case.late_create_until, case.late_revocation_until) == (expected, expected)


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_lease_is_acquired_by_vaults_clock(off: timedelta) -> None:
    vault_now = NOW - off  # this instance's clock says NOW
    case = case_of(AT_REST, seen(journal_at=YESTERDAY, journal_read_at=vault_now - SECOND, observed_at=NOW - SECOND))
    journal = transitions.claimed(case)
    assert journal.lease_until == vault_now + POLICY.lease
    assert replace(case, journal=journal).held


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_lease_of_another_instance_expires_by_vaults_clock(off: timedelta) -> None:
    vault_now = NOW - off
    facts = seen(journal_at=vault_now - SECOND, journal_read_at=vault_now, observed_at=NOW)
    held = case_of(replace(AT_REST, lease_holder="other", lease_until=vault_now + MOMENT), facts)
    assert held.leased_until == NOW + MOMENT
    assert case_of(replace(AT_REST, lease_holder="other", lease_until=vault_now), facts).leased_until is None


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_late_create_ends_by_vaults_clock(off: timedelta) -> None:
    vault_now = NOW - off
    facts = seen(journal_at=vault_now, journal_read_at=vault_now, observed_at=NOW)
    case = case_of(replace(AT_REST, create_until=vault_now + MOMENT), facts)
    assert case.late_create_until == NOW + MOMENT
    assert transitions.released(case).create_until == vault_now + MOMENT
    assert transitions.late_create(case).create_until == vault_now + LATE


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize("passed", [SECOND, WINDOW, WINDOW + SECOND])
def test_notes_of_another_clock_expire_by_vaults_clock(off: timedelta, passed: timedelta) -> None:
    """Their writer's clock was an hour off. Vault's time of reading has whole seconds, so one second is granted."""
    wrote_at = NOW - passed + off
    over = passed >= WINDOW
    strange = replace(AT_REST, current=eliminated("b"), last_doubt=Doubt(frozenset({"s"}), wrote_at))
    assert read_by(strange, passed=passed).in_doubt is not over
    missing = Retiring("a", NOW, missing_since=wrote_at)
    gone_at = read_by(AT_REST, passed=passed).gone_at(missing)
    assert gone_at is not None
    assert (gone_at <= NOW) is over
    revoked = replace(AT_REST, gone=(Gone("g", wrote_at),))
    assert read_by(revoked, passed=passed, ids="bg").gone == (frozenset() if over else {"g"})
    look_at = read_by(AT_REST, passed=passed).look_at(pending("b", next_look=wrote_at + WINDOW))
    assert look_at is not None
    assert (look_at <= NOW) is over


@pytest.mark.parametrize("compromised", [True, False])
def test_compromised_secret_is_missed_under_any_clock(compromised: bool) -> None:
    """A person revoked it: lists lack it from its end on, which a clock that was ahead wrote down."""
    entry = Retiring("a", NOW + HOUR, compromised=compromised)
    step = record_gone(read_by(replace(AT_REST, retiring=(entry,)), passed=SECOND))
    if not compromised:
        assert step is None, "its grace period lasts as long as it was written"
        return
    assert isinstance(step, WriteJournal)
    assert step.event is Event.MISSED


def test_plausible_times_are_accepted_without_vaults_clock() -> None:
    silent = case_of(AT_REST, seen(journal_at=YESTERDAY))
    assert silent.not_after(NOW + CLOCK_TOLERANCE, timedelta()) == NOW + CLOCK_TOLERANCE
    assert silent.not_after(NOW + CLOCK_TOLERANCE + MOMENT, timedelta()) == YESTERDAY
    assert case_of(AT_REST, seen()).not_after(NOW + 2 * HOUR, timedelta()) == NOW + 2 * HOUR
    new = case_of(AT_REST, seen(journal_read_at=YESTERDAY))
    assert new.not_after(NOW + 2 * HOUR, timedelta()) == NOW + 2 * HOUR, "there is no journal yet"
    told = read_by(AT_REST, passed=9 * SECOND)
    assert told.not_after(NOW + MOMENT, MOMENT) == NOW + MOMENT
    assert told.not_after(NOW + 2 * MOMENT, MOMENT) == NOW - 9 * SECOND + MOMENT
    behind = case_of(AT_REST, seen(journal_at=LATER, journal_read_at=NOW, observed_at=NOW))
    assert behind.not_after(NOW + SECOND, timedelta()) == NOW + SECOND, "never later than it says"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, None),
        (eliminated("b"), None),
        (replace(eliminated("b"), next_look=LATER), None),
        (pending("b", next_look=None), None),
        (pending("b", next_look=LATER), LATER),
        (pending("b", next_look=NOW + timedelta(days=1)), NOW + WINDOW),
    ],
)
def test_next_look_of_a_pending_id_is_bounded(identity: Identity | None, expected: datetime | None) -> None:
    assert case_of(AT_REST, seen(journal_at=NOW)).look_at(identity) == expected


# --- ids that a later list confirms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "confirmed"), [(WINDOW + SECOND, True), (WINDOW + SECOND - MOMENT, False), (-SECOND, False)]
)
def test_list_confirms_ids_a_window_after_first_sight(age: timedelta, confirmed: bool) -> None:
    """Vault's clock tells whole seconds: two instances can read it a second apart."""
    journal = noticed(AT_REST, "s", at=NOW - age)
    assert case_of(journal, seen("b", "s")).unconfirmed == (set() if confirmed else {"s"})
    assert case_of(journal, seen("b", "s", "t")).unconfirmed == ({"t"} if confirmed else {"s", "t"})


def test_older_list_does_not_confirm_ids() -> None:
    """A run can be interrupted before it uses a list."""
    journal = noticed(AT_REST, "s", at=NOW - WINDOW - SECOND)
    old = seen(listing=listing("b", "s", fetched_at=NOW - MOMENT))
    assert case_of(journal, old).unconfirmed == {"s"}


@pytest.mark.parametrize("skew", [-timedelta(days=1), timedelta(days=1)])
def test_ids_are_confirmed_by_vaults_clock(skew: timedelta) -> None:
    """The journal contains Vault's time. This instance's clock is a day off."""
    now = NOW + skew
    reading = {"journal_read_at": NOW, "journal_asked_at": now, "observed_at": now}
    for age, ids in ((WINDOW, {"s"}), (WINDOW + SECOND, set())):
        case = case_of(noticed(AT_REST, "s", at=NOW - age), seen("b", "s", **reading), now)
        assert case.unconfirmed == ids


def test_first_sight_in_the_future_counts_from_write() -> None:
    """A clock that was a day ahead wrote it, while Vault did not tell its time."""
    journal = noticed(AT_REST, "s", at=NOW + timedelta(days=1))
    assert journal.noticed is not None
    case = case_of(journal, seen("b", "s", journal_at=NOW))
    assert case.confirmed_at(journal.noticed) == NOW + WINDOW + SECOND


@pytest.mark.parametrize(
    ("read_at", "written_at", "expected"),
    [
        (None, NOW, None),
        (NOW, None, NOW),
        (NOW, NOW - MINUTE, NOW),
        (NOW, NOW + SECOND, NOW),
        (NOW, NOW + 2 * SECOND, None),
    ],
    ids=["no date", "no version", "before", "within the second", "in the future"],
)
def test_date_before_its_version_tells_no_time(
    read_at: datetime | None, written_at: datetime | None, expected: datetime | None
) -> None:
    """One clock stored the version, and another one dated the answer."""
    assert told_at(read_at, written_at) == expected


# --- another account's rotation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [{"publishing": Publishing(3)}, {"candidate": PREPARED.candidate}])
def test_unfinished_rotation_counts_until_its_requests_are_over(left: dict[str, Any]) -> None:
    """Its last lease began when the journal was stored at the latest."""
    journal = replace(AT_REST, **left)
    longest = POLICY.lease + SECOND + POLICY.request_timeout + POLICY.window
    assert case_of(journal, seen(journal_at=NOW)).unfinished_until == NOW + longest
    assert case_of(journal, seen(journal_at=NOW - longest)).unfinished_until is None
    assert case_of(journal, seen()).unfinished_until is None
    fence = replace(journal, create_until=NOW + MINUTE)
    assert case_of(fence, seen(journal_at=YESTERDAY)).unfinished_until == NOW + MINUTE


def test_lease_alone_is_unfinished_until_it_expires() -> None:
    leased = replace(AT_REST, lease_holder="other", lease_until=NOW + MINUTE)
    assert case_of(leased, seen(journal_at=NOW)).unfinished_until == NOW + MINUTE
    assert case_of(AT_REST, seen(journal_at=NOW)).unfinished_until is None
