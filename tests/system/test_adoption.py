"""Adoption and ids: one list is never a fact, and nothing that rotator did not publish is revoked unasked."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.emulator import Emulator, running
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, Result
from testkit.cluster import Cluster, eventually
from testkit.model import World
from tests.system.advice import CannotGoError, Reader
from tests.system.deaths import check_revocations
from tests.system.harness import ENOUGH, ClusterAccount, assert_ok, new_secret, next_command

pytestmark = pytest.mark.timeout(280)

OLD, NEW = "OldSecret0001", "NewSecret0001"


@pytest.fixture
def shop(cluster: Cluster) -> ClusterAccount:
    made = ClusterAccount(cluster).open()
    made.configure()
    return made


def add_secret(shop: ClusterAccount) -> tuple[str, str]:
    """Add a secret in the dashboard; its value and id."""
    value = new_secret()
    shop.cluster.remember(value)
    return value, shop.cluster.emulator.add_secret(shop.api_key, SecretStr(value))


def assert_never_named(shop: ClusterAccount, text: str, secret_id: str) -> None:
    """Neither the text nor the journal says that the published secret's id can go."""
    assert secret_id not in shop.journal["unknown_ids"]
    for sentence in text.splitlines():
        if secret_id in sentence:
            assert "did not create" not in sentence, sentence
            assert "Then revoke it" not in sentence, sentence


def test_adopting_a_new_secret_survives_stale_lists(shop: ClusterAccount) -> None:
    """B1: whatever the documented commands are told, the published secret stays."""
    old_id = shop.id_of(shop.first)
    value, new_id = add_secret(shop)
    shop.cluster.emulator.faults.add("list:stale:3")
    shop.adopt(value)
    assert shop.published == value
    with shop.consumer():
        rotated = shop.rotate("--json")
        assert_never_named(shop, rotated.out + shop.run("status").out, new_id)
        assert shop.run("resolve", shop.name, "--revoke", new_id).code != 0
        assert shop.run("account", "secrets", "revoke", shop.name, new_id, "--yes").code != 0
        assert set(shop.live) == {old_id, new_id}
        (adopted,) = shop.follow(rotated, {"ID": new_id, "VALUE": value}, limit=1)
        assert next_command(adopted) == ["rotate-now", shop.name, "--force"], "the account has no room for the request"
        assert set(shop.live) == {old_id, new_id}
        assert_ok(shop.rotate("--force"))
    assert shop.published in shop.live.values()
    assert old_id not in shop.live


def test_adopt_needs_no_id_when_one_is_listed(shop: ClusterAccount) -> None:
    """With one secret, adoption publishes at once, and a daemon completes the document."""
    with shop.cluster.daemon() as daemon:
        daemon.wait_until_ready()
        assert_ok(shop.adopt(shop.first))
        assert shop.published == shop.first
        with shop.consumer():
            eventually(
                lambda: shop.cluster.document(shop.path).get("secret_id") == shop.id_of(shop.first),
                timeout=ENOUGH,
                what=lambda: daemon,
            )
    assert shop.journal["current_id"]["learned"] == "eliminated"
    assert not shop.journal["retiring"]


def test_adopt_trusts_no_copied_id(shop: ClusterAccount) -> None:
    """A person wrote version 1 with the value of one secret, and left the id of another from a copied document."""
    old_id = shop.id_of(shop.first)
    value, new_id = add_secret(shop)
    fields = {"api_key": shop.api_key, "secret_id": old_id, "rotated_at": "2026-01-01T00:00:00Z"}
    shop.cluster.put(shop.path, {**fields, "api_secret": value})
    with shop.consumer():
        refused = shop.adopt(shop.first, "--replace")
        assert refused.code == 1, refused
        assert next_command(refused)[:2] == ["adopt", shop.name]
        assert shop.published == value
        shop.adopt(shop.first, "--replace", "--secret-id", old_id, "--retire", new_id)
        assert shop.published == shop.first
        assert_never_named(shop, shop.run("status").out, old_id)
        assert shop.run("resolve", shop.name, "--revoke", old_id).code != 0
        eventually(lambda: shop.rotate("--due").code == 0, timeout=ENOUGH)
    assert old_id in shop.live


def test_lost_create_answer_publishes_no_unknown_id(cluster: Cluster) -> None:
    """B2: `ids_before` came from a list that lacked a stranger's id, so that this id looked like the candidate's."""
    emulator = Emulator([], max_secrets=3)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        shop = ClusterAccount(cluster).open()
        shop.configure(sections={"account_api": {"max_secrets": 3}}, grace="0s")
        shop.adopted()
        _, stranger = add_secret(shop)
        emulator.faults.add("list:lag:1200ms", "create:drop-after")
        with shop.consumer():
            rotated = shop.rotate()
            emulator.faults.clear()
            named = shop.cluster.document(shop.path).get("secret_id")
            assert named != stranger, rotated
            shop.rotate("--due", "--wait", "5s")
            assert stranger in shop.live
            assert (shop.journal["current_id"] or {}).get("id") != stranger
            own = shop.id_of(shop.published)
            assert own in shop.live
            assert_never_named(shop, shop.run("status", shop.name).out, own)
            refused = shop.run("resolve", shop.name, "--revoke", own)
            assert refused.code != 0
            assert own in shop.live
        assert stranger in shop.live


def test_adoption_beside_unfinished_rotation_is_deferred(cluster: Cluster) -> None:
    """The account has no room for the candidate that waits: that is not done, and no request is withdrawn."""
    emulator = Emulator([], max_secrets=3)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        shop = ClusterAccount(cluster).open()
        shop.configure(sections={"account_api": {"max_secrets": 3}})
        shop.adopted()
        assert_ok(shop.rotate())
        emulator.faults.add("create:503:*")
        assert shop.rotate().code == 1
        shop.configure(sections={"account_api": {"max_secrets": 2}})
        adopted = shop.run("adopt", shop.name, "--secret-stdin", text=f"{shop.published}\n")
    assert adopted.code == 3, adopted.out
    assert "withdrawn" not in adopted.out
    assert "candidate" in shop.journal


def test_bootstrap_retires_nothing(cluster: Cluster) -> None:
    """B2: a secondary whose path has a typo retired the secret that is in use at the right path."""
    parent = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
    child = ClusterAccount(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
    child.put(child.first)
    others = {"name": parent.name, "api_key": parent.api_key, "path": parent.path}
    child.configure(others, path="apps/chidl", primary=parent.name, grace="0s")
    parent.adopted()
    in_use = child.id_of(child.first)
    with child.consumer():
        child.rotate()
        assert child.cluster.document("apps/chidl")["api_secret"] in child.live.values()
        assert child.journal["retiring"] == []
        child.rotate("--due")
        child.rotate("--due")
    assert in_use in child.live


# --- with a clock of its own -------------------------------------------------------------------------------------


def two_secrets(*, grace: timedelta = timedelta(), published: str | None = None) -> World:
    """An account with an old and a new secret."""
    world = World(grace=grace)
    world.provider.add("shopkey", OLD)
    world.clock.wait(timedelta(days=1))
    world.provider.add("shopkey", NEW)
    check_revocations(world)
    if published is not None:
        world.publish(published)
    return world


def adopt(world: World, value: str, secret_id: str | None = None, **options: Any) -> Outcome:
    return Operator(world.rotation()).adopt(SecretStr(value), secret_id, **options)


def run_for_a_day(world: World) -> None:
    """Scheduled runs, at every pace."""
    for pause in (1, 15, 16, 31, 600, 3600, 43_200, 86_400):
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(seconds=pause))
    world.rotation().run()


def hide(world: World, id_: str, lists: int) -> None:
    """Let the next lists lack an id."""
    real, left = world.provider.list_secrets, iter(range(lists))

    def lacking(*args: Any) -> Any:
        found = real(*args)
        return found if next(left, None) is None else tuple(info for info in found if info.id != id_)

    world.provider.list_secrets = lacking  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("lists", range(7))
@pytest.mark.parametrize("hidden", ["id-001", "id-002"])
@pytest.mark.parametrize("value", [OLD, NEW])
def test_adoption_survives_lists_that_lack_an_id(lists: int, hidden: str, value: str) -> None:
    """Whatever rotator takes for the id: nothing is revoked, and the value's own id is never offered."""
    world = two_secrets()
    own = next(id_ for id_, live in world.live.items() if live == value)
    hide(world, hidden, lists)
    with suppress(RotatorError):
        adopt(world, value)
    for _ in range(6):
        world.clock.wait(timedelta(minutes=1))
        reader = Reader(world, {"ID": own, "VALUE": value})
        for command in (("rotate-now", "shop", "--due"), ("resolve", "shop", "--revoke", own)):
            with suppress(CannotGoError):
                reader.run(*command)
            assert own not in world.journal.unknown_ids
            assert own in world.live
    assert set(world.live) == {"id-001", "id-002"}, "something was revoked unasked"


def test_adopt_with_a_wrong_id_retires_nothing() -> None:
    """B2: a mistyped --secret-id used to revoke the published secret a day later."""
    world = two_secrets()
    adopt(world, NEW, "id-001")
    assert world.journal.current_id == "id-001"
    run_for_a_day(world)
    assert set(world.live) == {"id-001", "id-002"}
    assert world.consumer_works()


def test_adopt_refuses_an_id_answered_to_another() -> None:
    world = World(grace=timedelta(hours=1))
    world.provider.add("shopkey", OLD)
    world.publish(OLD)
    world.identify()
    world.rotation(fresh_after=world.clock() + timedelta(microseconds=1)).run()
    answered, published = world.journal.current_id, world.published
    with pytest.raises(RotatorError, match="belongs to another secret"):
        adopt(world, OLD, answered, replace_working=True)
    assert world.journal.current_id == answered
    assert world.published == published


def test_adopt_retires_named_ids_only() -> None:
    world = two_secrets(grace=timedelta(minutes=5))
    outcome = adopt(world, NEW, "id-002", retire={"id-001"})
    assert outcome.result is Result.OK
    assert [entry.id for entry in world.journal.retiring] == ["id-001"]
    run_for_a_day(world)
    assert set(world.live) == {"id-002"}


@pytest.mark.parametrize("lists", [1, 3, 6])
@pytest.mark.parametrize("compromised", [False, True])
def test_list_without_a_retiring_id_forgets_nothing(lists: int, compromised: bool) -> None:
    """B2: one list without a retiring id made rotator forget it, compromised or not."""
    world = World(grace=timedelta(hours=1))
    world.provider.add("shopkey", OLD)
    world.publish(OLD)
    world.identify()
    check_revocations(world)
    hide(world, "id-001", 0)
    asked_at = world.clock() + timedelta(microseconds=1)
    world.rotation(fresh_after=asked_at, compromised=compromised, revoke=False).run()
    hide(world, "id-001", lists)
    for _ in range(lists):
        world.rotation(explicit=False).run()
        assert world.journal.retiring_ids == {"id-001"}
        world.clock.wait(timedelta(seconds=1))
    run_for_a_day(world)
    assert set(world.live) == {"id-002"}


@pytest.mark.parametrize("lag", [0, 10, 20, 29, 31, 40, 44])
@pytest.mark.parametrize("pause", [1, 15, 30, 60])
def test_elimination_takes_no_wrong_id_while_lists_lag(lag: int, pause: int) -> None:
    """Windows of 30 s, lists that lag up to one and a half of it, runs at any pace."""
    world = World(grace=timedelta())
    world.provider.add("shopkey", OLD)
    world.clock.wait(timedelta(days=1))
    own = world.provider.add("shopkey", NEW)
    world.provider.listing_lag = timedelta(seconds=lag)
    world.publish(NEW)
    for _ in range(12):
        world.rotation(explicit=False).run()
        current = world.journal.current
        assert current is None or current.is_pending or current.id == own
        assert own not in world.journal.unknown_ids
        assert not world.journal.retiring
        world.clock.wait(timedelta(seconds=pause))
    assert world.consumer_works()


def test_adoption_does_not_wait_for_lists() -> None:
    """The ordinary adoption takes no longer than its requests, whatever the command may wait for."""
    world = World()
    world.provider.add("shopkey", OLD)
    began = world.clock()
    outcome = Operator(world.rotation(patience=timedelta(minutes=10))).adopt(SecretStr(OLD), None)
    assert outcome.result is Result.OK
    assert world.clock() == began
    assert world.published == OLD
