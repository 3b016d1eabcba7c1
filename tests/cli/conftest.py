"""Fixtures: the usual account, the command in this process, and the file of an audit log."""

from tests.audit.harness import audit_file
from tests.cli.harness import here, payments

__all__ = ["audit_file", "here", "payments"]
