"""Nobody gets stuck: the command that a failure names makes progress, and two of them are enough."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.logs import redaction
from rotator.logs.redaction import Redactor
from rotator.provider import Credentials, SecretInfo
from testkit.cluster import Cluster
from testkit.model import World
from tests.system.advice import Reader
from tests.system.deaths import check_revocations, die
from tests.system.harness import ClusterAccount, Gate, assert_ok, kill, new_secret

pytestmark = pytest.mark.timeout(280)

FIRST, BROUGHT = "FirstSecret001", "BroughtSecret01"
REVOKE = ("resolve", "shop", "--revoke")


@pytest.fixture(autouse=True)
def no_foreign_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that another test registered, such as "secret-id", would be masked in the commands that are advised."""
    monkeypatch.setattr(redaction, "redactor", Redactor())


# --- on real servers ---------------------------------------------------------------------------------------------


@pytest.fixture
def shop(cluster: Cluster) -> ClusterAccount:
    """The published secret's id is certain, and it is the only one."""
    made = ClusterAccount(cluster).open()
    made.configure(grace="0s")
    assert_ok(made.adopted().rotate())
    made.configure(grace="1h")
    assert len(made.live) == 1
    return made


@pytest.mark.parametrize("how", ["put into Vault", "adopted"])
def test_account_recovers_when_person_fills_it_beside_candidate(shop: ClusterAccount, how: str) -> None:
    """B5: the run dies after prepare; a person brings a secret of their own, so that the account is full."""
    gate = Gate(hold=lambda call: call.startswith("provider POST"))
    with gate.before(shop.cluster) as env:
        process = shop.cluster.start("rotate-now", shop.name, env=env)
        gate.wait_until_held(process)
        gate.refuse = gate.hold
        kill(process)
    assert shop.journal["candidate"] is not None
    brought = new_secret()
    shop.cluster.remember(brought)
    own = shop.cluster.emulator.add_secret(shop.api_key, SecretStr(brought))
    if how == "adopted":
        shop.adopt(brought, "--secret-id", own, "--replace")
    else:
        shop.put(brought)
    with shop.consumer():
        shop.follow(shop.rotate("--wait", "20s", "--json"), {"ID": own, "VALUE": brought})
    assert shop.journal["candidate"] is None
    assert shop.published in shop.live.values()


def test_account_recovers_when_provider_allows_fewer_secrets(shop: ClusterAccount) -> None:
    """B5: `max_secrets = 3`, and the provider allows 2; one of them is rotator's own retiring secret."""
    shop.configure(grace="1h", sections={"account_api": {"max_secrets": 3}})
    assert_ok(shop.rotate())
    with shop.consumer():
        shop.follow(shop.rotate("--json"))
    assert shop.journal["candidate"] is None
    assert shop.published in shop.live.values()


def test_account_recovers_when_last_slot_is_taken_first(shop: ClusterAccount) -> None:
    """B5: somebody takes the last slot between the list and the create."""
    taken = ""

    def take(call: str) -> bool:
        nonlocal taken
        if call.startswith("provider POST") and not taken:
            taken = shop.cluster.emulator.add_secret(shop.api_key, SecretStr(new_secret()))
        return False

    gate = Gate(hold=take)
    with shop.consumer():
        with gate.before(shop.cluster) as env:
            failed = shop.rotate("--json", env=env)
        done = shop.follow(failed, {"ID": taken})
    assert taken, done
    assert taken not in shop.live, done
    assert shop.journal["candidate"] is None


# --- with a clock of its own -------------------------------------------------------------------------------------


def adopted(**options: Any) -> World:
    """One secret, whose id the provider answered; the grace period is a day from now on."""
    world = World(grace=timedelta(), **options)
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1), patience=timedelta(minutes=5)).run()
    world.clock.wait(timedelta(minutes=5))
    world.rotation().run()
    assert len(world.live) == 1, world.live
    world.grace = timedelta(days=1)
    check_revocations(world)
    return world


def rotated(world: World) -> World:
    """The previous secret is retiring for a day."""
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    assert len(world.journal.retiring) == 1
    world.clock.wait(timedelta(minutes=1))
    return world


def dies_before_its_create(world: World, **wanted: Any) -> None:
    """A rotation dies after it wrote its candidate down; the candidate is never created."""
    asked_at = world.clock() + timedelta(microseconds=1)
    for at in count():
        death = die(world, at, lambda: world.rotation(fresh_after=asked_at, **wanted).run())
        assert death is not None
        if death.name == "create_secret":
            break
        world.clock.wait(timedelta(minutes=5))  # the lease of the dead one
    assert world.journal.candidate is not None


def put_by_hand() -> Reader:
    """The run dies after prepare; a person puts a secret from the dashboard into Vault."""
    world = adopted()
    dies_before_its_create(world)
    own = world.provider.add("shopkey", BROUGHT)
    world.publish(BROUGHT)
    return Reader(world, {"ID": own, "VALUE": BROUGHT})


def adopted_by_hand() -> Reader:
    """The run dies after prepare; a person adopts a secret from the dashboard."""
    world = adopted()
    dies_before_its_create(world)
    world.clock.wait(timedelta(minutes=5))
    own = world.provider.add("shopkey", BROUGHT)
    reader = Reader(world, {"ID": own, "VALUE": BROUGHT})
    reader.run("adopt", "shop", "--secret-id", "ID", "--replace")
    reader.done.clear()
    return reader


def slot_taken() -> Reader:
    """Somebody takes the last slot between the list and the create."""
    return _taken_before_the_create(adopted())


def slot_taken_beside_a_retiring_one() -> Reader:
    """The same with three slots, one of them rotator's own retiring secret's."""
    return _taken_before_the_create(rotated(adopted(max_secrets=3)))


def _taken_before_the_create(world: World) -> Reader:
    create = world.provider.create_secret
    taken: list[str] = []

    def taking(*args: Any) -> Any:
        if not taken:
            taken.append(world.provider.add("shopkey", "TakenSecret001"))
        return create(*args)

    world.provider.create_secret = taking  # type: ignore[method-assign, assignment]
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    assert taken
    return Reader(world, {"ID": taken[0], "VALUE": world.published or ""})


def fewer_allowed() -> Reader:
    """`max_secrets = 3`, and the provider allows two."""
    world = adopted(max_secrets=3)
    world.provider.max_secrets = 2
    rotated(world)
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    return Reader(world, {"ID": world.journal.retiring[0].id, "VALUE": world.published or ""})


def full_of_its_own() -> Reader:
    """The last rotation's secret is retiring, and there are two slots."""
    world = rotated(adopted())
    return Reader(world, {"ID": world.journal.retiring[0].id, "VALUE": world.published or ""})


def dead_candidate_in_a_full_account() -> Reader:
    """The run dies after prepare while a stranger takes the slot."""
    world = adopted()
    dies_before_its_create(world)
    taken = world.provider.add("shopkey", "TakenSecret001")
    return Reader(world, {"ID": taken, "VALUE": world.published or ""})


def unknown_secret() -> Reader:
    """Somebody added a secret in the dashboard."""
    world = adopted()
    taken = world.provider.add("shopkey", "TakenSecret001")
    return Reader(world, {"ID": taken, "VALUE": world.published or ""})


def in_doubt() -> Reader:
    """The published secret's id was eliminated, and there is another secret."""
    world = World(grace=timedelta(days=1))
    world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    world.identify()
    check_revocations(world)
    world.provider.add("shopkey", "TakenSecret001")
    return Reader(world, {"ID": "id-001", "VALUE": FIRST})


def never_verifies() -> Reader:
    """A candidate that is listed, and never authenticates."""
    world = adopted()
    create, real = world.provider.create_secret, world.provider.authenticates
    dead: list[str] = []

    def created(auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        dead.extend([] if dead else [secret.get_secret_value()])
        return create(auth, api_key, secret)

    def authenticates(api_key: str, value: str) -> bool:
        return value not in dead and real(api_key, value)

    world.provider.create_secret = created  # type: ignore[method-assign]
    world.provider.authenticates = authenticates  # type: ignore[method-assign]
    reader = Reader(world, {"VALUE": world.published or ""})
    reader.run("rotate-now", "shop")
    assert reader.done[-1].code == "unverified", reader
    reader.done.clear()
    reader.answers = {**reader.answers, "ID": max(world.live)}
    return reader


def published_revoked_by_hand(*, secondary: bool) -> Reader:
    """Somebody revoked the published secret in the dashboard; the previous one is retiring and still works."""
    world = rotated(adopted(secondary=secondary))
    world.provider.remove("shopkey", world.journal.current_id)
    value = next(iter(world.live.values()))
    return Reader(world, {"ID": min(world.live), "VALUE": value})


def only_strangers_left(*, secondary: bool) -> Reader:
    """Somebody replaced every secret in the dashboard, and the account is full."""
    world = adopted(secondary=secondary)
    [first] = world.live
    world.provider.add("shopkey", BROUGHT)
    world.provider.remove("shopkey", first)
    world.provider.add("shopkey", "TakenSecret001")
    return Reader(world, {"ID": min(world.live), "VALUE": BROUGHT})


@pytest.mark.parametrize("options", [(), ("--force",), ("--compromised",), ("--due",)], ids=" ".join)
@pytest.mark.parametrize("secondary", [False, True], ids=["with its own secrets", "with a primary"])
@pytest.mark.parametrize("stuck", [published_revoked_by_hand, only_strangers_left])
def test_advised_commands_repair_a_refused_secret(
    stuck: Callable[..., Reader], options: tuple[str, ...], secondary: bool
) -> None:
    """Consumers have an outage to begin with. The advice ends it; each time it needs another thing of a person."""
    reader = stuck(secondary=secondary)
    ended = reader.run("rotate-now", "shop", *options)
    for _ in range(3):
        if ended.ok and reader.world.consumer_works():
            break
        assert ended.next_command, reader
        ended = reader.run(*ended.next_command)
    assert reader.world.consumer_works(), reader
    assert reader.world.journal.candidate is None, reader
    assert len({ended.code for ended in reader.done}) == len(reader.done) <= 4, reader


STUCK: list[Callable[[], Reader]] = [
    put_by_hand,
    adopted_by_hand,
    slot_taken,
    slot_taken_beside_a_retiring_one,
    fewer_allowed,
    full_of_its_own,
    dead_candidate_in_a_full_account,
    unknown_secret,
    in_doubt,
    never_verifies,
]


@pytest.mark.parametrize("options", [(), ("--force",), ("--compromised",)], ids=["plain", "force", "compromised"])
@pytest.mark.parametrize("stuck", STUCK, ids=lambda stuck: stuck.__name__)
@pytest.mark.parametrize("later", [timedelta(), timedelta(minutes=10)], ids=["at once", "later"])
def test_advised_commands_let_the_account_recover(
    stuck: Callable[[], Reader], options: tuple[str, ...], later: timedelta
) -> None:
    reader = stuck()
    world = reader.world
    world.clock.wait(later)
    before = world.published
    done = reader.follow("rotate-now", "shop", *options)
    assert world.consumer_works()
    assert world.journal.candidate is None, reader
    if options:
        assert world.published != before, reader
    if options == ("--compromised",):
        world.clock.wait(timedelta(minutes=10))
        for _ in range(4):
            world.rotation(explicit=False).run()
            world.clock.wait(timedelta(minutes=1))
        assert before not in world.live.values(), reader
    assert len(done) <= 3


@pytest.mark.parametrize("stuck", [put_by_hand, adopted_by_hand, fewer_allowed, full_of_its_own])
@pytest.mark.parametrize("options", [("--force",), ("--compromised",)], ids=["force", "compromised"])
def test_force_and_compromised_recover_account_with_one_command(
    stuck: Callable[[], Reader], options: tuple[str, ...]
) -> None:
    reader = stuck()
    reader.world.clock.wait(timedelta(minutes=10))
    done = reader.follow("rotate-now", "shop", *options, limit=1)
    assert reader.world.journal.candidate is None, reader
    assert len(done) <= 2


@pytest.mark.parametrize("stuck", STUCK, ids=lambda stuck: stuck.__name__)
def test_resolve_and_revoke_advise_different_commands(stuck: Callable[[], Reader]) -> None:
    """From `resolve` on, the advice leads out as well."""
    reader = stuck()
    reader.world.clock.wait(timedelta(minutes=10))
    reader.follow("resolve", "shop", limit=3)
    assert reader.world.consumer_works()
