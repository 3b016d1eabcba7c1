"""The steps, their commands, and the limits of a run."""

from rotator.core import protocol
from rotator.core.protocol import (
    Command,
    Credential,
    Reason,
    Refresh,
    Revoke,
    Stop,
    limits,
)
from rotator.core.protocol.requests import URGENT_BACKOFF
from rotator.core.protocol.transitions import LOOKS
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


def test_limits_are_documented_ones() -> None:
    assert (limits.MAX_SENDS, limits.MAX_VALUES, limits.MAX_RESTARTS) == (3, 3, 3)
    assert (LOOKS, URGENT_BACKOFF) == (3, 30 * SECOND)
