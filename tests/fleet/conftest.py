"""Fixtures: the usual account, the command in this process, and an account with top-ups."""

from tests.cli.harness import here, payments
from tests.fleet.shop import shop, stack

__all__ = ["here", "payments", "shop", "stack"]
