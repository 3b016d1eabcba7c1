"""Requests and answers as the application sees them, without the wire."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_WORTH_COMPRESSING = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request; it never has a body.

    Attributes:
        method: The method.
        path: The target without its query, as sent.
        headers: The headers, names in lower case; values of a repeated header are joined by commas.
        is_gone: Returns whether the client has closed its connection.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    is_gone: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent to one client.

    Attributes:
        status_code: The HTTP status.
        headers: Headers besides the length, the date and the security headers.
        body: The content.
        closes: Whether the connection is closed after it.
        lacks_gzip: Whether the content is only this long because the client does not accept gzip.
    """

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    closes: bool = False
    lacks_gzip: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered answer, for any number of clients.

    Attributes:
        body: The content.
        content_type: Its media type.
        compressed: The content in gzip; None if it is too short for that.
        etag: Its ETag, if it has one.
    """

    body: bytes
    content_type: str
    compressed: bytes | None = None
    etag: str | None = None


def error(status_code: int, text: str, headers: Mapping[str, str] | None = None, *, closes: bool = False) -> Response:
    """Return the response to a request that is refused or failed."""
    fields = {"Content-Type": "application/json", **(headers or {})}
    return Response(status_code, fields, json.dumps({"error": text}).encode(), closes)


def answer(body: bytes, content_type: str, etag: str | None = None) -> Answer:
    """Return an answer, compressed as well if that is worthwhile."""
    compressed = gzip.compress(body, 1) if len(body) >= _WORTH_COMPRESSING else None
    return Answer(body, content_type, compressed, etag)


def respond(rendered: Answer, headers: Mapping[str, str]) -> Response:
    """Return the response to a request with these headers."""
    fields = {"Content-Type": rendered.content_type, "Vary": "Accept, Accept-Encoding"}
    if rendered.etag is not None:
        fields["ETag"] = rendered.etag
        if rendered.etag == headers.get("if-none-match"):
            return Response(304, {"ETag": rendered.etag})
    if rendered.compressed is None:
        return Response(200, fields, rendered.body)
    if accepts_gzip(headers.get("accept-encoding", "")):
        return Response(200, fields | {"Content-Encoding": "gzip"}, rendered.compressed)
    return Response(200, fields, rendered.body, lacks_gzip=True)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a client with this Accept-Encoding header accepts gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
