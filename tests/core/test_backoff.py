"""The backoff after failures."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rotator.core.backoff import BACKOFF_CAP, BACKOFF_FIRST, backoff


@given(st.text(min_size=1), st.integers(1, 60))
def test_backoff_grows_to_its_cap(account: str, attempts: int) -> None:
    longest = timedelta(minutes=min(2 ** (attempts - 1), 60))
    assert longest * 0.75 <= backoff(account, attempts) <= longest


@given(st.text(min_size=1), st.integers(1, 60))
def test_backoff_differs_between_accounts(account: str, attempts: int) -> None:
    assert len({backoff(f"{account}{number}", attempts) for number in range(20)}) == 20


def test_backoff_is_the_same_for_same_attempt() -> None:
    assert backoff("shop", 3) == backoff("shop", 3)
    assert backoff("shop", 13) != backoff("shop", 14)


def test_backoff_spreads_accounts_over_a_quarter() -> None:
    shares = [backoff(f"n{number}", 1) / timedelta(minutes=1) for number in range(200)]
    assert 0.75 <= min(shares) < 0.76
    assert 0.99 < max(shares) <= 1


def test_backoff_bounds_are_documented_ones() -> None:
    assert (timedelta(minutes=1), timedelta(hours=1)) == (BACKOFF_FIRST, BACKOFF_CAP)
