"""What a person asked for is carried out, whoever was asked and whatever happened to them."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from rotator.core.protocol import RequestKind
from rotator.rotation import Result
from testkit.cluster import Cluster, Consumer, Finished, Process, eventually
from testkit.model import World
from tests.system.deaths import check_revocations, die
from tests.system.harness import ENOUGH, ClusterAccount, Gate, assert_ok, new_secret, writes_to

pytestmark = pytest.mark.timeout(280)

FIRST = "FirstSecret001"


# --- a provider that can be stopped ------------------------------------------------------------------------------


@dataclass
class Provider:
    """The Account API in a process of its own."""

    process: Process
    url: str

    def send(self, number: signal.Signals) -> None:
        self.process.popen.send_signal(number)

    def requests(self, operation: str) -> int:
        found = httpx.get(f"{self.url}/_emulator/requests", timeout=ENOUGH).json()["requests"]
        return sum(entry["operation"] == operation for entry in found)

    def ids(self, api_key: str, secret: str) -> list[str]:
        """The ids that a secret lists."""
        answer = httpx.get(f"{self.url}/accounts/{api_key}/secrets", auth=(api_key, secret), timeout=ENOUGH)
        return [entry["id"] for entry in answer.json()["_embedded"]["secrets"]]


class DistantConsumer(Consumer):
    """It asks a provider in another process. No answer says nothing about the secret."""

    url: str = ""

    def _works(self, secret: str) -> bool:
        try:
            answer = httpx.get(f"{self.url}/accounts/{self.api_key}/secrets", auth=(self.api_key, secret), timeout=2)
        except httpx.TransportError:
            return True
        return answer.status_code != httpx.codes.UNAUTHORIZED


@contextmanager
def provider_process(shop: ClusterAccount) -> Iterator[Provider]:
    """Serve the shop's account from another process, which ends with the block."""
    process = shop.cluster.start("emulator", "--port", "0", "--account", f"{shop.api_key}:{shop.first}")
    assert process.popen.stdout is not None
    try:
        line = process.popen.stdout.readline()
        yield Provider(process, line.split(" at ")[1].split()[0])
    finally:
        process.popen.send_signal(signal.SIGCONT)
        process.popen.send_signal(signal.SIGTERM)
        process.finish()


@pytest.mark.parametrize("by", ["command", "daemon"])
def test_compromised_request_outlives_an_unavailable_provider(cluster: Cluster, by: str) -> None:
    """B4: the provider is stopped, `--compromised` fails; once it is back, the leaked secret goes."""
    shop = ClusterAccount(cluster)
    with provider_process(shop) as provider:
        cluster.api_url = provider.url
        cluster.remember(shop.first)
        shop.configure()
        [leaked] = provider.ids(shop.api_key, shop.first)
        assert_ok(shop.adopt(shop.first, "--secret-id", leaked))
        with cluster.daemon() if by == "daemon" else _nothing() as daemon:
            if daemon is not None:
                daemon.wait_until_ready()
            consumer = DistantConsumer(cluster, shop.api_key, shop.path)
            consumer.url = provider.url
            with consumer:
                provider.send(signal.SIGSTOP)
                failed = shop.rotate("--compromised", "--json")
                provider.send(signal.SIGCONT)
                assert failed.code in (1, 3), failed
                request = shop.journal["request"]
                assert request["kind"] == "compromised"
                assert request["of"]["id"] == leaked
                if daemon is None:
                    _be_patient(shop, lambda: shop.rotate("--due"))
                eventually(lambda: shop.journal["request"] is None, timeout=90, what=lambda: daemon)
            assert not consumer.failures, consumer.failures
        secret = shop.published or ""
        cluster.remember(secret)
        assert secret != shop.first
        assert leaked not in provider.ids(shop.api_key, secret)
        assert provider.requests("create") <= 2


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _be_patient(shop: ClusterAccount, run: Any) -> None:
    """Run until the request is done; a scheduled run waits for the next attempt that the journal names."""

    def done() -> bool:
        finished: Finished = run()
        waits = "backoff" in finished.out
        if waits:
            bring_forward(shop)
        return shop.journal["request"] is None

    eventually(done, timeout=ENOUGH, what=lambda: shop.journal)


def bring_forward(shop: ClusterAccount) -> None:
    """Let the time until the next attempt be over."""
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    shop.cluster.put(f"rotator/journal/{shop.name}", shop.journal | {"next_attempt_at": past})


# --- on real servers ---------------------------------------------------------------------------------------------


def test_compromised_request_takes_over_a_waiting_candidate(shop: ClusterAccount) -> None:
    """B4: a scheduled candidate waits; `--compromised` is killed right after it published: no day of grace."""
    leaked = shop.id_of(shop.first)
    shop.configure(verify_timeout="1s")
    shop.cluster.emulator.faults.add("create:unverified@6s")
    assert shop.rotate().code != 0
    assert shop.journal["candidate"] is not None
    gate = Gate(hold=lambda call: False)
    journal = f"rotator/journal/{shop.name}"
    published: list[str] = []

    def after_publish(call: str) -> bool:
        if writes_to(shop.path)(call):
            published.append(call)
        return bool(published) and writes_to(journal)(call)

    gate.refuse = after_publish
    with shop.consumer():
        with gate.before(shop.cluster) as env:
            eventually(lambda: bool(published) or shop.rotate("--compromised", env=env).code == 0, timeout=ENOUGH)
        assert shop.published != shop.first
        assert leaked in shop.live
        eventually(lambda: shop.rotate("--due", "--wait", "10s").code == 0 and leaked not in shop.live, timeout=ENOUGH)
    assert list(shop.live.values()) == [shop.published]
    assert shop.journal["request"] is None


def test_daemon_serves_compromised_request_when_breaker_is_open(shop: ClusterAccount) -> None:
    """The brake defers rotations by schedule. A leaked secret does not wait for it."""
    other = ClusterAccount(shop.cluster, api_key="otherky1", path="apps/other", name="other").open()
    brake = {"daemon.circuit_breaker": {"failures": 1, "window": 1, "cooldown": "2h"}}
    shop.configure({"name": other.name, "api_key": other.api_key, "path": other.path}, sections=brake)
    other.adopted()
    shop.cluster.age(other.name, timedelta(days=60))
    leaked = shop.id_of(shop.first)
    shop.cluster.emulator.faults.add("any:503:*")
    with shop.cluster.daemon() as daemon, shop.consumer():
        daemon.wait_for("circuit_breaker.opened")
        assert shop.rotate("--compromised").code == 1
        shop.cluster.emulator.faults.clear()
        bring_forward(shop)
        daemon.wait_for("rotation.revoked", account=shop.name, secret_id=leaked, timeout=ENOUGH)
        assert daemon.find("circuit_breaker.closed") == []
    assert other.published == other.first


def test_compromised_request_runs_when_a_date_lies_ahead(shop: ClusterAccount) -> None:
    """B4: it ended with exit code 3, "clock"."""
    leaked = shop.id_of(shop.first)
    ahead = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    shop.cluster.put(f"rotator/journal/{shop.name}", shop.journal | {"rotated_at": ahead})
    with shop.consumer():
        assert_ok(shop.rotate("--compromised"))
    assert leaked not in shop.live
    assert list(shop.live.values()) == [shop.published]


def test_simultaneous_compromised_commands_rotate_once(shop: ClusterAccount) -> None:
    """Both mean the secret that was published when they asked: the second asks while the first creates."""
    shop.configure(sections={"account_api": {"timeout": "1m"}, "daemon": {"lease": "5m"}})
    gate = Gate(hold=lambda call: call.startswith("provider POST"))
    with shop.consumer(), gate.before(shop.cluster) as env:
        creating = shop.cluster.start("rotate-now", shop.name, "--compromised", env=env)
        gate.wait_until_held(creating)
        second = shop.rotate("--compromised", "--wait", "0s")
        gate.open()
        assert_ok(creating.finish())
        assert_ok(shop.rotate("--due"))
    assert second.code == 3, second
    creates = sum(entry.operation == "create" and entry.status == 201 for entry in shop.cluster.emulator.requests)
    assert creates == 1
    assert list(shop.live.values()) == [shop.published]
    assert shop.journal["request"] is None


@pytest.mark.parametrize("option", [(), ("--compromised",)], ids=["plain", "compromised"])
def test_command_rotates_nothing_when_rotation_published_meanwhile(
    shop: ClusterAccount, option: tuple[str, ...]
) -> None:
    """It looks only after the leaked secret was replaced. If that one is in its grace period, it is revoked at once."""
    leaked = shop.id_of(shop.first)
    gate = Gate(hold=lambda call: call.startswith("vault "))
    with shop.consumer():
        with gate.before(shop.cluster) as env:
            second = shop.cluster.start("rotate-now", shop.name, "--compromised", env=env)
            gate.wait_until_held(second)
            begun = datetime.now(UTC)
            eventually(lambda: datetime.now(UTC) > begun + timedelta(seconds=2))  # Vault tells whole seconds
            assert_ok(shop.rotate(*option))
            published = shop.published
            gate.open()
            finished = second.finish()
            assert_ok(finished)
            assert "Another secret was published before the request was recorded" in finished.out
        assert shop.published == published
        assert leaked not in shop.live
        assert_ok(shop.rotate("--compromised"))
        assert shop.published != published, "a command of now speaks of the new secret"
    creates = sum(entry.operation == "create" and entry.status == 201 for entry in shop.cluster.emulator.requests)
    assert creates == 2


def test_edit_after_a_command_is_no_replacement(shop: ClusterAccount) -> None:
    """A version that contains the same secret was written since: the command speaks of the secret."""
    gate = Gate(hold=lambda call: call.startswith("vault "))
    with shop.consumer(), gate.before(shop.cluster) as env:
        command = shop.cluster.start("rotate-now", shop.name, "--compromised", env=env)
        gate.wait_until_held(command)
        begun = datetime.now(UTC)
        eventually(lambda: datetime.now(UTC) > begun + timedelta(seconds=2))
        shop.put(shop.first, owner="team b")
        gate.open()
        assert_ok(command.finish())
    assert shop.published != shop.first
    assert list(shop.live.values()) == [shop.published]


def test_request_under_another_lease_is_carried_out(shop: ClusterAccount) -> None:
    leaked = shop.id_of(shop.first)
    until = datetime.now(UTC) + timedelta(minutes=30)
    lease = {"holder": "elsewhere/1/00000000", "lease_until": until.isoformat()}
    shop.cluster.put(f"rotator/journal/{shop.name}", shop.journal | lease)
    deferred = shop.rotate("--compromised", "--wait", "0s")
    assert deferred.code == 3, deferred
    journal = shop.journal
    assert journal["request"]["kind"] == "compromised"
    assert journal["holder"] == lease["holder"]
    shop.cluster.put(f"rotator/journal/{shop.name}", journal | {"holder": None, "lease_until": None})
    with shop.consumer():
        assert_ok(shop.rotate("--due"))
    assert leaked not in shop.live
    assert shop.journal["request"] is None


def test_leaked_candidate_is_revoked_after_a_rollback(shop: ClusterAccount) -> None:
    """A run publishes its candidate and dies. It leaks, and you go back to the previous version by hand."""
    journal_path = f"rotator/journal/{shop.name}"
    before = shop.cluster.document(shop.path)
    gate = Gate(refuse=lambda call: shop.published != shop.first and writes_to(journal_path)(call))
    with shop.consumer():
        with gate.before(shop.cluster) as env:
            assert shop.rotate(env=env).code == 1
        leaked = shop.published or ""
        shop.cluster.remember(leaked)
        assert leaked != shop.first
        lease = {"lease_until": (datetime.now(UTC) + timedelta(minutes=30)).isoformat()}
        shop.cluster.put(journal_path, shop.journal | lease)
        assert shop.rotate("--compromised", "--wait", "0s").code == 3
        shop.cluster.put(shop.path, before)
        shop.cluster.put(journal_path, shop.journal | {"holder": None, "lease_until": None})
        for _ in range(2):
            assert_ok(shop.rotate("--due", "--wait", "20s"))
            assert shop.published == shop.first
    assert list(shop.live.values()) == [shop.first]
    assert shop.journal["request"] is None


def test_deferred_manual_request_is_withdrawn(shop: ClusterAccount) -> None:
    """The account's own rules defer it: that is said, and nobody is surprised by a rotation later."""
    assert_ok(shop.rotate())
    full = shop.rotate("--json")
    assert full.code == 3, full
    assert full.json["accounts"][0]["reason"] == "full"
    assert shop.journal["request"] is None
    published = shop.published
    assert_ok(shop.rotate("--due"))
    assert shop.published == published


def test_request_is_reported_lost_when_not_recorded(shop: ClusterAccount) -> None:
    before = shop.live
    gate = Gate(refuse=writes_to(f"rotator/journal/{shop.name}"))
    with gate.before(shop.cluster) as env:
        failed = shop.rotate("--compromised", env=env)
    assert failed.code == 1, failed
    assert "The request might not be recorded. Run the command again" in failed.out, failed.out
    assert shop.live == before
    assert shop.journal["request"] is None


def test_request_is_unrecorded_beside_one_for_another_secret(shop: ClusterAccount) -> None:
    """The revocation of a compromised secret gets no answer, and its request stays. Then the next secret leaks."""
    assert_ok(shop.rotate("--due", "--wait", "20s"))
    with Gate(refuse=lambda call: " DELETE " in call).before(shop.cluster) as env:
        assert shop.rotate("--compromised", env=env).code == 1
    request = shop.journal["request"]
    leaked = shop.published
    gate = Gate(refuse=writes_to(f"rotator/journal/{shop.name}"))
    with gate.before(shop.cluster) as env:
        failed = shop.rotate("--compromised", env=env)
        (account,) = shop.rotate("--json", env=env).json["accounts"]
    assert failed.code == 1, failed
    assert "The request might not be recorded. Run the command again" in failed.out, failed.out
    assert shop.journal["request"] == request
    assert (account["request"]["id"], account["request_recorded"]) == (request["id"], None)
    assert_ok(shop.rotate("--compromised", "--wait", "20s"))
    assert leaked not in shop.live.values()


def test_edit_of_another_field_is_no_replacement(shop: ClusterAccount) -> None:
    """A request speaks of a secret. It stays when somebody changes another field of the document."""
    shop.cluster.emulator.faults.add("any:503:*")
    assert shop.rotate("--force").code == 1
    request = shop.journal["request"]
    shop.put(shop.first, owner="team b")
    shop.cluster.emulator.faults.clear()
    bring_forward(shop)
    with shop.consumer():
        assert_ok(shop.rotate("--due", "--wait", "10s"))
    assert request is not None
    assert request["kind"] == "force"
    assert shop.published != shop.first
    assert shop.cluster.document(shop.path)["owner"] == "team b"


# --- with a clock of its own -------------------------------------------------------------------------------------


def adopted() -> World:
    world = World(grace=timedelta(hours=1))
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    check_revocations(world)
    return world


@pytest.mark.parametrize("fate", ["dropped", "carried out", "carried out late"])
@pytest.mark.parametrize("before", ["idle", "overlap"])
def test_compromised_request_survives_a_kill_at_every_request(fate: str, before: str) -> None:
    """A scheduled run completes what the dead command was asked for, if the request had been recorded."""
    for at in count():
        world = adopted()
        if before == "overlap":
            world.rotation(fresh_after=world.clock()).run()
            world.clock.wait(timedelta(minutes=1))
        leaked = world.published
        death = die(world, at, lambda: world.rotation(fresh_after=world.clock(), compromised=True).run())  # noqa: B023
        if death is None:
            break
        assert death.last is not None
        if fate == "carried out":
            death.last()
        recorded = world.journal.request is not None
        if recorded:
            assert world.journal.request.kind is RequestKind.COMPROMISED
        world.clock.wait(timedelta(minutes=4))
        world.rotation(explicit=False).run()
        if fate == "carried out late":
            death.last()
        for _ in range(8):
            world.clock.wait(timedelta(minutes=4))
            world.rotation(explicit=False).run()
            assert world.consumer_works()
        if recorded or world.published != leaked:
            assert leaked not in world.live.values(), (at, death.name)
            assert list(world.live.values()) == [world.published]
            assert world.journal.request is None
    assert at > 10


@pytest.mark.parametrize("fault", ["lost-before", "lost-after", "late"])
def test_compromised_request_survives_lost_answers(fault: str) -> None:
    """The answer of the create, then that of the revocation, is lost; a late create lands at the worst moment."""
    for target in ("create_secret", "revoke_secret"):
        world = adopted()
        original = getattr(world.provider, target)

        def spoiled(*args: Any, original: Any = original, world: World = world, target: str = target) -> Any:
            setattr(world.provider, target, original)
            world.provider.fault = fault
            return original(*args)

        setattr(world.provider, target, spoiled)
        world.rotation(fresh_after=world.clock(), compromised=True).run()
        for _ in range(8):
            world.clock.wait(timedelta(seconds=35))
            if world.provider.late:
                world.provider.land()
            world.rotation(explicit=False).run()
            assert world.consumer_works()
        assert FIRST not in world.live.values()


def test_stronger_request_replaces_a_weaker_one() -> None:
    world = adopted()
    world.provider.refusals = 10_000
    seen = []
    for kind in ("plain", "force", "compromised", "force"):
        wanted = {} if kind == "plain" else {kind: True}
        world.rotation(fresh_after=world.clock(), **wanted).run()
        request = world.journal.request
        seen.append(None if request is None else request.kind)
        world.clock.wait(timedelta(hours=2))
    assert seen[1:] == [RequestKind.FORCE, RequestKind.COMPROMISED, RequestKind.COMPROMISED]
    world.provider.refusals = 0
    outcome = world.rotation(explicit=False).run()
    assert outcome.result is Result.OK
    assert list(world.live.values()) == [world.published]


def test_done_request_starts_no_rotation() -> None:
    """A request begins a rotation only while its secret is published, whatever clocks say."""
    world = adopted()
    world.rotation(fresh_after=world.clock(), compromised=True).run()
    published = world.published
    for ahead in (timedelta(hours=-2), timedelta(), timedelta(hours=2)):
        world.ahead = ahead
        world.rotation(explicit=False).run()
        assert world.published == published
    assert json.dumps(world.journal.request) == "null"
    assert new_secret() != published
