"""Everything that the protocol can be asked: typical states, and all that can differ from them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from rotator.core.protocol import (
    LEASE,
    Answered,
    Awaited,
    Credential,
    Doubt,
    Gone,
    Identity,
    Journal,
    Learned,
    Listing,
    Observation,
    Policy,
    Published,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    Verification,
)
from tests.core.protocol.situations import LATER, NEW, NOW, OLD, WINDOW, YESTERDAY, answered, daily, pending, with_value

State = tuple[Observation, Journal]

ids = st.sampled_from(["a", "b", "c"])
some_ids = st.frozensets(ids)
times = st.sampled_from(
    [NOW - timedelta(days=2), YESTERDAY, NOW - WINDOW, NOW - timedelta(seconds=1), NOW, LATER, NOW + timedelta(days=2)]
)
maybe_time = st.none() | times
secrets = st.sampled_from([OLD, NEW])
keys = st.sampled_from(["key1", "key1", "key1", "key2"])


def mostly(typical: Any, anything: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the typical value more often than not: few arbitrary states get beyond the first rules."""
    return st.integers(0, 9).flatmap(lambda chance: anything if chance == 9 else st.just(typical))


identities = st.builds(
    Identity,
    st.none() | ids,
    st.sampled_from(Learned),
    beside=some_ids,
    foreign_ids=some_ids,
    looks=st.integers(0, 3),
    next_look=maybe_time,
    restarts=st.integers(0, 4),
)
entries = st.builds(
    Retiring,
    ids,
    times,
    st.booleans(),
    identity=st.none() | identities,
    missing_since=mostly(None, times),
)
targets = st.builds(Target, id=ids) | st.builds(Target, version=st.integers(0, 3), written_at=mostly(None, times))
unvalued_requests = st.builds(
    Request,
    st.sampled_from(RequestKind),
    targets,
    times,
    st.just("ana"),
    st.just("request-1"),
    earlier_ids=mostly(frozenset(), some_ids),
)
requests = unvalued_requests | st.builds(with_value, unvalued_requests, secrets)


def journals_like(typical: Journal) -> st.SearchStrategy[Journal]:
    """Return journals that differ from a typical one."""
    retiring = st.lists(entries, max_size=2, unique_by=lambda entry: entry.id).map(tuple)
    return st.builds(
        Journal,
        api_key=mostly("key1", st.none() | keys),
        current=mostly(typical.current, st.none() | identities),
        rotated_at=mostly(typical.rotated_at, maybe_time),
        published_version=mostly(1, st.integers(0, 3)),
        published_at=mostly(None, maybe_time),
        rotation_id=mostly("rotation-1", st.none()),
        trigger=st.none() | st.sampled_from(Trigger),
        request=mostly(None, requests),
        candidate=mostly(typical.candidate, st.none() | secrets),
        candidate_id=mostly(typical.candidate_id, st.none() | st.builds(Answered, st.just("rotation-1"), ids)),
        verification=mostly(None, st.builds(Verification, st.just("rotation-1"), times, times)),
        ids_before=mostly(typical.ids_before, some_ids),
        create_until=mostly(None, maybe_time),
        lost_journal_until=mostly(None, maybe_time),
        publishing=mostly(None, st.builds(Publishing, st.integers(0, 3), st.none() | entries)),
        retiring=mostly(typical.retiring, retiring),
        added_ids=mostly(frozenset(), some_ids),
        gone=mostly((), st.lists(st.builds(Gone, ids, times), max_size=2).map(tuple)),
        lease_holder=mostly("me", st.none() | st.just("other")),
        lease_until=mostly(LATER, maybe_time),
        attempts=mostly(0, st.integers(0, 3)),
        next_attempt_at=mostly(None, maybe_time),
        last_error=st.none() | st.just("it failed"),
        ambiguity=mostly(None, st.just("a stranger")),
        last_doubt=mostly(None, st.builds(Doubt, some_ids, times)),
        noticed=st.none() | st.builds(Doubt, some_ids, times),
    )


def documents_like(typical: Published) -> st.SearchStrategy[Published]:
    """Return published documents that differ from a typical one."""
    return st.builds(
        Published,
        version=mostly(typical.version, st.integers(0, 3)),
        written_at=mostly(None, maybe_time),
        expires_at=mostly(None, maybe_time),
        api_key=mostly("key1", st.none() | keys),
        secret=mostly(typical.secret, st.none() | secrets),
        secret_id=st.none() | ids,
        rotated_at=mostly(None, maybe_time),
    )


def observations_like(typical: Observation) -> st.SearchStrategy[Observation]:
    """Return observations that differ from a typical one."""
    listed = mostly({"a": NOW, "b": NOW}, st.dictionaries(ids, times, min_size=1))
    via = mostly(typical.via or Credential.PUBLISHED, st.sampled_from(Credential))
    return st.builds(
        Observation,
        published=documents_like(typical.published),
        journal_at=mostly(None, times),
        journal_read_at=mostly(None, times),
        observed_at=mostly(None, times),
        journal_expires_at=mostly(None, times),
        journal_lost=mostly(typical=False, anything=st.just(value=True)),
        request=mostly(None, requests),
        identified=mostly(None, identities),
        replaced=st.booleans(),
        listing=mostly(typical.listing, st.none() | st.builds(Listing, via, listed)),
        refused=mostly(typical.refused, st.frozensets(st.sampled_from(Credential))),
        recorded=st.none() | secrets,
        recorded_read=st.booleans(),
        unchanged_until=mostly(0, st.integers(0, 3)),
        earlier_tried=mostly(typical.earlier_tried, st.booleans()),
        earlier_ids=mostly(frozenset(), some_ids),
        withheld=mostly(frozenset(), st.frozensets(st.integers(1, 3))),
        prepared_here=st.booleans(),
        creates=mostly(0, st.integers(0, 4)),
        answered=mostly(None, st.builds(Answered, st.just("rotation-1"), ids)),
        create_lost_at=mostly(None, times),
        create_refused=mostly(None, st.just("too many")),
        value_refused=mostly(typical=False, anything=st.just(value=True)),
        values=mostly(0, st.integers(0, 4)),
        waiting_since=mostly(typical.waiting_since, st.dictionaries(st.sampled_from(Awaited), times)),
        paused=mostly(timedelta(), st.sampled_from([timedelta(seconds=1), timedelta(seconds=9)])),
        revokes=mostly(0, st.integers(0, 4)),
        revoke_lost_at=mostly(None, times),
        revoked=mostly(frozenset(), st.frozensets(ids, max_size=1)),
        beside_revoked=mostly(frozenset(), some_ids),
        absent=mostly(frozenset(), st.frozensets(ids, max_size=1)),
        rewritten_over=mostly(None, st.integers(0, 2)),
        rotated=mostly(typical=False, anything=st.just(value=True)),
    )


def _seen(via: Credential | None, *, version: int = 1, **facts: Any) -> Observation:
    both = None if via is None else Listing(via, {"a": NOW, "b": NOW})
    return Observation(Published(version=version, secret=OLD), listing=both, **facts)


_REFUSED = frozenset({Credential.PUBLISHED, Credential.CANDIDATE})
_WAITED = {Awaited.PUBLISHED: YESTERDAY, Awaited.CANDIDATE: YESTERDAY}
_NEW_ID = Answered("rotation-1", "b")
_PREPARED = Journal(current=answered("a"), candidate=NEW, ids_before=frozenset({"a"}))
_RETIRING = Journal(current=answered("b"), rotated_at=NOW, retiring=(Retiring("a", NOW),))
_NAMED = Identity("b", Learned.PERSON)
_ONE = Listing(Credential.PUBLISHED, {"a": NOW})
_TYPICAL = [
    # an account whose secret is due
    (_seen(Credential.PUBLISHED), Journal(current=answered("b", "a"), rotated_at=NOW - timedelta(days=2))),
    # a previous secret to revoke
    (_seen(Credential.PUBLISHED), _RETIRING),
    # a person named the published secret's id, and the retiring one is another secret's, or is not
    (_seen(Credential.PUBLISHED), replace(_RETIRING, current=replace(_NAMED, foreign_ids=frozenset("a")))),
    (_seen(Credential.PUBLISHED), replace(_RETIRING, current=_NAMED)),
    # a grace period
    (_seen(Credential.PUBLISHED), replace(_RETIRING, retiring=(Retiring("a", LATER),))),
    # a pending id
    (replace(_seen(None), listing=_ONE), replace(_RETIRING, current=pending("a", looks=2), retiring=())),
    # a secret that another writer published
    (_seen(Credential.PUBLISHED, version=2), _RETIRING),
    # a candidate that authenticates
    (_seen(Credential.CANDIDATE), replace(_PREPARED, candidate_id=_NEW_ID)),
    # a candidate that does not
    (replace(_seen(None, refused=_REFUSED, waiting_since=_WAITED), listing=_ONE), _PREPARED),
    # a published secret that is refused
    (_seen(None, version=2, refused=_REFUSED, waiting_since=_WAITED), _RETIRING),
    (
        _seen(Credential.PRIMARY, refused=_REFUSED, waiting_since=_WAITED, earlier_tried=True),
        replace(_RETIRING, current=answered("c")),
    ),
]
states: st.SearchStrategy[State] = st.one_of(
    *(st.tuples(observations_like(seen), journals_like(journal)) for seen, journal in _TYPICAL)
)
policies = st.builds(
    Policy,
    instance=st.just("me"),
    account=st.just("shop"),
    lease=st.just(LEASE),
    api_key=mostly("key1", st.none()),
    due_at=st.none() | st.just(daily),
    explicit=st.booleans(),
    has_primary=st.booleans(),
    revoke=mostly(typical=True, anything=st.just(value=False)),
    max_secrets=st.sampled_from([2, 3]),
)
