"""An answer's bytes as a document: JSON or XML, with limits."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import SecretBytes

from rotator.logs import MASK, foreign
from rotator.net import XML, Proxy, check_structure, media_type, parse_json
from rotator.provider.rate_limiter import HEADERS

_MAX_REFERENCE = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. The body may repeat what was sent.

    Attributes:
        headers: Those that are looked at, by their names in lower case.
        request_id: The `X-Request-Id`, fit for an error's text; empty if there is none.
        forwarder: The proxy of the environment that can have answered in place of the provider.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: SecretBytes
    request_id: str = ""
    forwarder: Proxy | None = None

    @property
    def media_type(self) -> str:
        """Media type of the body by its Content-Type; empty if there is none."""
        return media_type(self.headers.get("content-type"))

    @classmethod
    def of(
        cls,
        status: int,
        headers: Mapping[str, str],
        content: bytes,
        hidden: Callable[[], Sequence[str]],
        forwarder: Proxy | None = None,
    ) -> "Reply":
        """Keep what is needed of a response.

        Args:
            status: The HTTP status.
            headers: By their names in lower case.
            content: The body.
            hidden: Returns the values of the request that no text of the answer may show.
            forwarder: The proxy of the environment that can have answered in place of the provider.
        """
        request_id = headers.get("x-request-id")
        kept = {name: headers[name] for name in ("content-type", *HEADERS) if name in headers}
        shown_id = reference(request_id, hidden()) if request_id else ""
        return cls(status, kept, SecretBytes(content), shown_id, forwarder)


def document(reply: Reply) -> dict[str, Any]:
    """An answer's fields; none if it cannot be read. A bare word is taken for the field `response`."""
    try:
        parsed = _xml(bounded(reply)) if reply.media_type in XML else _json(reply)
    # Numbers beyond all limits are an ArithmeticError, unknown codecs a LookupError.
    except (ValueError, SyntaxError, ArithmeticError, LookupError, RecursionError):
        return {}
    if isinstance(parsed, str):
        return {"response": parsed}
    return parsed if isinstance(parsed, dict) else {}


def bounded(reply: Reply) -> bytes:
    """The body, if no more can be parsed from it than from any of this API's.

    Raises:
        ValueError: If it is another one's.
    """
    content = reply.content.get_secret_value()
    check_structure(content)
    return content


def _json(reply: Reply) -> Any:
    # An amount that passes through a float is another amount.
    return parse_json(reply.content.get_secret_value(), parse_float=Decimal)


def _xml(content: bytes) -> str | dict[str, str]:
    from defusedxml import ElementTree  # only the operations on the account itself answer in XML

    root = ElementTree.fromstring(content)
    if len(root) == 0:
        return (root.text or "").strip()
    return {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root if len(child) == 0}


def text_field(value: object, hidden: Sequence[str]) -> str:
    """A field's text, cleaned; empty if the field is no text."""
    return clean(value, hidden) if isinstance(value, str) else ""


def reference(value: object, hidden: Sequence[str]) -> str:
    """An id for the provider's support, cleaned and cut; empty if there is none."""
    return text_field(value, hidden)[:_MAX_REFERENCE]


def clean(text: str, hidden: Sequence[str] = ()) -> str:
    """Foreign text, fit for one line of an error: no control characters, no secret, not too long.

    Args:
        text: The text.
        hidden: Values of the request, which can be too short to be registered.
    """
    for value in hidden:
        text = text.replace(value, MASK)
    return re.sub(r"[^\x20-\x7e]+", " ", foreign(text)).strip()
