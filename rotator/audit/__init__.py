"""The audit log: a chain of lines that says what rotator did to which account, and when."""

from rotator.audit.log import Act, AuditError, AuditLog, Entry, Found, Verdict, verify

__all__ = [
    "Act",
    "AuditError",
    "AuditLog",
    "Entry",
    "Found",
    "Verdict",
    "verify",
]
