"""Types of single settings: durations, addresses, paths, amounts and names. Each refuses text that it cannot use."""

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, Url

from rotator.config.secret_file import shown_name, shown_variable
from rotator.core.scheduling import BLACKOUT_PATTERN, WINDOW_PATTERN, Blackout, Window, cron_gaps

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_HOST_LIMIT = 254
DURATION_PATTERN = "(?:[0-9]+(?:d|h|ms|m|s))+"
SHARD_PATTERN = "^([0-9]+|auto)/([1-9][0-9]*)$"
_DURATION_PART = re.compile(r"([0-9]+)(d|h|ms|m|s)")


@lru_cache(maxsize=4096)  # accounts of one kind share what they have in common
def _parsed_duration(text: str) -> timedelta:
    total = sum(
        (timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _DURATION_PART.findall(text)),
        timedelta(),
    )
    if total > timedelta(days=3660):
        raise OverflowError
    return total


def parse_duration(text: object) -> timedelta:
    """Read "30d", "24h", "1h30m", "50ms"; a plain 0 needs no unit.

    Raises:
        ValueError: If it is anything else, a negative one or one beyond ten years included.
    """
    if isinstance(text, timedelta):
        return text
    if text == "0" or (text == 0 and type(text) is int):
        return timedelta()
    if not isinstance(text, str) or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError('is not a duration such as "30d", "24h", "90s" or "500ms"')
    try:
        return _parsed_duration(text)
    except OverflowError:
        raise ValueError("is longer than ten years") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as this duration, to the millisecond."""
    rest = round(duration / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("has to be longer than zero")
    return duration


def read_shard(text: str) -> tuple[int | None, int]:
    """Read "0/4" as the index and the number of shards; the index of "auto/4" is None.

    Raises:
        ValueError: If it is anything else, or the index is not below the number.
    """
    found = re.fullmatch(SHARD_PATTERN, text, re.ASCII)
    if not found:
        raise ValueError("is not of the form 0/4 or auto/4")
    index = None if found[1] == "auto" else int(found[1])
    count = int(found[2])
    if index is not None and index >= count:
        raise ValueError(f"is not one of {count} shards: they are counted from 0")
    return index, count


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # the library looks for a file of that name
        raise ValueError('is not a time zone such as "Europe/Berlin"') from None
    return text


def _cron(text: str) -> str:
    cron_gaps(text)
    return text


def _read_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """The text as it stands, once it was found to be readable."""

    @lru_cache(maxsize=4096)
    def check(text: str) -> str:
        parse(text)
        return text

    return check


def _schema_pattern(pattern: str) -> str:
    """Without the names of groups, which not every reader of JSON schemas knows."""
    return f"^{re.sub(r'[?]P<[a-z]+>', '', pattern)}$"


def read_url(text: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        ValueError: If it is no plain http or https address.
    """
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("may hold no blanks, line breaks or other than ASCII characters")
    try:
        url = Url(text)  # HttpUrl does the same, and costs each command 20 ms for its imports
    except ValueError:
        raise ValueError('is not an address such as "https://vault.example.com:8200"') from None
    if not re.match(r"https?://[^/?#]", text, re.IGNORECASE):
        raise ValueError("must begin with http:// or https:// and a host")
    if not is_host((urlsplit(text).hostname or "").removesuffix(".")):
        raise ValueError("must contain a host name or an IP address")
    if url.username or url.password or "?" in text or "#" in text:
        raise ValueError("has to be a plain address, without credentials, query or fragment")
    scheme, colon, rest = text.rstrip("/").partition(":")
    return scheme.lower() + colon + rest


def is_host(name: str) -> bool:
    """Whether it is a host name that TLS accepts, or an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return len(name) < _HOST_LIMIT and all(re.fullmatch("[A-Za-z0-9_-]{1,63}", part) for part in name.split("."))
    return True


def is_loopback(address: str) -> bool:
    """Whether what is sent to the address stays on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_plain_text(address: str) -> bool:
    """Whether traffic to the address leaves this machine unencrypted."""
    return urlsplit(address).scheme == "http" and not is_loopback(address)


def _euros(value: object) -> object:
    if isinstance(value, Decimal) or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,2})?", value)):
        return value
    raise ValueError('is not an amount in euros such as "5.00"')


def _vault_path(text: str) -> str:
    """KV v2 paths are joined into URLs: nothing may be left for the server or a proxy to reinterpret."""
    if not re.fullmatch(r"[\w.@~+=-]+(?:/[\w.@~+=-]+)*", text, re.ASCII):
        raise ValueError("has to be path parts of letters, digits and ._-@~+= joined by single slashes")
    if "+" in text.split("/"):
        raise ValueError('may not hold "+" as a part: in a policy, it stands for every name')
    if any(part in (".", "..") for part in text.split("/")):
        raise ValueError('may not hold "." or ".." as a part')
    return text


def _file_name(value: object) -> object:
    """An empty path would stand for the working directory, and the system takes no NUL."""
    if value == "":
        raise ValueError("is empty: name a file, or remove the key or the variable")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("contains a NUL character, and no name of a file does")
    return value


# A secret can stand in place of the name.
FileName = Annotated[Path, BeforeValidator(_file_name), PlainSerializer(shown_name, return_type=str, when_used="json")]
VariableName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    PlainSerializer(shown_variable, return_type=str, when_used="json"),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({DURATION_PATTERN}|0)$", "examples": ["30d", "90s"]}),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Zone = Annotated[str, AfterValidator(_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
WindowText = Annotated[
    str,
    AfterValidator(_read_by(Window.parse)),
    WithJsonSchema({"type": "string", "pattern": _schema_pattern(WINDOW_PATTERN), "examples": ["mon-fri 02:00-05:00"]}),
]
BlackoutText = Annotated[
    str,
    AfterValidator(_read_by(Blackout.parse)),
    WithJsonSchema({"type": "string", "pattern": _schema_pattern(BLACKOUT_PATTERN), "examples": ["12-24/01-02"]}),
]
ShardText = Annotated[
    str,
    AfterValidator(_read_by(read_shard)),
    WithJsonSchema({"type": "string", "pattern": SHARD_PATTERN, "examples": ["0/4", "auto/4"]}),
]
Address = Annotated[str, AfterValidator(read_url)]
VaultPath = Annotated[str, AfterValidator(_vault_path)]
Euros = Annotated[
    Decimal,
    BeforeValidator(_euros),
    PlainSerializer(lambda euros: f"{euros:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,2})?$", "examples": ["5.00"]}),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
ApiKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class PlacedError(ValueError):
    """A rule between several settings is broken.

    Args:
        message: The sentence for the reader.
        keys: Their places within the section that has the rule, the likeliest first. The error names the line or the
            variable of the first one that is set.
    """

    def __init__(self, message: str, *keys: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.keys = keys


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the defaults of durations as they are written in a file; pydantic's own are ISO 8601."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, field in cls.model_fields.items():
            if isinstance(field.default, timedelta):
                properties[name]["default"] = format_duration(field.default)
        return schema
