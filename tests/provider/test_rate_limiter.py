"""The pace of requests, the wait that a 429 asks for, and who is held because of it; also through the client."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.provider import (
    AccountApi,
    ApiError,
    Budget,
    Credentials,
    Hold,
    NotSent,
    RateLimited,
    RateLimiter,
    remaining_budget,
    requested_wait,
)
from testkit.cluster import PATIENCE
from tests.provider.harness import ID, INFO, KEY, OLD, Answer, client, create, get, list_, lists, provider, revoke, says

# Years away from the local clock: no result depends on that one.
ANSWERED = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
DATE = {"date": format_datetime(ANSWERED, usegmt=True)}
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def in_(wait: timedelta) -> str:
    return format_datetime(ANSWERED + wait, usegmt=True)


def seconds(wait: timedelta) -> str:
    return str(int((ANSWERED + wait).timestamp()))


def milliseconds(wait: timedelta) -> str:
    return str(int((ANSWERED + wait).timestamp() * 1000))


# --- what a 429 asks for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 2 * MINUTE),
        ("0", None),
        ("86401", DAY),
        ("9" * 40, DAY),
        (in_(5 * MINUTE), 5 * MINUTE),
        (in_(5 * MINUTE).replace("GMT", "-0000"), 5 * MINUTE),
        (in_(2 * DAY), DAY),
        (in_(-HOUR), None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", DAY),
    ],
)
def test_retry_after_bounds_the_wait_to_a_day(header: str, wait: timedelta | None) -> None:
    assert requested_wait(DATE | {"retry-after": header}) == wait


@pytest.mark.parametrize("unix_time", [seconds, milliseconds])
@pytest.mark.parametrize(
    ("reset", "wait"),
    [
        (12 * MINUTE, 12 * MINUTE),
        (SECOND, SECOND),
        (61 * MINUTE, HOUR),
        (365 * DAY, HOUR),
        (timedelta(), None),
        (-MINUTE, None),
    ],
)
def test_reset_counts_from_the_date_of_the_answer(
    unix_time: Callable[[timedelta], str], reset: timedelta, wait: timedelta | None
) -> None:
    assert requested_wait(DATE | {"x-ratelimit-reset": unix_time(reset)}) == wait


def test_reset_below_a_second_waits_a_second() -> None:
    assert requested_wait(DATE | {"x-ratelimit-reset": milliseconds(timedelta(milliseconds=20))}) == SECOND


def test_retry_after_precedes_reset() -> None:
    both = DATE | {"retry-after": "7", "x-ratelimit-reset": seconds(HOUR)}
    assert requested_wait(both) == timedelta(seconds=7)


def test_unreadable_retry_after_leaves_the_wait_to_reset() -> None:
    for retry_after in ("soon", "0"):
        assert requested_wait(DATE | {"retry-after": retry_after, "x-ratelimit-reset": seconds(MINUTE)}) == MINUTE


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": in_(MINUTE)},
        {"x-ratelimit-reset": seconds(MINUTE)},
        {"retry-after": in_(MINUTE), "date": "yesterday"},
    ],
)
def test_instant_without_a_date_is_no_wait(headers: dict[str, str]) -> None:
    assert requested_wait(headers) is None


UNREADABLE = ["", "soon", "-1", "1.5", "1, 2", "Mon", "Mon, 99 Foo 2026", "\u0661", "9" * 16]
UNREADABLE += ["Thu, 01 Jan 2026 00:00:00 +" + "9" * 30]


@pytest.mark.parametrize("header", UNREADABLE)
def test_unreadable_headers_are_no_wait(header: str) -> None:
    assert requested_wait(DATE | {"x-ratelimit-reset": header}) is None
    if header != "9" * 16:
        assert requested_wait(DATE | {"retry-after": header}) is None
    assert requested_wait({"date": header, "x-ratelimit-reset": seconds(MINUTE)}) is None


@given(
    headers=st.fixed_dictionaries(
        {name: st.text() | st.from_regex(r"\A\w{3}, [\d +:-]{,40}\Z") for name in ("retry-after", "date")}
        | {"x-ratelimit-reset": st.text() | st.integers(0).map(str)}
    )
)
@example({"retry-after": "Mon, 01 Jan 2026 00:00:00 +99999999999999999999", "date": "", "x-ratelimit-reset": ""})
def test_any_header_gives_a_bounded_wait_or_none(headers: dict[str, str]) -> None:
    for one in (headers, headers | DATE):
        wait = requested_wait(one)
        assert wait is None or SECOND <= wait <= DAY


@pytest.mark.parametrize(
    ("headers", "budget"),
    [
        ({"x-ratelimit-remaining": "3", "x-ratelimit-limit": "30"}, Budget(3, 30)),
        ({"x-ratelimit-remaining": "0"}, Budget(0, None)),
        ({"x-ratelimit-limit": "30"}, None),
        ({"x-ratelimit-remaining": "-1", "x-ratelimit-limit": "30"}, None),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-limit": "many"}, Budget(3, None)),
        ({}, None),
    ],
)
def test_budget_is_read_where_the_answer_contains_it(headers: dict[str, str], budget: Budget | None) -> None:
    assert remaining_budget(headers) == budget


# --- who is held --------------------------------------------------------------------------------------------------


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def pass_(self, duration: timedelta) -> None:
        self.at += duration.total_seconds()

    def wait(self, error: RateLimited) -> None:
        assert error.retry_after is not None
        self.at += error.retry_after.total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(10, monotonic=clock)


def test_limited_key_is_held_for_the_whole_wait(limiter: RateLimiter, clock: Clock) -> None:
    assert limiter.record_limit("a", DAY) == DAY
    assert limiter.hold("a") == Hold(DAY, of_host=False)
    assert limiter.hold("b") is None
    clock.pass_(DAY - SECOND)
    assert limiter.hold("a") == Hold(SECOND, of_host=False)
    clock.pass_(SECOND)
    assert limiter.hold("a") is None


def test_shorter_wait_does_not_shorten_a_hold(limiter: RateLimiter) -> None:
    limiter.record_limit("a", HOUR)
    assert limiter.record_limit("a", MINUTE) == HOUR
    assert limiter.hold("a") == Hold(HOUR, of_host=False)


def test_default_wait_doubles_to_a_minute_per_key(limiter: RateLimiter, clock: Clock) -> None:
    waits = []
    for _ in range(8):
        waits.append(limiter.record_limit("a", None).total_seconds())
        clock.pass_(timedelta(seconds=waits[-1]))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert limiter.record_limit("b", None) == SECOND


def test_default_wait_grows_once_for_requests_sent_together(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(8):
        limiter.record_limit("a", None)
    clock.pass_(SECOND)
    assert limiter.record_limit("a", None) == 2 * SECOND


def test_answer_resets_the_default_wait(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(2):
        clock.pass_(limiter.record_limit("a", None))
    limiter.record_answer("a")
    assert limiter.record_limit("a", None) == SECOND


def test_late_answer_does_not_end_a_hold(limiter: RateLimiter, clock: Clock) -> None:
    """Its request was sent before the 429."""
    limiter.record_limit("a", MINUTE)
    limiter.record_answer("a")
    assert limiter.hold("a") == Hold(MINUTE, of_host=False)


def limit(limiter: RateLimiter, *keys: str, wait: timedelta = MINUTE) -> None:
    for key in keys:
        limiter.record_limit(key, wait)


def test_three_limited_keys_hold_the_host(limiter: RateLimiter, clock: Clock) -> None:
    limit(limiter, "a", "b", wait=30 * SECOND)
    assert limiter.hold("d") is None
    clock.pass_(10 * SECOND)
    limit(limiter, "c", wait=30 * SECOND)
    assert limiter.hold("d") == Hold(30 * SECOND, of_host=True)
    clock.pass_(30 * SECOND)
    assert limiter.hold("d") is None


def test_host_is_held_a_minute_at_most(limiter: RateLimiter, clock: Clock) -> None:
    limit(limiter, "a", "b", "c", wait=DAY)
    assert limiter.hold("d") == Hold(MINUTE, of_host=True)
    assert limiter.hold("a") == Hold(DAY, of_host=False)
    clock.pass_(MINUTE)
    assert limiter.hold("d") is None


def test_repeated_limits_of_two_keys_leave_host_free(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(9):
        limit(limiter, "a", "b", wait=SECOND)
        clock.pass_(SECOND)
    assert limiter.hold("d") is None


def test_limits_spread_over_minutes_do_not_hold_host(limiter: RateLimiter, clock: Clock) -> None:
    for key in "abcdefg":
        limit(limiter, key)
        clock.pass_(31 * SECOND)
    assert limiter.hold("z") is None


def test_fewer_than_three_keys_are_held_separately(limiter: RateLimiter) -> None:
    limit(limiter, "a", "b")
    assert (limiter.hold("a"), limiter.hold("b")) == (Hold(MINUTE, of_host=False),) * 2


def test_pace_delays_turns_beyond_the_rate(limiter: RateLimiter, clock: Clock) -> None:
    assert [limiter.take_turn() for _ in range(12)] == [0] * 10 + [1, 1]
    clock.pass_(2 * SECOND)
    assert limiter.take_turn() == 0


# --- through the client ------------------------------------------------------------------------------------------


def test_pace_bounds_requests_per_second_across_threads() -> None:
    arrived: list[float] = []

    def note(connection: socket.socket) -> None:
        arrived.append(time.monotonic())
        lists(INFO)(connection)

    begun = time.monotonic()
    with provider(note) as server, client(server, max_calls_per_second=20) as api, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list_(api), range(45)))
    assert len(arrived) == 45
    # A busy machine delays each arrival by a different time, so the test holds each one to its own second.
    assert [at for turn, at in enumerate(sorted(arrived)) if at - begun < turn // 20] == []


def test_pace_below_one_per_second_is_kept() -> None:
    with provider(lists(INFO)) as server, client(server, max_calls_per_second=0.5) as api:
        begun = time.monotonic()
        list_(api)
        sent = time.monotonic()
        list_(api)
        assert time.monotonic() - sent > 1.8 - (sent - begun)


def test_request_is_not_sent_without_a_turn() -> None:
    with provider(lists(INFO)) as server, client(server, max_calls_per_second=0.1, timeout=3) as api:
        list_(api)
        with pytest.raises(NotSent):
            create(api)
        assert len(server.requests) == 1


def limited(api: AccountApi, key: str = KEY, *, of: str | None = None) -> RateLimited:
    """The refusal of a list that this key authenticates."""
    with pytest.raises(RateLimited) as caught:
        api.list_secrets(Credentials(key, SecretStr(OLD)), of or key)
    return caught.value


def test_limited_key_is_refused_locally_until_hold_ends() -> None:
    counted: list[str] = []
    clock = Clock()
    with (
        provider(says(429, b"", "Retry-After: 86400\r\n")) as server,
        client(server, monotonic=clock, on_request=lambda what, code, took: counted.append(code)) as api,
    ):
        first = limited(api)
        server.answer = lists(INFO)
        clock.at += 86399
        for operation in (list_, get, create, revoke):
            with pytest.raises(RateLimited, match=f"API key {KEY}.* did not send .*To retry after 2") as caught:
                operation(api)
            assert (caught.value.local, caught.value.retry_after) == (True, timedelta(seconds=1))
        assert (len(server.requests), counted) == (1, ["429"]), "a request that was not sent is not counted"
        clock.at += 1
        assert list_(api)
    assert (first.local, first.retry_after) == (False, timedelta(days=1))


@pytest.mark.parametrize("header", ["", "Retry-After: 0\r\n", "Retry-After: 1\r\n"])
def test_waits_without_a_time_grow_per_limit(header: str) -> None:
    """Eleven requests in 13 seconds were sent before, and later still if the provider asked for no second."""
    clock = Clock()
    with provider(says(429, b"", header)) as server, client(server, monotonic=clock) as api:
        while clock.at < 1000 + 13:
            clock.wait(limited(api))
        assert len(server.requests) == 4  # after 0, 1, 3 and 7 seconds
        server.answer = lists(INFO)
        assert list_(api)
        server.answer = says(429)
        assert limited(api).retry_after == timedelta(seconds=1), "an answer begins the waits again"


def test_one_limited_key_does_not_stop_the_others() -> None:
    with provider(says(429, b"", "Retry-After: 86400\r\n")) as server, client(server, monotonic=Clock()) as api:
        limited(api)
        server.answer = lists(INFO)
        for number in range(15):
            assert api.list_secrets(Credentials(f"key{number}", SecretStr(OLD)), f"key{number}")
        assert limited(api).local
        assert len(server.requests) == 16


def test_three_limited_keys_stop_the_other_keys() -> None:
    clock = Clock()
    with provider(says(429, b"", "Retry-After: 3600\r\n")) as server, client(server, monotonic=clock) as api:
        assert [limited(api, key).local for key in ("key1", "key2", "key3")] == [False] * 3
        server.answer = lists(INFO)
        other = limited(api, "key4")
        assert (other.local, other.retry_after) == (True, timedelta(minutes=1))
        assert f"127.0.0.1:{server.port} has limited several API keys" in str(other)
        assert len(server.requests) == 3
        clock.wait(other)
        assert api.list_secrets(Credentials("key4", SecretStr(OLD)), "key4")
        assert limited(api, "key1").retry_after == timedelta(minutes=59)


def test_secondary_accounts_share_the_limit_of_their_primary() -> None:
    with provider(says(429, b"", "Retry-After: 60\r\n")) as server, client(server, monotonic=Clock()) as api:
        limited(api, "primary1", of="child1")
        assert limited(api, "primary1", of="child2").local
        assert limited(api, "primary1").local
        server.answer = lists(INFO)
        assert api.list_secrets(Credentials("child1", SecretStr(OLD)), "child1"), "its own secret is another key"


def test_request_waiting_for_turn_is_refused_after_limit() -> None:
    answer_now = threading.Event()

    def late(connection: socket.socket) -> None:
        answer_now.wait(PATIENCE)
        says(429, b"", "Retry-After: 60\r\n")(connection)

    with provider(late) as server, client(server, max_calls_per_second=0.2) as api, ThreadPoolExecutor() as pool:
        first, second = pool.submit(limited, api), pool.submit(limited, api)
        while not server.requests:
            time.sleep(0.01)
        answer_now.set()
        assert sorted([first.result().local, second.result().local]) == [False, True]
        assert len(server.requests) == 1


def test_remaining_requests_are_kept_by_authenticating_key() -> None:
    received: list[tuple[str, Budget]] = []

    def with_budget(status: int, remaining: int) -> Answer:
        return says(status, INFO, f"X-RateLimit-Remaining: {remaining}\r\nX-RateLimit-Limit: 30\r\n")

    with provider() as server, client(server, on_budget=lambda *pair: received.append(pair)) as api:
        for answer in (with_budget(200, 12), says(200, INFO), with_budget(500, 11), with_budget(429, 0)):
            server.answer = answer
            with suppress(ApiError):
                api.get_secret(Credentials("primary1", SecretStr(OLD)), "child567", ID)
        assert (api.budget("primary1"), api.budget("child567")) == (Budget(0, 30), None)
    assert received == [("primary1", Budget(remaining, 30)) for remaining in (12, 11, 0)]
