"""Repetition of requests."""

import pytest
import stamina

from rotator.net import repeat


class Failing:
    """A request that fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.sent = failures, 0

    def __call__(self) -> int:
        self.sent += 1
        if self.sent <= self.failures:
            raise ConnectionError(self.sent)
        return self.sent


@pytest.mark.parametrize(("failures", "sent"), [(0, 1), (1, 2), (2, 3)])
def test_repeat_returns_the_first_answer(failures: int, sent: int) -> None:
    request = Failing(failures)
    with stamina.set_testing(True, attempts=9, cap=True):  # without pauses
        assert repeat(request, lambda _: True, attempts=3, max_pause=1, jitter=0) == sent
    assert request.sent == sent


@pytest.mark.parametrize("attempts", [1, 3])
def test_repeat_raises_the_last_failure_after_all_attempts(attempts: int) -> None:
    request = Failing(9)
    with stamina.set_testing(True, attempts=9, cap=True), pytest.raises(ConnectionError, match=str(attempts)) as caught:
        repeat(request, lambda _: True, attempts=attempts, max_pause=1, jitter=0)
    assert request.sent == attempts
    assert caught.value.__context__ is None


def test_repeat_raises_permanent_failures_at_once() -> None:
    request = Failing(9)
    with pytest.raises(ConnectionError):
        repeat(request, lambda _: False, attempts=3, max_pause=1, jitter=0)
    assert request.sent == 1
