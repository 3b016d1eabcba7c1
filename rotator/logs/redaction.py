"""Known secrets: register them, mask them in text, repeat foreign text safely.

Every secret that the process reads, generates or sends is registered here. `redact` masks registered values in a text.
Errors are redacted when they are made, so every place that shows an error later (log, journal, `/api/status`, terminal)
shows the masked text. The log redacts its finished lines as well.

A text is searched in several readings, because a server can repeat a value in another spelling:

- as it is, without whitespace, control and zero-width characters, so that a value that was split is found;
- with JSON and Python escapes, percent-encoding and HTML entities decoded, up to three times;
- every word that can be base64, decoded from each of its four possible beginnings.

A value that was cut is found at the end of a text if at least eight of its characters are left.
"""

import binascii
import json
import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:  # every command imports this module, and pydantic is slow to import
    from pydantic import SecretStr

MASK = "********"
# Shorter values occur inside ordinary words. The provider accepts no secret below eight characters. The index reads
# eight bytes as one integer, so this number cannot be changed alone.
_SHORTEST = 8
# Candidates and published secrets change for months. A run registers its values again when it reads them.
_PASSING = 100_000
_MAX_READINGS = 16
_MAX_DEPTH = 3
# Foreign text is cut to this before it is searched: a server decides its length.
_SEARCHED = 64 << 10

_SPLITTERS = (
    "\\x00-\\x1f\\x7f-\\xa0\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f"
    "\\u205f-\\u206f\\u3000\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\U000e0000-\\U000e0fff"
)
_SPLITTER = re.compile(f"[{_SPLITTERS}]+")
_SPLITTER_OR_SPACE = re.compile(f"[ {_SPLITTERS}]+")
_ASCII_SPLITTERS = bytes(range(0x21)) + b"\x7f"
_BACKSLASH = re.compile(
    r"""\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}
    |U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[nrtbf"'/\\])""",
    re.VERBOSE,
)
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " "}
# Eight bytes take eleven characters at least.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_URL_SAFE = str.maketrans("-_", "+/")
# Closing punctuation after a value that was cut, such as an ellipsis or a quote.
_CLOSERS = "\"'`.,;:)]}>…"


class Redactor:
    """Masks registered values in text, in time that does not depend on their number.

    Args:
        passing: How many values that were registered with `passing` are remembered.
    """

    def __init__(self, passing: int = _PASSING) -> None:
        self._most = passing
        self._lasting: set[bytes] = set()
        self._passing: dict[bytes, None] = {}  # least recently registered first
        self._beginnings: Counter[int] = Counter()
        self._lengths: tuple[int, ...] = ()
        self._sorted: list[bytes] | None = None  # made when it is needed
        self._lock = threading.Lock()

    def add(self, value: str, *, passing: bool = False) -> None:
        """Register a value. Values with fewer than eight characters cannot be masked.

        Args:
            value: The value.
            passing: The process registers it again when it uses it again: the least recent of very many are forgotten.
        """
        needles = _needles(value)
        with self._lock:
            if any(len(needle) not in self._lengths for needle in needles):
                self._lengths = tuple(sorted({*self._lengths, *map(len, needles)}, reverse=True))
            for needle in needles:
                if needle not in self._passing and needle not in self._lasting:
                    self._beginnings[_beginning(needle)] += 1
                    self._sorted = None
            if not passing:
                self._lasting |= needles
                return
            for needle in needles - self._lasting:
                self._passing.pop(needle, None)
                self._passing[needle] = None
            while len(self._passing) > self._most:
                self._forget(next(iter(self._passing)))

    def _forget(self, needle: bytes) -> None:
        del self._passing[needle]
        if needle in self._lasting:
            return
        self._sorted = None
        beginning = _beginning(needle)
        self._beginnings[beginning] -= 1
        if not self._beginnings[beginning]:
            del self._beginnings[beginning]

    def redact(self, text: str) -> str:
        """The text with every registered value masked; values that overlap share one mask."""
        if len(text) < _SHORTEST or not self._beginnings:
            return text
        found = [
            reading.original(*span)
            for reading in _readings(text)
            if self._may_contain(_searched(reading.text))
            for span in (*self._values_in(reading), *self._words_in(reading))
        ]
        pieces = []
        rest = 0
        for start, end in sorted(found):
            if start >= rest:
                pieces += [text[rest:start], MASK]
            rest = max(rest, end)
        return "".join([*pieces, text[rest:]])

    def _values_in(self, reading: "_Reading") -> Iterator[tuple[int, int]]:
        """Where registered values stand, split or cut ones among them."""
        tight = reading.without(_SPLITTER_OR_SPACE)
        data = _encoded(tight.text)
        whole = len(data) == len(tight.text)
        for start, end in self._spans(data, cut_at=len(_encoded(tight.text.rstrip(_CLOSERS)))):
            span = (start, end) if whole else (_characters(data, start), _characters(data, end))
            yield tight.within_parent(*span)

    def _words_in(self, reading: "_Reading") -> Iterator[tuple[int, int]]:
        """Where words stand that are base64 of text with a registered value."""
        folded = reading.without(_SPLITTER)
        last = len(folded.text.rstrip(_CLOSERS))
        for word in _BASE64.finditer(folded.text):
            if any(self._in_bytes(data, cut=word.end() >= last) for data in _decoded(word[0])):
                yield folded.within_parent(*word.span())

    def _in_bytes(self, data: bytes, *, cut: bool) -> bool:
        return self._may_contain(data) and any(self._spans(data, cut_at=len(data) if cut else -1))

    def _may_contain(self, data: bytes) -> bool:
        """Whether any eight bytes of it are the beginning of a registered value."""
        known = self._beginnings.keys()
        view = memoryview(data)
        for offset in range(_SHORTEST):
            whole = (len(data) - offset) // _SHORTEST * _SHORTEST
            if whole > 0 and not known.isdisjoint(view[offset : offset + whole].cast("Q")):
                return True
        return False

    def _spans(self, data: bytes, cut_at: int) -> Iterator[tuple[int, int]]:
        """Where registered values stand in these bytes, and where one begins that was cut at that place."""
        longest = self._lengths[0]
        for start in range(len(data) - _SHORTEST + 1):
            if _beginning(data[start : start + _SHORTEST]) not in self._beginnings:
                continue
            size = next((size for size in self._lengths if self._knows(data[start : start + size])), 0)
            left = cut_at - start
            if max(size + 1, _SHORTEST) <= left < longest and self._knows_cut(data[start:cut_at]):
                size = left
            if size:
                yield start, start + size

    def _knows(self, needle: bytes) -> bool:
        return needle in self._passing or needle in self._lasting

    def _knows_cut(self, beginning: bytes) -> bool:
        with self._lock:
            if self._sorted is None:
                self._sorted = sorted({*self._lasting, *self._passing})
            at = bisect_left(self._sorted, beginning)
            return at < len(self._sorted) and self._sorted[at].startswith(beginning)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read a text.

    Attributes:
        text: The text in this reading.
        parent: The reading that it was made from; None for the text itself.
        pattern: The parts of the parent's text that were replaced.
        replaced: Gives the text in place of a part.
    """

    text: str
    parent: "_Reading | None" = None
    pattern: re.Pattern[str] = _SPLITTER
    replaced: Callable[[re.Match[str]], str] = lambda _: ""

    def by(self, pattern: re.Pattern[str], replaced: Callable[[re.Match[str]], str]) -> "_Reading":
        """The reading in which parts are replaced; the same object if there is nothing to replace."""
        text = pattern.sub(replaced, self.text)
        return self if text == self.text else _Reading(text, self, pattern, replaced)

    def without(self, pattern: re.Pattern[str]) -> "_Reading":
        """The reading without some characters; always a new one."""
        return _Reading(pattern.sub("", self.text), self, pattern)

    def within_parent(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of this reading stands in its parent's text."""
        return self._located(start)[0], self._located(end - 1)[1]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of this reading stands in the text itself."""
        if self.parent is None:
            return start, end
        return self.parent.original(*self.within_parent(start, end))

    def _located(self, at: int) -> tuple[int, int]:
        shift = 0
        for part in self.pattern.finditer(self.parent.text if self.parent else ""):
            start = part.start() - shift
            if at < start:
                break
            end = start + len(self.replaced(part))
            if at < end:
                return part.span()
            shift = part.end() - end
        return at + shift, at + shift + 1


def _readings(text: str) -> list[_Reading]:
    """The text, and every reading that decodes an escape in it."""
    found = [_Reading(text)]
    level = found[:]
    for _ in range(_MAX_DEPTH):
        level = [other for reading in level for other in _decodings(reading)][: _MAX_READINGS - len(found)]
        if not level:
            break
        found += level
    return found


def _searched(text: str) -> bytes:
    """Return all bytes of a text in which a value can stand: its own, and those of its words as base64.

    The words are decoded as one. Each of them begins at each of the four offsets then, and what stands between two
    words can only look like a value, not hide one. Most texts contain nothing like it, and no more is searched then.
    """
    if text.isascii() and text.isprintable():  # nearly every text: a space is its only splitter
        folded = text
        visible = text.replace(" ", "").encode()
    else:
        folded = _SPLITTER.sub("", text)
        visible = _encoded(_SPLITTER_OR_SPACE.sub("", text))
    words = "".join(_BASE64.findall(folded)).replace("=", "")
    return b"".join((visible, *_decoded(words)))


def _decodings(reading: _Reading) -> Iterator[_Reading]:
    for sign, pattern, replaced in (
        ("\\", _BACKSLASH, _unescaped),
        ("%", _PERCENT, _unquoted),
        ("&", _ENTITY, _character),
    ):
        if sign in reading.text:
            other = reading.by(pattern, replaced)
            if other is not reading:
                yield other


def _unescaped(part: re.Match[str]) -> str:
    escape = part[0][1:]
    if escape[0] not in "uUx":
        return _SIMPLE.get(escape, escape)
    if len(escape) > len("U00000000"):
        return str(json.loads(f'"{part[0]}"'))
    code = int(escape[1:], 16)
    return chr(code) if code <= 0x10FFFF else ""  # noqa: PLR2004 - the last character there is


def _unquoted(part: re.Match[str]) -> str:
    return unquote(part[0], errors="replace")


def _character(part: re.Match[str]) -> str:
    name = part[0][1:-1]
    if not name.startswith("#"):
        return _ENTITIES[name]
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if code <= 0x10FFFF else ""  # noqa: PLR2004 - the last character there is


def _decoded(word: str) -> Iterator[bytes]:
    """The base64 content of a word, decoded from each of four offsets: the value might start within the word."""
    word = word.rstrip("=").translate(_URL_SAFE)
    for offset in range(4):
        part = word[offset:]
        size = len(part) * 6 // 8
        yield binascii.a2b_base64(part + "A" * (-len(part) % 4))[:size].translate(None, _ASCII_SPLITTERS)


# A rotation registers each of its values several times.
@lru_cache(maxsize=1024)
def _needles(value: str) -> frozenset[bytes]:
    """Spellings to search for: the value without whitespace, and its form and JSON spellings if these differ."""
    spelled = {value, value.replace(" ", "+"), json.dumps(value)[1:-1]}
    needles = {_encoded(_SPLITTER_OR_SPACE.sub("", text)) for text in spelled}
    return frozenset(needle for needle in needles if len(needle) >= _SHORTEST)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _characters(data: bytes, size: int) -> int:
    return len(data[:size].decode("utf-8", "surrogatepass"))


def _beginning(data: bytes) -> int:
    return memoryview(data)[:_SHORTEST].cast("Q")[0]


redactor = Redactor()
"""The redactor of this process."""


def register_secret(secret: "SecretStr", *, passing: bool = False) -> "SecretStr":
    """Mask this value from now on; returns it for the caller's convenience.

    Args:
        secret: The value.
        passing: The process registers it again when it uses it again: see `Redactor.add`.
    """
    redactor.add(secret.get_secret_value(), passing=passing)
    return secret


def register_proxies() -> None:
    """Register the credentials in the proxies' URLs that the environment names."""
    from urllib.request import getproxies

    for url in getproxies().values():
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            user = parts.username or ""
            password = parts.password or ""
        except ValueError:
            continue
        for value in {password, unquote(password), f"{user}:{password}", f"{unquote(user)}:{unquote(password)}"}:
            redactor.add(value)


def redact(text: str) -> str:
    """The text with every registered value masked."""
    return redactor.redact(text)


def foreign(text: str, limit: int = 300) -> str:
    """Another program's text, fit for one line of an error.

    Registered values are masked first, then control and other unprintable characters become spaces, then the text is
    cut: a value that is cut first would not be recognized.

    Args:
        text: The text of the other program.
        limit: How many characters of it are kept.
    """
    masked = redact(text[:_SEARCHED])
    return " ".join("".join(sign if sign.isprintable() else " " for sign in masked).split())[:limit]


def escape_control(text: str) -> str:
    """A text with every character spelled out that would act on a terminal; only a plain line break stays one.

    Errors contain foreign text: an id, the name of a lease holder, a server's message. That text must not clear a
    screen, change the direction of writing or make a line look like another.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text
    )
