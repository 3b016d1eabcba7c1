"""Other people's words - the provider's, Vault's, whoever writes there - never pass for rotator's own.

They cannot begin a line of the log, nor act on the terminal of who reads it or who runs a command.
"""

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import RotatorError, visible
from rotator.logs import configure
from testkit.cluster import Cluster
from tests.cli.harness import Here, Payments, here, opened
from tests.logs.test_logging import FORMS, Form

__all__ = ["here"]  # a fixture of tests.cli.harness

FORGED = "2026-11-23T18:05:07.250000Z [info     ] rotation.published"
SEPARATORS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
SEQUENCES = {
    "clears the screen": "\x1b[2J",
    "sets the title": "\x1b]0;owned\x07",
    "a control sequence of one byte": "\x9b2J",
    "overwrites the line": "all is well\x1b[1K\r",
    "deletes what is before it": "ok\x08\x08\x7f",
    "turns the direction around": "\u202edesrever",
    "hides": "a\u200bb\u2066c",
    "a whole event": '", "event": "rotation.published", "x": "',
    "an object": '{"event": "rotation.published"}',
    **{f"a line after {separator!r}": f"x{separator}{FORGED}" for separator in SEPARATORS},
}
HOSTILE = pytest.mark.parametrize("text", SEQUENCES.values(), ids=SEQUENCES)
# Where a table's column begins is rich's business: nothing that is printed may hold anything but these.
PLAIN = re.compile(r"[\x20-\x7e\n•·▁▂▃▄▅▆▇█…]*")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    level, handlers = logging.getLogger().level, list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().setLevel(level)
    logging.getLogger().handlers[:] = handlers


def assert_harmless(written: str, form: Form, events: int) -> None:
    """As many lines as there were events, each of them the log's own, with nothing that acts on a terminal."""
    lines = written.splitlines()  # at everything that anybody takes for a line's end
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written), ascii(written)
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == ["warning"] * events
    else:
        assert len([line for line in lines if re.match(r"\S+Z \[warning  \] ", line)]) == events
        assert all(re.match(r"\S+Z \[warning  \] |  \| ", line) for line in lines), written
        assert all(sign.isprintable() for line in lines for sign in line), ascii(written)


# --- the log -----------------------------------------------------------------------------------------------------


@HOSTILE
@pytest.mark.parametrize("form", FORMS)
def test_log_escapes_control_characters_of_events(form: Form, text: str) -> None:
    out = io.StringIO()
    configure("info", form, out)
    log = structlog.get_logger()
    log.warning("rotation.failed", error=text)
    log.warning(text, detail=[text, {text: text}])
    log.bind(account=text).warning("something")
    logging.getLogger("library").warning("the server said %s", text)
    assert_harmless(out.getvalue(), form, 4)


@HOSTILE
@pytest.mark.parametrize("form", FORMS)
def test_log_escapes_control_characters_of_exceptions(form: Form, text: str) -> None:
    out = io.StringIO()
    configure("info", form, out)
    try:
        raise ValueError(text) from KeyError(text)  # noqa: TRY301
    except ValueError as error:
        structlog.get_logger().warning("failed", exc_info=error)
        logging.getLogger("library").warning("failed", exc_info=error)
    assert "ValueError" in out.getvalue()
    assert_harmless(out.getvalue(), form, 2)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_log_escapes_control_characters_of_any_text(text: str) -> None:
    for form in FORMS:
        out = io.StringIO()
        configure("info", form, out)
        structlog.get_logger().warning(text, value=text)
        assert_harmless(out.getvalue(), form, 1)
    structlog.reset_defaults()


def test_log_shows_plain_text_unchanged() -> None:
    out = io.StringIO()
    configure("info", "console", out)
    structlog.get_logger().warning("rotation.failed", account="zürich", error="no: it's “so”")
    assert "account=zürich" in out.getvalue()
    assert "it's “so”" in out.getvalue()
    assert visible("two\nlines, é") == "two\nlines, é"


@HOSTILE
def test_error_escapes_control_characters(text: str) -> None:
    shown = str(RotatorError(f"the holder {text} is at work", unchanged=text, next_step=text))
    assert PLAIN.fullmatch(shown.replace("é", "")), ascii(shown)


# --- commands ----------------------------------------------------------------------------------------------------


class Server:
    """Answers everything in one way; for the provider or for Vault."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, json.dumps(body).encode()

    @contextmanager
    def running(self) -> Iterator[str]:
        made = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(made.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(made.body)))
                self.end_headers()
                self.wfile.write(made.body)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()
            thread.join()


MARKUP = "[/red][bold]:skull:[link=http://127.0.0.1/]"
EVERYTHING = MARKUP + "".join(SEQUENCES.values())


@pytest.fixture
def payments(cluster: Cluster) -> Payments:
    made = opened(cluster)
    cluster.configure([made.entry()], log={"level": "debug", "format": "console"})
    return made


def assert_plain(here: Here, *args: str, codes: tuple[int, ...], shows: str, **environment: str) -> None:
    finished = here(*args, **environment)
    printed = finished.out + finished.err
    assert finished.code in codes, finished
    assert shows in printed, finished
    assert "Traceback" not in printed, finished
    assert PLAIN.fullmatch(printed), ascii(re.sub(PLAIN, "", printed))
    for line in finished.err.splitlines():
        assert not line.startswith(FORGED), finished


def test_provider_text_is_printed_as_plain_text(payments: Payments, here: Here) -> None:
    said = {
        "title": EVERYTHING,
        "detail": EVERYTHING,
        "invalid_parameters": [{"name": EVERYTHING, "reason": EVERYTHING}],
        "error-code": "401",
        "error-code-label": EVERYTHING,
    }
    with Server(403, said).running() as url:
        at = {"ROTATOR_ACCOUNT_API__API_URL": url, "ROTATOR_ACCOUNT_API__REST_URL": url}
        for args in (
            ["rotate-now", "payments"],
            ["plan"],
            ["check"],
            ["account", "balance"],
            ["account", "secrets", "list"],
            ["account", "settings", "payments"],
        ):
            assert_plain(here, *args, codes=(1, 2), shows=MARKUP, **at)


def test_output_shows_ids_with_markup_unchanged(payments: Payments, here: Here) -> None:
    """The provider chooses them: printable, but free otherwise."""
    ids = ["[/red]", "[bold]:skull:"]
    listed = [{"id": id_, "created_at": f"2026-11-2{day}T00:00:00Z"} for day, id_ in enumerate(ids)]
    with Server(200, {"_embedded": {"secrets": listed}}).running() as url:
        at = {"ROTATOR_ACCOUNT_API__API_URL": url}
        for args in (["plan"], ["rotate-now", "payments"], ["account", "secrets", "list"]):
            assert_plain(here, *args, codes=(0, 1), shows="[/red]", **at)
            assert_plain(here, *args, codes=(0, 1), shows=":skull:", **at)
        assert_plain(here, "status", codes=(0,), shows=":skull:", **at)


def test_vault_documents_are_printed_as_plain_text(payments: Payments, here: Here) -> None:
    words = EVERYTHING
    secret = payments.first.get_secret_value()
    payments.cluster.put(payments.path, {"api_secret": secret, "secret_id": words, "rotated_at": words})
    journal = {
        "holder": words,
        "lease_until": f"{datetime.now(UTC) + timedelta(minutes=4):%FT%TZ}",
        "last_error": words,
        "attempts": 3,
    }
    retiring = [{"id": words, "not_before": "2999-01-01T00:00:00Z"}]
    payments.cluster.put("rotator/journal/payments", journal | {"current_id": words, "retiring": retiring})
    shown = r"\x1b[2J"
    assert_plain(here, "status", codes=(0,), shows=shown)
    assert_plain(here, "plan", codes=(0, 1), shows="payments")
    assert_plain(here, "rotate-now", "payments", "--wait", "0", codes=(1, 3), shows=shown)
    assert_plain(here, "account", "secrets", "create", "payments", "--out", "x", "--yes", codes=(1, 3), shows=shown)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_vault_errors_are_printed_as_plain_text(payments: Payments, here: Here, status: int) -> None:
    said = {"errors": [EVERYTHING, "1 error occurred: " + EVERYTHING], "warnings": [EVERYTHING], "version": EVERYTHING}
    with Server(status, said).running() as url:
        for args in (["check"], ["status"]):
            at = {"ROTATOR_VAULT__ADDRESS": url, "ROTATOR_VAULT__TIMEOUT": "1s"}
            assert_plain(here, *args, codes=(1, 2), shows="", **at)


def test_check_prints_vaults_version_as_plain_text(payments: Payments, here: Here) -> None:
    said = {"version": EVERYTHING, "sealed": False, "initialized": True, "standby": False}
    with Server(200, said).running() as url:
        assert_plain(here, "check", codes=(1,), shows=":skull:", ROTATOR_VAULT__ADDRESS=url)
