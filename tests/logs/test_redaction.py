"""Registered secrets are masked in text in every spelling in which a server can repeat them, and nothing else is."""

import base64
import html
import inspect
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.errors import Command, ConfigError, RotatorError
from rotator.logs import MASK, Redactor, foreign, redact, redaction, register_proxies, register_secret
from rotator.provider import Refused

VALUES = {
    "letters and digits": "Canary0Plain9Value",
    "the shortest": "Canary01",
    "a Vault token": "hvs.CAESIAbcdefgh-ijklmnop_qrstuvwxyz0123456789ABCDEFGHIJKLMNOPQ",
    "quotes": "Canary\"with'Quotes1",
    "a backslash": "Canary\\with\\Slash1",
    "URL characters": "Canary/with?and&+%41=1",
    "an accent": "Canaryé€Accent1",
    "a space": "Canary with 1 Space",
    "a tag": "Canary<b>&amp;Tag1",
}


def lower_hex(text: str) -> str:
    """The same percent-encoding with lower-case digits."""
    return re.sub("%..", lambda part: part[0].lower(), text)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "Basic": lambda value: encoded(f"abcd1234:{value}"),
    "Basic with another key": lambda value: encoded(f"abcd12345:{value}"),
    "Basic with a third key": lambda value: encoded(f"abcd123456:{value}"),
    "base64": encoded,
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "base64 of more, first alignment": lambda value: encoded(f"xyz{value} and more"),
    "base64 of more, second alignment": lambda value: encoded(f"wxyz{value} and more"),
    "base64 of more, third alignment": lambda value: encoded(f"vwxyz{value} and more"),
    "base64 of JSON": lambda value: encoded(json.dumps({"data": {"api_secret": value}})),
    "base64 in lines": lambda value: base64.encodebytes(f"{'x' * 40}{value}{'x' * 40}".encode()).decode(),
    "base64 in percent-encoding": lambda value: quote(encoded(value), safe=""),
    "base64 split by an invisible letter": lambda value: "\u3164".join(encoded(value)),
    "base64 between other base64": lambda value: f"{encoded('x' * 8)} {encoded(value)},{encoded('x' * 10)}",
    "percent-encoding": lambda value: quote(value, safe=""),
    "percent-encoding without slashes": quote,
    "percent-encoding of a form": quote_plus,
    "percent-encoding in lower case": lambda value: lower_hex(quote(value, safe="")),
    "percent-encoding of everything": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "percent-encoding twice": lambda value: quote(quote(value, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in JSON": lambda value: json.dumps(json.dumps({"api_secret": value})),
    "JSON with every character escaped": lambda value: "".join(f"\\u{ord(sign):04x}" for sign in value),
    "Python": repr,
    "Python in JSON": lambda value: json.dumps(repr(value)),
    "bytes in Python": lambda value: repr(f"api_secret={quote_plus(value)}".encode()),
    "HTML": html.escape,
    "HTML with every character escaped": lambda value: "".join(f"&#x{ord(sign):x};" for sign in value),
    "split by a line break": lambda value: f"{value[:5]}\r\n{value[5:]}",
    "split by spaces": " ".join,
    "split by a zero-width space": "\u200b".join,
    "split by a soft hyphen": "\u00ad".join,
    "split by a variation selector": "\ufe0f".join,
    "split by a NUL": "\0".join,
    "split by a line break in JSON": lambda value: json.dumps("\n".join(value)),
    "split by a zero-width space in JSON": lambda value: json.dumps("\u200b".join(value)),
    "split by a line break in percent-encoding": lambda value: "%0A".join(quote(sign, safe="") for sign in value),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_redact_masks_every_spelling(value: str, spelling: Callable[[str], str]) -> None:
    redactor = Redactor()
    redactor.add(value)
    spelled = spelling(value)
    redacted = redactor.redact(f"the server said: {spelled}; that is all")
    assert redacted.startswith("the server said: ")
    assert redacted.endswith("; that is all")
    assert MASK in redacted
    rest, of_any_value = redacted.removeprefix("the server said: ").removesuffix("; that is all"), spelling("#" * 20)
    pieces = {spelled[start : start + 6] for start in range(len(spelled) - 5)}
    assert not [piece for piece in pieces if piece in rest and piece not in of_any_value], rest


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("after", ["", '"', "...", "…", "'.", '"}', "\u200b"])
def test_redact_masks_a_value_that_was_cut(value: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(value)
    for size in range(8 + value[:8].count(" ") + value[:9].count(" "), len(value)):
        assert redactor.redact(f"it is {value[:size]}{after}").startswith(f"it is {MASK}"), size


def test_redact_masks_base64_that_was_cut() -> None:
    redactor = Redactor()
    redactor.add("Canary0Plain9Value")
    basic = encoded("abcd1234:Canary0Plain9Value")
    for size in range(len(encoded("abcd1234:Canary0P").rstrip("=")), len(basic)):
        assert redactor.redact(f"Authorization: Basic {basic[:size]}") == f"Authorization: Basic {MASK}", size


def test_redact_keeps_under_eight_characters_when_cut() -> None:
    redactor = Redactor()
    redactor.add("Canary0Plain9Value")
    assert redactor.redact("it is Canary0") == "it is Canary0"


@pytest.mark.parametrize(
    "text",
    [
        "Canary0P is not the end",
        "100% of %7Bthese%7D and \\n, \\u0041, &amp; and &#65;",
        "a2F0emVuIGthdHplbiBrYXR6ZW4= is base64, and 2b4e9a1c-55f2-4c0c-9d6e-7a7a2bd7a111 is none",
        "\ud800 alone, \\ud83d alone, %C3 alone, &#1114112; and \\U99999999",
        "é€ and other text",
        "",
    ],
)
def test_redact_leaves_other_text_as_it_is(text: str) -> None:
    redactor = Redactor()
    redactor.add("Canary0Plain9Value")
    assert redactor.redact(text) == text


def test_redact_masks_a_value_between_escapes() -> None:
    redactor = Redactor()
    redactor.add("Canary0Plain9Value")
    assert redactor.redact("\\u00e9 %41 Can\\u0061ry0Plain9Value %41 \\n&amp;") == f"\\u00e9 %41 {MASK} %41 \\n&amp;"


WORDS = st.text("ab1", min_size=8, max_size=10)


@given(st.lists(st.tuples(WORDS, st.booleans()), max_size=4), st.lists(st.one_of(WORDS, st.text("ab1 ", max_size=9))))
@example([("11111111", False)], ["11111111", " 1"])
@example([("ab1ab1ab", False), ("ab1ab1abb1", False)], ["ab1ab1abb"])
def test_redact_masks_every_place_of_every_value(known: list[tuple[str, bool]], parts: list[str]) -> None:
    redactor, text = Redactor(), "".join(parts)
    for value, passing in known:
        redactor.add(value, passing=passing)
    tight = text.replace(" ", "")
    hidden = {
        place
        for value, _ in known
        for start in range(len(tight) - 7)
        if tight.startswith(value, start) or value.startswith(tight[start:])
        for place in range(start, min(start + len(value), len(tight)))
    }
    shown = "".join("*" if place in hidden else sign for place, sign in enumerate(tight))
    assert redactor.redact(text).replace("*", "").replace(" ", "") == shown.replace("*", "")
    assert ("*" in redactor.redact(text)) == bool(hidden)


@given(st.text(), st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30))
def test_redact_accepts_any_text_and_any_value(text: str, value: str) -> None:
    redactor = Redactor()
    redactor.add(value)
    redacted = redactor.redact(f"{text}{value}{text}")
    short = len("".join(sign for sign in value if sign.isprintable()).replace(" ", "").encode()) < 8
    assert short or "*" in value or value not in redacted


def test_redact_is_quick_for_hostile_texts() -> None:
    redactor = Redactor()
    for number in range(20_000):
        redactor.add(f"{'v' * 12}{number:05}", passing=True)
    for text in ("v" * 65536, "\\u0076" * 10000, "%76" * 20000, "dnZ2" * 16000, "&amp;" * 13000, "\\\\" * 30000):
        began = time.thread_time()
        redactor.redact(text)
        assert time.thread_time() - began < 5, text[:8]


# --- foreign text and errors ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "redactor", Redactor())


def test_foreign_masks_before_it_cuts() -> None:
    register_secret(SecretStr("Canary0Plain9Value"))
    for size in range(280, 310):
        text = foreign("x" * size + " Canary0Plain9Value and more")
        assert len(text) <= 300
        assert "Can" not in text


def test_foreign_puts_text_on_one_printable_line() -> None:
    assert foreign("a\r\nb\x1b[31m\u202ec\u200bd\te  f") == "a b [31m c d e f"


def test_error_masks_its_text_when_created() -> None:
    value = register_secret(SecretStr("Canary0Plain9Value")).get_secret_value()
    error = ConfigError(f"what {value}", unchanged=f"unchanged {value}", next_step=f"next {value}")
    shown = f"{error} {error!r} {vars(error)} {error.args}"
    assert value not in shown
    assert str(error) == f"what {MASK}. unchanged {MASK}. next {MASK}."


def test_every_error_class_masks_its_text() -> None:
    """A class with a constructor of its own hands its text to RotatorError's."""
    import rotator.rotation
    import rotator.vault  # noqa: F401

    def subclasses(kind: type[RotatorError]) -> list[type[RotatorError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in subclasses(child))]

    value = register_secret(SecretStr("Canary0Plain9Value")).get_secret_value()
    kinds = [kind for kind in subclasses(RotatorError) if not kind.__module__.startswith("rotator.emulator")]
    assert len(kinds) > 20
    for kind in kinds:
        parameters = inspect.signature(kind).parameters
        if next(iter(parameters.values())).annotation not in {str, "str"}:
            continue  # made from another error
        details = {"status": 400, "retry_after": None, "next_command": Command.of("adopt", value)}
        needed: dict[str, Any] = {
            name: details.get(name, value)
            for name, parameter in parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        }
        if issubclass(kind, Refused):
            needed["status"] = 400
        made: Callable[..., RotatorError] = kind
        error = made(value, **needed)
        assert value not in f"{error} {error.args}", kind


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_register_proxies_masks_their_credentials(monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str) -> None:
    monkeypatch.setenv(variable, f"{scheme}someone:Pass%2FWord0x@proxy.example:3128")
    register_proxies()
    for text in ("Pass%2FWord0x", "Pass/WordOx".replace("O", "0"), encoded("someone:Pass/Word0x")):
        assert redact(f"a {text} b") == f"a {MASK} b"


def test_register_proxies_masks_short_passwords_with_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:pw@proxy.example:3128")
    register_proxies()
    basic = encoded("someone:pw")
    assert redact(f"http://someone:pw@proxy, {basic}") == f"http://{MASK}@proxy, {MASK}"


def test_register_proxies_ignores_an_invalid_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://[proxy")
    register_proxies()


def test_importing_errors_imports_neither_pydantic_nor_structlog() -> None:
    """`rotator --help` imports this package."""
    code = "import sys, rotator.errors; print([name for name in ('pydantic', 'structlog') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
