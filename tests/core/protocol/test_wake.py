"""When an account needs a run because of its journal."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Identity,
    Journal,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Strangers,
    Target,
    Verification,
    wake_at,
)
from rotator.core.protocol.wake import AT_ONCE
from tests.core.protocol.situations import (
    AT_REST,
    LATER,
    NOW,
    PREPARED,
    SECOND,
    WINDOW,
    YESTERDAY,
    answered,
    eliminated,
    pending,
    request,
)

EVEN_LATER = LATER + timedelta(hours=1)


@pytest.mark.parametrize("journal", [Journal(), AT_REST, replace(AT_REST, attempts=3, next_attempt_at=NOW)])
def test_account_at_rest_needs_no_run(journal: Journal) -> None:
    assert wake_at(journal, WINDOW) is None


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        (None, AT_ONCE),
        (Verification("rotation-1", NOW, LATER), LATER),
        (Verification("rotation-0", NOW, LATER), AT_ONCE),
    ],
)
def test_candidate_needs_a_run_at_its_next_look(verification: Verification | None, expected: datetime) -> None:
    assert wake_at(replace(PREPARED, verification=verification), WINDOW) == expected
    assert wake_at(replace(AT_REST, verification=verification), WINDOW) is None


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (pending("b", next_look=LATER), LATER),
        (pending("b", next_look=None), None),
        (replace(eliminated("b"), next_look=LATER), None),
        (None, None),
    ],
)
def test_pending_id_needs_a_run_at_its_next_look(identity: Identity | None, expected: datetime | None) -> None:
    assert wake_at(replace(AT_REST, current=identity), WINDOW) == expected


def test_late_write_needs_a_run_at_once() -> None:
    marked = replace(AT_REST, publishing=Publishing(1))
    assert wake_at(marked, WINDOW) == AT_ONCE
    assert wake_at(replace(marked, current=pending("b", next_look=None)), WINDOW) == AT_ONCE


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), AT_ONCE),
        (request(of=Target(version=1)), AT_ONCE),
        (request(RequestKind.COMPROMISED, Target(id="a")), None),
        (None, None),
    ],
)
def test_request_of_the_published_secret_needs_a_run(asked: Request | None, expected: datetime | None) -> None:
    assert wake_at(replace(AT_REST, request=asked), WINDOW) == expected


def test_first_retiring_secret_needs_a_run() -> None:
    entries = (Retiring("a", EVEN_LATER), Retiring("c", LATER))
    assert wake_at(replace(AT_REST, retiring=entries), WINDOW) == LATER


@pytest.mark.parametrize(
    ("journal", "entry", "expected"),
    [
        ({}, {}, NOW),
        ({"create_until": LATER}, {}, LATER),
        ({"create_until": YESTERDAY}, {}, NOW),
        ({}, {"identity": pending("a", next_look=LATER)}, LATER),
        ({}, {"identity": replace(answered("a"), next_look=LATER)}, NOW),
        ({"current": replace(answered("b"), next_look=LATER)}, {}, NOW),
        ({}, {"missing_since": NOW - SECOND}, NOW - SECOND + WINDOW),
        ({"strangers": Strangers(frozenset("s"), NOW - SECOND)}, {}, NOW - SECOND + WINDOW),
    ],
)
def test_retiring_secret_waits_for_its_last_condition(
    journal: dict[str, Any], entry: dict[str, Any], expected: datetime
) -> None:
    retiring = (Retiring("a", NOW, **entry),)
    assert wake_at(replace(AT_REST, retiring=retiring, **journal), WINDOW) == expected


def test_retiring_secret_waits_for_the_published_id() -> None:
    current = pending("b", next_look=LATER)
    later = replace(AT_REST, current=current, retiring=(Retiring("a", EVEN_LATER), Retiring("c", NOW)))
    assert wake_at(later, WINDOW) == LATER
    alone = replace(later, current=replace(current, next_look=EVEN_LATER), retiring=(Retiring("c", NOW),))
    assert wake_at(alone, WINDOW) == EVEN_LATER
