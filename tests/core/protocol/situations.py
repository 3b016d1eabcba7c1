"""Situations that the tests of the protocol begin with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from rotator.core.protocol import (
    CLOCK_RESOLUTION,
    LEASE,
    Credential,
    Doubt,
    Event,
    Fail,
    Failure,
    Identity,
    Journal,
    Learned,
    Listing,
    Observation,
    Policy,
    Published,
    Reason,
    Request,
    RequestKind,
    Retiring,
    Situation,
    Stop,
    Target,
    WriteJournal,
    decide,
    requests,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LATER = NOW + timedelta(minutes=1)
YESTERDAY = NOW - timedelta(days=1)
WINDOW = timedelta(seconds=30)
OLD, NEW, OTHER = SecretStr("OldSecret000001"), SecretStr("NewSecret000001"), SecretStr("OtherSecret0001")


def daily(rotated_at: datetime) -> datetime:
    """Return when a schedule of one rotation a day replaces a secret."""
    return rotated_at + timedelta(days=1)


POLICY = Policy(instance="me", account="shop", lease=LEASE, api_key="key1", due_at=daily)
# How long a request might be carried out after it was sent. Vault's clock tells whole seconds.
LATE = POLICY.request_timeout + WINDOW + CLOCK_RESOLUTION
MINE: dict[str, Any] = {"lease_holder": "me", "lease_until": LATER}
# Another instance's lease, which ends now.
OTHERS: dict[str, Any] = {"lease_holder": "other", "lease_until": NOW}
# What failed runs have written down.
FAILURE: dict[str, Any] = {
    "attempts": 3,
    "next_attempt_at": NOW,
    "last_error": "it failed",
    "failure": "code",
    "ambiguity": "two",
    "unknown_ids": frozenset({"x"}),
    "last_doubt": Doubt(frozenset({"x"}), NOW),
}


def answered(id_: str, *beside: str) -> Identity:
    """Return an id that the provider answered to a create."""
    return Identity(id_, Learned.ANSWERED, beside=frozenset(beside))


def eliminated(id_: str, *beside: str) -> Identity:
    """Return an id that lists left over."""
    return Identity(id_, Learned.ELIMINATED, beside=frozenset({id_, *beside}))


def pending(id_: str | None = None, **facts: Any) -> Identity:
    """Return an id that is being eliminated; its next list counts now."""
    known: dict[str, Any] = {"next_look": NOW}
    return Identity(id_, Learned.PENDING, **(known | facts))


def listing(*ids: str, via: Credential = Credential.PUBLISHED, fetched_at: datetime | None = None) -> Listing:
    """Return a list of ids that were created a day ago."""
    return Listing(via, dict.fromkeys(ids, YESTERDAY), fetched_at)


def published(**facts: Any) -> Published:
    """Return the published document that the journals below speak of."""
    known: dict[str, Any] = {"version": 1, "secret": OLD}
    return Published(**(known | facts))


def lacking(**facts: Any) -> Published:
    """Return a published document with fields, but without a value."""
    return published(**({"secret": None, "lacks_value": True, "has_fields": True} | facts))


def seen(*ids: str, **facts: Any) -> Observation:
    """Return an observation; with ids, the published secret has listed them."""
    known: dict[str, Any] = {"published": published()}
    if ids:
        known["listing"] = listing(*ids)
    return Observation(**(known | facts))


def request(kind: RequestKind = RequestKind.MANUAL, of: Target | None = None, **facts: Any) -> Request:
    """Return a request for the secret of `AT_REST`, or for another one if it names another id or version.

    Args:
        kind: The kind.
        of: Where the secret is found.
        **facts: Other attributes. `value` is the secret itself; None: no digest of it is stored.
    """
    of = of or Target(id="b")
    value = facts.pop("value", OLD if of.id == "b" or of.version == 1 else OTHER)
    known = Request(kind, of, NOW, "ana", facts.pop("id", "request-1"), **facts)
    return known if value is None else with_value(known, value)


def with_value(asked: Request, value: SecretStr) -> Request:
    """Return the request with a digest of this value."""
    made = requests.new_request(asked.kind, Journal(), Published(1, secret=value), at=NOW, by="ana", id_=asked.id)
    assert made is not None
    return replace(asked, value_digest=made.value_digest)


# The published secret has the id b, and nothing is to be done.
AT_REST = Journal(api_key="key1", current=answered("b"), rotated_at=NOW, published_version=1)
# The same, but the schedule replaces it now.
DUE = replace(AT_REST, rotated_at=YESTERDAY)
# The previous secret has the id a, and may be revoked.
RETIRING = replace(AT_REST, retiring=(Retiring("a", NOW),))
# A candidate is in hand, and the published secret has the id a.
PREPARED = replace(
    AT_REST,
    current=answered("a"),
    rotation_id="rotation-1",
    candidate=NEW,
    ids_before=frozenset({"a"}),
    **MINE,
)
PUBLISHED = published(version=7, written_at=YESTERDAY, secret=NEW, secret_id="c", rotated_at=LATER)
PUBLISHED_CANDIDATE = seen(published=published(version=2, secret=NEW))
CANDIDATE_REFUSED = frozenset({Credential.CANDIDATE})


def noticed(journal: Journal, *ids: str, at: datetime = YESTERDAY) -> Journal:
    """Return a journal that says when ids were first seen which nothing explains. By default, a list confirms them."""
    return replace(journal, noticed=Doubt(frozenset(ids), at))


def case_of(journal: Journal, observation: Observation, now: datetime = NOW, **policy: Any) -> Situation:
    """Return the situation of a run."""
    return Situation.of(observation, journal, replace(POLICY, **policy), now)


def step_of(journal: Journal, observation: Observation, now: datetime = NOW, **policy: Any) -> Any:
    """Return what the protocol decides."""
    return decide(observation, journal, replace(POLICY, **policy), now)


def event_of(step: Any) -> Event:
    """Return what a journal write means."""
    assert isinstance(step, WriteJournal), step
    return step.event


def failure_of(step: Any) -> Failure:
    """Return the code of a failure."""
    assert isinstance(step, Fail), step
    return step.failure


def reason_of(step: Any) -> Reason:
    """Return why there is nothing to do."""
    assert isinstance(step, Stop), step
    return step.reason


def read_by(journal: Journal, *, passed: timedelta, ids: str = "b") -> Situation:
    """Return the situation of an instance whose clock says NOW, some time after Vault stored the journal."""
    facts = {"journal_at": YESTERDAY, "journal_read_at": YESTERDAY + passed, "observed_at": NOW}
    return case_of(journal, seen(*ids, **facts))
