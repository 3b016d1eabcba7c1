"""Fixtures: the usual account, and the command in this process."""

from tests.cli.harness import here, payments

__all__ = ["here", "payments"]
