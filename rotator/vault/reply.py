"""An answer of Vault, parsed but not interpreted: diagnosis.py knows what it means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rotator.logs import foreign
from rotator.net import JSON, Proxy, described, parse_json
from rotator.vault.http import Answer

# How many of an answer's errors are kept.
_MOST_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: The HTTP status.
        body: The JSON object that it contains; empty if it contains none.
        errors: The server's description of an error; None if it is not in Vault's form.
        summary: The status, the size and the media type in words, without any text of the answer.
        content: The beginning of the answer as it came.
        retry_after: The seconds that the answer asks to wait.
        forwarder: The proxy of the environment that can have answered in place of the server.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)
    errors: tuple[str, ...] | None = field(repr=False)
    summary: str
    content: bytes = field(default=b"", repr=False)
    retry_after: float = 0.0
    forwarder: Proxy | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def words(self) -> str:
        """The server's description in lower case, to be searched only."""
        return "; ".join(self.errors or ()).lower()

    @property
    def text(self) -> str:
        """The server's description, fit to be repeated; of another program's answer, its summary."""
        return "; ".join(filter(None, map(foreign, self.errors or ())))[:300] or self.summary


class ErrorReply(Exception):
    """An answer whose status is an error.

    Attributes:
        reply: The answer.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.summary)
        self.reply = reply


def parse_reply(answer: Answer) -> Reply:
    """Parse an answer; one that is not Vault's has no errors."""
    body = _parsed(answer.content)
    errors = _errors(body) if answer.media_type == JSON else None
    summary = f"HTTP {answer.status} {described(answer.media_type, len(answer.content))}"
    return Reply(answer.status, body, errors, summary, answer.content[:200], answer.retry_after, answer.forwarder)


def _errors(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    lines = body.get("errors", body.get("warnings"))  # a 404 for a path that no KV version 2 has carries a warning
    return tuple(str(line) for line in lines[:_MOST_ERRORS]) if isinstance(lines, list) else None


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        answer = parse_json(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def whole_number(value: object, *, least: int, most: int) -> int:
    """Return a number of an answer.

    Raises:
        ValueError: If it is no whole number within the bounds. JSON's true and 1e400 are none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError("not a whole number within the bounds")
    return value
