"""Values that leaked: which ones the journal remembers, and which ones can be among them."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Journal, Request, RequestKind, Target, leaks, requests
from tests.core.protocol.situations import (
    AT_REST,
    NEW,
    NOW,
    OLD,
    OTHER,
    PREPARED,
    answered,
    published,
    request,
    seen,
)

OF_VERSION = Target(version=1, written_at=NOW)
FORCE = request(RequestKind.FORCE)


@pytest.mark.parametrize("kind", RequestKind)
def test_value_of_a_replaced_compromised_request_is_leaked(kind: RequestKind) -> None:
    """Also if no id is known for it."""
    first = request(RequestKind.COMPROMISED, Target(version=7), value=NEW)
    found = requests.requested(seen(request=request(kind, id="request-2")), replace(AT_REST, request=first), NOW)
    assert (leaks.is_leaked(found, NEW), leaks.is_leaked(found, OLD)) == (True, False)
    assert not leaks.is_leaked(found, None)
    assert requests.is_never_published_again(found, NEW)
    assert "leaked" not in repr(found)
    assert leaks.without_leak(found, OLD, "x") == found
    assert leaks.without_leak(found, None, None) == found
    assert leaks.without_leak(found, NEW, None).leaked == frozenset()


def test_each_replaced_compromised_request_leaves_its_leak() -> None:
    first = request(RequestKind.COMPROMISED, Target(version=7), value=NEW)
    journal = replace(AT_REST, request=first, leaked=frozenset({"request-0:digest"}))
    found = requests.requested(seen(request=request(RequestKind.FORCE, id="request-2")), journal, NOW)
    assert found.leaked == {"request-0:digest", f"request-1:{first.value_digest}"}


def test_late_request_for_the_candidate_leaves_a_leak() -> None:
    """The recorded request is for the secret that the journal speaks of."""
    known = request(RequestKind.COMPROMISED, Target(id="a"), value=OLD)
    late = request(RequestKind.COMPROMISED, Target(version=2), value=NEW, id="request-2")
    edited = seen(request=late, published=published(version=3, secret=OTHER), recorded=OLD)
    found = requests.requested(edited, replace(PREPARED, request=known), NOW)
    assert leaks.is_leaked(found, NEW)


@pytest.mark.parametrize(
    ("asked", "of_other", "of_unread"),
    [
        (None, False, False),
        (request(RequestKind.COMPROMISED, Target(), value=OLD), False, True),
        (request(RequestKind.FORCE, Target(), value=OLD), False, False),
        (request(RequestKind.COMPROMISED), False, False),
    ],
    ids=["none", "without an id", "forced", "by id"],
)
def test_secret_might_be_leaked_until_it_is_read(asked: Request | None, of_other: bool, of_unread: bool) -> None:
    journal = replace(AT_REST, request=asked)
    assert (leaks.might_be_leaked(journal, OTHER), leaks.might_be_leaked(journal)) == (of_other, of_unread)
    leaked = replace(journal, leaked=frozenset({f"request-1:{leaks.digest_of('request-1', NEW)}"}))
    assert [leaks.might_be_leaked(leaked, secret) for secret in (NEW, OTHER, None)] == [True, False, True]


@pytest.mark.parametrize(
    "journal",
    [
        replace(AT_REST, leaked=frozenset({f"request-1:{leaks.digest_of('request-1', NEW)}"})),
        replace(AT_REST, request=request(RequestKind.COMPROMISED, Target(), value=NEW)),
    ],
    ids=["noted", "requested"],
)
def test_secret_created_after_leak_did_not_leak(journal: Journal) -> None:
    known = replace(journal, later_id=leaks.later_id_after(journal, OTHER, "c"))
    assert known.later_id == "c"
    might = [leaks.might_be_leaked(known, answered_id=id_) for id_ in ("c", "b", None)]
    assert might == [False, True, True]
    assert leaks.might_be_leaked(known, NEW, answered_id="c") is leaks.is_leaked(journal, NEW), "its value decides"


def test_created_secret_can_be_the_leaked_one() -> None:
    noted = replace(AT_REST, leaked=frozenset({f"request-1:{leaks.digest_of('request-1', NEW)}"}))
    assert leaks.later_id_after(noted, NEW, "c") is None
    assert leaks.later_id_after(noted, OTHER, None) is None
    of_deleted = replace(AT_REST, request=request(RequestKind.COMPROMISED, Target(), value=None))
    assert leaks.later_id_after(of_deleted, OTHER, "c") is None
    assert leaks.later_id_after(replace(AT_REST, request=request(RequestKind.FORCE)), OTHER, "c") is None, "not needed"


def test_request_by_id_says_nothing_of_created_secret() -> None:
    noted = replace(AT_REST, leaked=frozenset({"request-0:digest"}))
    by_id = replace(noted, request=request(RequestKind.COMPROMISED, Target(id="a"), value=None))
    assert leaks.later_id_after(by_id, OTHER, "c") == "c"


def test_later_leak_can_be_any_secret() -> None:
    noted = replace(AT_REST, leaked=frozenset({"request-1:digest"}), later_id="b")
    assert leaks.with_leak(noted, frozenset({"request-1:digest"})) == noted
    later = leaks.with_leak(noted, frozenset({"request-2:digest"}))
    assert (later.leaked, later.later_id) == (noted.leaked | {"request-2:digest"}, None)
    of_unread = request(RequestKind.COMPROMISED, Target(version=1), value=OTHER)
    lost = requests.followed(replace(noted, request=of_unread), published(version=2, secret=NEW))
    assert (lost.request, lost.later_id) == (replace(of_unread, of=Target()), None)


def test_adopted_secret_is_no_earlier_leak() -> None:
    asked = request(earlier_ids=frozenset({"a", "e"}))
    journal = replace(AT_REST, request=asked)
    found = leaks.without_leak(journal, OTHER, "a")
    assert found.request == replace(asked, earlier_ids=frozenset({"e"}))
    assert leaks.without_leak(journal, OTHER, None) == journal
    assert leaks.without_leak(AT_REST, OTHER, "a") == AT_REST


@pytest.mark.parametrize(
    "first",
    [
        request(RequestKind.FORCE, Target(version=7), value=NEW),
        request(RequestKind.COMPROMISED, OF_VERSION, value=None),
    ],
    ids=["forced", "without a digest"],
)
def test_other_replaced_requests_leave_no_leak(first: Request) -> None:
    journal = replace(AT_REST, published_version=2, request=first)
    asked = request(RequestKind.COMPROMISED, id="request-2")
    found = requests.requested(seen(request=asked, published=published(version=3)), journal, NOW)
    assert (found.request, found.leaked) == (asked, frozenset())


@pytest.mark.parametrize(
    ("of", "value", "kept"),
    [
        (Target(id="b"), OLD, True),
        (Target(version=1), OLD, True),
        (Target(version=2), OTHER, False),
        (Target(version=2), NEW, True),
    ],
    ids=["by id", "recorded", "not recorded", "candidate"],
)
def test_leak_without_record_can_be_added_secret(of: Target, value: SecretStr, kept: bool) -> None:
    """A person published the value of a secret that they added, and no run recorded that."""
    known = request(RequestKind.COMPROMISED, of, value=value)
    journal = replace(PREPARED, current=answered("b"), request=known, added_ids=frozenset({"n"}))
    asked = request(RequestKind.COMPROMISED, Target(version=3), value=SecretStr("Latest0001"), id="request-2")
    latest = published(version=3, secret=SecretStr("Latest0001"))
    found = requests.requested(seen(request=asked, published=latest), journal, NOW)
    assert leaks.is_leaked(found, value)
    assert found.added_ids == (journal.added_ids if kept else frozenset())


def test_replaced_request_without_leak_keeps_added_ids() -> None:
    journal = replace(AT_REST, request=request(of=Target(version=2)), added_ids=frozenset({"n"}))
    asked = request(RequestKind.COMPROMISED, Target(version=3), value=OLD, id="request-2")
    found = requests.requested(seen(request=asked, published=published(version=3)), journal, NOW)
    assert found.request == asked
    assert found.added_ids == journal.added_ids


def test_late_stronger_request_marks_no_value_leaked() -> None:
    asked = request(RequestKind.COMPROMISED, Target(id="a"), value=OLD, id="request-2")
    late = seen(request=asked, published=published(version=2, secret=OTHER), recorded=OLD)
    journal = replace(PREPARED, candidate=NEW, request=FORCE)
    assert requests.requested(late, journal, NOW).leaked == frozenset()
