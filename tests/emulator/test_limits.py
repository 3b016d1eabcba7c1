"""How many calls a key may make, and the headers that tell about it."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from rotator.emulator import Limit, parse_limit
from rotator.emulator.revisions import Revision
from tests.emulator.harness import (
    BALANCE,
    CHILD,
    CHILD_PATH,
    CHILD_SECRET,
    KEY,
    NEW,
    PATH,
    SECOND,
    SECRET,
    SETTINGS,
    X_HEADERS,
    Clock,
    ask,
    limited,
    problem,
    refusal,
    world,
)


def budget(reset: str, limit: str = "30", remaining: str = "0") -> dict[str, str]:
    return dict(zip(X_HEADERS, (limit, remaining, reset), strict=True))


@pytest.mark.parametrize(
    ("details", "retry_after", "headers"),
    [
        pytest.param("", "1", budget("1000ms"), id="as the emulator does"),
        pytest.param("@5s", "5", budget("5000ms"), id="Retry-After"),
        pytest.param("@reset=20s", None, budget("20s"), id="seconds"),
        pytest.param("@reset-ms=20s", None, budget("20000ms"), id="milliseconds"),
        pytest.param("@5s@reset=1h", "5", budget("3600s"), id="both"),
        pytest.param("@bare", None, {}, id="bare"),
    ],
)
def test_rate_limit_sends_the_headers_of_its_details(
    details: str, retry_after: str | None, headers: dict[str, str]
) -> None:
    with world(faults=[f"list:429{details}"], revision=Revision.V1_0_4, clock=Clock()) as w:
        assert limited(w.client.get(PATH)) == (retry_after, headers)
        assert w.client.get(PATH).status_code == 200


def test_first_revision_limits_with_retry_after_only() -> None:
    with world(faults=["list:429", "list:429@reset-ms=20s"], clock=Clock()) as w:
        assert limited(w.client.get(PATH)) == ("1", {})
        assert limited(w.client.get(PATH)) == (None, budget("20000ms")), "unless the fault says so"


def test_reset_and_date_follow_the_emulators_clock() -> None:
    """A provider whose clock is two hours ahead of the client's."""

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=2)

    with world(faults=["list:429@reset=20s"], clock=clock) as w:
        response = w.client.get(PATH)
        assert len(response.headers.get_list("date")) == 1
        assert abs(parsedate_to_datetime(response.headers["date"]) - clock()) < 60 * SECOND
        assert limited(response)[1]["x-ratelimit-reset"] in ("20s", "21s")


def test_limit_counts_the_calls_of_each_key() -> None:
    clock = Clock()
    accounts = (f"{KEY}:{SECRET}", f"{CHILD}:{CHILD_SECRET}")
    with world(*accounts, limit=Limit(3, timedelta(hours=1)), revision=Revision.V1_0_4, clock=clock) as w:
        first = w.client.get(PATH)
        assert {name: first.headers[name] for name in X_HEADERS[:2]} == dict(zip(X_HEADERS, "32", strict=False))
        clock.now += 10 * SECOND
        assert w.client.get(f"{PATH}/unknown").headers["x-ratelimit-remaining"] == "1"
        assert w.client.get("/account/get-balance").headers["x-ratelimit-remaining"] == "0"
        assert limited(w.create()) == ("3590", budget("3590000ms", "3"))
        assert w.live() == [SECRET]
        assert w.client.get(CHILD_PATH, auth=(CHILD, CHILD_SECRET)).status_code == 200
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401, "a refused login does not count"
        clock.now += timedelta(seconds=3590)
        assert w.create().status_code == 201


def test_limit_without_retry_after_has_reset_seconds() -> None:
    options: dict[str, Any] = {
        "limit": Limit(1, timedelta(hours=1)),
        "reset_unit": "s",
        "retry_after": False,
        "clock": Clock(),
    }
    with world(**options, revision=Revision.V1_0_4) as w:
        w.client.get(PATH)
        assert limited(w.client.get(PATH)) == (None, budget("3600s", "1"))


@pytest.mark.parametrize(
    ("text", "limit"),
    [("30/h", Limit(30, timedelta(hours=1))), ("5/10s", Limit(5, 10 * SECOND)), ("1/m", Limit(1, 60 * SECOND))],
)
def test_limit_is_read_from_its_text(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "30", "0/h", "30/d", "/h", "30/0s", "-1/h", "30 / h"])
def test_unreadable_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not CALLS/PERIOD"):
        parse_limit(text)


def test_calls_per_second_are_limited_by_account() -> None:
    clock = Clock()
    with world(f"{KEY}:{SECRET}", f"child001:{SECRET}", max_calls_per_second=3, clock=clock) as w:
        assert w.client.post(SETTINGS).json()["max-calls-per-second"] == 3
        assert [w.client.get(PATH).status_code for _ in range(2)] == [200, 200]
        response = ask(w, BALANCE)
        assert refusal(response, 429) == "rate limit hit"
        assert response.headers["retry-after"] == "1"
        assert problem(w.create(), 429, "Rate Limit Hit")
        assert w.live() == [SECRET], "what is refused is not done"
        assert ask(w, BALANCE, auth=("child001", SECRET)).status_code == 200
        clock.now += timedelta(seconds=1)
        assert [ask(w, BALANCE).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_unauthenticated_calls_do_not_count() -> None:
    with world(max_calls_per_second=1, clock=Clock()) as w:
        assert [ask(w, BALANCE, auth=(KEY, "Wrong12345")).status_code for _ in range(3)] == [401] * 3
        assert ask(w, BALANCE).status_code == 200
