"""Failures of a change that a person makes by hand: whether it was made, and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager

from rotator.errors import Advice, Command


@contextmanager
def unchanged_on_failure(unchanged: str) -> Iterator[None]:
    """Say of a request that the provider did not carry out what it left unchanged.

    Args:
        unchanged: One sentence. An error that says so itself, or whose request might have been carried out, is kept.
    """
    from rotator.provider import ApiError

    try:
        yield
    except ApiError as error:
        if not error.maybe_done:
            error.unchanged = error.unchanged or unchanged
        raise


@contextmanager
def explained(*, unknown: str, look: Command, unchanged: str, correct: Advice) -> Iterator[None]:
    """Say of a change that failed whether it was made.

    Args:
        unknown: The sentence for a lost answer.
        look: The command that shows whether it was made.
        unchanged: The sentence for a request that was not carried out.
        correct: The advice if the provider finds a value of it wrong.
    """
    from rotator.provider import ApiError, InvalidRequest

    with unchanged_on_failure(unchanged):
        try:
            yield
        except InvalidRequest as error:
            error.next_step = correct.purpose
            error.own_command = correct.command
            raise
        except ApiError as error:
            if error.maybe_done:
                error.unchanged = unknown
                error.next_step = "Look before you try again"
                error.own_command = look
            raise
