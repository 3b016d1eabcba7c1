"""Everything that a rotation needs, tried one by one without changing anything."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from rotator.config import AccountSettings, TopUpSettings, format_duration
from rotator.core.protocol import Credential, Fail, Journal, Reason, RestoreEarlierVersion, Stop
from rotator.core.protocol.wording import listed, loss
from rotator.documents import format_instant
from rotator.errors import Advice, Code, Command, ConfigError, RotatorError
from rotator.fleet.check_environment import check_audit_log, check_clock, check_proxies, check_quota, check_shard
from rotator.fleet.finding import Finding, State
from rotator.fleet.fleet import Fleet
from rotator.fleet.permissions import PathPermission
from rotator.fleet.request import Request, Wanted
from rotator.fleet.top_ups import TopUpService
from rotator.rotation import Outcome, Preview, RotationError
from rotator.vault import WrongMount


def examine(
    fleet: Fleet, accounts: Sequence[AccountSettings], *, on_account: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """Try the audit log, the shard, proxies, Vault, the login, the mount, the policy, the clock, and each account.

    A check is left out if it cannot work because of an earlier failure.

    Args:
        on_account: Called for each account that was checked at the provider.
    """
    yield from check_audit_log(fleet)
    yield from check_shard(fleet)
    yield from check_proxies(fleet)
    try:
        health = fleet.vault.health()
        address = health.address
        if health.sealed:
            yield Finding(State.FAILED, f"Vault at {address} is sealed. Unseal it.", 1)
            return
        yield Finding(State.OK, f"Vault at {address} answers (version {health.version})")
        needs = fleet.permissions.needs(accounts, top_ups=True)
        yield Finding(State.OK, "logged in to Vault")
        yield _mount(fleet)
    except RotatorError as error:
        yield Finding.of(error)
        return
    for need, count in _summarized(needs):
        paths = need.path if count == 1 else f"{need.path} ({count} paths)"
        if need.met:
            yield Finding(State.OK, f"policy for {paths}")
        else:
            yield Finding(State.FAILED, f"the policy lacks: {need.stanza}", ConfigError.exit_code)
    if accounts and all(need.met for need in needs):
        yield from _wishes(fleet, accounts)
        yield from check_clock(fleet, accounts)
        yield from _top_ups(fleet, accounts)
        yield from _accounts(fleet, accounts, on_account)
        yield from check_quota(fleet)


def _summarized(needs: Iterable[PathPermission]) -> Iterator[tuple[PathPermission, int]]:
    """Merge the needs of one folder that are alike into one with a wildcard; the number of paths of each."""
    groups: dict[tuple[str, frozenset[str], bool], list[PathPermission]] = {}
    for need in needs:
        folder = need.path.rpartition("/")[0]
        groups.setdefault((folder, need.wanted, need.met), []).append(need)
    for (folder, _, _), alike in groups.items():
        first = alike[0]
        yield (first if len(alike) == 1 else replace(first, path=f"{folder}/*")), len(alike)


def _mount(fleet: Fleet) -> Finding:
    try:
        fleet.vault.check_mount()
    except WrongMount as error:
        return Finding.of(error)
    return Finding(State.OK, f"{fleet.settings.vault.mount} is a KV version 2 mount")


def _wishes(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    """Yield a note for each optional policy rule that is missing."""
    for worse, wishes in fleet.permissions.wishes(accounts).items():
        for wish, _ in _summarized(wishes):
            if not wish.met:
                yield Finding(State.NOTE, f"without this in the policy {worse}: {wish.stanza}")


def _top_ups(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    """Look for the payment's reference of each account with automatic top-ups. Accounts can share its place."""
    service = TopUpService(fleet)
    places: dict[TopUpSettings, list[AccountSettings]] = {}
    for account in accounts:
        rules = service.rules(account)
        if rules is not None and rules.top_ups_per_day:
            places.setdefault(account.top_up, []).append(account)
    for alike in places.values():
        names = listed(sorted(account.name for account in alike))
        try:
            service.payment_reference(alike[0])
        except RotatorError as error:
            yield Finding(State.FAILED, f"top-ups of {names}: {error}", ConfigError.exit_code)
        else:
            yield Finding(State.OK, f"top-ups of {names}: the reference of the payment can be read")


# A document that expires must survive this many resync intervals without a daemon.
_SAFE_RESYNCS = 3


def _expiry(fleet: Fleet, preview: Preview) -> Iterator[Finding]:
    """Check whether Vault deletes the account's documents by itself (`delete_version_after`), and when."""
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
    life = min(spans)
    resync = fleet.settings.daemon.resync_interval
    what = f"Vault deletes its documents {format_duration(life)} after each write"
    if life / 2 < _SAFE_RESYNCS * resync:
        limit = format_duration(2 * _SAFE_RESYNCS * resync)
        yield Finding(State.FAILED, f"{what}. Set delete_version_after to at least {limit}, or to 0s", 2)
        return
    often = format_duration(timedelta(seconds=int(life.total_seconds() / 2)))
    yield Finding(State.NOTE, f"{what}; a daemon or a command must run at least every {often}")


def _accounts(fleet: Fleet, accounts: Sequence[AccountSettings], on_account: Callable[[], None]) -> Iterator[Finding]:
    """Each account at the provider. Accounts with the same result share a line."""
    alike: dict[Finding, list[str]] = {}
    for preview in fleet.preview(accounts, Request(Wanted.NOTHING_NEW)):
        on_account()
        for finding in _account(fleet, preview):
            alike.setdefault(finding, []).append(preview.account)
    worst_last = sorted(alike.items(), key=lambda entry: list(State).index(entry[0].state))
    for finding, names in worst_last:
        concerned = "account" if len(names) == 1 else "accounts"
        yield replace(finding, what=f"{concerned} {listed(sorted(names))}: {finding.what}")


def _is_new(preview: Preview) -> bool:
    """Whether nothing was ever published or recorded for the account."""
    return not preview.seen.published.version and preview.journal == Journal()


def _account(fleet: Fleet, preview: Preview | Outcome) -> Iterator[Finding]:
    if isinstance(preview, Outcome) and preview.code is Code.NOT_ADOPTED:
        primary = fleet.settings.account(preview.account).primary
        what = f"nothing is published yet. Its primary account {primary} can create one as soon as it is adopted"
        yield Finding(State.TO_DO, f"{what}. Run: rotator adopt {primary}")
    elif isinstance(preview, Outcome):
        yield Finding(State.FAILED, preview.error or "", 2 if preview.code is Code.CONFIGURATION else 1)
    elif isinstance(preview.step, Fail) and _is_new(preview):
        yield Finding(State.TO_DO, "not adopted yet. Run for each: rotator adopt NAME")
    elif isinstance(preview.step, Fail):
        yield Finding(State.FAILED, str(RotationError(preview.step)), 1)
    elif isinstance(preview.step, Stop) and preview.step.reason is Reason.RATE_LIMITED:
        retry = Advice(f"To retry after {format_instant(preview.step.until)}", Command.of("check", preview.account))
        yield Finding(State.FAILED, f"{preview.step.detail}. {retry}", 1)
    elif Credential.PUBLISHED in preview.seen.refused:
        what = "the provider refuses the published secret (401); the next run looks for a secret that works"
        yield Finding(State.FAILED, what, 1)
    elif (lost := loss(preview.journal, preview.seen.published)) is not None:
        yield Finding(State.FAILED, f"{lost.finding}; {_next_attempt(preview)}. {lost.remedy}", 1)
    elif preview.seen.via is Credential.PRIMARY:
        what = "nothing is published yet. Its primary account can create one. Run for each: rotator rotate-now NAME"
        yield Finding(State.TO_DO, what)
    elif preview.seen.listing is not None:
        yield from _expiry(fleet, preview)
        count = len(preview.seen.listing.created)
        yield Finding(State.OK, f"the provider accepts the published secret, {count} live")
    else:
        yield Finding(State.OK, "a rotation is unfinished; the next run continues it")


def _next_attempt(preview: Preview) -> str:
    """Return how the next run replaces a lost secret."""
    if isinstance(preview.step, RestoreEarlierVersion):
        return "the next run publishes an earlier version if one works"
    if preview.seen.via is Credential.PRIMARY:
        return "the next run creates a secret through the primary account"
    return "the next run continues"
