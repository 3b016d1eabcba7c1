"""Properties of requests, instances, messages and elimination, over every state."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.core.protocol import (
    CLOCK_TOLERANCE,
    Create,
    Credential,
    Event,
    Fail,
    Failure,
    Identity,
    Journal,
    List,
    Observation,
    Policy,
    Prepare,
    Publish,
    Reason,
    Refresh,
    RequestKind,
    RestoreEarlierVersion,
    Retiring,
    Revoke,
    Situation,
    Stop,
    Target,
    WriteJournal,
    decide,
    has_lease,
    requests,
)
from rotator.core.protocol.documents import expires_soon, refuse_foreign
from rotator.core.protocol.ownership import is_shown
from tests.core.protocol.arbitrary import State, policies, some_ids, states
from tests.core.protocol.situations import AT_REST, NOW, OLD, POLICY, SECOND, WINDOW, answered, pending, published, seen

# Reasons that end a run well: nothing was asked for that is not done.
WELL = (Reason.IDLE, Reason.GRACE, Reason.IDENTIFYING)


def retiring_of(journal: Journal) -> dict[str, Retiring]:
    """Return every recorded entry, also one whose value is being published."""
    marked = journal.publishing.entry if journal.publishing is not None else None
    return {entry.id: entry for entry in (*((marked,) if marked else ()), *journal.retiring)}


def situation(state: State, policy: Policy) -> Situation:
    """Return the situation with the caller's request in it."""
    return Situation.of(*state, policy, NOW)


# --- requests ----------------------------------------------------------------------------------------------------


@given(states, policies)
def test_compromised_request_makes_every_entry_due(state: State, policy: Policy) -> None:
    """It is written before the provider is asked, also under another instance's lease."""
    seen, journal = state
    kind = RequestKind.COMPROMISED
    asked = requests.new_request(kind, journal, seen.published, at=NOW, by="ana", id_="request-2")
    if asked is None or seen.journal_lost or refuse_foreign(situation(state, policy)) is not None:
        return
    step = decide(replace(seen, request=asked), replace(journal, request=None), policy, NOW)
    assert isinstance(step, WriteJournal)
    assert step.event is Event.REQUESTED
    assert step.journal.request == asked
    assert all(entry.compromised and entry.not_before <= NOW for entry in retiring_of(step.journal).values())
    assert retiring_of(step.journal).keys() == retiring_of(journal).keys()


@given(states, policies, st.sampled_from(RequestKind))
def test_request_for_a_replaced_secret_begins_no_rotation(state: State, policy: Policy, kind: RequestKind) -> None:
    """Two commands for one leak rotate once, whenever the second one looks."""
    seen, journal = state
    replaced = published(secret=SecretStr("ReplacedSecret1"))
    made = requests.new_request(kind, Journal(), replaced, at=NOW, by="ana", id_="request-2")
    assert made is not None
    asked = replace(made, of=Target(id="replaced"))
    before, after = situation((replace(seen, request=None), journal), policy), replace(seen, request=asked)
    case = situation((after, journal), policy)
    assert (case.wanted, case.forced, case.trigger) == (before.wanted, before.forced, before.trigger)
    assert case.journal.request == before.journal.request
    if kind is RequestKind.COMPROMISED:
        assert all(entry.compromised and entry.not_before <= NOW for entry in retiring_of(case.journal).values())
    else:
        assert case.journal == before.journal


# --- other instances and documents -------------------------------------------------------------------------------


@given(states, policies)
def test_anothers_lease_stops_everything_but_requests(state: State, policy: Policy) -> None:
    seen, journal = state
    case = situation(state, policy)
    lease_until = case.shared_now + SECOND
    journal = replace(journal, lease_holder="other", lease_until=lease_until)
    step = decide(seen, journal, policy, NOW)
    if isinstance(step, WriteJournal) and step.event is Event.REFRESHED:
        assert (seen.journal_at or NOW) > (case.vault_now or NOW) + CLOCK_TOLERANCE  # stored in the future
        assert step.journal == situation((seen, journal), policy).journal
    elif isinstance(step, WriteJournal):
        assert step.event is Event.REQUESTED
        assert (step.journal.lease_holder, step.journal.lease_until) == ("other", lease_until)
    elif isinstance(step, Fail):
        assert step.failure in (Failure.FOREIGN_DOCUMENT, Failure.FOREIGN_JOURNAL, Failure.JOURNAL_LOST)
    else:
        assert isinstance(step, Stop)
        assert (step.reason, step.until) == (Reason.LEASED, NOW + SECOND)


@given(states, policies)
def test_foreign_or_lost_documents_stay_unchanged(state: State, policy: Policy) -> None:
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


@given(states, policies, st.booleans())
def test_value_of_unknown_owner_is_not_replaced(state: State, policy: Policy, lacks_value: bool) -> None:
    """Nor is a secret created for that. An earlier version that authenticates shows whose the document is."""
    seen, journal = state
    secret = None if lacks_value else OLD
    document = replace(seen.published, api_key=None, secret=secret, lacks_value=lacks_value, has_fields=True)
    unnamed = replace(seen, published=document)
    new = replace(journal, current=None, published_version=0)
    step = decide(unnamed, new, replace(policy, api_key="key1"), NOW)
    assert not isinstance(step, Publish | Revoke)
    if isinstance(step, Prepare | Create):
        assert seen.via is Credential.PUBLISHED
    if isinstance(step, Refresh):
        assert journal.publishing is not None, "a late write has to be ended"


@given(states, policies)
def test_expiring_document_is_refreshed_before_the_provider(state: State, policy: Policy) -> None:
    """An outage of the provider must not delete a good secret."""
    seen, journal = state
    document, now = seen.published, situation(state, policy).vault_now or NOW
    expiring = expires_soon(seen.journal_at, seen.journal_expires_at, now) or (
        expires_soon(document.written_at, document.expires_at, now)
        and document.secret is not None
        and journal.publishing is None
        and is_shown(situation(state, policy))
    )
    if not expiring:
        return
    step = decide(*state, policy, NOW)
    match step:
        case Refresh():
            assert step.secret_id is None, "it is rewritten unchanged"
        case WriteJournal():
            assert step.event in (Event.REQUESTED, Event.REFRESHED, Event.CLAIMED)
        case Stop():
            assert step.reason is Reason.LEASED
        case _:
            assert isinstance(step, Fail)
            assert step.failure in (Failure.FOREIGN_DOCUMENT, Failure.FOREIGN_JOURNAL, Failure.JOURNAL_LOST)


@given(states, policies)
def test_change_needs_the_lease(state: State, policy: Policy) -> None:
    _, journal = state
    if isinstance(decide(*state, policy, NOW), Create | Publish | Refresh | Revoke | RestoreEarlierVersion):
        assert has_lease(journal, policy, situation(state, policy).shared_now)


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
    elif not isinstance(step, Stop) or step.reason in WELL:
        return
    command = step.next_command
    assert command is not None
    assert "shop" in command.args
    blanks = [argument for argument in command.args if argument.isupper()]
    assert all(blank in ("ID", "OTHER_ID") for blank in blanks)


@given(states, policies)
def test_resolve_is_named_only_where_it_offers_ids(state: State, policy: Policy) -> None:
    """Otherwise it ends with the message that names it."""
    step = decide(*state, policy, NOW)
    if not isinstance(step, Fail) or step.next_command.args[0] != "resolve":
        return
    case = situation(state, policy)
    if step.failure is Failure.UNVERIFIED:
        assert case.candidate_id in case.listed
        return
    assert case.resolvable | case.resolvable_later
    assert not case.in_doubt
    assert set(step.next_command.args[3:]) <= case.resolvable


@given(states, policies)
def test_stop_ends_in_the_future_and_has_detail(state: State, policy: Policy) -> None:
    step = decide(*state, policy, NOW)
    if isinstance(step, Stop):
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
        if not isinstance(step, WriteJournal) or step.event not in (Event.LOOKED, Event.IDENTIFIED):
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
    if not isinstance(step, WriteJournal) or step.journal.current == journal.current or step.journal.current_id is None:
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
        assert after == seen.identified


def test_certain_identity_is_kept() -> None:
    step = decide(seen("b"), replace(AT_REST, attempts=1), POLICY, NOW)
    assert isinstance(step, WriteJournal)
    assert step.journal.current == answered("b")
    assert isinstance(decide(Observation(seen("b").published), AT_REST, POLICY, NOW), List)
