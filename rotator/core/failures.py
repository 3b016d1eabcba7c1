"""Failure codes, and whose failure each one is."""

from enum import StrEnum


class Blame(StrEnum):
    """Whose failure it is, and so how far it reaches."""

    ACCOUNT = "account"  # this account only
    PROVIDER = "provider"  # every account
    VAULT = "vault"  # every account
    CREDENTIALS = "credentials"  # secrets that should work are refused
    CONFIGURATION = "configuration"  # rotator's settings, policy or host
    ROTATOR = "rotator"  # an internal error


class Code(StrEnum):
    """Kind of failure: the closed list. docs/metrics.md describes each code."""

    blame: Blame

    def __new__(cls, value: str, blame: Blame) -> "Code":
        """A code is its text; the blame is an attribute of it."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.blame = blame
        return code

    # The protocol stopped: the names of protocol.Failure.
    NOT_ADOPTED = "not_adopted", Blame.ACCOUNT
    CREDENTIALS = "credentials", Blame.CREDENTIALS
    AMBIGUOUS = "ambiguous", Blame.ACCOUNT
    UNVERIFIED = "unverified", Blame.PROVIDER
    UNLISTED = "unlisted", Blame.ACCOUNT
    FULL = "full", Blame.ACCOUNT
    REFUSED = "refused", Blame.PROVIDER
    UNANSWERED = "unanswered", Blame.PROVIDER
    FOREIGN_DOCUMENT = "foreign_document", Blame.ACCOUNT
    FOREIGN_JOURNAL = "foreign_journal", Blame.ACCOUNT
    JOURNAL_LOST = "journal_lost", Blame.ACCOUNT
    # The provider's answer to one request.
    PROVIDER_ERROR = "provider_error", Blame.PROVIDER
    NOT_SENT = "not_sent", Blame.PROVIDER
    ANSWER_LOST = "answer_lost", Blame.PROVIDER
    UNEXPECTED_STATUS = "unexpected_status", Blame.PROVIDER
    UNAUTHORIZED = "unauthorized", Blame.CREDENTIALS
    UNPROVISIONED = "unprovisioned", Blame.ACCOUNT  # a 401 that says nothing about the secret
    FORBIDDEN = "forbidden", Blame.CREDENTIALS
    NOT_FOUND = "not_found", Blame.CREDENTIALS
    INVALID_REQUEST = "invalid_request", Blame.PROVIDER
    AUTO_RELOAD_DISABLED = "auto_reload_disabled", Blame.ACCOUNT
    RATE_LIMITED = "rate_limited", Blame.ACCOUNT  # the limit of one key; the client watches for a limit of the host
    # Vault.
    VAULT_ERROR = "vault_error", Blame.VAULT
    VAULT_UNREACHABLE = "vault_unreachable", Blame.VAULT
    VAULT_SEALED = "vault_sealed", Blame.VAULT
    VAULT_UNTRUSTED = "vault_untrusted", Blame.VAULT
    VAULT_RATE_LIMITED = "vault_rate_limited", Blame.VAULT  # no evidence that Vault is unavailable
    VAULT_WRONG_MOUNT = "vault_wrong_mount", Blame.VAULT
    VAULT_UNAUTHORIZED = "vault_unauthorized", Blame.VAULT
    VAULT_DENIED = "vault_denied", Blame.CONFIGURATION  # a policy that lacks a path concerns that path only
    CONFLICT = "conflict", Blame.ACCOUNT
    # rotator itself.
    JOURNAL_UNREADABLE = "journal_unreadable", Blame.ACCOUNT
    JOURNAL_NEWER = "journal_newer", Blame.ACCOUNT
    AUDIT_LOG_UNWRITABLE = "audit_log_unwritable", Blame.CONFIGURATION
    CONFIGURATION = "configuration", Blame.CONFIGURATION
    CONTENTION = "contention", Blame.ACCOUNT
    COMMAND_REFUSED = "command_refused", Blame.ACCOUNT
    LEASED = "leased", Blame.ACCOUNT
    STOPPED = "stopped", Blame.ACCOUNT
    OTHER = "other", Blame.ACCOUNT
    INTERNAL_ERROR = "internal_error", Blame.ROTATOR


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
