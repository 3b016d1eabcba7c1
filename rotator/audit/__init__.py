"""The audit log: a chain of lines that says what rotator did to which account, and when.

The module `verify` is public as a whole. One command alone needs it, so it is imported by itself.
"""

from rotator.audit.entry import Act, AuditError, Entry, Found, Result, fingerprint, person, user
from rotator.audit.log import AuditLog, at

__all__ = [
    "Act",
    "AuditError",
    "AuditLog",
    "Entry",
    "Found",
    "Result",
    "at",
    "fingerprint",
    "person",
    "user",
    "verify",
]
