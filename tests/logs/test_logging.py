"""No secret value that the process knows gets through to the log, whoever logs it and in whatever form."""

import contextlib
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.audit import Act, AuditLog, Entry, Result
from rotator.logs import UNFILTERED, Redactor, configure, redaction, register_secret

Form = Literal["json", "console"]
FORMS: tuple[Form, ...] = ("json", "console")
MASK = "********"

# One value for every kind of character that a quoting somewhere might spell differently.
PLAIN = "Canary0Plain9Value"
VALUES = {
    "plain": PLAIN,
    "quotes": "Canary\"with'Quotes1",
    "a backslash": "Canary\\with\\Slash1",
    "a brace": "Canary{with}%sBrace1",
    "an accent": "Canaryé€Accent1",
    "a tag": "Canary[red]<b>&Tag1",
}
SCRAPS = ("with", "Plain9", "Accent1", "Quotes1", "Slash1", "Brace1", "Tag1")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loggers are the process's; the redactor is a fresh one, that knows the canaries alone."""
    names = (None, "httpx", "httpcore", "urllib3", "uvicorn", UNFILTERED)
    before = {name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(redaction, "redactor", Redactor())
    yield
    structlog.reset_defaults()
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers[:] = handlers


def started(form: Form, level: str = "debug", *values: str) -> io.StringIO:
    out = io.StringIO()
    configure(level, form, out)
    for value in values or VALUES.values():
        register_secret(SecretStr(value))
    return out


def raised(value: str) -> Exception:
    """An exception that carries the value, with a traceback and a cause that carries it, too."""
    try:
        try:
            _ = os.environ[value]
        except KeyError as error:
            raise ValueError(f"the server said: {value}") from error
    except ValueError as error:
        return error
    raise AssertionError(f"{value} is a variable")


def assert_masked(out: io.StringIO, lines: int = 1) -> None:
    written = out.getvalue()
    assert written.count("\n") >= lines, f"nothing was logged, which proves nothing: {written!r}"
    assert MASK in written
    for scrap in SCRAPS:
        assert scrap not in written, written


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_log_masks_values_of_events(form: Form, value: str) -> None:
    out = started(form)
    structlog.get_logger().info("something", value=value)
    assert_masked(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_log_masks_the_event(form: Form, value: str) -> None:
    out = started(form)
    structlog.get_logger().info(f"got {value}!")
    assert_masked(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_log_masks_nested_values(form: Form, value: str) -> None:
    out = started(form)
    structlog.get_logger().warning("nested", data={"a": [1, {"b": value}], value: 2}, pair=(value, None))
    assert_masked(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_log_masks_values_bound_to_logger_or_context(form: Form, value: str) -> None:
    out = started(form)
    with structlog.contextvars.bound_contextvars(bound=value):
        structlog.get_logger().bind(account=value).info("something")
    assert_masked(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_log_masks_exceptions(form: Form, value: str) -> None:
    out = started(form)
    structlog.get_logger().error("failed", exc_info=raised(value))
    assert "ValueError" in out.getvalue()
    assert "KeyError" in out.getvalue()
    assert_masked(out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("library", ["httpx", "urllib3.connectionpool", "anything.else"])
def test_log_masks_events_of_libraries(form: Form, value: str, library: str) -> None:
    out = started(form)
    logger = logging.getLogger(library)
    logger.info("HTTP Request: POST https://host/?api_secret=%s", value)
    logger.warning("refused: %s", {"secret": value})
    logger.error("failed", exc_info=raised(value))
    assert_masked(out, lines=3)


@pytest.mark.parametrize("form", FORMS)
def test_broken_log_call_prints_no_arguments(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    """The standard library prints the arguments of a log call that cannot be formatted, past every handler."""
    out = started(form)
    logging.getLogger("library").info("%d secrets", PLAIN)
    assert PLAIN not in out.getvalue()
    assert PLAIN not in capsys.readouterr().err


def test_log_masks_values_inside_longer_words() -> None:
    out = started("json")
    structlog.get_logger().info("something", value=f"prefix{PLAIN}suffix{PLAIN}{PLAIN}")
    assert json.loads(out.getvalue())["value"] == f"prefix{MASK}suffix{MASK}{MASK}"


def test_masked_log_is_valid_json() -> None:
    out = started("json")
    for value in VALUES.values():
        structlog.get_logger().info(value, data=[value], exc_info=raised(value))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == len(VALUES)
    for line in lines:
        assert (line["event"], line["data"], line["level"]) == (MASK, [MASK], "info")
        assert line["timestamp"].endswith("Z")


def test_log_masks_values_registered_later() -> None:
    out = started("json")
    structlog.get_logger().info("before", value="Learned0Later9Value")
    assert register_secret(SecretStr("Learned0Later9Value")) == SecretStr("Learned0Later9Value")
    structlog.get_logger().info("after", value="Learned0Later9Value")
    before, after = (json.loads(line)["value"] for line in out.getvalue().splitlines())
    assert (before, after) == ("Learned0Later9Value", MASK)


def test_log_prints_wrapped_secrets_as_stars() -> None:
    out = started("console")
    structlog.get_logger().info("something", value=SecretStr("Never0Concealed9"))
    assert "Never0Concealed9" not in out.getvalue()


@pytest.mark.parametrize("value", ["", "a", "info", "1234567"])
def test_log_keeps_values_shorter_than_any_secret(value: str) -> None:
    redactor = Redactor()
    redactor.add(value)
    assert redactor.redact("level info 1234567") == "level info 1234567"


def test_redact_masks_eight_characters() -> None:
    redactor = Redactor()
    redactor.add("12345678")
    assert redactor.redact("a12345678b") == f"a{MASK}b"


def test_log_masks_a_value_that_contains_another() -> None:
    redactor = Redactor()
    for value in ("Secret0Inner", "Outer1Secret0Inner2Outer"):
        redactor.add(value)
    assert redactor.redact("x Outer1Secret0Inner2Outer Secret0Inner y") == f"x {MASK} {MASK} y"


@given(
    st.lists(st.text(alphabet="abAB01", min_size=8, max_size=12), min_size=1, max_size=5),
    st.lists(st.text(alphabet="abAB01 ", max_size=20), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_no_known_value_is_left_in_any_text(values: list[str], words: list[str], random: Random) -> None:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    parts = [*words, *values]
    random.shuffle(parts)
    redacted = redactor.redact("".join(parts))
    assert not [value for value in values if value in redacted]


def test_masking_time_is_independent_of_known_values() -> None:
    text = "a line of the log with nothing to hide in it, as most of them are; " * 10
    few, many = Redactor(), Redactor()
    few.add("v" * 22 + "00000")
    began = time.thread_time()
    for number in range(20_000):
        many.add("v" * 22 + f"{number:05}")
    adding = time.thread_time() - began

    def once(redactor: Redactor) -> float:
        start = time.thread_time()
        assert redactor.redact(text) == text
        return time.thread_time() - start

    assert min(once(many) for _ in range(20)) < 10 * min(once(few) for _ in range(20)) + 0.001
    assert adding < 2, f"knowing 20,000 values took {adding:.1f} s"


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_log_omits_events_below_the_level(level: str, written: list[str]) -> None:
    out = started("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("library"), name)("theirs")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in lines if line["event"] == "ours"] == written
    assert [line["level"] for line in lines if line["event"] == "theirs"] == written


@pytest.mark.parametrize(("level", "written"), [("debug", 2), ("info", 1)])
def test_requests_are_logged_at_debug_level_only(level: str, written: int) -> None:
    out = started("json", level)
    logging.getLogger("httpx").info("HTTP Request: GET https://host/")
    logging.getLogger("httpx").warning("trouble")
    assert len(out.getvalue().splitlines()) == written


@pytest.mark.parametrize(("level", "written"), [("debug", 2), ("info", 1)])
def test_invalid_requests_write_no_log(level: str, written: int) -> None:
    out = started("json", level)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert len(out.getvalue().splitlines()) == written


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_work_continues_when_log_disk_is_full() -> None:
    configure("info", "json", _Full())
    structlog.get_logger().info("rotation.published")
    logging.getLogger("library").warning("%d", "not a number")


def test_second_configuration_replaces_the_first() -> None:
    first, second = started("json"), started("json")
    structlog.get_logger().info("once")
    logging.getLogger("library").info("once")
    assert (len(first.getvalue().splitlines()), len(second.getvalue().splitlines())) == (0, 2)


def test_stream_without_terminal_gets_no_colors() -> None:
    out = started("console")
    structlog.get_logger().error("failed", exc_info=raised(PLAIN))
    assert "\x1b" not in out.getvalue()


def test_log_is_written_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "console")
    structlog.get_logger().info("here")
    captured = capsys.readouterr()
    assert "here" in captured.err
    assert not captured.out


@pytest.mark.parametrize("form", FORMS)
def test_full_disk_ends_only_the_log(form: Form) -> None:
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - closing it fails, too
    configure("info", form, full)
    for number in range(1000):  # far more than any buffer takes
        structlog.get_logger().info("rotation.published", number=number)
        logging.getLogger("library").error("what cannot even be formatted: %d", "x")
    with contextlib.suppress(OSError):
        full.close()


def test_known_secrets_are_bounded_to_the_latest() -> None:
    redactor = Redactor(passing=100)
    redactor.add("ALastingToken1")
    values = [f"Passing{number:05}" for number in range(150)]
    for value in values:
        redactor.add(value, passing=True)
        redactor.add(values[0], passing=True)  # met again and again
    known = [value for value in values if redactor.redact(value) != value]
    assert known == [values[0], *values[51:]]
    assert redactor.redact("ALastingToken1") != "ALastingToken1"


def test_forgotten_value_is_masked_when_registered_again() -> None:
    redactor = Redactor(passing=1)
    for value in ("SameStart1", "SameStart2", "Another001", "SameStart1"):
        redactor.add(value, passing=True)
    assert redactor.redact("SameStart1 SameStart2 Another001") == "******** SameStart2 Another001"
    redactor.add("SameStart1")
    redactor.add("Another001", passing=True)
    assert redactor.redact("SameStart1 Another001") == "******** ********"


def test_log_masks_uncaught_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    started("json", "info", PLAIN)
    error = raised(PLAIN)
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=lambda: raise_(error))
    thread.start()
    thread.join()
    printed = capsys.readouterr().err
    assert printed.count(f"ValueError: the server said: {MASK}") == 2
    assert PLAIN not in printed


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_log_level_filters_the_audit_hash(form: Form, tmp_path: Path) -> None:
    """Without it a person who can write the audit file can write all of it again."""
    out = started(form, "error")
    structlog.get_logger().warning("filtered")
    file = tmp_path / "audit.jsonl"
    AuditLog(file).note(Entry(Act.CREATE, "shop", "shopkey", "host/1/ab", "schedule"), Result.SUCCEEDED)
    assert json.loads(file.read_text())["hash"] in out.getvalue()
    assert "filtered" not in out.getvalue()
