"""Fixtures: accounts, the command in this process, and the file of an audit log."""

from tests.audit.harness import audit_file
from tests.cli.harness import here, payments
from tests.cli.managed import adopted, overlapping, rotated

__all__ = ["adopted", "audit_file", "here", "overlapping", "payments", "rotated"]
