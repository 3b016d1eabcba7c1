"""A first rotation to watch: a real OpenBao, the emulated Account API, three accounts.

A consumer reads Vault and tries what it read at the provider, all the while; that it is never refused is what the
demo is there to show.
"""

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from rotator import logs
from rotator.config import Settings, load
from rotator.core.generator import Recipe, generate
from rotator.demo.openbao import OpenBao, running_openbao
from rotator.documents.published import parse_published
from rotator.emulator import Account, Emulator, Primary, running
from rotator.errors import RotatorError
from rotator.fleet import Fleet, Request, Wanted
from rotator.provider import AccountApi, Credentials, Unauthorized
from rotator.rotation import Operator, Outcome, Result
from rotator.vault import Vault

GRACE = timedelta(seconds=3)
# The emulator never contradicts itself. Within a grace period, three lists have to show each adopted secret's id.
WINDOW = timedelta(seconds=1)
_CONFIG = """\
[vault]
address = "{vault}"

[vault.auth]
method = "token_file"
token_file = "{token_file}"

[account_api]
api_url = "{api}"
settle = "{window}s"

[defaults]
every = "30d"
grace = "{grace}s"

[[accounts]]
name = "main"
api_key = "main0001"
path = "demo/main"

[[accounts]]
name = "shop"
api_key = "shop0001"
path = "demo/shop"
primary = "main"

[[accounts]]
name = "alerts"
api_key = "alert001"
path = "demo/alerts"

[log]
level = "warning"
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on."""

    bao: OpenBao
    emulator: Emulator
    api_url: str
    folder: Path
    fleet: Fleet
    first: dict[str, SecretStr]


@dataclass(slots=True)
class Consumer:
    """Reads what is published and tries it at the provider, over and over, in a thread of its own."""

    stage: Stage
    checks: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._consume, name="consumer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the round under way."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _consume(self) -> None:
        settings = self.stage.fleet.settings
        vault, api = Vault(settings.vault), AccountApi(settings.account_api)
        while not self._stop.wait(0.02):
            for account in settings.accounts:
                published = parse_published(vault.read(account.path), account.fields)
                if published.secret is None:
                    continue  # not adopted yet
                self.checks += 1
                try:
                    api.list_secrets(Credentials(account.api_key, published.secret), account.api_key)
                except Unauthorized:
                    self.failures.append(f"{account.name}: version {published.version} does not work")


def run(*, keep: bool, print_result: Callable[[Mapping[str, int]], None] | None) -> int:
    """Play the demo; 0 if every account was rotated and the consumer was never refused.

    Args:
        keep: Whether the servers stay until Ctrl-C.
        print_result: Prints the counts to standard output; the story goes to standard error then.
    """
    console = Console(stderr=print_result is not None, highlight=False)
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_interrupted_by_signals(stop))
        try:
            stage = stack.enter_context(_stage(console, stop))
            result = _play(stage, console)
        except KeyboardInterrupt:
            console.print("interrupted; everything is cleaned up")
            return 130
        if print_result is not None:
            print_result(result)
        if keep:
            _keep(stage, console, stop)
    good = result["rotated"] == result["verified"] == result["accounts"] and not result["consumer_failures"]
    return 0 if good else 1


def _play(stage: Stage, console: Console) -> dict[str, int]:
    fleet, settings = stage.fleet, stage.fleet.settings
    consumer = Consumer(stage)
    consumer.start()
    try:
        console.print("[bold]2 adopt[/]    main and alerts with the secrets they have, shop through its primary;")
        console.print("           rotator did not create shop's first secret: resolve revokes it")
        resolved = _adopt(fleet, stage.first)
        console.print(f"[bold]3 rotate[/]   create, verify, publish, keep the old one {GRACE.seconds} s, revoke it\n")
        request = Request(Wanted.NOW, max_wait=timedelta(seconds=30))
        outcomes = [_good(outcome) for outcome in fleet.run(settings.accounts, request)]
    finally:
        consumer.stop()
    verified = [
        account
        for account in settings.accounts
        if (secret := parse_published(fleet.vault.read(account.path), account.fields).secret)
        and stage.emulator.authenticates(account.api_key, secret)
    ]
    _show(stage, console)
    refused = (
        f"[bold red]{len(consumer.failures)} of them refused" if consumer.failures else "[bold green]never refused"
    )
    console.print(f"\nA consumer read Vault and tried what it read [bold]{consumer.checks}[/] times, {refused}[/].")
    return {
        "accounts": len(settings.accounts),
        "rotated": sum(outcome.published for outcome in outcomes),
        "verified": len(verified),
        "revoked": sum(len(outcome.revoked) for outcome in (resolved, *outcomes)),
        "consumer_checks": consumer.checks,
        "consumer_failures": len(consumer.failures),
    }


def _adopt(fleet: Fleet, first: dict[str, SecretStr]) -> Outcome:
    """Adopt the accounts; the outcome of resolving the one that came in through its primary account."""
    request = Request(Wanted.NOTHING_NEW)
    for name in ("main", "alerts"):
        rotation = fleet.rotation(fleet.settings.account(name), request)
        _good(Operator(rotation).adopt(first[name], None))
    shop = fleet.settings.account("shop")
    fleet.rotation(shop, request).run()
    operator = Operator(fleet.rotation(shop, request))
    return _good(operator.resolve(frozenset(operator.unknown())))


def _good(outcome: Outcome) -> Outcome:
    if outcome.result is not Result.OK:
        raise RotatorError(f"The demo's account {outcome.account} did not get on: {outcome.error}")
    return outcome


def _show(stage: Stage, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("account", "published in Vault", "version", "live at the provider", "first secret"):
        table.add_column(column)
    for account in stage.fleet.settings.accounts:
        published = parse_published(stage.fleet.vault.read(account.path), account.fields)
        live = stage.emulator.live(account.api_key)
        gone = "gone" if stage.first[account.name] not in live.values() else "[red]still live"
        length = len(published.secret or "")
        table.add_row(account.name, f"{'•' * 8} ({length} characters)", str(published.version), str(len(live)), gone)
    console.print(table)


@contextmanager
def _stage(console: Console, stop: threading.Event) -> Iterator[Stage]:
    """Both servers on free ports, a configuration for them, and the fleet; gone at the end."""
    logs.configure("critical", "console")  # the unknown secret of shop is part of the demo; failures end it
    first = {name: generate(Recipe()) for name in ("main", "shop", "alerts")}
    keys = {"main": "main0001", "shop": "shop0001", "alerts": "alert001"}
    emulator = Emulator(
        [Account(keys[name], secret) for name, secret in first.items()], primaries=[Primary("main0001", "shop0001")]
    )
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="rotator-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bao = stack.enter_context(running_openbao())
        api_url = stack.enter_context(running(emulator))
        settings = _settings(folder, bao, api_url)
        api = stack.enter_context(AccountApi(settings.account_api))
        console.print(f"[bold]1 servers[/]  OpenBao {bao.version} at {bao.address}")
        console.print(f"           Account API   at {api_url}")
        yield Stage(bao, emulator, api_url, folder, Fleet(settings, api, Vault(settings.vault), stop), first)


def _settings(folder: Path, bao: OpenBao, api_url: str) -> Settings:
    token_file = folder / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(bao.root_token.get_secret_value())
    file = folder / "config.toml"
    file.write_text(
        _CONFIG.format(
            vault=bao.address, token_file=token_file, api=api_url, grace=GRACE.seconds, window=WINDOW.seconds
        )
    )
    return load(file)


@contextmanager
def _interrupted_by_signals(stop: threading.Event) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the library's
        stop.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep(stage: Stage, console: Console, stop: threading.Event) -> None:
    command = "rotator" if shutil.which("rotator") else sys.argv[0]
    console.print(
        f"\nEverything goes on running until Ctrl-C. In another terminal:\n\n"
        f"  export ROTATOR_CONFIG={stage.folder}/config.toml\n"
        f"  {command} status\n"
        f"  {command} rotate-now alerts\n"
        f"  {command} run                      # the daemon; its status page is at http://127.0.0.1:9464\n"
        f"  export BAO_ADDR={stage.bao.address} BAO_TOKEN=$(cat {stage.folder}/token)\n"
        f"  bao kv get -mount=secret demo/alerts",
        soft_wrap=True,
        markup=False,
    )
    try:
        stop.wait()
    except KeyboardInterrupt:
        return
