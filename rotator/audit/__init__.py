"""The audit log: a chain of lines that says what rotator did to which account, and when."""

from rotator.audit.entry import Act, AuditError, Entry, Found, Result, fingerprint, person, user
from rotator.audit.log import AuditLog, at
from rotator.audit.verify import Verdict, verify

__all__ = [
    "Act",
    "AuditError",
    "AuditLog",
    "Entry",
    "Found",
    "Result",
    "Verdict",
    "at",
    "fingerprint",
    "person",
    "user",
    "verify",
]
