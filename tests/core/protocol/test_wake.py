"""When an account needs a run because of its journal."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.core.protocol import (
    Doubt,
    Identity,
    Journal,
    Publishing,
    Request,
    RequestKind,
    Retiring,
    Target,
    Verification,
    wake_at,
)
from rotator.core.protocol.situation import LONGEST_LOOK
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
    assert wake_at(journal, WINDOW, LATER) is None


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        (None, AT_ONCE),
        (Verification("rotation-1", NOW, LATER), LATER),
        (Verification("rotation-0", NOW, LATER), AT_ONCE),
    ],
)
def test_candidate_needs_a_run_at_its_next_look(verification: Verification | None, expected: datetime) -> None:
    assert wake_at(replace(PREPARED, verification=verification), WINDOW, LATER) == expected
    assert wake_at(replace(AT_REST, verification=verification), WINDOW, LATER) is None


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (pending("b", next_look=LATER), LATER),
        (pending("b", next_look=None), None),
        (replace(eliminated("b"), next_look=LATER), None),
        (None, None),
    ],
)
def test_pending_id_needs_a_run_at_next_look(identity: Identity | None, expected: datetime | None) -> None:
    assert wake_at(replace(AT_REST, current=identity), WINDOW, LATER) == expected


def test_late_write_needs_a_run_at_once() -> None:
    marked = replace(AT_REST, publishing=Publishing(1))
    assert wake_at(marked, WINDOW, LATER) == AT_ONCE
    assert wake_at(replace(marked, current=pending("b", next_look=None)), WINDOW, LATER) == AT_ONCE


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), AT_ONCE),
        (request(of=Target(version=1)), AT_ONCE),
        (request(RequestKind.COMPROMISED, Target(id="a")), NOW + WINDOW),
        (request(RequestKind.COMPROMISED, Target()), NOW + WINDOW),
        (None, None),
    ],
)
def test_request_of_the_published_secret_needs_a_run(asked: Request | None, expected: datetime | None) -> None:
    assert wake_at(replace(AT_REST, request=asked), WINDOW, LATER) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"leaked": frozenset({"request-1:digest"})}, NOW + WINDOW),
        ({"request": request(of=Target())}, NOW + WINDOW),
        ({"request": request(RequestKind.COMPROMISED, Target(id="lost"))}, NOW + WINDOW),
    ],
)
def test_leak_without_id_needs_run_after_consistency_window(facts: dict[str, Any], expected: datetime) -> None:
    """Lists show by then which ids are unknown. Vault tells best when the secret was replaced."""
    journal = replace(AT_REST, **facts)
    assert wake_at(journal, WINDOW, LATER) == expected
    assert wake_at(replace(journal, published_at=NOW - SECOND), WINDOW, LATER) == expected - SECOND


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(RequestKind.FORCE, Target(id="lost")), EVEN_LATER),
        (request(RequestKind.COMPROMISED, Target(id="a")), EVEN_LATER),
        (request(RequestKind.COMPROMISED, Target(id="p")), EVEN_LATER),
        (request(RequestKind.COMPROMISED, Target(id="lost")), NOW + WINDOW),
    ],
    ids=["no leak", "retiring", "pending", "lost"],
)
def test_only_lost_leak_waits_for_a_list(asked: Request, expected: datetime) -> None:
    pending_id = pending("p", next_look=None)
    journal = replace(AT_REST, current=pending_id, request=asked, retiring=(Retiring("a", EVEN_LATER),))
    assert wake_at(journal, WINDOW, LATER) == expected


@pytest.mark.parametrize("facts", [{"leaked": frozenset({"request-1:digest"})}, {"request": request(of=Target())}])
def test_leak_without_id_waits_for_compromised_secrets(facts: dict[str, Any]) -> None:
    """They can be what leaked. A create that might land late delays their revocation, and no run ends that."""
    entry = Retiring("a", NOW)
    journal = replace(AT_REST, create_until=EVEN_LATER, **facts)
    assert wake_at(replace(journal, retiring=(entry,)), WINDOW, LATER) == NOW + WINDOW
    compromised = replace(entry, compromised=True)
    assert wake_at(replace(journal, retiring=(compromised,)), WINDOW, LATER) == EVEN_LATER


def test_first_retiring_secret_needs_a_run() -> None:
    entries = (Retiring("a", EVEN_LATER), Retiring("c", LATER))
    assert wake_at(replace(AT_REST, retiring=entries), WINDOW, LATER) == LATER


@pytest.mark.parametrize(
    ("journal", "entry", "expected"),
    [
        ({}, {}, NOW),
        ({"create_until": LATER}, {}, LATER),
        ({"create_until": YESTERDAY}, {}, NOW),
        ({"lost_journal_until": LATER}, {}, LATER),
        ({"lost_journal_until": YESTERDAY}, {}, NOW),
        ({}, {"identity": pending("a", next_look=LATER)}, LATER),
        ({}, {"identity": pending("a", next_look=None)}, NOW),
        ({}, {"identity": replace(answered("a"), next_look=LATER)}, NOW),
        ({"current": replace(answered("b"), next_look=LATER)}, {}, NOW),
        ({}, {"missing_since": NOW - SECOND}, NOW - SECOND + WINDOW),
        ({"last_doubt": Doubt(frozenset("s"), NOW - SECOND)}, {}, NOW - SECOND + WINDOW),
    ],
)
def test_retiring_secret_waits_for_its_last_condition(
    journal: dict[str, Any], entry: dict[str, Any], expected: datetime
) -> None:
    retiring = (Retiring("a", NOW, **entry),)
    assert wake_at(replace(AT_REST, retiring=retiring, **journal), WINDOW, LATER) == expected


def test_retiring_secret_waits_for_the_published_id() -> None:
    current = pending("b", next_look=LATER)
    later = replace(AT_REST, current=current, retiring=(Retiring("a", EVEN_LATER), Retiring("c", NOW)))
    assert wake_at(later, WINDOW, LATER) == LATER
    alone = replace(later, current=replace(current, next_look=LATER + WINDOW), retiring=(Retiring("c", NOW),))
    assert wake_at(alone, WINDOW, LATER) == LATER + WINDOW


# --- clocks that are ahead ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=365)])
def test_clock_that_was_ahead_delays_no_run(ahead: timedelta) -> None:
    """An instant counts as the latest possible one: a run finds out by Vault's clock when it is due."""
    late = NOW + ahead
    verifying = replace(PREPARED, verification=Verification("rotation-1", late, late + LONGEST_LOOK))
    assert wake_at(verifying, WINDOW, NOW) == NOW + LONGEST_LOOK
    looking = replace(AT_REST, current=pending("b", next_look=late + WINDOW))
    assert wake_at(looking, WINDOW, NOW) == NOW + WINDOW
    missing = replace(AT_REST, retiring=(Retiring("a", YESTERDAY, missing_since=late),))
    assert wake_at(missing, WINDOW, NOW) == NOW + WINDOW
    strange = replace(AT_REST, retiring=(Retiring("a", YESTERDAY),), last_doubt=Doubt(frozenset("s"), late))
    assert wake_at(strange, WINDOW, NOW) == NOW + WINDOW
    leaked = replace(AT_REST, retiring=(Retiring("a", late, compromised=True),))
    assert wake_at(leaked, WINDOW, NOW) == NOW
    in_grace = replace(AT_REST, retiring=(Retiring("a", late),))
    assert wake_at(in_grace, WINDOW, NOW) == late, "a grace period can have any length"
