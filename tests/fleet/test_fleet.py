"""The commands that deferrals and failures of a fleet name."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from rotator.config import AccountSettings, load
from rotator.core.protocol import Asked, Command, Journal, Publish, RequestKind, Target, requests
from rotator.core.protocol import Request as StoredRequest
from rotator.fleet import Fleet, Request, Wanted
from rotator.provider import AccountApi, NotSent
from rotator.rotation import Outcome, Result
from rotator.vault import Document, Vault
from testkit.cluster import eventually
from testkit.model import World
from tests.cli.harness import Here, Payments
from tests.rotation.worlds import FIRST, run_until


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


CONFIG = """
[vault]
address = "http://127.0.0.1:1"

[daemon]
concurrency = 1

[[accounts]]
name = "a"
api_key = "abcd1234"
path = "apps/a"

[[accounts]]
name = "b"
api_key = "bcde2345"
path = "apps/b"
"""
ASKED = Asked(
    StoredRequest(RequestKind.COMPROMISED, Target(), datetime(2026, 11, 26, tzinfo=UTC), "me", "r"), SecretStr(FIRST)
)
RECORDED = Journal(request=ASKED.request)
Run = Callable[[Callable[[], bool]], Outcome]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    """A fleet whose runs are given by the test."""
    monkeypatch.setenv("VAULT_TOKEN", "token")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    settings = load(config)
    return Fleet(settings, AccountApi(settings.account_api), Vault(settings.vault), threading.Event())


def outcomes_of(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, **runs: list[Run]) -> dict[str, Outcome]:
    """How a command ends whose runs over each account are these, one after the other."""

    def rotation(account: AccountSettings, _: Request, *, worker_is_wanted: Callable[[], bool]) -> object:
        run = runs[account.name].pop(0)
        return SimpleNamespace(run=lambda: run(worker_is_wanted))

    monkeypatch.setattr(fleet, "rotation", rotation)
    outcomes = list(fleet.run([fleet.settings.account(name) for name in runs], Request(Wanted.NOW)))
    assert len(outcomes) == len(runs)
    return {outcome.account: outcome for outcome in outcomes}


def deferred(account: str, *, journal_is_unknown: bool = False) -> Outcome:
    """How a run ends whose candidate does not authenticate yet."""
    return Outcome(
        account,
        Result.DEFERRED,
        reason="verifying",
        resume_at=datetime.now(UTC),
        journal=RECORDED,
        journal_is_unknown=journal_is_unknown,
        asked=ASKED,
    )


@pytest.mark.parametrize("is_unknown", [False, True])
def test_run_that_reads_nothing_keeps_previous_runs_journal(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *, is_unknown: bool
) -> None:
    """Vault fails between two runs of a command. The first one recorded the request, or might have."""
    failed = Outcome("a", Result.FAILED, reason="vault_unreachable")
    first = deferred("a", journal_is_unknown=is_unknown)
    ended = outcomes_of(fleet, monkeypatch, a=[lambda _: first, lambda _: failed])["a"]
    assert ended == replace(failed, journal=RECORDED, journal_is_unknown=is_unknown, asked=ASKED)


def test_later_run_of_a_command_knows_its_request(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that continues makes no request of its own, and another command's can be in the journal by then."""
    later = Outcome("a", Result.FAILED, reason="vault_denied", journal=RECORDED)
    ended = outcomes_of(fleet, monkeypatch, a=[lambda _: deferred("a"), lambda _: later])["a"]
    assert ended.recorded_request == ASKED.request
    others = replace(later, journal=Journal(request=replace(ASKED.request, id="other", of=Target(id="x"))))
    ended = outcomes_of(fleet, monkeypatch, a=[lambda _: deferred("a"), lambda _: others])["a"]
    assert ended.recorded_request is None


def test_waiting_account_keeps_last_outcome_when_process_stops(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run created a secret, and so "nothing was changed" would be false."""
    first = deferred("a")

    def stop_meanwhile(worker_is_wanted: Callable[[], bool]) -> Outcome:
        eventually(worker_is_wanted)
        fleet.stop.set()
        return Outcome("b", Result.OK)

    assert outcomes_of(fleet, monkeypatch, a=[lambda _: first], b=[stop_meanwhile])["a"] == first


def test_stopping_process_does_not_wait_for_deferred_account(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = replace(deferred("a"), resume_at=datetime.now(UTC) + timedelta(hours=1))

    def stop(_: Callable[[], bool]) -> Outcome:
        fleet.stop.set()
        return first

    assert outcomes_of(fleet, monkeypatch, a=[stop])["a"] == first


def test_run_that_never_began_names_status(fleet: Fleet) -> None:
    """The process stops before the run: nothing is asked, and nothing changes."""
    fleet.stop.set()
    (outcome,) = fleet.run(fleet.settings.accounts[:1], Request(Wanted.NOW))
    assert (outcome.reason, outcome.next_command) == ("stopped", Command.of("status", "a"))
    assert outcome.error == (
        "the process stopped before the run began. Nothing was changed. To see what is unfinished: rotator status a."
    )


DAY = timedelta(days=1)


def unadopted() -> World:
    """Return a world whose account rotator does not know yet."""
    world = World()
    world.clock.now = datetime.now(UTC)
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    return world


def known_and_due() -> World:
    """Return a world with a secret that has been due for long."""
    world = World()
    world.clock.now = datetime.now(UTC) - 400 * DAY
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    world.rotation(fresh_after=world.clock()).run()
    world.clock.wait(DAY)
    world.rotation().run()
    return world


def replaced_by_hand() -> World:
    """Return a world whose due secret a person has just replaced."""
    world = known_and_due()
    world.clock.now = datetime.now(UTC)
    world.provider.add("shopkey", "ByHand00000001")
    world.publish("ByHand00000001")
    return world


def published_and_not_recorded() -> World:
    """Return a world whose rotation died right after it published the new secret."""
    world = known_and_due()
    world.clock.now = datetime.now(UTC) - timedelta(minutes=10)
    run_until(world.rotation(fresh_after=world.clock()), Publish, then_perform=True)
    return world


@pytest.mark.parametrize(
    ("make", "kind", "rotates"),
    [
        (unadopted, RequestKind.FORCE, False),
        (replaced_by_hand, RequestKind.FORCE, False),
        (published_and_not_recorded, RequestKind.FORCE, False),
        (known_and_due, RequestKind.FORCE, True),
        (known_and_due, None, True),
    ],
    ids=["unadopted", "by hand", "not recorded", "due by force", "due"],
)
def test_due_rotates_only_a_known_due_secret(
    make: Callable[[], World], kind: RequestKind | None, rotates: bool
) -> None:
    """`--due --force` rotates nothing that `--due` leaves alone."""
    world = make()
    published = world.published
    world.clock.now = datetime.now(UTC)
    fleet = Fleet(world.settings, world.provider, world.vault, threading.Event())  # type: ignore[arg-type]
    request = Request(Wanted.DUE, kind=kind, explicit=True)
    list(fleet.run(fleet.select(["shop"]), request))
    assert (world.published != published) is rotates
    assert world.journal.request is None


def by_rotation(world: World) -> None:
    """A run publishes a new secret, and records that in the journal."""
    world.rotation(fresh_after=world.clock()).run()


def by_hand(world: World) -> None:
    """A person publishes another secret: no journal says when."""
    del world.provider.secrets["shopkey"][next(iter(world.live))]
    world.provider.add("shopkey", "ByHand00000001")
    world.publish("ByHand00000001")
    world.vault.peek("apps/shop")


def published_two_minutes_ago(publish: Callable[[World], None]) -> World:
    world = known_and_due()
    world.clock.now = datetime.now(UTC) - timedelta(minutes=2)
    publish(world)
    world.clock.now = datetime.now(UTC)
    return world


def date_answers(world: World, behind: timedelta, *paths: str) -> None:
    """Have Vault's answers dated by a clock that is behind the one that stores versions."""
    read = world.vault.read

    def dated(path: str, version: int | None = None) -> Document:
        document = read(path, version)
        assert document.read_at is not None
        at = document.read_at - (behind if path in paths else timedelta())
        return replace(document, read_at=at.replace(microsecond=0))

    world.vault.read = dated  # type: ignore[method-assign]


def rotate_compromised(world: World, *, age: float = 0) -> Outcome:
    """What `rotate-now --compromised` does that was made so many seconds ago."""
    fleet = Fleet(world.settings, world.provider, world.vault, threading.Event())  # type: ignore[arg-type]
    asked = Request(Wanted.NOW, RequestKind.COMPROMISED, explicit=True, made_at=time.monotonic() - age)
    (outcome,) = fleet.run(fleet.select(["shop"]), asked)
    return outcome


@pytest.mark.parametrize("publish", [by_rotation, by_hand])
@pytest.mark.parametrize("behind", [timedelta(minutes=5), timedelta(seconds=122)])
@pytest.mark.parametrize("paths", [("apps/shop",), ("rotator/journal/shop",), ("apps/shop", "rotator/journal/shop")])
def test_date_behind_a_version_hides_no_leak(
    publish: Callable[[World], None], behind: timedelta, paths: tuple[str, ...]
) -> None:
    """A proxy dates the answers, or a standby, or the node after a failover: the version is from their future."""
    world = published_two_minutes_ago(publish)
    leaked = world.published
    date_answers(world, behind, *paths)
    outcome = rotate_compromised(world)
    is_recorded = requests.speaks_of(world.journal.request, SecretStr(leaked or ""))
    assert world.published != leaked or is_recorded, outcome


@pytest.mark.parametrize("publish", [by_rotation, by_hand])
def test_request_for_a_replaced_secret_names_its_repetition(publish: Callable[[World], None]) -> None:
    """Clocks that contradict each other can make it late by mistake, and the published secret can have leaked, too."""
    world = published_two_minutes_ago(publish)
    published = world.published
    late = rotate_compromised(world, age=300)
    assert (late.result, world.published) == (Result.OK, published)
    assert late.repeat == Command.of("rotate-now", "shop", "--compromised")
    assert rotate_compromised(world).repeat is None


@pytest.mark.parametrize("published", [False, True])
def test_later_run_keeps_the_repetition(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *, published: bool) -> None:
    """The run that continues made no request of its own. A new secret that it published needs no repetition."""
    repeat = Command.of("rotate-now", "a")
    first = replace(deferred("a"), repeat=repeat)
    later = Outcome("a", Result.OK, published=published, journal=RECORDED)
    ended = outcomes_of(fleet, monkeypatch, a=[lambda _: first, lambda _: later])["a"]
    assert ended.repeat == (None if published else repeat)
