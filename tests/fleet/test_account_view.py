"""Which listed secret is the published one: the view says what the protocol knows, and no more."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.core.protocol import Create
from rotator.fleet import Fleet, look, read_status
from testkit.model import World
from tests.rotation.worlds import FIRST, run_until

BY_HAND = "ByHand00000001"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with an adopted account whose secret rotator created."""
    made = World(grace=timedelta())
    made.provider.add("shopkey", FIRST)
    made.publish(FIRST)
    made.identify()
    monkeypatch.setattr(Fleet, "now", staticmethod(made.clock))
    made.rotation(fresh_after=made.clock()).run()
    return made


def fleet_of(world: World) -> Fleet:
    """Return a fleet that manages the world's account."""
    return Fleet(world.settings, world.provider, world.vault, threading.Event())  # type: ignore[arg-type]


def standings(world: World) -> dict[str, str]:
    """Return what the view says of each listed id."""
    return {secret.id: secret.standing.value for secret in look(fleet_of(world), world.account).secrets}


def id_of(world: World, value: str | None) -> str:
    """Return the id of a live secret."""
    return next(id_ for id_, live in world.live.items() if live == value)


def lacks(world: World, monkeypatch: pytest.MonkeyPatch, id_: str) -> None:
    """Have lists lack an id."""
    listed = world.provider.list_secrets
    monkeypatch.setattr(
        world.provider, "list_secrets", lambda *asked: tuple(info for info in listed(*asked) if info.id != id_)
    )


def candidate_by_hand(world: World, secret_id: Callable[[str], str | None]) -> tuple[str, str]:
    """Have a person publish the candidate of a run that died after its create; return the previous id and its own."""
    previous = id_of(world, world.published)
    world.clock.wait(timedelta(days=1))
    run_until(world.rotation(fresh_after=world.clock()), Create, then_perform=True)
    candidate = world.journal.candidate.get_secret_value()
    data = {"api_key": "shopkey", "api_secret": candidate, "secret_id": secret_id(previous)}
    world.vault.write(world.account.path, data, cas=world.vault.peek(world.account.path).version)
    return previous, id_of(world, candidate)


@pytest.mark.parametrize("secret_id", [lambda previous: previous, lambda _: None], ids=["left", "removed"])
def test_candidate_published_by_hand_is_in_doubt(world: World, secret_id: Callable[[str], str | None]) -> None:
    """The document names the previous secret's id: an edit of the value by hand often leaves it."""
    previous, own = candidate_by_hand(world, secret_id)
    assert standings(world) == {previous: "in doubt", own: "in doubt"}


def test_listed_secret_is_in_doubt_after_a_publish(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list lacks the id of the value that a person published a moment ago."""
    previous = id_of(world, world.published)
    lacks(world, monkeypatch, world.provider.add("shopkey", BY_HAND))
    world.publish(BY_HAND)
    assert standings(world) == {previous: "in doubt"}
    world.rotation().run()
    assert standings(world) == {previous: "retiring"}, "the provider answered this id for another value"


def test_listed_secret_is_in_doubt_until_identified(monkeypatch: pytest.MonkeyPatch) -> None:
    """One list is no fact: it can lack the published secret's id."""
    world = World()
    monkeypatch.setattr(Fleet, "now", staticmethod(world.clock))
    only = world.provider.add("shopkey", FIRST)
    world.publish(FIRST)
    assert standings(world) == {only: "in doubt"}
    world.rotation().run()
    assert standings(world) == {only: "in doubt"}
    world.identify()
    assert standings(world) == {only: "published"}


def test_listed_secret_is_in_doubt_beside_recorded_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list lacks the published secret's certain id."""
    added = world.provider.add("shopkey", BY_HAND)
    lacks(world, monkeypatch, id_of(world, world.published))
    assert standings(world) == {added: "in doubt"}


def test_published_secret_is_certain_after_an_edit(world: World) -> None:
    document = world.vault.peek(world.account.path)
    world.vault.write(world.account.path, dict(document.data or {}) | {"note": "mine"}, cas=document.version)
    assert standings(world) == {id_of(world, world.published): "published"}


def test_revoked_secret_that_lists_show_is_revoked(world: World) -> None:
    """A list shows an id for a while after its revocation. rotator created that secret, so it is not unknown."""
    (gone,) = (entry.id for entry in world.journal.gone)
    published = id_of(world, world.published)
    world.provider.secrets["shopkey"][gone] = (FIRST, world.clock())
    assert standings(world) == {published: "published", gone: "revoked"}


def test_status_names_no_id_of_another_value(world: World) -> None:
    """The journal does not describe the published version yet, so its id can be another secret's."""
    status, _ = read_status(fleet_of(world), world.account)
    assert (status.secret_id, status.secret_id_learned) == (id_of(world, world.published), "answered")
    candidate_by_hand(world, lambda previous: previous)
    status, _ = read_status(fleet_of(world), world.account)
    assert (status.secret_id, status.secret_id_learned) == (None, None)
