"""A refused value that nothing shows to be this account's is replaced by nothing unasked."""

from dataclasses import replace
from typing import Any

import pytest

from rotator.core.protocol import (
    Awaited,
    Credential,
    Event,
    Failure,
    Journal,
    List,
    Observation,
    Poll,
    Prepare,
    Publish,
    Published,
    Refresh,
    RestoreEarlierVersion,
    Trigger,
    transitions,
)
from rotator.core.protocol.ownership import is_shown, refuse_unknown_fields
from tests.core.protocol.situations import (
    AT_REST,
    CANDIDATE_REFUSED,
    MINE,
    NEW,
    NOW,
    OLD,
    POLICY,
    PREPARED,
    WINDOW,
    YESTERDAY,
    case_of,
    event_of,
    failure_of,
    lacking,
    listing,
    published,
    seen,
    step_of,
)

PATH = "apps/shop"
PUBLISHED_REFUSED = frozenset({Credential.PUBLISHED})
REFUSED: dict[str, Any] = {"refused": PUBLISHED_REFUSED, "waiting_since": {Awaited.PUBLISHED: NOW - WINDOW}}
BY_PRIMARY = listing("b", via=Credential.PRIMARY)
# A rotation that began while nothing was published.
BOOTSTRAP = Journal(
    api_key="key1",
    rotation_id="rotation-1",
    trigger=Trigger.BOOTSTRAP,
    candidate=NEW,
    ids_before=frozenset({"a"}),
    **MINE,
)


def unnamed(**facts: Any) -> Observation:
    """Return what a run sees of a document that names no account."""
    document = {
        key: facts.pop(key) for key in ("version", "secret", "written_at", "expires_at", "field") if key in facts
    }
    return seen(published=published(path=PATH, **document), **facts)


@pytest.mark.parametrize("has_primary", [True, False])
def test_refused_value_of_unknown_owner_stays(has_primary: bool) -> None:
    step = step_of(Journal(), unnamed(**REFUSED), has_primary=has_primary)
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    what = "the provider refuses the published secret (401), and nothing shows that apps/shop is the document of shop"
    assert step.what == what
    assert step.next_command.args == ("adopt", "shop", "--replace")
    assert step.advice.startswith("If the path is wrong, correct it in the configuration (accounts.path). ")
    assert ("add the key key1" in step.advice) == has_primary
    assert step.advice.endswith("ring a secret that authenticates")


def test_refusal_lasts_for_the_consistency_window_first() -> None:
    assert step_of(Journal(), unnamed()) == List(Credential.PUBLISHED)
    assert isinstance(step_of(Journal(), unnamed(refused=PUBLISHED_REFUSED), has_primary=True), Poll)


def test_earlier_version_can_confirm_the_document() -> None:
    second = unnamed(version=2, **REFUSED)
    assert step_of(Journal(**MINE), second, has_primary=True) == RestoreEarlierVersion()
    tried = replace(second, earlier_tried=True)
    assert failure_of(step_of(Journal(**MINE), tried, has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT


@pytest.mark.parametrize(
    ("journal", "facts"),
    [
        pytest.param(Journal(), {"api_key": "key1"}, id="the document names the account"),
        pytest.param(replace(AT_REST, published_path=PATH), {"version": 1}, id="the journal recorded it"),
        pytest.param(replace(AT_REST, published_path=PATH), {"version": 2}, id="an earlier version"),
        pytest.param(AT_REST, {"version": 2}, id="a journal without a path"),
        pytest.param(Journal(), {"version": 0, "secret": None}, id="nothing is published"),
    ],
)
def test_shown_document_is_rescued(journal: Journal, facts: dict[str, Any]) -> None:
    found = seen(published=published(path=PATH, **facts), listing=BY_PRIMARY, earlier_tried=True, **REFUSED)
    assert is_shown(case_of(journal, found, has_primary=True))
    assert isinstance(step_of(journal, found, has_primary=True), Prepare)


def test_document_needs_no_proof_without_an_expected_key() -> None:
    named = seen(published=published(api_key="key2", path=PATH))
    assert is_shown(case_of(Journal(), named, api_key=None))


def test_value_at_another_path_is_not_rescued() -> None:
    moved = replace(AT_REST, published_path="apps/before", published_version=3)
    assert failure_of(step_of(moved, unnamed(**REFUSED), has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT


@pytest.mark.parametrize(
    ("recorded", "document", "shown"),
    [
        ({"published_field": "api_secret"}, {"field": "db_password"}, False),
        ({"published_field": "api_secret"}, {"field": "db_password", "api_key": None}, False),
        ({"published_field": "db_password"}, {"field": "db_password"}, True),
        ({"published_field": None}, {"field": "db_password"}, True),
        ({"published_field": "api_secret", "published_path": "apps/before"}, {"field": "db_password"}, True),
        ({"published_field": "api_secret", "published_version": 0}, {"field": "db_password"}, True),
        ({"published_field": "api_secret"}, {"field": "db_password", "secret": None}, True),
        (
            {"published_field": "api_secret"},
            {"field": "db_password", "secret": None, "overwritten": ("db_password",)},
            False,
        ),
    ],
    ids=["other", "unnamed", "same", "old journal", "moved", "new", "empty", "no text"],
)
def test_value_in_another_field_is_no_proof(recorded: dict[str, Any], document: dict[str, Any], shown: bool) -> None:
    journal = replace(AT_REST, **({"published_path": PATH} | recorded))
    found = published(**({"path": PATH, "api_key": "key1", "has_fields": True} | document))
    assert is_shown(case_of(journal, seen(published=found))) == shown


def test_finding_names_both_fields() -> None:
    journal = replace(AT_REST, published_path=PATH, published_field="api_secret")
    step = step_of(journal, unnamed(field="db_password", **REFUSED), has_primary=True)
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    assert step.what == (
        "the provider refuses the published secret (401), and nothing shows that the field db_password of apps/shop is "
        "shop's: the last published secret is in api_secret; a secret published there would overwrite its field "
        "db_password"
    )
    wrong = "If the name of the field is wrong, correct it in the configuration (accounts.fields). If it is right"
    assert step.advice == f"{wrong}, bring a secret that authenticates"


def test_list_of_the_primary_account_confirms_nothing() -> None:
    found = unnamed(listing=BY_PRIMARY, **REFUSED)
    assert failure_of(step_of(Journal(), found, has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT


def test_candidate_is_not_created_for_unconfirmed_document() -> None:
    prepared = unnamed(listing=BY_PRIMARY, prepared_here=True, **REFUSED)
    assert failure_of(step_of(BOOTSTRAP, prepared, has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT


def test_candidate_replaces_no_value_of_unknown_owner() -> None:
    """A person wrote the document while the candidate was waiting."""
    assert step_of(BOOTSTRAP, unnamed()) == List(Credential.PUBLISHED)
    works = unnamed(listing=listing("a", "b", via=Credential.CANDIDATE))
    assert step_of(BOOTSTRAP, works) == List(Credential.PUBLISHED)
    assert isinstance(step_of(BOOTSTRAP, replace(works, refused=PUBLISHED_REFUSED)), Poll)
    assert failure_of(step_of(BOOTSTRAP, replace(works, **REFUSED))) is Failure.UNCONFIRMED_DOCUMENT
    assert failure_of(step_of(BOOTSTRAP, unnamed(**REFUSED), has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT
    assert isinstance(step_of(BOOTSTRAP, replace(works, published=published(secret=None, version=0))), Publish)


def test_candidate_is_tried_once_the_value_authenticates() -> None:
    works = unnamed(listing=listing("a", "b"))
    note = step_of(replace(BOOTSTRAP, added_ids=frozenset({"a"})), works)
    assert event_of(note) is Event.CAUGHT_UP
    assert (note.journal.published_version, note.journal.published_path, note.journal.current) == (1, PATH, None)
    assert note.journal.added_ids == frozenset()
    assert step_of(note.journal, works) == List(Credential.CANDIDATE)
    refused = step_of(note.journal, replace(works, refused=CANDIDATE_REFUSED))
    assert failure_of(refused) is Failure.AMBIGUOUS
    here = step_of(note.journal, replace(works, prepared_here=True))
    assert failure_of(here) is Failure.AMBIGUOUS
    assert isinstance(step_of(note.journal, replace(works, listing=listing("a", via=Credential.CANDIDATE))), Publish)


def test_candidate_is_tried_at_a_confirmed_path() -> None:
    """The journal's id belongs to the value at the earlier path."""
    moved = replace(PREPARED, published_path="apps/before", published_version=3)
    works = unnamed(listing=listing("a"), recorded_read=True)
    adoption = step_of(moved, works)
    assert event_of(adoption) is Event.ADOPTED
    assert step_of(adoption.journal, works) == List(Credential.CANDIDATE)


def test_expiring_document_of_unknown_owner_is_not_rewritten() -> None:
    expiring = unnamed(written_at=YESTERDAY, expires_at=NOW + WINDOW)
    assert step_of(Journal(), expiring) == List(Credential.PUBLISHED)
    held = replace(AT_REST, published_path=PATH, **MINE)
    assert isinstance(step_of(held, expiring), Refresh)
    named = replace(expiring, published=replace(expiring.published, api_key="key1"))
    assert isinstance(step_of(Journal(**MINE), named), Refresh)


def test_expiring_document_is_rewritten_under_another_field() -> None:
    """A rewrite changes nothing, so that the document is the account's is enough."""
    recorded = replace(AT_REST, published_path=PATH, published_field="api_secret", **MINE)
    expiring = unnamed(written_at=YESTERDAY, expires_at=NOW + WINDOW, field="db_password")
    assert not is_shown(case_of(recorded, expiring))
    assert isinstance(step_of(recorded, expiring), Refresh)


# --- a document without a value ----------------------------------------------------------------------------------


def others(**facts: Any) -> Observation:
    """Return what a run sees of another application's document, as a rule with credentials in rotator's fields."""
    known = {"path": PATH, "field": "api_secret", "secret_id": "s", "overwritten": ("secret_id",)}
    return seen(published=lacking(**(known | facts)), listing=BY_PRIMARY, earlier_tried=True)


@pytest.mark.parametrize("has_primary", [True, False])
def test_document_without_value_of_unknown_owner_stays(has_primary: bool) -> None:
    step = step_of(Journal(), others(), has_primary=has_primary)
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    assert step.what == (
        "the newest version of the published document has no value in the field api_secret, and nothing shows that "
        "apps/shop is the document of shop; a secret published there would overwrite its field secret_id"
    )
    assert step.next_command.args == ("adopt", "shop", "--replace")
    assert "(accounts.path, accounts.fields). If both are right, " in step.advice
    assert ("add the key key1" in step.advice) == has_primary


def test_finding_names_every_field_that_is_overwritten() -> None:
    step = step_of(Journal(), others(overwritten=("secret_id", "rotated_at")))
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    assert step.what.endswith("; a secret published there would overwrite its fields secret_id, rotated_at")
    step = step_of(Journal(), others(overwritten=()))
    assert failure_of(step) is Failure.UNCONFIRMED_DOCUMENT
    assert step.what.endswith("nothing shows that apps/shop is the document of shop")


def test_candidate_is_not_published_beside_others_fields() -> None:
    """Another application's document appeared at the path while the first secret was being created."""
    for found in (others(), replace(others(), listing=listing("a", "b", via=Credential.CANDIDATE))):
        assert failure_of(step_of(BOOTSTRAP, found, has_primary=True)) is Failure.UNCONFIRMED_DOCUMENT
    elsewhere = replace(PREPARED, published_path="apps/before", published_version=3)
    assert failure_of(step_of(elsewhere, others())) is Failure.UNCONFIRMED_DOCUMENT


def test_earlier_version_is_looked_for_first() -> None:
    found = replace(others(version=2), earlier_tried=False)
    assert step_of(Journal(**MINE), found, has_primary=True) == RestoreEarlierVersion()


@pytest.mark.parametrize(
    ("journal", "document"),
    [
        pytest.param(Journal(), published(version=0, secret=None), id="no version"),
        pytest.param(Journal(), published(secret=None), id="deleted"),
        pytest.param(Journal(), lacking(has_fields=False), id="empty"),
        pytest.param(Journal(), lacking(api_key="key1"), id="the document names the account"),
        pytest.param(replace(AT_REST, published_path=PATH), lacking(version=2), id="the journal recorded it"),
    ],
)
def test_secret_is_created_where_nothing_is_lost(journal: Journal, document: Published) -> None:
    free = seen(published=replace(document, path=PATH), listing=BY_PRIMARY, earlier_tried=True)
    assert refuse_unknown_fields(case_of(journal, free)) is None
    assert isinstance(step_of(journal, free, has_primary=True), Prepare)


def test_status_tells_unknown_owner_without_the_provider() -> None:
    fail = refuse_unknown_fields(case_of(Journal(), others()))
    assert failure_of(fail) is Failure.UNCONFIRMED_DOCUMENT
    assert refuse_unknown_fields(case_of(Journal(), others(secret=OLD))) is None


# --- a value that authenticates, of an account that is not adopted yet -------------------------------------------


def failed(journal: Journal, observation: Observation) -> Journal:
    """Return what a run leaves behind that could not tell the published secret's id."""
    return transitions.failed(observation, journal, POLICY, NOW, "one of several", failure="ambiguous", ambiguous=True)


def test_ambiguous_account_remembers_a_value_that_authenticated() -> None:
    ambiguous = unnamed(listing=listing("a", "b"))
    assert failure_of(step_of(Journal(), ambiguous)) is Failure.AMBIGUOUS
    noted = failed(Journal(added_ids=frozenset({"a"}), **MINE), ambiguous)
    assert noted.lease_holder is None
    assert (noted.published_version, noted.published_path, noted.current) == (1, PATH, None)
    assert noted.added_ids == frozenset()
    assert failure_of(step_of(noted, ambiguous, explicit=True)) is Failure.AMBIGUOUS
    rescue = unnamed(listing=BY_PRIMARY, **REFUSED)
    assert isinstance(step_of(noted, rescue, explicit=True, has_primary=True), Prepare)
    again = failed(replace(noted, added_ids=frozenset({"a"})), ambiguous)
    assert again.added_ids == frozenset({"a"})


def test_failure_of_adopted_account_keeps_its_recorded_version() -> None:
    moved = replace(AT_REST, published_path="apps/before", published_version=3)
    assert failed(moved, unnamed(listing=listing("a", "b"))).published_version == 3
    assert failed(Journal(), unnamed(listing=BY_PRIMARY)).published_version == 0
    assert failed(Journal(), unnamed()).published_version == 0
