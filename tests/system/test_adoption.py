"""Adoption and ids: one list is never a fact, and nothing that rotator did not publish is revoked unasked."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.emulator import Emulator, running
from tests.model import World
from tests.support import Cluster, eventually
from tests.system.shop import ENOUGH, Shop, assert_ok, new_secret, next_command

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def shop(cluster: Cluster) -> Shop:
    made = Shop(cluster).open()
    made.configure()
    return made


def add_secret(shop: Shop) -> tuple[str, str]:
    """Add a secret in the dashboard; its value and id."""
    value = new_secret()
    shop.cluster.remember(value)
    return value, shop.cluster.emulator.add_secret(shop.api_key, SecretStr(value))


def assert_never_named(shop: Shop, text: str, secret_id: str) -> None:
    """Neither the text nor the journal says that the published secret's id can go."""
    assert secret_id not in shop.journal["unknown_ids"]
    for sentence in text.splitlines():
        if secret_id in sentence:
            assert "did not create" not in sentence and "If you do not need it" not in sentence, sentence


@pytest.mark.parametrize("lists", [1, 3])
def test_adopting_a_new_secret_survives_stale_lists(shop: Shop, lists: int) -> None:
    """B1: whatever the documented commands are told, the published secret stays."""
    old_id = shop.id_of(shop.first)
    value, new_id = add_secret(shop)
    shop.cluster.emulator.faults.add(f"list:stale:{lists}")
    adopted = shop.adopt(value, "--json")
    if lists == 1:  # the second list, under the lease, shows both
        assert next_command(adopted)[-2:] == ["--secret-id", "ID"], adopted
        shop.adopt(value, "--secret-id", new_id)
    else:
        assert shop.published == value
    with shop.consumer():
        rotated = shop.rotate("--json")
        assert_never_named(shop, rotated.out + shop.run("status").out, new_id)
        assert shop.run("resolve", shop.name, "--revoke", new_id).code != 0
        assert shop.run("account", "secrets", "revoke", shop.name, new_id, "--yes").code != 0
        assert set(shop.live) == {old_id, new_id}
        answers = iter([new_id, old_id]) if lists > 1 else iter([old_id])
        while rotated.code:
            (done,) = shop.follow(rotated, {"ID": next(answers), "VALUE": value}, limit=1, until_idle=False)
            rotated = done
    assert shop.published in shop.live.values()
    assert old_id not in shop.live


def test_adoption_of_the_only_listed_secret_needs_no_id(shop: Shop) -> None:
    """With one secret, adoption publishes at once, and a later run completes the document."""
    with shop.cluster.daemon() as daemon:
        daemon.wait_until_ready()
        adopted = shop.adopt(shop.first)
        assert adopted.code == 0, adopted
        assert shop.published == shop.first
        with shop.consumer():
            shop.identify()
            eventually(
                lambda: shop.cluster.document(shop.path).get("secret_id") == shop.id_of(shop.first),
                timeout=ENOUGH,
                what=lambda: daemon,
            )
    assert shop.journal["current_id"]["learned"] == "eliminated"
    assert not shop.journal["retiring"]


def test_adopt_with_a_wrong_id_retires_nothing(shop: Shop) -> None:
    """B2: a mistyped --secret-id used to revoke the published secret a day later."""
    shop.configure(grace="0s")
    old_id = shop.id_of(shop.first)
    value, new_id = add_secret(shop)
    shop.adopt(value, "--secret-id", old_id)
    assert shop.journal["current_id"]["id"] == old_id
    assert shop.journal["retiring"] == []
    with shop.consumer():
        shop.rotate("--due")
        shop.rotate("--due")
    assert set(shop.live) == {old_id, new_id}


def test_adopt_refuses_an_id_answered_to_another(shop: Shop) -> None:
    shop.adopted()
    assert shop.rotate().code == 0
    answered = shop.journal["current_id"]["id"]
    refused = shop.adopt(shop.first, "--secret-id", answered, "--replace")
    assert refused.code == 1, refused
    assert shop.journal["current_id"]["id"] == answered
    assert shop.published != shop.first


def test_adopt_retires_only_what_a_person_names(shop: Shop) -> None:
    shop.configure(grace="0s")
    old_id = shop.id_of(shop.first)
    value, new_id = add_secret(shop)
    assert_ok(shop.adopt(value, "--secret-id", new_id, "--retire", old_id))
    with shop.consumer():
        eventually(lambda: shop.rotate("--due").code == 0 and old_id not in shop.live, timeout=ENOUGH)
    assert list(shop.live) == [new_id]


@pytest.mark.parametrize("lists", [1, 3])
def test_a_list_without_a_retiring_id_forgets_nothing(shop: Shop, lists: int) -> None:
    """B2: one list without a retiring id made rotator forget it."""
    shop.adopted()
    retiring = shop.id_of(shop.first)
    assert shop.rotate().code == 0
    shop.cluster.emulator.faults.add(f"list:lacks:{lists}@id={retiring}")
    with shop.consumer():
        for _ in range(lists):
            shop.rotate("--due")
        assert [entry["id"] for entry in shop.journal["retiring"]] == [retiring]
        # A compromised rotation makes it due: it is revoked, or recorded until it is.
        shop.cluster.emulator.faults.clear()
        shop.cluster.emulator.faults.add(f"list:lacks:1@id={retiring}")
        shop.follow(shop.rotate("--compromised"))
        eventually(lambda: shop.rotate("--due").code == 0 and len(shop.live) == 1, timeout=ENOUGH)
    assert shop.live == {shop.journal["current_id"]["id"]: shop.published}
    assert shop.journal["retiring"] == []


@pytest.mark.parametrize("how", ["stale", "lag"])
def test_a_lost_create_answer_never_publishes_a_strangers_id(cluster: Cluster, how: str) -> None:
    """B2: `ids_before` came from a list that lacked a stranger's id, so that this id looked like the candidate's."""
    emulator = Emulator([], max_secrets=3)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        shop = Shop(cluster).open()
        shop.configure(sections={"account_api": {"max_secrets": 3}}, grace="0s")
        shop.adopted()
        _, stranger = add_secret(shop)
        if how == "stale":
            emulator.faults.add(f"list:lacks:1@id={stranger}", "list:stale:2", "create:drop-after")
        else:
            emulator.faults.add("list:lag:1200ms", "create:drop-after")
        with shop.consumer():
            rotated = shop.rotate()
            emulator.faults.clear()
            named = shop.cluster.document(shop.path).get("secret_id")
            assert named != stranger, rotated
            for _ in range(3):
                shop.rotate("--due")
            assert stranger in shop.live
            assert (shop.journal["current_id"] or {}).get("id") != stranger
            own = shop.id_of(shop.published)
            assert own in shop.live
            assert_never_named(shop, shop.run("status", shop.name).out, own)
            refused = shop.run("resolve", shop.name, "--revoke", own)
            assert refused.code != 0
            assert own in shop.live
        assert stranger in shop.live


def test_bootstrap_retires_nothing(cluster: Cluster) -> None:
    """B2: a secondary whose path has a typo retired the secret that is in use at the right path."""
    parent = Shop(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
    child = Shop(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
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


@pytest.mark.parametrize("lag", [0, 10, 20, 29, 31, 40, 44])
@pytest.mark.parametrize("pause", [1, 15, 30, 60])
def test_elimination_takes_no_wrong_id_while_lists_lag(lag: int, pause: int) -> None:
    """Windows of 30 s, lists that lag up to one and a half of it, runs at any pace."""
    world = World(grace=timedelta())
    world.provider.add("shopkey", "OldSecret0001")
    world.clock.wait(timedelta(days=1))
    own = world.provider.add("shopkey", "NewSecret0001")
    world.provider.listing_lag = timedelta(seconds=lag)
    world.publish("NewSecret0001")
    for _ in range(12):
        world.rotation(explicit=False).run()
        current = world.journal.current
        assert current is None or current.is_pending or current.id == own
        assert own not in world.journal.unknown_ids
        assert not world.journal.retiring
        world.clock.wait(timedelta(seconds=pause))
    assert world.consumer_works()
