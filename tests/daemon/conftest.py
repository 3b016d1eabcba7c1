"""Fixtures: a registry on a bench."""

from tests.daemon.harness import bench

__all__ = ["bench"]
