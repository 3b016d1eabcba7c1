"""How a forecast looks: readable for any fleet, in 80 columns."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.cli.forecast_output import forecast_json, print_forecast
from rotator.core.scheduling.forecast import Forecast
from tests.core.scheduling.forecasts import BERLIN, DAY, HOUR, MONTHLY, NIGHTLY, SECOND, ahead, member


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> "Printed":
    return Printed(capsys)


class Printed:
    """What is printed of a forecast."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, forecast: Forecast, **left_out: str) -> list[str]:
        print_forecast(forecast, left_out, BERLIN, 10)
        lines = [line.rstrip() for line in self.capsys.readouterr().out.splitlines()]
        assert max(len(line) for line in lines) <= 80, lines
        return lines


def test_print_forecast_shows_all_events_of_small_fleet(printed: Printed) -> None:
    fleet = [member("main", 10 * DAY), member("shop", 10 * DAY + HOUR, primary="main"), member("alerts", 29 * DAY)]
    assert printed(ahead(fleet, 22 * DAY), new="not taken on yet") == [
        "when                                account  event",
        "2026-11-24 Tue 18:00:00  in 1d      alerts   rotate",
        "2026-11-25 Wed 18:00:00  in 2d      alerts   revoke the previous secret",
        "2026-12-13 Sun 17:00:00  in 19d23h  shop     rotate",
        "2026-12-13 Sun 18:00:00  in 20d     main     rotate",
        "2026-12-14 Mon 17:00:00  in 20d23h  shop     revoke the previous secret",
        "2026-12-14 Mon 18:00:00  in 21d     main     revoke the previous secret",
        "",
        "                                              calls by hour of day",
        "day             rotate  revoke  busiest hour  0     6     12    18",
        "2026-11-24 Tue       1       0      3 at 18h  ··················█·····",
        "2026-11-25 Wed       0       1      2 at 18h  ··················▆·····",
        "2026-12-13 Sun       2       0      3 at 17h  ·················██·····",
        "2026-12-14 Mon       0       2      2 at 17h  ·················▆▆·····",
        "",
        "until 2026-12-15 Tue 18:00 (Europe/Berlin)",
        "in all: rotations 3, revocations 3, calls 15",
        "busiest hour: 2026-11-24 Tue 18:00, calls 3 (36,000 are allowed)",
        "one account in one hour: calls 3 (alerts), if new secrets work at once",
        "left out, not taken on yet: new",
    ]


def test_print_forecast_shortens_the_table_of_large_fleet(printed: Printed) -> None:
    fleet = [member(f"a{number:04}", 30 * DAY * (number % 100) / 100) for number in range(2000)]
    forecast = ahead(fleet, 90 * DAY, spacing=SECOND)
    lines = printed(forecast, **{f"n{number}": "not taken on yet" for number in range(12)}, odd="ambiguous")
    table, calendar, summary = "\n".join(lines).split("\n\n")
    assert len(table.splitlines()) == 22
    assert table.splitlines()[-1] == f"... and {len(forecast.events) - 20:,} more; with --json all of them"
    assert 90 <= len(calendar.splitlines()) - 2 <= 92, "a row a day"
    assert "left out, not taken on yet: n0, n1, n2, n3, n4 and 7 more" in summary
    assert "left out, ambiguous: odd" in summary
    said = forecast_json(forecast, {})
    assert len(said["events"]) == len(forecast.events)
    assert sum(hour["calls"] for hour in said["hours"]) == 3 * said["rotations"] + 2 * said["revocations"]


def test_print_forecast_shows_months_when_forecast_is_long(printed: Printed) -> None:
    fleet = [member(f"a{number}", number * DAY) for number in range(30)]
    lines = printed(ahead(fleet, 400 * DAY))
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("month ")]
    assert [line.split()[0] for line in lines[heading + 1 : heading + 15]] == [
        "2026-11", "2026-12", *(f"2027-{month:02}" for month in range(1, 13)),
    ]  # fmt: skip
    assert lines[heading + 2].split()[1:3] == ["31", "31"]


def test_print_forecast_shows_no_tables_when_empty(printed: Printed) -> None:
    lines = printed(ahead([member("shop", DAY)], DAY))
    assert lines == ["until 2026-11-24 Tue 18:00 (Europe/Berlin)", "in all: rotations 0, revocations 0, calls 0"]
    assert forecast_json(ahead([], DAY), {})["busiest_hour"] is None
    assert forecast_json(ahead([], DAY), {})["busiest_account"] is None


def test_forecast_counts_the_requests_of_each_account() -> None:
    """Two rotations of one account in one hour need more of its hourly limit than one each of two accounts."""
    hourly = replace(MONTHLY, every=timedelta(minutes=20))
    fleet = [member("busy", HOUR, hourly), *(member(f"a{number}", 29 * DAY) for number in range(5))]
    busiest = forecast_json(ahead(fleet, 3 * HOUR, max_secrets=20), {})["busiest_account"]
    assert busiest["account"] == "busy"
    assert busiest["calls"] >= 6


def test_print_forecast_names_forced_rotations_and_the_cut(printed: Printed) -> None:
    forced = replace(NIGHTLY, max_age=30 * DAY)
    text = "\n".join(printed(replace(ahead([member("shop", 40 * DAY, forced)], DAY), cut=True)))
    assert "rotate, forced by max_age" in text
    assert text.endswith("the forecast is too long and ends here: choose less time or fewer accounts")


def test_print_forecast_is_ascii_when_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    print_forecast(ahead([member("main", 29 * DAY)], 10 * DAY), {}, BERLIN, 10)
    out.flush()
    printed = out.buffer.getvalue()
    assert printed.isascii()
    assert b"..................@.....\n" in printed
