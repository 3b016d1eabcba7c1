"""The pace of requests, and the limits of API keys after a 429, through the client."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.provider import AccountApi, ApiError, Budget, Credentials, NotSent, RateLimited
from testkit.cluster import PATIENCE
from tests.provider.harness import ID, INFO, KEY, OLD, Answer, client, create, get, list_, lists, provider, revoke, says


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


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def wait(self, error: RateLimited) -> None:
        assert error.retry_after is not None
        self.at += error.retry_after.total_seconds()


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
