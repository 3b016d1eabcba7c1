"""Changes of a journal: whose id is it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import (
    Identity,
    Journal,
    Learned,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Trigger,
    transitions,
)
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    NEW,
    NOW,
    OLD,
    POLICY,
    PREPARED,
    PUBLISHED,
    WINDOW,
    YESTERDAY,
    answered,
    case_of,
    eliminated,
    pending,
    published,
    request,
    seen,
)

NAMED = Identity("p", Learned.PERSON)
# A compromised request for the secret that is published again now; its id is p.
OF_PREVIOUS = request(RequestKind.COMPROMISED, Target(id="p"), value=NEW)


def test_adoption_keeps_recorded_ids_and_dates_the_secret() -> None:
    entries = (Retiring("r", LATER, compromised=True), Retiring("c", LATER))
    before = replace(AT_REST, published_version=6, retiring=entries)
    case = case_of(before, seen("b", "c", published=replace(PUBLISHED, secret_id=None)))
    journal = transitions.adopted(case, eliminated("c"), retire_previous=False)
    expected = replace(AT_REST, current=eliminated("c"), rotated_at=YESTERDAY, retiring=entries[:1])
    assert journal == replace(expected, published_version=7, published_at=YESTERDAY)
    kept = transitions.adopted(case, pending("c"), retire_previous=False)
    assert kept.retiring == entries, "a pending id might be another one"


@pytest.mark.parametrize("current", [answered("b"), pending("b")])
@pytest.mark.parametrize(("version", "end"), [(5, NOW + POLICY.grace), (6, LATER)])
def test_version_in_between_gives_grace(version: int, end: datetime, current: Identity) -> None:
    """If no run read it, it can have contained a retiring secret, until a moment ago."""
    before = replace(AT_REST, current=current, published_version=version, retiring=(Retiring("r", LATER),))
    case = case_of(before, seen("b", "r", published=PUBLISHED))
    assert transitions.adopted(case, answered("c"), retire_previous=False).retiring == (Retiring("r", end),)
    again = transitions.recorded_again(case)
    assert (again.published_version, again.retiring) == (7, (Retiring("r", end),))


@pytest.mark.parametrize(
    ("until", "path", "end"),
    [
        (0, "apps/shop", NOW + POLICY.grace),
        (4, "apps/shop", NOW + POLICY.grace),
        (5, "apps/shop", NOW + POLICY.grace),
        (6, "apps/shop", LATER),
        (7, "apps/shop", LATER),
        (7, "apps/other", NOW + POLICY.grace),
    ],
)
def test_edits_of_other_fields_give_no_grace(until: int, path: str, end: datetime) -> None:
    """Each version between contains the recorded value: consumers read no retiring secret there."""
    before = replace(AT_REST, published_version=4, published_path="apps/shop", retiring=(Retiring("r", LATER),))
    document = replace(PUBLISHED, path=path)
    case = case_of(before, seen("b", "r", published=document, recorded=OLD, unchanged_until=until))
    assert transitions.recorded_again(case).retiring == (Retiring("r", end),)
    assert transitions.adopted(case, answered("c"), retire_previous=False).retiring == (Retiring("r", end),)


def test_document_written_anew_gives_grace() -> None:
    """It was deleted with its history, and has the recorded version's number again."""
    before = replace(AT_REST, published_version=7, published_at=NOW, retiring=(Retiring("r", LATER),))
    case = case_of(before, seen("b", "r", published=PUBLISHED))
    assert transitions.recorded_again(case).retiring == (Retiring("r", NOW + POLICY.grace),)


@pytest.mark.parametrize(("version", "replaced", "kept"), [(1, False, {"m"}), (1, True, set()), (2, False, set())])
def test_adoption_of_another_value_forgets_added_ids(version: int, replaced: bool, kept: set[str]) -> None:
    """A person might have published the value of a secret that they added."""
    journal = replace(AT_REST, added_ids=frozenset({"c", "m"}))
    case = case_of(journal, seen("b", "c", "m", published=published(version=version)))
    assert transitions.adopted(case, eliminated("c"), retire_previous=replaced).added_ids == kept


@pytest.mark.parametrize(
    ("document", "identity", "rotated_at"),
    [
        (PUBLISHED, answered("x"), LATER),
        (replace(PUBLISHED, rotated_at=None), answered("x"), NOW),
        (PUBLISHED, pending(), LATER),
        (PUBLISHED, answered("c"), YESTERDAY),
    ],
)
def test_adoption_dates_an_unlisted_secret_by_its_document(
    document: Any, identity: Identity, rotated_at: datetime
) -> None:
    case = case_of(Journal(), seen("c", published=document))
    assert transitions.adopted(case, identity, retire_previous=False).rotated_at == rotated_at


@pytest.mark.parametrize(
    ("journal", "replaced", "trigger"),
    [
        (replace(PREPARED, trigger=Trigger.COMPROMISED), True, Trigger.MANUAL),
        (replace(PREPARED, trigger=Trigger.COMPROMISED), False, Trigger.COMPROMISED),
        (replace(PREPARED, trigger=Trigger.SCHEDULE), True, Trigger.SCHEDULE),
        (replace(AT_REST, trigger=Trigger.COMPROMISED), True, Trigger.COMPROMISED),
    ],
    ids=["replaced", "same value", "another reason", "no candidate"],
)
def test_adoption_ends_the_compromised_reason(journal: Journal, replaced: bool, trigger: Trigger) -> None:
    """The candidate replaces what a person published, and that did not leak."""
    case = case_of(journal, seen("x", published=PUBLISHED))
    assert transitions.adopted(case, answered("x"), retire_previous=replaced).trigger is trigger


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize(("value", "version"), [(OLD, 0), (NEW, 7)])
def test_adoption_of_another_value_moves_no_request(value: SecretStr, replaced: bool, version: int) -> None:
    """A request begins a rotation only while its own secret is published."""
    asked = request(RequestKind.COMPROMISED, Target(version=1), value=value)
    case = case_of(replace(AT_REST, current=pending("b"), request=asked), seen("b", "c", published=PUBLISHED))
    journal = transitions.adopted(case, pending("c"), retire_previous=replaced)
    assert journal.request is not None
    assert journal.request.of.version == version


@pytest.mark.parametrize(("replaced", "of"), [(True, Target()), (False, Target(version=7, written_at=YESTERDAY))])
def test_adoption_moves_an_earlier_request_unless_it_replaces(replaced: bool, of: Target) -> None:
    """A journal from before digests were stored: only a replaced value tells that the request is for another one."""
    asked = request(RequestKind.COMPROMISED, Target(version=1), value=None)
    case = case_of(replace(AT_REST, current=pending("b"), request=asked), seen("b", "c", published=PUBLISHED))
    journal = transitions.adopted(case, pending("c"), retire_previous=replaced)
    assert journal.request == replace(asked, of=of)


@pytest.mark.parametrize(
    ("identity", "version", "earlier_ids", "of"),
    [
        (NAMED, 1, frozenset(), Target()),
        (NAMED, 7, frozenset(), Target(id="p")),
        (NAMED, 1, frozenset({"p"}), Target(id="p")),
        (answered("p"), 1, frozenset(), Target(id="p")),
    ],
    ids=["another version", "this version", "the deleted version's id", "not named"],
)
def test_named_secret_is_not_of_deleted_version(
    identity: Identity, version: int, earlier_ids: frozenset[str], of: Target
) -> None:
    """A person deleted the version that a request is for, and adopted another secret."""
    asked = request(RequestKind.FORCE, Target(version=version), value=None, earlier_ids=earlier_ids)
    case = case_of(replace(AT_REST, request=asked), seen("b", "p", published=PUBLISHED))
    adopted = transitions.adopted(case, identity, retire_previous=False).request
    assert adopted is not None
    assert adopted.of == of
    assert transitions.adopted(replace(case, journal=AT_REST), identity, retire_previous=False).request is None


def test_adoption_returns_a_marked_entry_but_its_own() -> None:
    marked = replace(AT_REST, published_version=6, publishing=Publishing(6, Retiring("m", LATER)))
    case = case_of(marked, seen("b", "m", published=PUBLISHED))
    assert transitions.adopted(case, answered("c"), retire_previous=False).retiring == (Retiring("m", LATER),)
    assert transitions.adopted(case, answered("m"), retire_previous=False).retiring == ()
    assert transitions.adopted(case, pending("m"), retire_previous=False).retiring_ids == {"m"}
    assert transitions.adopted(case, answered("m"), retire_previous=False).publishing is None


def test_pending_identity_begins_with_the_listed_ids() -> None:
    case = case_of(AT_REST, seen("b", "c"))
    identity = transitions.pending(case, foreign_ids=frozenset({"c"}), guess="b")
    assert identity == pending("b", beside=frozenset({"b", "c"}), foreign_ids=frozenset({"c"}), next_look=NOW + WINDOW)
    assert transitions.pending(case, foreign_ids=frozenset()).id is None


def test_restart_counts_lists_again() -> None:
    before = pending("b", looks=2, restarts=1, foreign_ids=frozenset({"f"}))
    case = case_of(AT_REST, seen("b"))
    after = replace(before, id="c", looks=0, restarts=2, next_look=NOW + WINDOW)
    assert transitions.restarted(case, before, "c") == after
    assert transitions.restarted(case, before).id is None


def test_third_list_makes_an_id_certain() -> None:
    case = case_of(AT_REST, seen("b", "r"))
    for looks in (0, 1):
        counted = transitions.counted(case, pending("x", looks=looks, restarts=2), "b")
        assert counted == pending("b", looks=looks + 1, restarts=2, next_look=NOW + WINDOW / 2)
    assert transitions.counted(case, pending("b", looks=2), "b") == eliminated("b", "r")


def test_looks_are_recorded() -> None:
    journal = transitions.looked(case_of(replace(AT_REST, api_key=None), seen("b")), pending("b", looks=1))
    assert journal == replace(AT_REST, current=pending("b", looks=1))


def test_looks_at_retiring_ids_are_recorded() -> None:
    entries = (Retiring("r", LATER), Retiring("a", NOW, identity=pending("a")))
    case = case_of(replace(AT_REST, api_key=None, retiring=entries), seen("a", "b"))
    journal = transitions.looked_at_retiring(case, entries[1], eliminated("a"))
    assert journal == replace(AT_REST, retiring=(entries[0], replace(entries[1], identity=eliminated("a"))))
    assert transitions.looked_at_retiring(case, entries[1], None) == replace(AT_REST, retiring=entries[:1])


def test_identified_secret_is_not_retiring() -> None:
    entries = (Retiring("b", NOW, compromised=True), Retiring("r", LATER))
    before = replace(AT_REST, api_key=None, current=pending("b"), retiring=entries)
    journal = transitions.identified(case_of(before, seen("b")), eliminated("b"))
    assert journal == replace(AT_REST, current=eliminated("b"), rotated_at=YESTERDAY, retiring=entries[1:])
    unlisted = transitions.identified(case_of(before, seen("x")), eliminated("b"))
    assert unlisted.rotated_at == NOW


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(of=Target(version=1)), request(of=Target(id="b"))),
        (request(of=Target(version=1), value=None), request(of=Target(id="b"))),
        (request(of=Target(version=2)), request(of=Target())),
        (request(of=Target(id="x")), request(of=Target(id="x"))),
        (None, None),
    ],
)
def test_request_speaks_of_the_identified_id(asked: Request | None, expected: Request | None) -> None:
    before = replace(AT_REST, current=pending("b"), request=asked)
    assert transitions.identified(case_of(before, seen("b")), eliminated("b")).request == expected


def test_request_of_wrong_guess_names_the_identified_id() -> None:
    before = replace(AT_REST, current=pending("b"), request=request())
    after = transitions.identified(case_of(before, seen("c")), eliminated("c"))
    assert after.request == request(of=Target(id="c"), value=OLD)


@pytest.mark.parametrize("wanted_again", [False, True])
def test_value_wanted_again_is_not_leaked(*, wanted_again: bool) -> None:
    leak = f"{OF_PREVIOUS.id}:{OF_PREVIOUS.value_digest}"
    before = replace(AT_REST, leaked=frozenset({leak, "request-2:other"}))
    observation = seen("p", published=PUBLISHED, identified=NAMED, wanted_again=wanted_again)
    journal = transitions.adopted(case_of(before, observation), NAMED, retire_previous=True)
    assert journal.leaked == ({"request-2:other"} if wanted_again else before.leaked)


def test_redated_journal_has_the_new_date() -> None:
    before = replace(AT_REST, api_key=None)
    assert transitions.redated(case_of(before, seen()), YESTERDAY) == replace(AT_REST, rotated_at=YESTERDAY)


@pytest.mark.parametrize(
    ("identity", "wanted_again", "asked", "stays"),
    [
        pytest.param(NAMED, True, OF_PREVIOUS, False, id="a person published it again"),
        pytest.param(pending(), True, OF_PREVIOUS, False, id="its id is not certain"),
        pytest.param(NAMED, False, OF_PREVIOUS, True, id="a person only named its id"),
        pytest.param(NAMED, True, replace(OF_PREVIOUS, of=Target()), False, id="its id was never certain"),
        pytest.param(NAMED, True, replace(OF_PREVIOUS, of=Target(version=6)), True, id="not replaced yet"),
        pytest.param(NAMED, True, request(RequestKind.COMPROMISED, Target(id="p")), True, id="of another secret"),
        pytest.param(NAMED, True, replace(OF_PREVIOUS, of=Target(id="c")), True, id="of the published secret"),
        pytest.param(NAMED, True, replace(OF_PREVIOUS, kind=RequestKind.FORCE), True, id="forced"),
    ],
)
def test_adopted_withdraws_the_request_of_its_secret(
    identity: Identity, asked: Request, *, wanted_again: bool, stays: bool
) -> None:
    case = case_of(
        replace(AT_REST, current=answered("c"), request=asked),
        seen("b", "p", published=PUBLISHED, identified=identity, wanted_again=wanted_again),
    )
    kept = transitions.adopted(case, identity, retire_previous=False).request
    assert (kept is not None) is stays


def test_adopted_keeps_the_request_of_the_same_secret() -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="p"))
    case = case_of(
        replace(AT_REST, current=answered("p"), request=asked), seen("b", "p", published=PUBLISHED, identified=NAMED)
    )
    assert transitions.adopted(case, NAMED, retire_previous=False).request == asked
