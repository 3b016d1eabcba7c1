"""Two adoptions of one account at the same time: none of them undoes the other."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome
from testkit.model import World

FIRST, SECOND = "FirstSecret001", "SecondSecret01"
# An adoption sends fewer requests than this.
REQUESTS = 30


def two_secrets(**document: str) -> tuple[World, str, str]:
    """An account with two secrets, and their ids; the first one is published, with these other fields."""
    world = World()
    first, second = world.provider.add("shopkey", FIRST), world.provider.add("shopkey", SECOND)
    world.vault.versions["apps/shop"] = [{"api_secret": FIRST} | document]
    world.vault.peek("apps/shop")
    world.clock.wait(timedelta(minutes=1))
    return world, first, second


def adopt(world: World, value: str | None, secret_id: str, **options: Any) -> Outcome:
    secret = None if value is None else SecretStr(value)
    return Operator(world.rotation()).adopt(secret, secret_id, **options)


def meanwhile(world: World, after: int, happen: Callable[[], Any]) -> list[Any]:
    """Have a command run before the request after so many more; return a list that gets its outcome."""
    outcomes: list[Any] = []

    def interrupt() -> None:
        with suppress(RotatorError):  # the first adoption has the lease
            outcomes.append(happen())

    world.interruption.after, world.interruption.happen = after, interrupt
    return outcomes


@pytest.mark.parametrize("after", range(2, REQUESTS))
@pytest.mark.parametrize("names_other", [False, True])
@pytest.mark.parametrize("options", [{}, {"replace_working": True}, {"replace_foreign": "otherkey"}], ids=str)
def test_adoption_without_value_replaces_no_other_value(after: int, names_other: bool, options: dict[str, Any]) -> None:
    """It took the published value, and another adoption publishes another one before it has the lease."""
    world, first, second = two_secrets()
    world.vault.versions["apps/shop"][0]["secret_id"] = second if names_other else first
    done = meanwhile(world, after, lambda: adopt(world, SECOND, second, replace_working=True))
    with suppress(RotatorError):
        adopt(world, None, first, retire={second}, **options)
    world.interruption.happen = None
    assert world.published == (SECOND if done else FIRST)
    assert second not in world.journal.retiring_ids or world.published == FIRST


@pytest.mark.parametrize(
    ("names_other", "is_deleted"), [(False, False), (True, False), (True, True)], ids=["same id", "other id", "deleted"]
)
@pytest.mark.parametrize("retire", [False, True])
def test_adoption_without_value_names_another_writer(names_other: bool, is_deleted: bool, retire: bool) -> None:
    world, first, second = two_secrets()
    versions = world.vault.versions["apps/shop"]
    versions[0]["secret_id"] = second if names_other else first

    def change() -> None:
        world.publish(SECOND)
        if is_deleted:
            world.vault.deleted.add(("apps/shop", 2))
        journal = world.vault.versions.setdefault(world.settings.journal_path(world.account), [])
        journal.append(dict(journal[-1]) if journal else {})

    meanwhile(world, 3, change)
    with pytest.raises(RotatorError) as raised:
        adopt(world, None, first, replace_working=True, retire={second} if retire else frozenset())
    assert str(raised.value) == (
        "This command took the value from apps/shop, and another writer replaced it since. Nothing was published. "
        "To see the secrets before you repeat the adoption: rotator account secrets list shop."
    )
    assert raised.value.next_command == Command.of("account", "secrets", "list", "shop")
    assert len(versions) == 2
    assert world.journal.retiring_ids == frozenset()
    assert world.journal.lease_holder is None


def test_adoption_without_value_replaces_no_certain_id() -> None:
    """Another adoption published another value, after the user had looked."""
    world, first, second = two_secrets()
    adopt(world, SECOND, second, replace_working=True, retire={first})
    with pytest.raises(RotatorError) as raised:
        adopt(world, None, first, retire={second})
    assert str(raised.value) == (
        f"The published secret of shop has the id {second}, not {first}. Nothing was written. "
        "To name another id, bring the value, too. To see the secrets and their state: "
        "rotator account secrets list shop."
    )
    assert (world.journal.current_id, world.journal.retiring_ids) == (second, {first})
    adopt(world, SECOND, first)
    assert world.journal.current_id == first


@pytest.mark.parametrize("after", range(REQUESTS))
@pytest.mark.parametrize("value", [None, FIRST], ids=["taken", "given"])
@pytest.mark.parametrize("other", [None, SECOND], ids=["same value", "other value"])
def test_adoptions_at_once_leave_a_working_secret(after: int, value: str | None, other: str | None) -> None:
    """Both name the right id and have the other one retired; the last one to publish decides."""
    world, first, second = two_secrets()

    def adopt_other() -> None:
        own, spare = (first, second) if other is None else (second, first)
        adopt(world, other, own, replace_working=True, retire={spare})

    meanwhile(world, after, adopt_other)
    with suppress(RotatorError):
        adopt(world, value, first, replace_working=value is not None, retire={second})
    world.interruption.happen = None
    for pause in (1, 31, 31, 3600, 86_400, 86_400):
        world.rotation(explicit=False).run()
        assert world.consumer_works()
        world.clock.wait(timedelta(seconds=pause))
    assert world.consumer_works()
