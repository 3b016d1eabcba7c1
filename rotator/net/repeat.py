"""Repetition of requests that failed, with growing pauses. The log says why, in words."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import structlog

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

T = TypeVar("T")
_log = structlog.get_logger()


def repeat(
    request: Callable[[], T],
    worth: Callable[[Exception], bool],
    *,
    attempts: int,
    max_pause: float,
    jitter: float,
    timeout: Callable[[], float | None] = lambda: None,
) -> T:
    """Send a request; again, as long as its failure is worth that.

    Args:
        request: Sends it.
        worth: Whether to send it again after this failure.
        attempts: Limit of the number of requests, the first one included.
        max_pause: Longest pause between two requests in seconds, its random part included.
        jitter: Longest random part of a pause, in seconds.
        timeout: Seconds that are left after the first failure; None: no limit.

    Raises:
        Exception: The last failure.
    """
    try:
        return request()
    except Exception as error:
        if not worth(error):
            raise
        failure: Exception | None = error
    # Most requests need no second attempt. So most commands need not import this library.
    import stamina
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks((_log_retry,))
    for attempt in stamina.retry_context(
        on=worth, attempts=attempts, timeout=timeout(), wait_initial=0.2, wait_max=max_pause, wait_jitter=jitter
    ):
        with attempt:
            if failure is not None:
                first, failure = failure, None
                raise first
            return request()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _log_retry(details: "RetryDetails") -> None:
    """Log that a request is sent again. The library's own event shows classes and addresses of objects.

    During an outage of Vault, the daemon repeats requests all the time: above debug, that would flood the log.
    """
    _log.debug(
        "request.retried",
        error=str(details.caused_by),
        attempt=details.retry_num,
        wait_seconds=round(details.wait_for, 2),
    )
