"""forecast: from the journals and the schedules alone."""

import re
from datetime import datetime, timedelta

import pytest

from testkit.cluster import Cluster
from tests.cli.harness import Here, Payments, a_colourful_fleet, everything, said


def test_forecast_reads_the_journals_alone(cluster: Cluster, here: Here) -> None:
    a_colourful_fleet(cluster)
    assert cluster.run("rotate-now", "overlap", "ambiguous").code == 1
    before, asked = everything(cluster), len(cluster.emulator.requests)
    plan = here("forecast", "--until", "40d", "--json")
    assert plan.code == 0, plan
    assert len(cluster.emulator.requests) == asked, "the provider was asked"
    events = [(event["account"], event["kind"], event["overridden"]) for event in plan.json["events"]]
    assert events == [("overlap", "revoke", False), ("overlap", "rotate", False), ("overlap", "revoke", False)]
    rotated_at = datetime.fromisoformat(cluster.journal("overlap")["rotated_at"])
    rotate, revoke = (datetime.fromisoformat(event["at"]) for event in plan.json["events"][1:])
    assert timedelta(days=30) - timedelta(hours=6) < rotate - rotated_at <= timedelta(days=30)
    assert revoke - rotate == timedelta(hours=1)
    status = {entry["name"]: entry for entry in here("status", "--json").json["accounts"]}
    assert rotate == datetime.fromisoformat(status["overlap"]["due_at"])
    assert (plan.json["rotations"], plan.json["revocations"], plan.json["complete"]) == (1, 2, True)
    left_out = {entry["account"]: entry["why"] for entry in plan.json["left_out"]}
    assert left_out["ambiguous"] == "ambiguous (see rotator status)"
    assert left_out["missing"] == left_out["new"] == "not adopted yet"
    assert "off" not in left_out, "it is not enabled"

    text = here("forecast", "--until", "40d")
    assert text.code == 0, text
    assert all(len(line) <= 80 for line in text.out.splitlines() if not line.startswith("left out")), text
    assert re.search(r"^20\d\d-.{29,31}overlap +revoke the previous secret", text.out, re.MULTILINE)
    assert "in all: rotations 1, revocations 2, calls 7" in text.out
    assert here("forecast", "new", "--until", "40d", "--json").json["events"] == []
    assert everything(cluster) == before


def test_forecast_omits_an_account_with_unreadable_journal(payments: Payments, here: Here) -> None:
    payments.cluster.put("rotator/journal/payments", {"rotated_at": "yesterday"})
    plan = here("forecast", "--until", "40d", "--json")
    assert plan.code == 0, plan
    assert plan.json["left_out"] == [
        {"account": "payments", "why": "the journal is not readable, wrong in: rotated_at"}
    ]


def test_forecast_follows_windows_and_time_zone_of_defaults(payments: Payments, here: Here) -> None:
    payments.cluster.configure(
        [payments.entry()], defaults={"timezone": "Asia/Tokyo", "windows": ["mon-fri 02:00-03:00"], "grace": "0s"}
    )
    assert here("rotate-now", "payments").code == 0
    plan = here("forecast", "--until", "90d")
    rotations = re.findall(r"^20\d\d-\d\d-\d\d (\w+) (\d+):.* rotate", plan.out, re.MULTILINE)
    assert len(rotations) in (2, 3), plan
    assert {(day in ("Sat", "Sun"), hour) for day, hour in rotations} == {(False, "02")}
    assert "(Asia/Tokyo)" in plan.out


@pytest.mark.parametrize("length", ["0", "soon", "3661d"])
def test_forecast_takes_a_duration(payments: Payments, here: Here, length: str) -> None:
    finished = here("forecast", "--until", length)
    assert finished.code == 2, finished
    assert said(finished).startswith("--until ")
