"""Failure codes: whose failure each one is, and which command helps."""

import shlex
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Command:
    """A command that makes progress. The blanks ID and OTHER_ID are the reader's to fill in.

    A value is never an argument: `adopt` asks for it.
    """

    args: tuple[str, ...]

    @classmethod
    def of(cls, *args: str) -> "Command":
        """Return the command with these arguments."""
        return cls(args)

    def __str__(self) -> str:
        return shlex.join(("rotator", *self.args))


@dataclass(frozen=True, slots=True)
class Advice:
    """The purpose of a command, and the command; no command if none helps."""

    purpose: str
    command: Command | None = None

    def __str__(self) -> str:
        """The sentence of a message: the only place that writes a command into one."""
        if self.command is None:
            return self.purpose
        return f"{self.purpose or 'Run'}: {self.command}"


CHECK = Advice("To see whether it works now", Command.of("check"))
LOOK = Advice("To see the state of the accounts", Command.of("status"))


def list_of(name: str) -> Command:
    """Return the command that shows the secrets of an account and their state."""
    return Command.of("account", "secrets", "list", name)


# Each message of such a kind names its own command, or says why there is none.
OWN: Advice | None = None


class Blame(StrEnum):
    """Whose failure it is, and so how far it reaches."""

    ACCOUNT = "account"  # this account only
    PROVIDER = "provider"  # every account
    VAULT = "vault"  # every account
    CREDENTIALS = "credentials"  # secrets that should work are refused
    CONFIGURATION = "configuration"  # rotator's settings, policy or host
    ROTATOR = "rotator"  # an internal error


class Code(StrEnum):
    """Kind of failure: the closed list. docs/metrics.md describes each code.

    Attributes:
        blame: Whose failure it is.
        advice: The command that helps if the message names none of its own.
    """

    blame: Blame
    advice: Advice | None

    def __new__(cls, value: str, blame: Blame, advice: Advice | None) -> "Code":
        """A code is its text; the blame and the advice are attributes of it."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.blame = blame
        code.advice = advice
        return code

    # The protocol stopped: the names of protocol.Failure.
    NOT_ADOPTED = "not_adopted", Blame.ACCOUNT, OWN
    PUBLISHED_LOST = "published_lost", Blame.ACCOUNT, OWN
    CREDENTIALS = "credentials", Blame.CREDENTIALS, OWN
    AMBIGUOUS = "ambiguous", Blame.ACCOUNT, OWN
    UNVERIFIED = "unverified", Blame.PROVIDER, OWN
    UNLISTED = "unlisted", Blame.ACCOUNT, OWN
    FULL = "full", Blame.ACCOUNT, OWN
    REFUSED = "refused", Blame.PROVIDER, OWN
    UNANSWERED = "unanswered", Blame.PROVIDER, OWN
    FOREIGN_DOCUMENT = "foreign_document", Blame.ACCOUNT, OWN
    UNCONFIRMED_DOCUMENT = "unconfirmed_document", Blame.ACCOUNT, OWN
    FOREIGN_JOURNAL = "foreign_journal", Blame.ACCOUNT, OWN
    JOURNAL_LOST = "journal_lost", Blame.ACCOUNT, OWN
    # The provider's answer to one request.
    PROVIDER_ERROR = "provider_error", Blame.PROVIDER, CHECK
    NOT_SENT = "not_sent", Blame.PROVIDER, CHECK
    ANSWER_LOST = "answer_lost", Blame.PROVIDER, CHECK
    UNEXPECTED_STATUS = "unexpected_status", Blame.PROVIDER, CHECK
    UNAUTHORIZED = "unauthorized", Blame.CREDENTIALS, CHECK
    UNPROVISIONED = "unprovisioned", Blame.ACCOUNT, CHECK  # a 401 that says nothing about the secret
    FORBIDDEN = "forbidden", Blame.CREDENTIALS, CHECK
    NOT_FOUND = "not_found", Blame.CREDENTIALS, CHECK
    INVALID_REQUEST = "invalid_request", Blame.PROVIDER, OWN
    AUTO_RELOAD_DISABLED = "auto_reload_disabled", Blame.ACCOUNT, OWN
    RATE_LIMITED = "rate_limited", Blame.ACCOUNT, CHECK  # of one key; the client watches for one of the host
    # Vault.
    VAULT_ERROR = "vault_error", Blame.VAULT, CHECK
    VAULT_UNREACHABLE = "vault_unreachable", Blame.VAULT, CHECK
    VAULT_SEALED = "vault_sealed", Blame.VAULT, CHECK
    VAULT_UNTRUSTED = "vault_untrusted", Blame.VAULT, CHECK
    VAULT_RATE_LIMITED = "vault_rate_limited", Blame.VAULT, CHECK  # no evidence that Vault is unavailable
    VAULT_WRONG_MOUNT = "vault_wrong_mount", Blame.VAULT, CHECK
    VAULT_MOUNT_REPLACED = "vault_mount_replaced", Blame.VAULT, CHECK
    VAULT_UNAUTHORIZED = "vault_unauthorized", Blame.VAULT, CHECK
    VAULT_DENIED = "vault_denied", Blame.CONFIGURATION, CHECK  # of single paths; otherwise the mount is wrong
    CONFLICT = "conflict", Blame.ACCOUNT, LOOK
    # rotator itself.
    JOURNAL_UNREADABLE = "journal_unreadable", Blame.ACCOUNT, CHECK
    JOURNAL_NEWER = "journal_newer", Blame.ACCOUNT, CHECK
    AUDIT_LOG_UNWRITABLE = "audit_log_unwritable", Blame.CONFIGURATION, CHECK
    CONFIGURATION = "configuration", Blame.CONFIGURATION, OWN
    CONTENTION = "contention", Blame.ACCOUNT, OWN
    COMMAND_REFUSED = "command_refused", Blame.ACCOUNT, OWN
    LEASED = "leased", Blame.ACCOUNT, OWN
    STOPPED = "stopped", Blame.ACCOUNT, OWN
    OTHER = "other", Blame.ACCOUNT, OWN
    INTERNAL_ERROR = "internal_error", Blame.ROTATOR, OWN


# Older journals contain the name of the error's class instead of a code.
_STORED = {code.value: code for code in Code} | {
    "ApiError": Code.PROVIDER_ERROR,
    "AuditError": Code.AUDIT_LOG_UNWRITABLE,
    "CasConflict": Code.CONFLICT,
    "ConfigError": Code.CONFIGURATION,
    "Forbidden": Code.FORBIDDEN,
    "InvalidRequest": Code.INVALID_REQUEST,
    "JournalError": Code.JOURNAL_UNREADABLE,
    "LostAnswer": Code.ANSWER_LOST,
    "NotFound": Code.NOT_FOUND,
    "NotSent": Code.NOT_SENT,
    "RateLimited": Code.RATE_LIMITED,
    "Refused": Code.UNEXPECTED_STATUS,
    "RotatorError": Code.OTHER,
    "Unauthorized": Code.UNAUTHORIZED,
    "VaultDenied": Code.VAULT_DENIED,
    "VaultError": Code.VAULT_ERROR,
    "VaultSealed": Code.VAULT_SEALED,
    "VaultUnreachable": Code.VAULT_UNREACHABLE,
    "VaultUntrusted": Code.VAULT_UNTRUSTED,
    "WrongMount": Code.VAULT_WRONG_MOUNT,
    "_Limited": Code.VAULT_UNAUTHORIZED,
}


def stored_code(failure: str) -> Code:
    """Return the code that a journal contains, also one of an older version; OTHER if it is unknown."""
    return _STORED.get(failure, Code.OTHER)
