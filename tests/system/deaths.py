"""Runs that die at one of their requests, in memory: the request is carried out later, or never."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rotator.provider import ApiError
from rotator.vault import CasConflict
from testkit.model import World

_REQUESTS = ("read", "write", "list_secrets", "create_secret", "revoke_secret", "get_balance")


class Died(BaseException):
    """The process is gone."""


@dataclass
class Death:
    """Counts the requests of a run, and ends it right before one of them.

    Attributes:
        at: The number of the last request, from 0.
        counted: How many requests there were.
        last: The request that the run died at; it might still be carried out.
        name: What kind of request that is.
    """

    at: int
    counted: int = 0
    last: Callable[[], None] | None = None
    name: str = ""

    def count(self, name: str, request: Callable[[], Any]) -> Any:
        """Perform a request, or die instead."""
        if self.counted == self.at:

            def carry_out() -> None:
                with suppress(CasConflict, ApiError):  # too late
                    request()

            self.last, self.name = carry_out, name
            raise Died
        self.counted += 1
        return request()


@dataclass
class _Watched:
    part: Any
    death: Death = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.part, name)
        if name not in _REQUESTS:
            return found
        return lambda *args, **named: self.death.count(name, lambda: found(*args, **named))


def die(world: World, at: int, act: Callable[[], object]) -> Death | None:
    """Let an act die at a request; None if it ended before that."""
    death = Death(at)
    provider, vault = world.provider, world.vault
    try:
        with _watched(world, death):
            act()
    except Died:
        return death
    finally:
        world.provider, world.vault = provider, vault
    return None


@contextmanager
def _watched(world: World, death: Death) -> Iterator[None]:
    world.provider = _Watched(world.provider, death)  # type: ignore[assignment]
    world.vault = _Watched(world.vault, death)  # type: ignore[assignment]
    yield


def check_revocations(world: World) -> None:
    """Fail when the published secret is revoked."""

    def on_revoke(id_: str, value: str) -> None:
        assert value != world.published, f"the published secret was revoked: {id_}"

    world.provider.on_revoke = on_revoke
