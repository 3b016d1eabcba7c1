"""Everything that a rotation needs, tried one by one without changing anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rotator.config import AccountSettings, format_duration
from rotator.core.protocol import Credential, Fail
from rotator.errors import RotatorError
from rotator.fleet.fleet import Fleet, Request, Wanted
from rotator.rotation import Preview, RotationError
from rotator.vault import WrongMount


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: whether it works, and what it is or what is missing."""

    ok: bool
    what: str


def examine(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    """Try Vault, the login, the mount, every path's policy, and each account at the provider.

    What cannot be tried because something before it failed is left out.
    """
    try:
        health = fleet.vault.health()
        address = health.address
        if health.sealed:
            yield Finding(ok=False, what=f"Vault at {address} is sealed. Unseal it.")
            return
        yield Finding(ok=True, what=f"Vault at {address} answers (version {health.version})")
        needs = fleet.needs(accounts, top_ups=True)
        yield Finding(ok=True, what="logged in")
        yield _mount(fleet)
    except RotatorError as error:
        yield Finding(ok=False, what=str(error))
        return
    for need in needs:
        yield Finding(need.met, f"policy for {need.path}" if need.met else f"the policy lacks: {need.stanza}")
    if all(need.met for need in needs):
        yield from _wishes(fleet, accounts)
        yield from _accounts(fleet, accounts)


def _mount(fleet: Fleet) -> Finding:
    try:
        fleet.vault.check_mount()
    except WrongMount as error:
        return Finding(ok=False, what=str(error))
    return Finding(ok=True, what=f"{fleet.settings.vault.mount} is a KV version 2 mount")


def _wishes(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    """What the policy lacks that rotator can do without: it is named, but nothing is wrong."""
    for worse, wishes in fleet.wishes(accounts).items():
        for wish in wishes:
            if not wish.met:
                yield Finding(ok=True, what=f"without this in the policy {worse}: {wish.stanza}")


# A document that expires must survive this many resync intervals of a daemon that is away.
_SAFE_RESYNCS = 3


def _expiry(fleet: Fleet, preview: Preview) -> Iterator[Finding]:
    """What it means that Vault deletes the account's documents by itself (`delete_version_after`)."""
    seen = preview.seen
    spans = [
        expires_at - written_at
        for written_at, expires_at in (
            (seen.published.written_at, seen.published.expires_at),
            (seen.journal_at, seen.journal_expires_at),
        )
        if written_at is not None and expires_at is not None
    ]
    if not spans:
        return
    life, resync = min(spans), fleet.settings.daemon.resync_interval
    what = f"account {preview.account}: Vault deletes its documents {format_duration(life)} after each write"
    if life / 2 < _SAFE_RESYNCS * resync:
        limit = format_duration(2 * _SAFE_RESYNCS * resync)
        yield Finding(ok=False, what=f"{what}. Set delete_version_after to at least {limit}, or to 0s")
        return
    often = format_duration(timedelta(seconds=int(life.total_seconds() / 2)))
    yield Finding(ok=True, what=f"{what}; a daemon or a command must run at least every {often}")


def _accounts(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    for preview in fleet.preview(accounts, Request(Wanted.NOTHING_NEW)):
        if not isinstance(preview, Preview):
            yield Finding(ok=False, what=f"account {preview.account}: {preview.error}")
        elif isinstance(preview.step, Fail):
            yield Finding(ok=False, what=f"account {preview.account}: {RotationError(preview.step)}")
        elif Credential.PUBLISHED in preview.seen.refused:
            what = "the provider refuses the published secret (401); the next run looks for what still works"
            yield Finding(ok=False, what=f"account {preview.account}: {what}")
        elif preview.seen.listing is not None:
            yield from _expiry(fleet, preview)
            count = len(preview.seen.listing.created)
            yield Finding(ok=True, what=f"account {preview.account}: the provider accepts its secret, {count} live")
        else:
            yield Finding(ok=True, what=f"account {preview.account}: work is under way, the next run goes on with it")
