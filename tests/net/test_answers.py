"""An answer cannot make the process use much memory, however little of it is on the wire."""

import gzip
import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest

from rotator.net.answers import check_structure, described, is_encoded, media_type, parse_date, parse_json
from testkit.proxy import Answer, FaultProxy

MEBI = 1 << 20
# A run of rotator needs about 60 MiB, and the chart's limit is 256 MiB.
LIMIT = 100 * MEBI

PROVIDER = """
    from rotator.provider import AccountApi, ApiError, Credentials
    from rotator.config import AccountApiSettings
    settings = AccountApiSettings(api_url=ADDRESS, rest_url=ADDRESS, timeout="20s")
    client, auth = AccountApi(settings, retries=0), Credentials("abcd1234", SecretStr("Secret12345"))
    def ask():
        try:
            client.OPERATION(auth, *ARGUMENTS)
        except ApiError as error:
            return type(error).__name__
"""
VAULT = """
    from rotator.config import VaultSettings
    from rotator.vault import Vault, VaultError
    settings = VaultSettings(address=ADDRESS, timeout="20s", auth={"token": "token0for0tests"})
    client = Vault(settings)
    def ask():
        try:
            client.OPERATION(*ARGUMENTS)
        except VaultError as error:
            return type(error).__name__
"""
MEASURE = """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = ask()
    print(outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def measured(code: str, operation: str, arguments: tuple[object, ...], answer: Answer) -> tuple[str, int]:
    """What a request in a process of its own ended with, and by how much that process's peak memory grew."""
    with FaultProxy("http://127.0.0.1:9", lambda _: answer).running() as server:
        code = code.replace("ADDRESS", repr(server.address)).replace("OPERATION", operation)
        code = textwrap.dedent(code.replace("ARGUMENTS", repr(arguments))) + textwrap.dedent(MEASURE)
        setup = "import resource\nfrom pydantic import SecretStr\n"
        done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome, grown = done.stdout.splitlines()[-1].split()
    return outcome, int(grown)


def json_answer(body: bytes, *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status, body, (("Content-Type", "application/json"), *headers))


def bomb() -> bytes:
    """Some 700 bytes that decode to 200 MiB."""
    return gzip.compress(gzip.compress(bytes(200 * MEBI), 1), 9)


def filled(unit: bytes, size: int) -> bytes:
    """A document of about this size that consists of the same small values."""
    return b"[" + unit * (size // len(unit)) + b"0]"


DOCUMENTS = {
    "objects": b"{},",
    "arrays": b"[],",
    "objects with a key": b'{"a":0},',
    "short strings": b'"abcd",',
    "numbers": b"1.5,",
}


@pytest.mark.parametrize("operation", ["list_secrets", "get_balance"])
def test_compressed_provider_answer_uses_little_memory(operation: str) -> None:
    arguments = ("abcd1234",) if operation == "list_secrets" else ()
    answer = json_answer(bomb(), ("Content-Encoding", "gzip, gzip"))
    outcome, grown = measured(PROVIDER, operation, arguments, answer)
    assert outcome == "LostAnswer"
    assert grown < LIMIT


@pytest.mark.parametrize("unit", DOCUMENTS.values(), ids=DOCUMENTS)
def test_parsed_provider_answer_uses_little_memory(unit: bytes) -> None:
    body = b'{"_embedded": {"secrets": ' + filled(unit, 4 * MEBI - 100) + b"}}"
    outcome, grown = measured(PROVIDER, "list_secrets", ("abcd1234",), json_answer(body))
    assert outcome == "LostAnswer"
    assert grown < LIMIT


def test_xml_provider_answer_uses_little_memory() -> None:
    answer = Answer(200, b"<r>" + b"<a/>" * (MEBI - 10) + b"</r>", (("Content-Type", "text/xml"),))
    outcome, grown = measured(PROVIDER, "get_balance", (), answer)
    assert outcome == "LostAnswer"
    assert grown < LIMIT


@pytest.mark.parametrize("size", [15 * MEBI, 4 * MEBI - 100], ids=["15 MiB", "4 MiB"])
@pytest.mark.parametrize("unit", DOCUMENTS.values(), ids=DOCUMENTS)
def test_vault_answer_uses_little_memory(unit: bytes, size: int) -> None:
    body = b'{"data": {"metadata": {}, "data": ' + filled(unit, size) + b"}}"
    outcome, grown = measured(VAULT, "read", ("nexmo/main",), json_answer(body))
    assert outcome == "VaultUnreachable"
    assert grown < LIMIT


def test_vault_error_uses_little_memory() -> None:
    body = b'{"errors": ' + filled(b'"x",', 4 * MEBI - 100) + b"}"
    outcome, grown = measured(VAULT, "read", ("nexmo/main",), json_answer(body, status=400))
    assert outcome == "VaultUnreachable"
    assert grown < LIMIT


# --- the parts --------------------------------------------------------------------------------------------------------


def test_parse_json_accepts_the_allowed_number_of_values() -> None:
    rest = b", 0" * (100_000 - 5)
    assert parse_json(b"[1, [2], {}" + rest + b"]")[:3] == [1, [2], {}]
    with pytest.raises(ValueError, match="too many values"):
        parse_json(b"[1, [2], {}" + rest + b", 0]")


def test_parse_json_refuses_deep_nesting() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(b"[" * 100_000)


def test_check_structure_counts_elements_of_xml() -> None:
    check_structure(b"<a>" + b"<b/>" * (100_000 - 2) + b"</a>")
    with pytest.raises(ValueError, match="too many values"):
        check_structure(b"<a>" + b"<b/>" * (100_000 - 1) + b"</a>")


@pytest.mark.parametrize(
    ("header", "kind"),
    [("application/json", "application/json"), (" Text/HTML ; charset=utf-8", "text/html"), (None, ""), ("", "")],
)
def test_media_type_is_the_header_without_parameters(header: str | None, kind: str) -> None:
    assert media_type(header) == kind


@pytest.mark.parametrize(
    ("header", "encoded"), [(None, False), ("", False), (" Identity ", False), ("gzip", True), ("identity, br", True)]
)
def test_is_encoded_accepts_identity_alone(header: str | None, encoded: bool) -> None:
    assert is_encoded(header) is encoded


def test_described_repeats_no_unknown_media_type() -> None:
    assert described("text/html", 7) == "with 7 bytes of text/html"
    assert described("text/secret", 7) == "with 7 bytes of another media type"
    assert described("", 7) == "with 7 bytes of no media type"
    assert described("text/html", 0) == "without content"


def test_check_structure_accepts_a_thousand_fields() -> None:
    """The largest that anybody keeps in one document, far below the limits."""
    body = json.dumps({"data": {"data": {f"FIELD_{n}": "x" * 900 for n in range(1000)}}}).encode()
    check_structure(body)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "tomorrow",
        "Tue, 15 Nov 99999999999 08:12:31 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Tue, 01 Jan 1901 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
    ],
)
def test_parse_date_returns_none_when_unusable(header: str | None) -> None:
    assert parse_date(header) is None


def test_parse_date_returns_aware_dates() -> None:
    at = datetime(2026, 11, 24, 8, 12, 31, tzinfo=UTC)
    assert parse_date("Tue, 24 Nov 2026 08:12:31 GMT") == at
    assert parse_date("Tue, 24 Nov 2026 08:12:31 -0000") == at
