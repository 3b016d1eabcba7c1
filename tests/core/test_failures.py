"""Failure codes: each has one blame and one decision about the command that helps."""

import re
from pathlib import Path

import pytest

from rotator.core.failures import CHECK, LOOK, Advice, Code, Command, list_of, stored_code

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"

# These name no command of their own: the failure's message does, or says why there is none.
OWN = {
    Code.INVALID_REQUEST,
    "not_adopted",
    "published_lost",
    "credentials",
    "ambiguous",
    "unverified",
    "unlisted",
    "full",
    "refused",
    "unanswered",
    "foreign_document",
    "unconfirmed_document",
    "foreign_journal",
    "journal_lost",
    "auto_reload_disabled",  # a change in the provider's dashboard
    "configuration",  # a key, an option or a file to correct
    "contention",
    "command_refused",
    "stopped",
    "leased",
    "other",
    "internal_error",  # a report to the project
}


def test_codes_are_snake_case_and_documented() -> None:
    table = DOCUMENTATION.read_text(encoding="utf-8").split("## Failure codes\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z]+) \|", table, flags=re.MULTILINE)
    assert rows == [(code.value, code.blame.value) for code in Code]
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in Code)


@pytest.mark.parametrize("code", Code)
def test_code_names_the_command_that_helps(code: Code) -> None:
    if code in OWN:
        assert code.advice is None
    elif code is Code.CONFLICT:
        assert code.advice is LOOK
    else:
        assert code.advice is CHECK


@pytest.mark.parametrize(
    ("purpose", "args", "sentence"),
    [
        ("Make room", ("resolve", "shop"), "Make room: rotator resolve shop"),
        ("", ("check", "my shop"), "Run: rotator check 'my shop'"),
        ("Unseal it", (), "Unseal it"),
        ("", (), ""),
    ],
    ids=["both", "command", "purpose", "neither"],
)
def test_advice_is_one_sentence(purpose: str, args: tuple[str, ...], sentence: str) -> None:
    assert str(Advice(purpose, Command.of(*args) if args else None)) == sentence


# The class of each error when journals contained its name.
OLDER = {
    "ApiError": "provider_error",
    "AuditError": "audit_log_unwritable",
    "CasConflict": "conflict",
    "ConfigError": "configuration",
    "Forbidden": "forbidden",
    "InvalidRequest": "invalid_request",
    "JournalError": "journal_unreadable",
    "LostAnswer": "answer_lost",
    "NotFound": "not_found",
    "NotSent": "not_sent",
    "RateLimited": "rate_limited",
    "Refused": "unexpected_status",
    "RotatorError": "other",
    "Unauthorized": "unauthorized",
    "VaultDenied": "vault_denied",
    "VaultError": "vault_error",
    "VaultSealed": "vault_sealed",
    "VaultUnreachable": "vault_unreachable",
    "VaultUntrusted": "vault_untrusted",
    "WrongMount": "vault_wrong_mount",
    "_Limited": "vault_unauthorized",
}


@pytest.mark.parametrize(("stored", "code"), [*OLDER.items(), *((code.value, code.value) for code in Code)])
def test_stored_code_reads_codes_and_older_names(stored: str, code: str) -> None:
    assert stored_code(stored).value == code


@pytest.mark.parametrize("stored", ["", "it said hunter2", "NOT_FOUND"])
def test_stored_code_is_other_when_unknown(stored: str) -> None:
    assert stored_code(stored) is Code.OTHER


def test_list_of_secrets_is_a_command() -> None:
    assert list_of("shop") == Command.of("account", "secrets", "list", "shop")
