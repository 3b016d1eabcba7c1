"""Properties over every state, also those that no course of events leads to."""

from dataclasses import replace
from datetime import datetime, timedelta

import hypothesis
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from rotator.core.protocol import (
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    Identity,
    Journal,
    List,
    Observation,
    Pause,
    Policy,
    Prepare,
    Publish,
    ReadRecorded,
    Reason,
    Record,
    Refresh,
    Request,
    RequestKind,
    Rest,
    Retiring,
    Revoke,
    Situation,
    Trigger,
    TryEarlier,
    decide,
    has_lease,
    requests,
)
from rotator.core.protocol.documents import expires_soon, refuse_foreign
from tests.core.protocol.arbitrary import State, policies, some_ids, states
from tests.core.protocol.situations import AT_REST, LATER, NEW, NOW, OLD, POLICY, WINDOW, answered, pending, seen

STEPS = (Create, Fail, List, Pause, Prepare, Publish, ReadRecorded, Record, Refresh, Rest, Revoke, TryEarlier)
# Reasons that end a run well: nothing was asked for that is not done.
WELL = (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING)


def retiring_of(journal: Journal) -> dict[str, Retiring]:
    """Return every recorded entry, also one whose value is being published."""
    marked = journal.publishing.entry if journal.publishing is not None else None
    return {entry.id: entry for entry in (*((marked,) if marked else ()), *journal.retiring)}


def situation(state: State, policy: Policy) -> Situation:
    """Return the situation with the caller's request in it."""
    return Situation.of(*state, policy, NOW)


@pytest.mark.parametrize("kind", STEPS)
def test_states_lead_to_every_kind_of_step(kind: type) -> None:
    """Else a property below would hold because it was never tried."""
    quick = settings(phases=[hypothesis.Phase.generate], max_examples=5000)
    find(st.tuples(states, policies), lambda s: isinstance(decide(s[0][0], s[0][1], s[1], NOW), kind), settings=quick)


@given(states, policies)
def test_every_state_has_a_step_without_secrets(state: State, policy: Policy) -> None:
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
        assert set(seen.listing.created) <= known, "an id that was not answered is doubtful beside a stranger"


@given(states, policies)
def test_revocation_through_the_primary_leaves_what_could_work(state: State, policy: Policy) -> None:
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
    assert journal.create_until is None or journal.create_until <= NOW, "a create might be under way"
    assert has_lease(journal, policy, NOW)


@given(states, policies)
def test_nothing_is_revoked_while_a_write_might_land(state: State, policy: Policy) -> None:
    """I9, and the mark is removed only once the published document has moved past its version."""
    seen, journal = state
    mark = journal.publishing
    step = decide(*state, policy, NOW)
    if mark is None:
        return
    assert not isinstance(step, Revoke)
    if isinstance(step, Record) and step.journal.publishing is None:
        assert seen.published.version > mark.over_version


@given(states, policies)
def test_nothing_is_revoked_where_it_is_not_allowed(state: State, policy: Policy) -> None:
    step = decide(*state, replace(policy, revoke=False), NOW)
    assert not isinstance(step, Revoke)
    if isinstance(step, Rest):
        assert step.until is None or step.until > NOW


# --- what is recorded --------------------------------------------------------------------------------------------


@given(states, policies)
def test_no_recorded_id_is_forgotten_without_a_reason(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Record):
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
                assert listed - journal.retiring_ids - {journal.current_id}, "beside a stranger"
            case Event.SETTLED:
                missing = entry.missing_since is not None and entry.missing_since + WINDOW <= NOW
                due = entry.not_before <= NOW or situation(state, policy).compromised
                unlisted = id_ not in listed and journal.current_id in listed
                assert id_ in seen.revoked or (unlisted and (id_ in seen.absent or (due and missing)))
            case _:
                raise AssertionError(f"{step.event} forgets {id_}")


@given(states, policies)
def test_only_what_rotator_published_becomes_retiring(state: State, policy: Policy) -> None:
    _, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Record):
        return
    for id_ in retiring_of(step.journal).keys() - retiring_of(journal).keys():
        assert step.event in (Event.COMMITTED, Event.ADOPTED)
        assert journal.current is not None
        assert journal.current.id == id_
        assert step.event is Event.COMMITTED or journal.current.is_answered


@given(states, policies)
def test_published_id_never_becomes_retiring(state: State, policy: Policy) -> None:
    _, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, Record) and journal.current_id not in retiring_of(journal):
        id_ = step.journal.current_id
        assert id_ is None or id_ not in step.journal.retiring_ids


@given(states, policies)
def test_candidate_that_might_be_live_is_never_forgotten(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, Record) and journal.candidate is not None:
        assert journal.candidate in (step.journal.candidate, seen.published.secret)


@given(states, policies)
def test_answered_id_is_written_with_its_candidate(state: State, policy: Policy) -> None:
    """It survives the run: no later one has to infer it from a list."""
    step = decide(*state, policy, NOW)
    written = step.journal if isinstance(step, Record | Rest) else None
    seen, journal = state
    silent = isinstance(step, Record) and step.event in (Event.REQUESTED, Event.REFRESHED)
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
        assert has_lease(journal, policy, NOW)
        assert seen.listing is not None
        assert len(seen.listing.created) < policy.max_secrets


@given(states, policies)
def test_only_a_candidate_that_authenticated_is_published(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, Publish):
        assert seen.listing is not None
        assert seen.listing.via is Credential.CANDIDATE
        assert has_lease(journal, policy, NOW)
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
    if asked is not None and requests.is_published(asked.of, journal, seen.published):
        return
    assert policy.due_at is not None
    assert not seen.rotated
    assert journal.rotated_at is None or policy.due_at(journal.rotated_at) <= NOW


@given(states, policies)
def test_value_is_replaced_only_if_it_was_refused(state: State, policy: Policy) -> None:
    seen, journal = state
    if isinstance(decide(*state, policy, NOW), Prepare) and journal.candidate is not None:
        assert seen.value_refused


# --- requests ----------------------------------------------------------------------------------------------------


@given(states, policies)
def test_compromised_request_makes_every_entry_due(state: State, policy: Policy) -> None:
    """It is written before the provider is asked, also under another instance's lease."""
    seen, journal = state
    target = requests.target_of(journal, seen.published)
    if target is None or seen.journal_lost or refuse_foreign(situation(state, policy)) is not None:
        return
    asked = Request(RequestKind.COMPROMISED, target, NOW, "ana", "request-2")
    step = decide(replace(seen, request=asked), replace(journal, request=None), policy, NOW)
    assert isinstance(step, Record)
    assert step.event is Event.REQUESTED
    assert step.journal.request == asked
    assert all(entry.compromised and entry.not_before <= NOW for entry in retiring_of(step.journal).values())
    assert retiring_of(step.journal).keys() == retiring_of(journal).keys()


# --- other instances and documents -------------------------------------------------------------------------------


@given(states, policies)
def test_anothers_lease_stops_everything_but_requests(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(seen, replace(journal, holder="other", lease_until=LATER), policy, NOW)
    if isinstance(step, Record):
        assert step.event is Event.REQUESTED
        assert (step.journal.holder, step.journal.lease_until) == ("other", LATER)
    elif isinstance(step, Fail):
        assert step.failure in (Failure.FOREIGN_DOCUMENT, Failure.FOREIGN_JOURNAL, Failure.JOURNAL_LOST)
    else:
        assert isinstance(step, Rest)
        assert (step.reason, step.until) == (Reason.LEASED, LATER)


@given(states, policies)
def test_foreign_or_lost_documents_are_left_alone(state: State, policy: Policy) -> None:
    seen, journal = state
    known = replace(policy, api_key="key1")
    foreign = replace(seen, published=replace(seen.published, api_key="key2"))
    own = replace(seen, published=replace(seen.published, api_key="key1"))
    for observation, stored, failure in (
        (foreign, journal, Failure.FOREIGN_DOCUMENT),
        (own, replace(journal, api_key="key2"), Failure.FOREIGN_JOURNAL),
        (replace(own, journal_lost=True), replace(journal, api_key=None), Failure.JOURNAL_LOST),
    ):
        step = decide(observation, stored, known, NOW)
        assert isinstance(step, Fail)
        assert step.failure is failure


@given(states, policies)
def test_expiring_document_is_refreshed_before_the_provider(state: State, policy: Policy) -> None:
    """An outage of the provider must not delete a good secret."""
    seen, journal = state
    document, now = seen.published, situation(state, policy).vault_now or NOW
    expiring = expires_soon(seen.journal_at, seen.journal_expires_at, now) or (
        expires_soon(document.written_at, document.expires_at, now)
        and document.secret is not None
        and journal.publishing is None
    )
    if not expiring:
        return
    step = decide(*state, policy, NOW)
    match step:
        case Refresh():
            assert step.secret_id is None, "it is rewritten unchanged"
        case Record():
            assert step.event in (Event.REQUESTED, Event.REFRESHED, Event.CLAIMED)
        case Rest():
            assert step.reason is Reason.LEASED
        case _:
            assert isinstance(step, Fail)
            assert step.failure in (Failure.FOREIGN_DOCUMENT, Failure.FOREIGN_JOURNAL, Failure.JOURNAL_LOST)


@given(states, policies)
def test_change_needs_the_lease(state: State, policy: Policy) -> None:
    _, journal = state
    if isinstance(decide(*state, policy, NOW), Create | Publish | Refresh | Revoke | TryEarlier):
        assert has_lease(journal, policy, NOW)


@given(states, policies)
def test_list_is_fetched_with_a_credential_there_is(state: State, policy: Policy) -> None:
    seen, journal = state
    step = decide(*state, policy, NOW)
    if isinstance(step, List):
        assert step.using not in seen.refused
        assert step.using is not Credential.CANDIDATE or journal.candidate is not None
        assert step.using is not Credential.PUBLISHED or seen.published.secret is not None
        assert step.using is not Credential.PRIMARY or policy.has_primary


# --- nobody gets stuck -------------------------------------------------------------------------------------------


@given(states, policies)
def test_failure_and_deferral_name_a_command(state: State, policy: Policy) -> None:
    step = decide(*state, policy, NOW)
    if isinstance(step, Fail):
        assert step.what
        assert step.advice
        assert not step.what.endswith(": "), "a list of ids is never empty"
    elif not isinstance(step, Rest) or step.reason in WELL:
        return
    command = step.next_command
    assert command is not None
    assert command.args[1] == "shop"
    blanks = [argument for argument in command.args if argument.isupper()]
    assert all(blank in ("ID", "VALUE") for blank in blanks)


@given(states, policies)
def test_rest_ends_in_the_future_and_detail_is_told(state: State, policy: Policy) -> None:
    step = decide(*state, policy, NOW)
    if isinstance(step, Rest):
        assert step.until is None or step.until > NOW
        assert step.detail


# --- elimination -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 40), some_ids), max_size=20))
def test_eliminated_id_rests_on_three_agreeing_lists(lists: list[tuple[int, frozenset[str]]]) -> None:
    """They were fetched one, one and a half and two windows after the value first authenticated, or later."""
    began = NOW
    counted: list[tuple[datetime, frozenset[str]]] = []
    journal = replace(AT_REST, current=pending(next_look=NOW + WINDOW, foreign_ids=frozenset({"c"})))
    now = NOW
    for seconds, ids in lists:
        now += timedelta(seconds=seconds)
        step = decide(seen(*ids) if ids else seen(), journal, replace(POLICY, due_at=None), now)
        if not isinstance(step, Record) or step.event not in (Event.LOOKED, Event.IDENTIFIED):
            continue
        before, after = journal.current, step.journal.current
        assert before is not None
        assert after is not None
        journal = step.journal
        if after.is_pending and after.looks == 0:
            began, counted = now, []
            continue
        counted.append((now, ids - {"c"}))
        if not after.is_pending:
            break
    if journal.current_id is None:
        return
    assert [ids for _, ids in counted] == [frozenset({journal.current_id})] * 3
    instants = [at for at, _ in counted]
    for at, windows in zip(instants, (1, 1.5, 2), strict=True):
        assert at >= began + WINDOW * windows


@given(states, policies)
def test_elimination_makes_only_the_published_id_certain(state: State, policy: Policy) -> None:
    """A journal's identity becomes certain by three lists, by an answer, or by a name that a person wrote."""
    seen, journal = state
    step = decide(*state, policy, NOW)
    if not isinstance(step, Record) or step.journal.current == journal.current or step.journal.current_id is None:
        return
    after: Identity | None = step.journal.current
    assert after is not None
    if step.event is Event.COMMITTED:
        assert after.is_answered
    elif step.event is Event.IDENTIFIED:
        assert journal.current is not None
        assert journal.current.looks >= 2
        assert after.id in seen.created
    else:
        assert step.event is Event.ADOPTED
        assert after == seen.identified or (after.id == seen.published.secret_id and seen.published.version == 1)


def test_certain_identity_is_kept() -> None:
    step = decide(seen("b"), replace(AT_REST, attempts=1), POLICY, NOW)
    assert isinstance(step, Record)
    assert step.journal.current == answered("b")
    assert isinstance(decide(Observation(seen("b").published), AT_REST, POLICY, NOW), List)
