"""The balance, the top-up and the settings through our client: against the emulator and against what goes wrong."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args
from urllib.parse import parse_qs, quote, quote_plus

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.config import AccountApiSettings
from rotator.emulator import Emulator, Profile, parse_account, running
from rotator.provider import (
    AccountApi,
    ApiError,
    AutoReloadDisabled,
    Balance,
    CallbackSettings,
    Credentials,
    HttpForwardMethod,
    InvalidRequest,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Unauthorized,
    Unprovisioned,
)
from tests.net.wire import in_turn, reset
from tests.provider import harness
from tests.provider.harness import (
    AUTH,
    BASIC,
    KEY,
    OLD,
    Answer,
    Provider,
    everything_about,
    provider,
    says,
)

TRX = "TrxCanary+8ef2447e/="
MO, DR = "https://example.com/inbound?a=1&b=2", "https://example.com/receipts"
BALANCE = {"value": 10.5, "autoReload": False}
SETTINGS = {
    "mo-callback-url": MO,
    "dr-callback-url": "",
    "max-outbound-request": 30,
    "max-inbound-request": 20,
    "max-calls-per-second": 10,
}
READ = CallbackSettings(MO, "", 30, 20, 10)
XML = "Content-Type: application/xml; charset=UTF-8\r\n"
Operation = Callable[..., object]


def balance(api: AccountApi, auth: Credentials = AUTH) -> Balance:
    return api.get_balance(auth)


def top_up(api: AccountApi, auth: Credentials = AUTH) -> None:
    api.top_up(auth, SecretStr(TRX))


def change(api: AccountApi, auth: Credentials = AUTH) -> CallbackSettings:
    return api.change_settings(auth, mo_callback_url=MO)


def look(api: AccountApi, auth: Credentials = AUTH) -> CallbackSettings:
    return api.change_settings(auth)


OPERATIONS = pytest.mark.parametrize("operation", [balance, top_up, change, look])
READS = pytest.mark.parametrize("operation", [balance, look])
WRITES = pytest.mark.parametrize("operation", [top_up, change])


def client(rest: Provider | str, **options: Any) -> AccountApi:
    """A client of this server's that has no other one for secrets; no TLS, so that no certificates are loaded."""
    url = rest if isinstance(rest, str) else rest.url
    with_defaults: dict[str, Any] = {"server": "http://127.0.0.1:9", "rest_url": url, "verify": False} | options
    return harness.client(**with_defaults)


def failure(answer: Answer, operation: Operation = top_up, **options: Any) -> ApiError:
    with provider(answer) as server, client(server, **options) as api, pytest.raises(ApiError) as caught:
        operation(api)
    return caught.value


def told(answer: Answer, operation: Operation) -> object:
    with provider(answer) as server, client(server) as api:
        return operation(api)


def xml(text: str) -> Answer:
    return says(200, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{text}'.encode(), XML)


@contextmanager
def emulated(**options: Any) -> Iterator[tuple[Emulator, AccountApi]]:
    emulator = Emulator([parse_account(f"{KEY}:{OLD}")], **options)
    with running(emulator) as url, client(url) as api:
        yield emulator, api


# --- with the emulator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest_auth", ["basic", "query"])
def test_client_uses_the_whole_account_api(rest_auth: str) -> None:
    emulator = Emulator(
        [parse_account(f"{KEY}:{OLD}")], profile=Profile(Decimal("10.171275"), auto_reload=True), top_up=Decimal("0.1")
    )
    with running(emulator) as url, client(url, rest_auth=rest_auth, server=url) as api:
        assert balance(api) == Balance(Decimal("10.171275"), auto_reload=True)
        top_up(api)
        assert balance(api).euros == Decimal("10.271275")
        assert change(api) == CallbackSettings(MO, "", 30, 30, 30)
        assert api.change_settings(AUTH, dr_callback_url=DR) == CallbackSettings(MO, DR, 30, 30, 30)
        assert api.change_settings(AUTH, mo_callback_url="") == CallbackSettings("", DR, 30, 30, 30)
        assert look(api) == CallbackSettings("", DR, 30, 30, 30)
        assert [info.id for info in api.list_secrets(AUTH, KEY)] == list(emulator.live(KEY))
    assert emulator.profile(KEY) == Profile(Decimal("10.271275"), auto_reload=True, dr_callback_url=DR)


def test_refusal_has_its_own_error_and_changes_nothing() -> None:
    with emulated() as (emulator, api):
        with pytest.raises(AutoReloadDisabled, match=r"not auto-reload enabled.*dashboard") as caught:
            top_up(api)
        assert not isinstance(caught.value, Unauthorized), "the credential is not at fault"
        with pytest.raises(InvalidRequest, match="moCallBackUrl: not an http or https URL") as refused:
            api.change_settings(AUTH, mo_callback_url="nowhere", dr_callback_url=DR)
        assert refused.value.status == 420
        emulator.change_account(KEY, auto_reload=True)
        with pytest.raises(InvalidRequest, match="trx is required"):
            api.top_up(AUTH, SecretStr(""))
        nobody = Credentials(KEY, SecretStr("Wrong12345"))
        operations: tuple[Operation, ...] = (balance, top_up, change, look)
        for operation in operations:
            with pytest.raises(Unauthorized, match="authentication failed"):
                operation(api, nobody)
        assert emulator.profile(KEY) == Profile(auto_reload=True)


def test_top_up_with_lost_answer_is_not_repeated() -> None:
    with emulated(profile=Profile(auto_reload=True), faults=["top-up:drop-after"]) as (emulator, api):
        with pytest.raises(LostAnswer):
            top_up(api)
        assert emulator.profile(KEY).balance == 20


# --- what is asked -----------------------------------------------------------------------------------------------


def form(server: Provider) -> dict[str, list[str]]:
    return parse_qs(server.requests[-1].partition(b"\r\n\r\n")[2].decode(), keep_blank_values=True)


def test_get_balance_sends_basic_credentials() -> None:
    with provider(says(200, BALANCE)) as server, client(server) as api:
        assert balance(api) == Balance(Decimal("10.5"), auto_reload=False)
        assert server.requests[0].startswith(b"GET /account/get-balance HTTP/1.1\r\n")
        assert server.header("authorization") == f"Basic {BASIC}"
        assert server.header("accept") == "application/json"


def test_top_up_sends_transaction_in_form_only() -> None:
    with provider(says(200, {"response": "success"})) as server, client(server) as api:
        top_up(api)
        assert server.requests[0].startswith(b"POST /account/top-up HTTP/1.1\r\n")
        assert server.header("content-type") == "application/x-www-form-urlencoded"
        assert form(server) == {"trx": [TRX]}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"mo_callback_url": MO}, {"moCallBackUrl": [MO]}),
        ({"dr_callback_url": ""}, {"drCallBackUrl": [""]}),
        ({"mo_callback_url": "", "dr_callback_url": DR}, {"moCallBackUrl": [""], "drCallBackUrl": [DR]}),
        *(({"http_forward_method": method}, {"httpForwardMethod": [method]}) for method in get_args(HttpForwardMethod)),
    ],
)
def test_change_settings_sends_changed_fields_only(given: dict[str, Any], sent: dict[str, list[str]]) -> None:
    with provider(says(200, SETTINGS)) as server, client(server) as api:
        assert api.change_settings(AUTH, **given) == READ
        assert server.requests[0].startswith(b"POST /account/settings HTTP/1.1\r\n")
        assert form(server) == sent


def test_each_host_has_its_operations_and_pace() -> None:
    busy = says(429, b"", "Retry-After: 30\r\n")
    with provider(busy) as rest, provider(harness.lists()) as secrets, client(rest, server=secrets) as api:
        with pytest.raises(RateLimited):
            balance(api)
        assert harness.list_(api) == ()
        with pytest.raises(RateLimited, match="did not send POST /account/top-up"):
            top_up(api)
        assert (len(rest.requests), len(secrets.requests)) == (1, 1)


def test_settings_with_one_host_share_its_pace() -> None:
    with provider(says(200, BALANCE)) as server, client(server, server=server, max_calls_per_second=1) as api:
        begun = time.monotonic()
        balance(api)
        with pytest.raises(LostAnswer):
            harness.list_(api)
        assert time.monotonic() - begun > 0.9


# --- what is understood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "euros"),
    [
        ("10.17127500", "10.17127500"),
        ("0.1", "0.1"),
        ("-3.5", "-3.5"),
        ("0", "0"),
        ("7", "7"),
        ("1.0171275E1", "10.171275"),
        ("1E3", "1000"),
        ("9.0E-4", "0.00090"),
        ("12345678901234.123456789", "12345678901234.123456789"),
        ('"10.50"', "10.50"),
    ],
)
def test_balance_keeps_every_digit(text: str, euros: str) -> None:
    found = told(says(200, f'{{"value": {text}}}'.encode()), balance)
    assert isinstance(found, Balance)
    assert str(found.euros) == euros
    assert found.auto_reload is None


NO_MONEY = ["NaN", "Infinity", "-Infinity", "1e400", "1e999999999999999999999", "1e-99", "null", "true", "[1]", "{}"]
NO_MONEY += [json.dumps(text) for text in ("", "NaN", "sNaN", "Infinity", "1_000", "\uff11", "1,5", "0x10")]
NO_MONEY += ["9" * 16, "9" * 5000, "0." + "1" * 90]


@pytest.mark.parametrize("text", NO_MONEY)
@pytest.mark.parametrize("form", ["json", "xml"])
def test_balance_is_lost_when_value_is_no_amount(text: str, form: str) -> None:
    inside = json.loads(text) if text.startswith('"') else text
    page = xml(f"<accountBalance><value>{inside}</value></accountBalance>")
    error = failure(says(200, f'{{"value": {text}}}'.encode()) if form == "json" else page, balance)
    assert isinstance(error, LostAnswer)
    assert "does not hold the balance: value missing or not readable" in str(error)
    assert "account_api.rest_url" in str(error)


def test_xml_answer_equals_json_answer() -> None:
    page = xml("<accountBalance>\n <value> 10.17127500 </value>\n <autoReload>true</autoReload>\n</accountBalance>")
    assert told(page, balance) == Balance(Decimal("10.17127500"), auto_reload=True)
    fields = "".join(f"<{name}>{str(value).replace('&', '&amp;')}</{name}>" for name, value in SETTINGS.items())
    assert told(xml(f"<account-settings>{fields}<new>7</new></account-settings>"), change) == READ
    told(xml("<response>success</response>"), top_up)
    told(says(200, b"<response>success</response>", "Content-Type: Text/XML\r\n"), top_up)


@pytest.mark.parametrize(
    "answer",
    [
        says(200, {"response": "success"}),
        says(200, b'"success"'),
        says(200, {"error-code": "200", "error-code-label": "success"}),
        says(200, {"error-code": 200}),
        says(200, {"response": "success", "error-code": "200", "error-code-label": "success"}),
        xml("<r><error-code>200</error-code><error-code-label>success</error-code-label></r>"),
        xml('<r xmlns="urn:nexmo"><response>success</response></r>'),
    ],
)
def test_top_up_succeeds_with_each_documented_answer(answer: Answer) -> None:
    told(answer, top_up)


@pytest.mark.parametrize("answer", [says(200, {"response": "pending"}), says(200, {}), says(200, {"error-code": [7]})])
def test_top_up_is_lost_without_a_documented_success(answer: Answer) -> None:
    assert isinstance(failure(answer), LostAnswer)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"error-code": "401", "error-code-label": "authentication failed"}, Unauthorized, 401),
        ({"error-code": "401", "error-code-label": "Not Auto-Reload enabled"}, AutoReloadDisabled, 401),
        ({"error-code": 420, "error-code-label": "no such URL"}, InvalidRequest, 420),
        ({"error-code": "429"}, RateLimited, 429),
        ({"error-code": "500", "response": "success"}, LostAnswer, 500),
        ({"error-code": "7", "error-code-label": "who knows"}, Refused, 200),
    ],
)
@OPERATIONS
def test_error_code_in_200_answer_raises_its_error(
    body: dict[str, Any], kind: type[ApiError], status: int, operation: Operation
) -> None:
    error = failure(says(200, BALANCE | SETTINGS | body), operation)
    assert type(error) is kind
    assert vars(error)["status"] == status
    assert str(body.get("error-code-label", "")) in str(error)


@pytest.mark.parametrize("missing", SETTINGS)
@pytest.mark.parametrize("operation", [change, look])
def test_settings_without_a_field_leave_it_unknown(missing: str, operation: Operation) -> None:
    answer = {name: value for name, value in SETTINGS.items() if name != missing}
    assert told(says(200, answer), operation) == replace(READ, **{missing.replace("-", "_"): None})


def test_settings_with_callbacks_only_are_settings() -> None:
    """Real answers are like that; a change was taken for lost because of it."""
    answer = {"mo-callback-url": MO, "dr-callback-url": ""}
    assert told(says(200, answer), change) == CallbackSettings(MO, "", None, None, None)
    empty = xml(f"<r><mo-callback-url>{DR}</mo-callback-url><max-calls-per-second/></r>")
    assert told(empty, look) == CallbackSettings(DR, None, None, None, None)
    assert told(says(200, SETTINGS | {"max-calls-per-second": None}), look) == replace(READ, max_calls_per_second=None)


@pytest.mark.parametrize("answer", [says(200, {}), says(200, {"title": "Log in"}), xml("<r><new>7</new></r>")])
def test_answer_without_any_setting_is_no_settings(answer: Answer) -> None:
    error = failure(answer, change)
    assert isinstance(error, LostAnswer)
    assert "does not hold the account's settings." in str(error)


@pytest.mark.parametrize("limit", ["many", -(2**31), [7], 1.5])
def test_unreadable_limit_is_named(limit: object) -> None:
    error = failure(says(200, SETTINGS | {"max-calls-per-second": limit}), change)
    assert "does not hold the account's settings: max-calls-per-second missing or not readable" in str(error)


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "x" * 8193, 7])
def test_callback_is_refused_when_unprintable_or_too_long(text: object) -> None:
    assert "mo-callback-url" in str(failure(says(200, SETTINGS | {"mo-callback-url": text}), look))


def test_null_callback_is_unset_and_unknown_field_ignored() -> None:
    assert told(says(200, SETTINGS | {"dr-callback-url": None, "new": {"value": [1]}}), look) == READ
    assert told(says(200, BALANCE | {"currency": "EUR"}), balance) == Balance(Decimal("10.5"), auto_reload=False)


# --- refusals, and what no document describes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "label", "kind"),
    [
        (400, "bad form", InvalidRequest),
        (401, "authentication failed", Unauthorized),
        (401, "", Unauthorized),
        (401, "not auto-reload enabled", AutoReloadDisabled),
        (401, "trx is required", InvalidRequest),
        (405, "", Refused),
        (420, "drCallBackUrl: does not answer", InvalidRequest),
        (429, "rate limit hit", RateLimited),
    ],
)
@OPERATIONS
def test_refusal_has_kind_and_reason_without_retry(
    status: int, label: str, kind: type[Refused], operation: Operation
) -> None:
    page = f"<r><error-code>{status}</error-code><error-code-label>{label}</error-code-label></r>".encode()
    for answer in (says(status, {"error-code": str(status), "error-code-label": label}), says(status, page, XML)):
        with provider(answer) as server, client(server, retries=2) as api:
            with pytest.raises(Refused) as caught:
                operation(api)
            assert len(server.requests) == 1
        assert type(caught.value) is kind
        assert caught.value.status == status
        assert label in str(caught.value)


@OPERATIONS
def test_unprovisioned_account_is_known_by_type(operation: Operation) -> None:
    problem = {"type": "https://developer.vonage.com/api-errors/#unprovisioned", "title": "Unauthorized"}
    error = failure(says(401, problem, "X-Request-Id: 4711\r\n"), operation)
    assert type(error) is Unprovisioned
    assert error.what.endswith("(request id 4711)")


@OPERATIONS
def test_error_code_in_good_answer_names_request_id(operation: Operation) -> None:
    error = failure(says(200, {"error-code": "420"}, "X-Request-Id: 4711\r\n"), operation)
    assert error.what.endswith("(request id 4711)")


@OPERATIONS
def test_unreadable_answer_names_the_request_id(operation: Operation) -> None:
    assert failure(says(200, b"<html>", "X-Request-Id: 4711\r\n"), operation).what.endswith("(request id 4711)")


UNDOCUMENTED: dict[str, Answer] = {
    "an empty body": says(200),
    "204": says(204),
    "a login page": says(200, b"<!doctype html><title>Please log in</title>", "Content-Type: text/html\r\n"),
    "a login page in XHTML": xml("<html><head><title>Please log in</title></head></html>"),
    "JSON that is called XML": says(200, BALANCE | SETTINGS | {"response": "success"}, XML),
    "XML that is called JSON": says(200, b"<response>success</response>", "Content-Type: application/json\r\n"),
    "cut JSON": says(200, b'{"value": 10.5, "response": "success", "mo-callback'),
    "cut XML": xml("<response>success</respon"),
    "an entity that explodes": xml('<!DOCTYPE r [<!ENTITY a "success"><!ENTITY b "&a;&a;">]><response>&a;</response>'),
    "an entity from a file": xml('<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]><r><value>&a;</value></r>'),
    "an encoding that nobody knows": says(
        200, b'<?xml version="1.0" encoding="x-y"?><response>success</response>', XML
    ),
    "nested JSON": says(200, b'{"value":' + b"[" * 200_000),
    "nested XML": xml("<a>" * 100_000 + "</a>" * 100_000),
    "a page of a broken gateway": says(502, b"<html>Bad gateway</html>", "Content-Type: text/html\r\n"),
    "the body is cut": harness.raw(b"HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n" + b'{"response": "success"}'),
    "the connection is reset": reset,
}


@pytest.mark.parametrize("answer", UNDOCUMENTED.values(), ids=UNDOCUMENTED)
@OPERATIONS
def test_undocumented_answer_is_lost(answer: Answer, operation: Operation) -> None:
    assert isinstance(failure(answer, operation), LostAnswer)


@pytest.mark.parametrize("answer", [says(503), reset, says(200, b"<html>")])
@WRITES
def test_write_is_sent_once(answer: Answer, operation: Operation) -> None:
    with provider(answer) as server, client(server, retries=2) as api:
        with pytest.raises(LostAnswer):
            operation(api)
        assert len(server.requests) == 1


@READS
def test_read_is_repeated_until_answered(operation: Operation) -> None:
    good = says(200, BALANCE | SETTINGS)
    with provider(in_turn(reset, says(503), good)) as server, client(server, retries=2) as api:
        operation(api)
        assert len(server.requests) == 3


@OPERATIONS
def test_refused_connection_is_not_sent(operation: Operation) -> None:
    with provider() as closed:
        port = closed.port
    with client(f"http://127.0.0.1:{port}") as api, pytest.raises(NotSent, match=r"account_api\.rest_url"):
        operation(api)


@pytest.mark.parametrize("value", ["\udcff", "ok\udcff"])
def test_secret_is_not_sent_when_not_unicode(value: str) -> None:
    with provider(says(200, BALANCE)) as server, client(server) as api:
        with pytest.raises(NotSent):
            api.top_up(AUTH, SecretStr(TRX + value))
        with pytest.raises(NotSent):
            api.get_balance(Credentials(KEY, SecretStr(value)))
        assert server.requests == []


def test_on_request_receives_operation_and_code() -> None:
    counted: list[tuple[str, str]] = []
    with provider() as server, client(server, on_request=lambda what, code, took: counted.append((what, code))) as api:
        server.answer = says(200, BALANCE | SETTINGS | {"response": "success"})
        for operation in (balance, top_up, change, look):
            operation(api)
        for server.answer in (says(401), reset):
            with pytest.raises(ApiError):
                top_up(api)
    assert counted == [
        ("balance", "200"),
        ("top_up", "200"),
        ("settings", "200"),
        ("settings", "200"),
        ("top_up", "401"),
        ("top_up", "no_answer"),
    ]


# --- nothing secret, nothing untidy ------------------------------------------------------------------------------

AWKWARD = "Old+Canary1/&=% aaaaaaaaa"  # a URL spells it in other ways
CANARIES = (AWKWARD, quote(AWKWARD, safe=""), quote_plus(AWKWARD), TRX, quote(TRX, safe=""))
QUERY = f"api_key={KEY}&api_secret={quote_plus(AWKWARD)}"
ECHO = f"{QUERY} {quote(AWKWARD, safe='')} {AWKWARD}"
ECHOES: dict[str, Answer] = {
    "in a label": says(401, {"error-code": "401", "error-code-label": ECHO}),
    "in a label across the cut": says(420, {"error-code-label": "x" * 290 + ECHO}),
    "in an answer that looks well": says(200, {"error-code": "420", "error-code-label": ECHO}),
    "in an answer of the wrong shape": says(200, {"value": ECHO, "response": ECHO, "mo-callback-url": [ECHO]}),
    "in XML": says(401, f"<r><error-code-label>{ECHO.replace('&', '&amp;')}</error-code-label></r>".encode(), XML),
    "in something that is not HTTP": harness.raw(ECHO.encode()),
    "in a server error": says(500, {"title": ECHO}),
}


def leaks(shown: str) -> list[str]:
    return [half for secret in CANARIES for half in (secret[:12], secret[-12:]) if half in shown]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every line of every logger, as somebody would have them who uses the client without rotator's own log."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "httpx"):
        yield caplog


@pytest.mark.parametrize("rest_auth", ["basic", "query"])
@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@OPERATIONS
def test_errors_logs_and_counts_mask_echoed_secrets(
    rest_auth: str, answer: Answer, operation: Operation, everything_logged: pytest.LogCaptureFixture
) -> None:
    counted: list[object] = []
    logging.getLogger("httpx").debug("a line of a library")
    with (
        provider(answer) as server,
        client(server, rest_auth=rest_auth, on_request=lambda *what: counted.append(what)) as api,
        pytest.raises(ApiError) as caught,
    ):
        operation(api, Credentials(KEY, SecretStr(AWKWARD)))
    shown = "\n".join([everything_about(caught.value), everything_logged.text, repr(counted)])
    assert "a line of a library" in shown, "the log is not what it seems"
    assert leaks(shown) == []


@OPERATIONS
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("rest_auth", ["basic", "query"])
def test_redirect_is_not_followed(rest_auth: str, status: int, operation: Operation) -> None:
    with provider(says(200, BALANCE | SETTINGS)) as elsewhere:
        answer = says(status, b"", f"Location: {elsewhere.url}/\r\n")
        error = failure(answer, operation, rest_auth=rest_auth)
        assert elsewhere.connections == 0
    assert type(error) is Refused
    assert "account_api.rest_url" in str(error)


def test_redirect_on_shared_host_names_the_operations_setting() -> None:
    with provider(says(302, b"", "Location: https://login.example/\r\n")) as server:
        settings = AccountApiSettings(api_url=server.url, rest_url=server.url)
        with AccountApi(settings, retries=0) as api:
            with pytest.raises(Refused, match=r"address into account_api\.rest_url"):
                api.get_balance(AUTH)
            with pytest.raises(Refused, match=r"address into account_api\.api_url"):
                api.list_secrets(AUTH, KEY)


# --- key and secret in the query -----------------------------------------------------------------------------------


def test_query_credentials_replace_the_authorization_header(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    awkward = Credentials(KEY, SecretStr(AWKWARD))
    with provider(says(200, BALANCE | SETTINGS)) as server, client(server, rest_auth="query") as api:
        assert api.get_balance(awkward).euros == Decimal("10.5")
        assert api.change_settings(awkward, mo_callback_url=MO) == READ
        for request in server.requests:
            target = request.split(b" ")[1].decode()
            assert parse_qs(target.partition("?")[2]) == {"api_key": [KEY], "api_secret": [AWKWARD]}
        assert server.header("authorization") is None
        assert form(server) == {"moCallBackUrl": [MO]}
    assert leaks(everything_logged.text) == []


@OPERATIONS
def test_log_masks_the_query_in_a_redirect(operation: Operation, everything_logged: pytest.LogCaptureFixture) -> None:
    answer = says(302, b"", f"Location: https://rest.example/login?{QUERY}\r\n")
    with provider(answer) as server, client(server, rest_auth="query") as api, pytest.raises(Refused) as caught:
        operation(api, Credentials(KEY, SecretStr(AWKWARD)))
    assert leaks(everything_about(caught.value) + everything_logged.text) == []


def test_error_masks_an_echoed_transaction() -> None:
    error = failure(says(401, {"error-code-label": f"no payment {TRX} or trx={quote(TRX, safe='')}"}))
    assert "no payment ******** or trx=********" in str(error)


def test_secret_operations_use_basic_only() -> None:
    with provider(harness.lists()) as server, client(server, server=server, rest_auth="query") as api:
        assert harness.list_(api) == ()
        assert server.header("authorization") == f"Basic {BASIC}"
        assert b"?" not in server.requests[0].split(b" ")[1]


def test_client_warns_once_of_secrets_in_urls() -> None:
    with capture_logs() as lines, provider(says(200, BALANCE)) as server:
        with client(server, rest_auth="query", verify=True) as api:
            balance(api)
            balance(api)
        with client(server, verify=True) as api:
            balance(api)
    assert [line["event"] for line in lines] == ["provider.secrets_in_urls"]
    assert lines[0]["log_level"] == "warning"


def test_client_warns_of_plain_text() -> None:
    with capture_logs() as lines:
        AccountApi(AccountApiSettings(api_url="http://192.0.2.1", rest_url="https://192.0.2.1")).close()
    assert [(line["event"], line["log_level"]) for line in lines] == [("provider.in_plain_text", "warning")]


def test_secret_too_long_for_url_is_not_sent() -> None:
    with provider(says(200, BALANCE)) as server, client(server, rest_auth="query") as api:
        with pytest.raises(NotSent, match="longer") as caught:
            api.get_balance(Credentials(KEY, SecretStr(AWKWARD * 10_000)))
        assert server.requests == []
    assert leaks(everything_about(caught.value)) == []


def test_error_masks_query_when_host_is_unknown(
    monkeypatch: pytest.MonkeyPatch, everything_logged: pytest.LogCaptureFixture
) -> None:
    def unknown(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client("http://nowhere.invalid", rest_auth="query") as api, pytest.raises(NotSent) as caught:
        top_up(api, Credentials(KEY, SecretStr(AWKWARD)))
    assert leaks(everything_about(caught.value) + everything_logged.text) == []
