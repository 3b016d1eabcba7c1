"""Fixtures: a registry on a bench, and a KV mount for sessions whose time the test sets."""

from tests.daemon.harness import bench
from tests.vault.conftest import place

__all__ = ["bench", "place"]
