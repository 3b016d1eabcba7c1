"""Worlds that the tests of a rotation begin with, and what they do to a run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import CLOCK_RESOLUTION, Event, Phase, RequestKind, Step, WriteJournal
from rotator.documents import render_journal
from rotator.provider import Credentials, RateLimited, SecretInfo
from rotator.rotation import Operator, Outcome, Result, Rotation
from rotator.rotation.interfaces import Waiter
from rotator.rotation.waiting import LONGEST_POLL
from rotator.vault import VaultSealed
from testkit.model import World

FIRST = "FirstSecret001"
MOMENT = timedelta(microseconds=1)
BY_HAND = "ByHandSecret01"
DAY = timedelta(days=1)


def adopted(**world: Any) -> World:
    """A world with one account that rotator knows, with one secret."""
    made = World(**world)

    def revoked(id_: str, value: str) -> None:
        """Looked at in the moment itself: a run that broke what consumers read may well mend it before it ends."""
        assert value != made.published, f"{id_} was revoked, which consumers read"

    made.provider.on_revoke = revoked
    made.provider.add("shopkey", FIRST)
    made.publish(FIRST)
    made.identify()
    made.clock.wait(timedelta(minutes=1))
    return made


def answered(**world: Any) -> World:
    """A world whose published secret was created by rotator: the provider answered its id."""
    made = adopted(**world)
    rotate(made)
    made.clock.wait(timedelta(hours=2))
    made.rotation().run()
    assert made.journal.current is not None
    assert made.journal.current.is_answered
    assert len(made.live) == 1
    return made


def in_overlap() -> tuple[World, str]:
    """A rotated account whose old secret is due to be revoked, and the new one."""
    world = adopted()
    rotate(world)
    world.clock.wait(timedelta(hours=1))
    assert world.published
    return world, world.published


def store(world: World, **changes: Any) -> None:
    """Write the journal with other fields, as another instance does."""
    path = world.settings.journal_path(world.account)
    journal = render_journal(replace(world.journal, **changes))
    world.vault.write(path, journal, cas=world.vault.peek(path).version)


def of_another_account(world: World, **changes: Any) -> None:
    """Both documents name another account: the key in the configuration was changed."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {"api_key": "otherkey"})
    published = world.vault.peek("apps/shop")
    known = {"api_key": "otherkey", "published_version": published.version, "published_at": published.created}
    store(world, **(known | changes))


def without_journal(world: World) -> None:
    """The journal was deleted with its metadata."""
    del world.vault.versions[world.settings.journal_path(world.account)]


def lost_lease(world: World) -> timedelta:
    """Return how long a request might be carried out after the journal of its run was lost."""
    lease = world.rotation().policy.lease
    return lease + CLOCK_RESOLUTION + world.provider.request_timeout + world.provider.settle


def name_id(world: World, id_: str) -> Outcome:
    """What a person does who knows the published secret's id."""
    return Operator(world.rotation()).adopt(SecretStr(world.published or ""), id_)


def adopt_first(world: World, **policy: Any) -> Outcome:
    first_id = next(id_ for id_, value in world.live.items() if value == FIRST)
    return Operator(world.rotation(**policy)).adopt(SecretStr(FIRST), first_id, replace_working=True)


def command(world: World, rotation: Rotation) -> Outcome:
    """Run, and run again as long as the runs wait for a candidate: what a command does."""
    outcome = rotation.run()
    while outcome.resume_at is not None:
        world.clock.now = max(world.clock.now, outcome.resume_at)
        outcome = world.rotation(verify_timeout=rotation.policy.verify_timeout, lease=rotation.policy.lease).run()
    return outcome


def rotate(world: World, **policy: Any) -> Outcome:
    """Run, and run again as long as the runs wait for a candidate: what a command does."""
    outcome = world.rotation(**({"fresh_after": world.clock()} | policy)).run()
    while outcome.resume_at is not None:
        world.clock.now = max(world.clock.now, outcome.resume_at)
        outcome = world.rotation(**policy).run()
    return outcome


def run_until(rotation: Rotation, kind: type[Step] | Event, *, then_perform: bool) -> None:
    """Run up to the first step of a kind, and perhaps do that one, too; then the process dies."""
    rotation.state.observe()
    for _ in range(100):
        step = rotation.decide()
        matches = (
            isinstance(step, WriteJournal) and step.event is kind if isinstance(kind, Event) else isinstance(step, kind)
        )
        if matches and not then_perform:
            return
        rotation.perform(step)
        if matches:
            return
    pytest.fail(f"no {kind} came up")


def wait_with(rotation: Rotation, wait: Waiter) -> None:
    """Have a run wait in another way."""
    rotation.waiting.wait = wait


def leased(world: World, *, lasts: timedelta, released_after: timedelta) -> Waiter:
    """Let another instance hold the lease, and release it while a run waits; the run's waiter."""
    path, began = world.settings.journal_path(world.account), world.clock()
    held = replace(world.journal, lease_holder="other", lease_until=began + lasts)
    world.vault.write(path, render_journal(held), cas=len(world.vault.versions[path]))

    def wait(delay: timedelta) -> bool:
        assert delay <= LONGEST_POLL
        world.clock.wait(delay)
        if world.journal.lease_holder == "other" and world.clock() >= began + released_after:
            free = replace(world.journal, lease_holder=None, lease_until=None)
            world.vault.write(path, render_journal(free), cas=len(world.vault.versions[path]))
        return False

    return wait


def limit(world: World, retry_after: timedelta | None, *, times: int = 1000) -> None:
    """Have the provider answer 429 to the next requests."""
    left = [times]

    def refuse(auth: Credentials) -> None:
        if left[0]:
            left[0] -= 1
            limited = RateLimited("slow down", status=429, retry_after=retry_after)
            limited.api_key = auth.api_key
            raise limited

    world.provider.on_request = refuse


def one_stale_list(world: World) -> None:
    """The next list does not have the newest entry yet."""
    real, left = world.provider.list_secrets, [1]

    def listing(auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos = real(auth, api_key)
        left[0] -= 1
        return infos[:1] if left[0] == 0 else infos

    world.provider.list_secrets = listing  # type: ignore[method-assign]


def sealed_after_publish(world: World) -> None:
    """Vault is sealed as soon as it has written the published document."""
    write = world.vault.write

    def sealed(*_: Any, **__: Any) -> Any:
        raise VaultSealed("Vault is sealed", maybe_done=False)

    def writes(path: str, data: Mapping[str, Any], cas: int) -> int:
        version = write(path, data, cas)
        if path == "apps/shop":
            world.vault.read = world.vault.write = sealed  # type: ignore[method-assign]
        return version

    world.vault.write = writes  # type: ignore[method-assign]


def interrupted_return_of_a_compromised_secret() -> World:
    """A person publishes a compromised secret again, with --replace, and the process dies before it is published."""
    world = adopted()
    (leaked,) = world.live
    world.provider.listing_lag = timedelta(days=1)  # nothing is revoked meanwhile
    rotate(world, compromised=True)
    world.provider.listing_lag = timedelta()
    write = world.vault.write

    def dies(path: str, data: Any, cas: int) -> int:
        if path == "apps/shop":
            raise KeyboardInterrupt
        return write(path, data, cas)

    world.vault.write = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Operator(world.rotation()).adopt(SecretStr(FIRST), leaked, replace_working=True)
    world.vault.write = write  # type: ignore[method-assign]
    assert world.journal.publishing.entry.id == leaked
    world.clock.wait(timedelta(minutes=10))
    return world


def assert_settled(world: World, outcome: Outcome, *, secrets: int = 1) -> None:
    assert outcome.result is Result.OK, outcome
    assert world.journal.phase is (Phase.IDLE if secrets == 1 else Phase.OVERLAP)
    assert world.journal.candidate is None
    assert world.journal.lease_holder is None
    assert len(world.live) == secrets
    assert world.live[world.journal.current_id] == world.published
    assert world.consumer_works()


def assert_identified(world: World) -> None:
    """The published secret's id becomes certain, and everything else is revoked or gone."""
    world.identify()
    world.clock.wait(timedelta(hours=2))
    assert_settled(world, world.rotation(patience=DAY).run())


def rename_field(world: World, name: str) -> None:
    """Change the name of the field for the value in the configuration."""
    account = world.settings.accounts[0]
    renamed = account.model_copy(update={"fields": account.fields.model_copy(update={"api_secret": name})})
    world.settings = world.settings.model_copy(update={"accounts": (renamed, *world.settings.accounts[1:])})


def ask(world: World, kind: RequestKind = RequestKind.COMPROMISED) -> None:
    """Record a request, and die before the provider is asked."""
    rotation = world.rotation(
        fresh_after=world.clock() + MOMENT,
        force=kind is RequestKind.FORCE,
        compromised=kind is RequestKind.COMPROMISED,
    )
    run_until(rotation, Event.REQUESTED, then_perform=True)


def run_daily(world: World, days: int = 4) -> None:
    """Run as a daemon without a schedule does, for some days."""
    for _ in range(days * 24 * 12):
        world.rotation(explicit=False).run()
        world.clock.wait(timedelta(minutes=5))


def add(world: World, value: str) -> None:
    """Add a secret in the dashboard and publish it by hand."""
    world.provider.add("shopkey", value)
    world.publish(value)


def roll_back(world: World) -> None:
    """Publish the version before the newest one again, as `vault kv rollback` does."""
    world.vault.versions["apps/shop"].append(dict(world.vault.versions["apps/shop"][-2]))
