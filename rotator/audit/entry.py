"""Content of an audit line: the action, its result, the secret, the instance and the person."""

import hashlib
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from rotator.errors import Code, RotatorError

# The caller controls the environment: a name in it is cut to this many characters.
_LONGEST_NAME = 64
_NO_LOGIN = 2**32 - 1  # the kernel's login uid of a process that was started without a login


class AuditError(RotatorError):
    """The audit log cannot record the start of an action, so rotator did not start the action."""

    code = Code.AUDIT_LOG_UNWRITABLE


class Act(StrEnum):
    """An audited action."""

    CREATE = "create"  # the provider adds a secret
    PUBLISH = "publish"  # rotator replaces the document that consumers read
    REVOKE = "revoke"  # the provider deletes a secret
    RETIRE = "retire"  # a person decides that rotator revokes a secret
    TOP_UP = "top_up"  # the provider repeats a payment
    CALLBACKS = "callbacks"  # the provider stores the addresses that it calls


class Result(StrEnum):
    """The result of an action."""

    STARTED = "started"  # about to be sent; without another line, it might have been carried out
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # refused or not sent: certainly not carried out
    UNKNOWN = "unknown"  # the answer was lost: it might have been carried out
    CONFIRMED = "confirmed"  # an earlier run started it, and it has been carried out


@dataclass(frozen=True, slots=True)
class Entry:
    """An action.

    Attributes:
        instance: The instance that acts.
        trigger: The reason.
        secret_id: The provider's id of the secret.
        fingerprint: See `fingerprint`; None for values that rotator did not generate.
        version: The KV version of the published document.
    """

    act: Act
    account: str
    api_key: str
    instance: str
    trigger: str | None
    rotation_id: str | None = None
    secret_id: str | None = None
    fingerprint: str | None = None
    version: int | None = None


@dataclass(slots=True)
class Found:
    """Facts about an action that are known only after it."""

    secret_id: str | None = None
    version: int | None = None


def fingerprint(api_key: str, value: str) -> str:
    """Return the first 64 bits of the SHA-256 over "api_key:value", as 16 hexadecimal digits.

    With a value at hand, the fingerprint leads to the value's audit lines. It also confirms a guess, so only values
    that cannot be guessed have one in the log.
    """
    return hashlib.sha256(f"{api_key}:{value}".encode()).hexdigest()[:16]


def line_fields(entry: Entry, result: Result) -> dict[str, Any]:
    """Return the fields of a line that describe the action."""
    return {
        "event": entry.act.value,
        "result": result.value,
        "account": entry.account,
        "api_key": entry.api_key,
        "secret_id": entry.secret_id,
        "rotation_id": entry.rotation_id,
        "trigger": entry.trigger,
        "actor": {"runner": entry.instance, **person()},
        "fingerprint": entry.fingerprint,
        "version": entry.version,
    }


@cache
def person() -> dict[str, str]:
    """Return the names of this process's user, as far as the system knows them.

    Returns:
        user: The user whose rights the process has.
        login: The user who logged in to start it, as the kernel keeps it through sudo; absent without a login.
        sudo_user: The variable SUDO_USER, which the caller can set; absent if it is not set.
    """
    names = {"user": _user_name(os.geteuid())}
    with suppress(OSError, ValueError):  # not every kernel keeps it
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
        if login != _NO_LOGIN:
            names["login"] = _user_name(login)
    sudo_user = os.environ.get("SUDO_USER")
    if sudo_user:
        names["sudo_user"] = sudo_user[:_LONGEST_NAME]
    return names


def user() -> str:
    """Return the name of this process's user, or of the person behind sudo."""
    names = person()
    return names.get("sudo_user") or names.get("login") or names["user"]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
