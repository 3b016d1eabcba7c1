"""Failure codes: each has one blame and one decision about the command that helps."""

import pytest

from rotator.core.failures import CHECK, LOOK, Advice, Code, Command

# These name no command of their own: the failure's message does, or says why there is none.
OWN = {
    "not_adopted",
    "credentials",
    "ambiguous",
    "unverified",
    "unlisted",
    "full",
    "refused",
    "unanswered",
    "foreign_document",
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


@pytest.mark.parametrize("code", Code)
def test_code_names_the_command_that_helps(code: Code) -> None:
    if code in OWN:
        assert code.advice is None
    elif code is Code.CONFLICT:
        assert code.advice is LOOK
    else:
        assert code.advice is CHECK


@pytest.mark.parametrize(
    ("purpose", "command", "sentence"),
    [
        ("Make room", Command.of("resolve", "shop"), "Make room: rotator resolve shop"),
        ("", Command.of("check", "my shop"), "Run: rotator check 'my shop'"),
        ("Unseal it", None, "Unseal it"),
        ("", None, ""),
    ],
    ids=["both", "command", "purpose", "neither"],
)
def test_advice_is_one_sentence(purpose: str, command: Command | None, sentence: str) -> None:
    assert str(Advice(purpose, command)) == sentence
