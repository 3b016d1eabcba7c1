"""The commands that deferrals and failures of a fleet name."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.config import load
from rotator.core.protocol import Command
from rotator.fleet import Fleet, Request, Wanted
from rotator.provider import AccountApi, NotSent
from rotator.rotation import Outcome
from rotator.vault import Vault
from tests.cli.harness import Here, Payments


def test_closed_window_names_rotation_outside_of_it(payments: Payments, here: Here) -> None:
    in_three_days = datetime.now(UTC) + timedelta(days=3)
    window = f"{in_three_days:%a} 00:00-23:59".lower()
    begun = here("rotate-now", "payments")
    assert begun.code == 0, begun
    payments.cluster.age("payments", timedelta(days=1))
    payments.cluster.configure([payments.entry(every="1s", jitter="0s", windows=[window], timezone="UTC")])
    deferred = here("rotate-now", "payments", "--due", "--json")
    assert deferred.code == 3, deferred
    (row,) = deferred.json["accounts"]
    assert (row["reason"], row["next_command"]) == ("window", ["rotate-now", "payments"])
    assert row["error"] == (
        "it is due, but no window is open. To rotate outside the windows: rotator rotate-now payments."
    )
    rotated = here("rotate-now", "payments", "--json")
    assert rotated.code == 0, rotated
    assert rotated.json["rotated"] == 1


def test_failed_job_contains_the_command_it_names() -> None:
    def fail() -> Outcome:
        raise NotSent("The provider does not answer")

    failed = Fleet.guarded("payments", fail)
    assert failed.next_command == Command.of("check")
    assert failed.error == "The provider does not answer. To see whether it works now: rotator check."


def test_run_that_never_began_names_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process stops before the run: nothing is asked, and nothing changes."""
    monkeypatch.setenv("VAULT_TOKEN", "token")
    config = tmp_path / "config.toml"
    config.write_text(
        '[vault]\naddress = "http://127.0.0.1:1"\n'
        '[[accounts]]\nname = "payments"\napi_key = "abcd1234"\npath = "apps/payments"\n'
    )
    settings, stop = load(config), threading.Event()
    fleet = Fleet(settings, AccountApi(settings.account_api), Vault(settings.vault), stop)
    stop.set()
    (outcome,) = fleet.run(settings.accounts, Request(Wanted.NOW))
    assert (outcome.reason, outcome.next_command) == ("stopped", Command.of("status", "payments"))
    assert outcome.error == (
        "the process stopped before the run began. Nothing was changed. "
        "To see what is unfinished: rotator status payments."
    )
