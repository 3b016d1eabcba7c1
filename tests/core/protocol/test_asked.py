"""A command's request is recorded if the journal contains it, or a request that does the same."""

from dataclasses import replace

import pytest

from rotator.core.protocol import Asked, Journal, Outcome, Request, RequestKind, Result, Target
from tests.core.protocol.situations import AT_REST, OLD, OTHER, request

OWN = request(RequestKind.FORCE, id="own")
ASKED = Asked(OWN, OLD)


@pytest.mark.parametrize(
    ("known", "is_recorded"),
    [
        (None, False),
        (OWN, True),
        (replace(OWN, of=Target()), True),
        (replace(request(RequestKind.FORCE, Target(id="c"), value=OTHER), id="own"), True),
        (request(RequestKind.FORCE), True),
        (request(RequestKind.COMPROMISED, Target(version=1)), True),
        (request(RequestKind.MANUAL), False),
        (request(RequestKind.COMPROMISED, Target(id="a")), False),
        (request(RequestKind.COMPROMISED, value=OTHER), False),
        (request(RequestKind.FORCE, value=None), True),
        (request(RequestKind.FORCE, Target(id="a"), value=None), False),
    ],
    ids=[
        "none",
        "own",
        "own without a place",
        "own that follows the next secret",
        "as strong",
        "stronger",
        "weaker",
        "other secret",
        "other value at this id",
        "without a digest",
        "other id without a digest",
    ],
)
def test_request_is_recorded_when_the_journal_does_it(known: Request | None, *, is_recorded: bool) -> None:
    assert ASKED.recorded_in(replace(AT_REST, request=known)) == (known if is_recorded else None)


def test_command_without_a_request_asks_nothing() -> None:
    assert Asked.of(None, OLD) is None
    assert Asked.of(request(), OLD) == Asked(request(), OLD)


def test_request_is_recorded_after_a_later_one() -> None:
    """The journal contains the later request, and notes that the secret of the earlier one leaked."""
    later = request(RequestKind.COMPROMISED, Target(id="a"))
    journal = replace(AT_REST, request=later, leaked=frozenset({f"{OWN.id}:{OWN.value_digest}"}))
    assert ASKED.recorded_in(journal) == OWN


def test_outcome_names_the_recorded_request() -> None:
    outcome = Outcome("shop", Result.FAILED, journal=Journal(request=OWN), asked=ASKED)
    assert outcome.recorded_request == OWN
    assert replace(outcome, journal=None).recorded_request is None
    assert replace(outcome, asked=None).recorded_request is None
