"""Fixtures: a server whose status can be changed."""

from tests.web.harness import server

__all__ = ["server"]
