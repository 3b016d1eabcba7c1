"""The surroundings of a run: the disk of the audit log, the shard, proxies, the clock, and Vault's quotas."""

import shutil
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta

from rotator.config import AccountSettings, format_duration
from rotator.core.protocol import CLOCK_RESOLUTION, CLOCK_TOLERANCE
from rotator.errors import ConfigError, RotatorError
from rotator.fleet.finding import Finding, State
from rotator.fleet.fleet import Fleet
from rotator.fleet.sharding import parse_shard
from rotator.net import Origin, Proxy, find_proxy

# Each rotation appends some lines of less than a kilobyte to the audit log.
_FREE_DISK = 16 * 1024 * 1024
# A clock that is ahead revokes a previous secret earlier by as much. This part of the grace period may be lost.
_GRACE_LOST = 0.1
_PROXY_TIMEOUT = timedelta(seconds=5)


def check_audit_log(fleet: Fleet) -> Iterator[Finding]:
    """Check that the audit log can be written, and has room on its disk."""
    file = fleet.settings.audit.file
    if file is None:
        return
    try:
        fleet.audit.check()
        free = shutil.disk_usage(file.parent).free
    except RotatorError as error:
        yield Finding.of(error)
        return
    except OSError as error:
        yield Finding(State.FAILED, f"the disk of the audit log {file} cannot be examined: {error.strerror}", 2)
        return
    if free < _FREE_DISK:
        what = f"the disk of the audit log {file} has {free // 1024} KiB left. Free {_FREE_DISK // 1024} KiB or more"
        yield Finding(State.FAILED, what, ConfigError.exit_code)
        return
    yield Finding(State.OK, f"the audit log {file} can be written")


def check_shard(fleet: Fleet) -> Iterator[Finding]:
    """Check that this process finds its shard, if the configuration names one."""
    text = fleet.settings.daemon.shard
    if text is None:
        return
    try:
        shard = parse_shard(text)
    except RotatorError as error:
        yield Finding.of(error)
        return
    accounts = fleet.settings.accounts
    owned = sum(shard.owns(account) for account in accounts)
    yield Finding(State.OK, f"shard {shard} manages {owned} of {len(accounts)} accounts")


def check_proxies(fleet: Fleet) -> Iterator[Finding]:
    """Check each proxy that the environment names: the hosts behind it, and whether it accepts connections."""
    api = fleet.settings.account_api
    hosts: dict[Proxy, list[str]] = {}
    for address in (*fleet.settings.vault.addresses, api.api_url, api.rest_url):
        origin = Origin.of(address)
        try:
            proxy = find_proxy(origin)
        except RotatorError as error:
            yield Finding.of(error)
            continue
        if proxy is not None:
            hosts.setdefault(proxy, []).append(origin.location)
    for proxy, behind in hosts.items():
        what = f"the proxy {proxy.origin} for {', '.join(dict.fromkeys(behind))}"
        try:
            place = (proxy.origin.host, proxy.origin.port)
            socket.create_connection(place, _PROXY_TIMEOUT.total_seconds()).close()
        except OSError as error:
            reason = error.strerror or "no connection within the time limit"
            advice = "Start it, or add the hosts to NO_PROXY"
            yield Finding(State.FAILED, f"{what} accepts no connection ({reason}). {advice}", 1)
            continue
        yield Finding(State.OK, f"{what} accepts connections")


def check_clock(fleet: Fleet, accounts: Sequence[AccountSettings]) -> Iterator[Finding]:
    """Compare the clock with Vault's. Vault tells its time in whole seconds."""
    before = fleet.now()
    try:
        vault_time = fleet.vault.read(fleet.settings.journal_path(accounts[0])).read_at
    except RotatorError as error:
        yield Finding.of(error)
        return
    after = fleet.now()
    if vault_time is None:
        yield Finding(State.NOTE, "Vault does not tell its time, so the clock was not compared with Vault's")
        return
    graces = [account.grace * _GRACE_LOST for account in accounts if account.grace]
    allowed = min([*graces, CLOCK_TOLERANCE])
    bound = f"at most {_in_seconds(allowed)} of difference is allowed"
    ahead, behind = before - (vault_time + CLOCK_RESOLUTION), vault_time - after
    difference = max(ahead, behind)
    what = "the clock agrees with Vault's"
    if difference >= timedelta(seconds=1):
        what = f"the clock is {_in_seconds(difference)} {'ahead of' if ahead > behind else 'behind'} Vault's"
    if difference > allowed:
        yield Finding(State.FAILED, f"{what}; {bound}. Synchronize it", ConfigError.exit_code)
    else:
        yield Finding(State.OK, f"{what}; {bound}")


def _in_seconds(duration: timedelta) -> str:
    return format_duration(timedelta(seconds=int(duration.total_seconds())))


def check_quota(fleet: Fleet) -> Iterator[Finding]:
    """Report whether a quota of Vault refused requests of the checks."""
    if fleet.vault.is_throttled:
        yield Finding(
            State.NOTE,
            "a rate limit quota of Vault refused requests (429) during these checks. Runs wait for it, too. Raise it "
            "(vault list sys/quotas/rate-limit), or lower daemon.concurrency",
        )
