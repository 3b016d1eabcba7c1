"""A first rotation to watch: a real OpenBao, the emulated Account API, three accounts.

Meanwhile a consumer reads Vault and uses each published secret at the provider. The demo shows that the provider never
refuses one.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from rotator import logs
from rotator.config import Settings, load
from rotator.core.generator import Recipe, generate
from rotator.demo.openbao import OpenBao, running_openbao
from rotator.documents import parse_published
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
consistency_window = "{window}s"

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


class Scene(StrEnum):
    """Part of the demo."""

    ADOPT = "adopt"
    ROTATE = "rotate"


@dataclass(frozen=True, slots=True)
class Stage:
    """Servers, files and accounts of the demo."""

    bao: OpenBao
    emulator: Emulator
    api_url: str
    folder: Path
    fleet: Fleet
    first: dict[str, SecretStr]


@dataclass(slots=True)
class Consumer:
    """Reads the published secrets and tries them at the provider, again and again, in a thread of its own."""

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
        vault = Vault(settings.vault)
        api = AccountApi(settings.account_api)
        while not self._stop.wait(0.02):
            for account in settings.accounts:
                published = parse_published(vault.read(account.path), account)
                if published.secret is None:
                    continue  # not adopted yet
                self.checks += 1
                try:
                    api.list_secrets(Credentials(account.api_key, published.secret), account.api_key)
                except Unauthorized:
                    self.failures.append(f"{account.name}: version {published.version} does not work")


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """How an account stands at the end.

    Attributes:
        length: Characters of the published secret.
        version: Version of the published document.
        live: Number of secrets at the provider.
        first_lives: Whether the provider still accepts the account's first secret.
    """

    name: str
    length: int
    version: int
    live: int
    first_lives: bool


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Result of the demo.

    Attributes:
        rotated: Number of accounts with a new secret.
        verified: Number of accounts whose published secret the provider accepts.
        revoked: Number of revoked secrets.
        consumer_checks: Number of published secrets that the consumer tried.
        consumer_failures: Number of those that the provider refused.
    """

    accounts: tuple[DemoAccount, ...]
    rotated: int
    verified: int
    revoked: int
    consumer_checks: int
    consumer_failures: int

    @property
    def succeeded(self) -> bool:
        """Whether every account was rotated and the consumer was never refused."""
        return self.rotated == self.verified == len(self.accounts) and not self.consumer_failures


def play(stage: Stage, announce: Callable[[Scene], None]) -> DemoResult:
    """Adopt and rotate the accounts while a consumer uses them.

    Raises:
        RotatorError: If an account could not be rotated.
    """
    fleet = stage.fleet
    settings = stage.fleet.settings
    consumer = Consumer(stage)
    consumer.start()
    try:
        announce(Scene.ADOPT)
        resolved = _adopt(fleet, stage.first)
        announce(Scene.ROTATE)
        request = Request(Wanted.NOW, max_wait=timedelta(seconds=30))
        outcomes = [_good(outcome) for outcome in fleet.run(settings.accounts, request)]
    finally:
        consumer.stop()
    accounts, verified = _look(stage)
    return DemoResult(
        accounts=accounts,
        rotated=sum(outcome.published for outcome in outcomes),
        verified=verified,
        revoked=sum(len(outcome.revoked) for outcome in (resolved, *outcomes)),
        consumer_checks=consumer.checks,
        consumer_failures=len(consumer.failures),
    )


def _look(stage: Stage) -> tuple[tuple[DemoAccount, ...], int]:
    """The accounts at the end, and how many of their published secrets the provider accepts."""
    accounts = []
    verified = 0
    for account in stage.fleet.settings.accounts:
        published = parse_published(stage.fleet.vault.read(account.path), account)
        live = stage.emulator.live(account.api_key)
        if published.secret is not None and stage.emulator.authenticates(account.api_key, published.secret):
            verified += 1
        first_lives = stage.first[account.name] in live.values()
        length = len(published.secret or "")
        accounts.append(DemoAccount(account.name, length, published.version, len(live), first_lives))
    return tuple(accounts), verified


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
        raise RotatorError(f"The demo's account {outcome.account} failed: {outcome.error}", next_command=None)
    return outcome


@contextmanager
def running_stage(stop: threading.Event) -> Iterator[Stage]:
    """Start both servers on free ports, with a configuration for them and the fleet; remove all of it at the end.

    Raises:
        RotatorError: If a server cannot be started.
    """
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
