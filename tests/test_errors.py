"""Errors: each class has a failure code; journals of older versions stay readable."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pkgutil import walk_packages

import pytest

import rotator
from rotator.config import AccountSettings
from rotator.core.protocol import Command, Fail, Failure
from rotator.documents import parse_journal
from rotator.errors import Blame, Code, ConfigError, RotatorError, stored_code
from rotator.fleet import Fleet
from rotator.monitoring import AccountStatus, FleetStatus, Metrics, describe, expose
from rotator.provider import RateLimited
from rotator.rotation import Outcome, Result, RotationError
from rotator.vault import Document, VaultSealed, WrongMount

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# Errors of the servers that the demo and the tests start.
ELSEWHERE = ("rotator.emulator", "rotator.demo.openbao")


def error_classes(base: type[RotatorError] = RotatorError) -> Iterator[type[RotatorError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from error_classes(kind)


def test_each_error_class_has_a_code() -> None:
    for module in walk_packages(rotator.__path__, "rotator."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    classes = {kind for kind in error_classes() if not kind.__module__.startswith(ELSEWHERE)}
    assert len(classes) > 20
    # The code of a RotationError is its failure's.
    assert {kind for kind in classes if kind.code is Code.OTHER} == {RotationError}


@pytest.mark.parametrize("failure", Failure)
def test_each_failure_of_the_protocol_has_a_code(failure: Failure) -> None:
    error = RotationError(Fail(failure, "what", Command.of("status", "shop"), "Look at it"), unchanged="")
    assert error.code.value == failure.value
    assert error.blame is error.code.blame


def test_blame_follows_the_code() -> None:
    assert VaultSealed("sealed").blame is Blame.VAULT
    assert WrongMount("gone").blame is Blame.VAULT
    assert ConfigError("wrong").blame is Blame.CONFIGURATION
    assert RateLimited("429", status=429, retry_after=None).blame is Blame.ACCOUNT
    assert RotatorError("else").code is Code.OTHER


def test_outcome_has_code_and_blame_only_when_failed() -> None:
    failed = Fleet.guarded("shop", lambda: _raise(VaultSealed("sealed")))
    assert isinstance(failed, Outcome)
    assert (failed.reason, failed.code, failed.blame) == ("vault_sealed", Code.VAULT_SEALED, Blame.VAULT)
    deferred = Outcome("shop", Result.DEFERRED, reason="full")
    assert (deferred.code, deferred.blame) == (None, None)


def test_internal_error_is_blamed_on_rotator() -> None:
    failed = Fleet.guarded("shop", lambda: _raise(ValueError("hunter2")))
    assert isinstance(failed, Outcome)
    assert (failed.code, failed.blame) == (Code.INTERNAL_ERROR, Blame.ROTATOR)


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        ("VaultUnreachable", Code.VAULT_UNREACHABLE),
        ("LostAnswer", Code.ANSWER_LOST),
        ("_Limited", Code.VAULT_UNAUTHORIZED),
        ("unverified", Code.UNVERIFIED),
        ("it said hunter2", Code.OTHER),
    ],
)
def test_journal_of_older_version_shows_a_code(stored: str, code: Code) -> None:
    data = {"current_id": "id-1", "attempts": 2, "last_error": "It failed.", "failure": stored}
    journal = parse_journal(Document(version=3, data=data))
    assert journal.failure == stored  # what is stored stays as it is until the next run
    account = AccountSettings(name="shop", api_key="abcd1234", path="apps/shop")
    status = describe(account, journal)
    assert (status.failure, status.last_error, status.attempts) == (code, "It failed.", 2)
    assert stored_code(stored) is code
    assert f'reason="{code.value}"' in _exposed(status)
    assert "hunter2" not in _exposed(status)


def _exposed(status: AccountStatus) -> str:
    fleet = FleetStatus(NOW, "", "host-1", NOW, True, None, None, None, (status,))
    return b"".join(expose(Metrics(), fleet)).decode()


def _raise(error: Exception) -> Outcome:
    raise error
