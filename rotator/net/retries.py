"""Requests that are sent again: the log says why, in words."""

import structlog
from stamina import retry_context
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

__all__ = ["retry_context"]

_log = structlog.get_logger()


def _log_retry(details: RetryDetails) -> None:
    """Log that a request is sent again. The library's own event shows classes and addresses of objects."""
    _log.warning(
        "request.retried",
        error=str(details.caused_by),
        attempt=details.retry_num,
        wait_seconds=round(details.wait_for, 2),
    )


set_on_retry_hooks((_log_retry,))
