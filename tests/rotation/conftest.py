"""Fixtures: the file of an audit log."""

from tests.audit.harness import audit_file

__all__ = ["audit_file"]
