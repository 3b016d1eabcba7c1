"""The steps, their commands, and how a run ends."""

from rotator.core import protocol
from rotator.core.protocol import (
    Command,
    Credential,
    Outcome,
    Reason,
    Refresh,
    Result,
    Revoke,
    Stop,
    limits,
)
from rotator.core.protocol.requests import URGENT_BACKOFF
from rotator.core.protocol.transitions import LOOKS
from rotator.core.protocol.wording import count_of, names_of
from rotator.errors import Blame, Code
from tests.core.protocol.situations import SECOND


def test_command_is_shown_as_typed() -> None:
    command = Command.of("adopt", "my shop", "--secret-id", "ID")
    assert command.args == ("adopt", "my shop", "--secret-id", "ID")
    assert str(command) == "rotator adopt 'my shop' --secret-id ID"


def test_steps_are_plain_by_default() -> None:
    assert Revoke("a").using is Credential.PUBLISHED
    assert Refresh("why").secret_id is None
    rest = Stop(Reason.IDLE, None, "nothing")
    assert (rest.next_command, rest.journal, rest.resumes) == (None, None, False)


def test_changing_steps_are_all_but_looking() -> None:
    changing = {protocol.RestoreEarlierVersion, protocol.Prepare, protocol.Create, protocol.Publish}
    changing |= {protocol.Refresh, protocol.Revoke, protocol.WriteJournal}
    assert set(protocol.CHANGING_STEPS) == changing


def test_outcome_has_a_code_when_it_failed() -> None:
    failed = Outcome("shop", Result.FAILED, reason=Code.FULL.value)
    assert (failed.code, failed.blame) == (Code.FULL, Code.FULL.blame)
    assert isinstance(failed.blame, Blame)
    rested = Outcome("shop", Result.DEFERRED, reason=Reason.FULL.value)
    assert (rested.code, rested.blame) == (None, None)


def test_outcome_without_a_known_reason_has_code_other() -> None:
    failed = Outcome("shop", Result.FAILED)
    assert failed.code is Code.OTHER
    assert (failed.published, failed.conflicts, failed.revoked) == (False, 0, ())


def test_ids_are_shown_sorted_and_counted() -> None:
    assert names_of({"b", "a"}) == "a, b"
    assert count_of({"a"}) == "a secret"
    assert count_of({"a", "b"}) == "2 secrets"


def test_limits_are_documented_ones() -> None:
    assert (limits.MAX_SENDS, limits.MAX_VALUES, limits.MAX_RESTARTS) == (3, 3, 3)
    assert (LOOKS, URGENT_BACKOFF) == (3, 30 * SECOND)
