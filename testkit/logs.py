"""Log events for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def capture_events() -> Iterator[list[Any]]:
    """Capture log events from level info on. At level debug, each request is an event."""
    with structlog.testing.capture_logs() as events:
        structlog.get_config()["processors"].insert(0, _drop_debug)
        yield events


def _drop_debug(_logger: object, level: str, event: Any) -> Any:
    if level == "debug":
        raise structlog.DropEvent
    return event
