"""Properties over every state, also those that no course of events leads to."""

from contextlib import suppress
from dataclasses import replace

import hypothesis
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from rotator.core.protocol import (
    Create,
    Credential,
    Event,
    Fail,
    Journal,
    List,
    Policy,
    Poll,
    Prepare,
    Publish,
    ReadRecorded,
    Refresh,
    RestoreEarlierVersion,
    Retiring,
    Revoke,
    Situation,
    Stop,
    Trigger,
    WriteJournal,
    decide,
    has_lease,
    requests,
)
from tests.core.protocol.arbitrary import State, policies, states
from tests.core.protocol.situations import NEW, NOW, OLD, WINDOW

STEPS = (
    Create,
    Fail,
    List,
    Poll,
    Prepare,
    Publish,
    ReadRecorded,
    WriteJournal,
    Refresh,
    Stop,
    Revoke,
    RestoreEarlierVersion,
)


def retiring_of(journal: Journal) -> dict[str, Retiring]:
    """Return every recorded entry, also one whose value is being published."""
    marked = journal.publishing.entry if journal.publishing is not None else None
    return {entry.id: entry for entry in (*((marked,) if marked else ()), *journal.retiring)}


def situation(state: State, policy: Policy) -> Situation:
    """Return the situation with the caller's request in it."""
    return Situation.of(*state, policy, NOW)


def test_states_lead_to_every_kind_of_step() -> None:
    """Else a property below would hold because it was never tried."""
    reached: set[type] = set()

    def complete(drawn: tuple[State, Policy]) -> bool:
        state, policy = drawn
        reached.add(type(decide(*state, policy, NOW)))
        return reached.issuperset(STEPS)

    quick = settings(phases=[hypothesis.Phase.generate], max_examples=10_000)
    with suppress(NoSuchExample):
        find(st.tuples(states, policies), complete, settings=quick)
    assert set(STEPS) - reached == set()


@given(states, policies)
def test_steps_contain_no_secret_values(state: State, policy: Policy) -> None:
    step = decide(*state, policy, NOW)
    for value in (OLD, NEW):
        assert value.get_secret_value() not in repr((step, state, policy))


# --- revocation --------------------------------------------------------------------------------------------------


@given(states, policies)
def test_revocation_leaves_a_certain_published_secret(state: State, policy: Policy) -> None:
    """I2, I3, I4 and I9: what has to be certain before an id is revoked with the published secret."""
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Revoke) or step.using is not Credential.PUBLISHED:
        return
    case, current = situation(state, policy), journal.current
    assert seen.listing is not None
    assert seen.listing.via is Credential.PUBLISHED
    assert current is not None
    assert not current.is_pending
    assert {step.id, current.id} <= set(seen.listing.created)
    assert step.id != current.id
    assert not case.in_doubt
    entry = next(entry for entry in case.journal.retiring if entry.id == step.id)
    assert not entry.is_pending
    assert journal.publishing is None
    if not current.is_answered:
        known = {current.id} | current.beside | journal.retiring_ids | case.gone | {case.candidate_id}
        known |= journal.added_ids
        assert set(seen.listing.created) <= known, "an id that was not answered is doubtful beside a stranger"


@given(states, policies)
def test_resolvable_id_is_listed_beside_published_one(state: State, policy: Policy) -> None:
    """Otherwise it can be the published secret's: lists name ids, not values."""
    case = situation(state, policy)
    current = case.journal.current
    if current is None or current.is_pending or Credential.PUBLISHED in case.seen.refused:
        return
    assert current.id in case.listed or case.resolvable <= case.journal.added_ids


@given(states, policies)
def test_primary_revokes_no_secret_that_could_work(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Revoke) or step.using is not Credential.PRIMARY:
        return
    assert seen.listing is not None
    assert seen.listing.via is Credential.PRIMARY
    assert len(seen.listing.created) > 1
    assert step.id in seen.listing.created
    assert step.id not in seen.earlier_ids
    assert journal.current is None or journal.current.id != step.id
    assert not retiring_of(journal)[step.id].is_pending
    assert journal.publishing is None


@given(states, policies)
def test_revocation_is_recorded_due_and_fenced(state: State, policy: Policy) -> None:
    _, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Revoke):
        return
    entries = {entry.id: entry for entry in situation(state, policy).journal.retiring}
    assert policy.revoke
    assert entries[step.id].not_before <= NOW, "an early revocation is written down first"
    shared_now = situation(state, policy).shared_now
    assert journal.create_until is None or journal.create_until <= shared_now, "a create might be under way"
    assert situation(state, policy).journal.lost_journal_until is None, "a create of a lost journal might be under way"
    assert has_lease(journal, policy, situation(state, policy).shared_now)


@given(states, policies)
def test_revocation_waits_while_a_write_might_land(state: State, policy: Policy) -> None:
    """I9, and the mark is removed only once the published document has moved past its version."""
    seen, journal = state
    mark = journal.publishing
    step = decide(*state, policy, NOW)
    if mark is None:
        return
    assert not isinstance(step, Revoke)
    if isinstance(step, WriteJournal) and step.journal.publishing is None:
        assert seen.published.version > mark.over_version


@given(states, policies)
def test_revocation_needs_permission_of_the_policy(state: State, policy: Policy) -> None:
    step = decide(*state, replace(policy, revoke=False), NOW)
    assert not isinstance(step, Revoke)
    if isinstance(step, Stop):
        assert step.until is None or step.until > NOW


# --- what is recorded --------------------------------------------------------------------------------------------


@given(states, policies)
def test_recorded_id_is_forgotten_for_known_reasons_only(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, WriteJournal):
        return
    before = retiring_of(journal)
    listed = frozenset(seen.created)
    for id_ in before.keys() - retiring_of(step.journal).keys():
        entry = before[id_]
        published = step.journal.current is not None and step.journal.current.id == id_
        match step.event:
            case Event.ADOPTED | Event.IDENTIFIED | Event.COMMITTED:
                assert published
            case Event.UNMARKED:
                assert journal.current_id == id_
            case Event.LOOKED:
                assert entry.is_pending
                assert id_ in listed
                strangers = listed - journal.retiring_ids - {journal.current_id}
                assert strangers or (entry.identity is not None and id_ in entry.identity.foreign_ids)
            case Event.GONE:
                missing = entry.missing_since is not None and entry.missing_since + WINDOW <= NOW
                due = entry.not_before <= NOW or situation(state, policy).compromised
                unlisted = id_ not in listed and journal.current_id in listed
                assert id_ in seen.revoked or (unlisted and (id_ in seen.absent or (due and missing)))
            case _:
                raise AssertionError(f"{step.event} forgets {id_}")


@given(states, policies)
def test_retiring_ids_were_published_by_rotator(state: State, policy: Policy) -> None:
    _, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, WriteJournal):
        return
    for id_ in retiring_of(step.journal).keys() - retiring_of(journal).keys():
        assert step.event in (Event.COMMITTED, Event.ADOPTED, Event.GIVEN_UP)
        if step.event is Event.GIVEN_UP:
            assert id_ == situation(state, policy).candidate_id
            continue
        assert journal.current is not None
        assert journal.current.id == id_
        assert step.event is Event.COMMITTED or journal.current.is_answered


@given(states, policies)
def test_named_id_revokes_no_possibly_published_secret(state: State, policy: Policy) -> None:
    """A person can be wrong: beside an id that they named, only other secrets than the published one are revoked."""
    seen, journal = state
    step, current = decide(*state, policy, NOW), journal.current
    if not isinstance(step, Revoke) or step.using is not Credential.PUBLISHED or current is None:
        return
    if not current.is_named:
        return
    gone = {entry.id for entry in journal.gone} | seen.revoked
    answered = {answer.id for answer in (seen.answered, journal.candidate_id) if answer is not None}
    explained = gone | answered | current.foreign_ids | journal.added_ids | {current.id}
    assert step.id in current.foreign_ids
    assert seen.created.keys() <= explained


@given(states, policies)
def test_published_id_never_becomes_retiring(state: State, policy: Policy) -> None:
    _, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, WriteJournal) and journal.current_id not in retiring_of(journal):
        id_ = step.journal.current_id
        assert id_ is None or id_ not in step.journal.retiring_ids


@given(states, policies)
def test_candidate_that_might_be_live_is_never_forgotten(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, WriteJournal) and journal.candidate is not None and step.event is not Event.GIVEN_UP:
        assert journal.candidate in (step.journal.candidate, seen.published.secret)


@given(states, policies)
def test_given_up_candidate_is_compromised_and_revoked(state: State, policy: Policy) -> None:
    """Consumers do not read it, and nothing is revoked while a write of it might be applied (I9)."""
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, WriteJournal) or step.event is not Event.GIVEN_UP:
        return
    case = situation(state, policy)
    assert journal.candidate is not None
    assert journal.candidate != seen.published.secret
    assert case.candidate_is_compromised
    assert step.journal.publishing is not None
    assert case.candidate_id is None or case.candidate_id in retiring_of(step.journal)


@given(states, policies)
def test_answered_id_is_written_with_its_candidate(state: State, policy: Policy) -> None:
    """It survives the run: no later one has to infer it from a list."""
    step = decide(*state, policy, NOW)
    written = step.journal if isinstance(step, WriteJournal | Stop) else None
    seen, journal = state
    silent = isinstance(step, WriteJournal) and step.event in (Event.REQUESTED, Event.REFRESHED)
    if written is None or written.candidate is None or seen.answered is None or silent:
        return
    if seen.answered.rotation_id == journal.rotation_id:
        assert written.candidate_id == seen.answered


# --- creating and publishing -------------------------------------------------------------------------------------


@given(states, policies)
def test_create_needs_lease_room_and_a_candidate(state: State, policy: Policy) -> None:
    seen, journal = state
    if isinstance(decide(*state, policy, NOW), Create):
        assert journal.candidate is not None
        assert has_lease(journal, policy, situation(state, policy).shared_now)
        assert seen.listing is not None
        assert len(seen.listing.created) < policy.max_secrets


@given(states, policies)
def test_published_candidate_has_authenticated(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, Publish):
        assert seen.listing is not None
        assert seen.listing.via is Credential.CANDIDATE
        assert has_lease(journal, policy, situation(state, policy).shared_now)
        answers = {answer.id for answer in (seen.answered, journal.candidate_id) if answer is not None}
        assert step.secret_id is None or step.secret_id in answers, "an id is never inferred from a list"


@given(states, policies)
def test_rotation_begins_only_if_due_requested_or_refused(state: State, policy: Policy) -> None:
    """I8: otherwise a run finishes what is under way, or repairs what is broken."""
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Prepare) or journal.candidate is not None:
        return
    assert len(seen.created) < policy.max_secrets
    if step.trigger in (Trigger.BOOTSTRAP, Trigger.RESCUE):
        assert seen.via is Credential.PRIMARY
        return
    asked = situation(state, policy).journal.request
    if asked is not None and requests.is_published(asked, journal, seen.published):
        return
    assert policy.due_at is not None
    assert not seen.rotated
    assert journal.rotated_at is None or policy.due_at(journal.rotated_at) <= NOW


@given(states, policies)
def test_value_is_replaced_only_if_it_was_refused(state: State, policy: Policy) -> None:
    seen, journal = state
    if isinstance(decide(*state, policy, NOW), Prepare) and journal.candidate is not None:
        assert seen.value_refused
