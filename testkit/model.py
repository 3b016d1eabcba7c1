"""A model of the provider and of Vault in memory, with the faults no real server can be told to have at will.

It obeys the documented rules and nothing else: what authenticates, what is listed, what is full. A create can
be lost before or after it was carried out, or be carried out late; a Vault write can be lost the same way.
"""

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from pydantic import SecretStr

from rotator.audit import AuditLog
from rotator.config import AccountSettings, Settings
from rotator.core.protocol import Asked, Journal, Policy, Published, Request, RequestKind, Trigger, requests
from rotator.documents import parse_journal, parse_published
from rotator.provider import (
    Balance,
    Credentials,
    Forbidden,
    InvalidRequest,
    LostAnswer,
    NotFound,
    SecretInfo,
    Unauthorized,
)
from rotator.rotation import Rotation
from rotator.vault import CasConflict, Document, VaultUnreachable

# Thousands of histories are played here; nobody reads their logs.
_SILENT = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Time that passes when somebody says so."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, delay: timedelta) -> bool:
        self.now += delay
        return False

    def monotonic(self) -> float:
        return (self.now - START).total_seconds()


@dataclass
class Interruption:
    """Something that happens between two requests of a run: before the one after so many more."""

    after: int = 0
    happen: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.happen is None:
            return
        if self.after:
            self.after -= 1
            return
        happen, self.happen = self.happen, None
        happen()


@dataclass
class Late:
    """A create that the provider will carry out, or not, until an instant."""

    api_key: str
    value: str
    until: datetime


@dataclass
class ModelProvider:
    """The Account API's secrets, as the provider keeps them."""

    clock: Clock
    max_secrets: int = 2
    request_timeout: timedelta = timedelta(seconds=10)
    settle: timedelta = timedelta(seconds=30)
    secrets: dict[str, dict[str, tuple[str, datetime]]] = field(default_factory=dict)
    primaries: dict[str, str] = field(default_factory=dict)
    late: list[Late] = field(default_factory=list)
    fault: str | None = None
    propagation: timedelta = timedelta()
    rest_propagation: timedelta = timedelta()  # until the other host knows a new secret
    listing_lag: timedelta = timedelta()  # what was created is listed only so much later
    refusals: int = 0  # so many requests with a valid secret are refused all the same
    created_by_rotator: dict[str, str] = field(default_factory=dict)
    on_request: Callable[[Credentials], None] = lambda auth: None  # before each request; can raise its answer
    on_revoke: Callable[[str, str], None] = lambda id_, value: None
    interruption: Interruption = field(default_factory=Interruption)
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, api_key: str, value: str) -> str:
        """What a human does in the dashboard, and what a create does."""
        id_ = f"id-{next(self.ids):03}"
        self.secrets.setdefault(api_key, {})[id_] = (value, self.clock())
        return id_

    def remove(self, api_key: str, id_: str) -> None:
        del self.secrets[api_key][id_]

    def authenticates(self, api_key: str, value: str) -> bool:
        return any(
            known == value and created + self.propagation <= self.clock()
            for known, created in self.secrets.get(api_key, {}).values()
        )

    def land(self) -> None:
        """Carry out a create whose caller has long given up."""
        create = self.late.pop(0)
        if self.clock() <= create.until and len(self.secrets[create.api_key]) < self.max_secrets:
            self.created_by_rotator[self.add(create.api_key, create.value)] = create.value

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        self.interruption()
        self._enter(auth, api_key)
        return tuple(
            SecretInfo(id_, created)
            for id_, (_, created) in self.secrets[api_key].items()
            if not self.listing_lag or created + self.listing_lag <= self.clock()
        )

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        self.interruption()
        fault, self.fault = self.fault, None
        if fault == "late":
            until = self.clock() + self.request_timeout + self.settle
            self.late.append(Late(api_key, secret.get_secret_value(), until))
        if fault in ("late", "lost-before"):
            raise LostAnswer("no answer to the create")
        self._enter(auth, api_key)
        if fault == "refuse-value":
            raise InvalidRequest("the value is refused", status=400, invalid_parameters=(("secret", "no"),))
        if len(self.secrets[api_key]) >= self.max_secrets:
            raise Forbidden("too many secrets", status=403)
        id_ = self.add(api_key, secret.get_secret_value())
        self.created_by_rotator[id_] = secret.get_secret_value()
        if fault == "lost-after":
            raise LostAnswer("no answer to the create")
        return SecretInfo(id_, self.clock())

    def get_balance(self, auth: Credentials) -> Balance:
        self.interruption()
        spread = {value: at + self.rest_propagation for value, at in self.secrets[auth.api_key].values()}
        if spread.get(auth.api_secret.get_secret_value(), datetime.max.replace(tzinfo=UTC)) > self.clock():
            raise Unauthorized("refused", status=401)
        return Balance(Decimal(10), auto_reload=False)

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str:
        self.interruption()
        fault, self.fault = self.fault, None
        if fault in ("late", "lost-before"):
            raise LostAnswer("no answer to the revocation")
        self._enter(auth, api_key)
        if secret_id not in self.secrets[api_key]:
            raise NotFound("no such id", status=404)
        if len(self.secrets[api_key]) == 1:
            raise Forbidden("the last secret", status=403)
        self.on_revoke(secret_id, self.secrets[api_key][secret_id][0])
        del self.secrets[api_key][secret_id]
        if fault == "lost-after":
            raise LostAnswer("no answer to the revocation")
        return ""

    def _enter(self, auth: Credentials, api_key: str) -> None:
        self.on_request(auth)
        if not self.authenticates(auth.api_key, auth.api_secret.get_secret_value()):
            raise Unauthorized("refused", status=401)
        if self.refusals:
            self.refusals -= 1
            raise Unauthorized("refused for a moment", status=401)
        if auth.api_key != api_key and self.primaries.get(api_key) != auth.api_key:
            raise NotFound("no such key", status=404)


@dataclass
class ModelVault:
    """KV v2: documents with versions, when each was taken, and check-and-set."""

    clock: Clock = field(default_factory=Clock)
    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fault: str | None = None
    interruption: Interruption = field(default_factory=Interruption)
    deleted: set[tuple[str, int]] = field(default_factory=set)  # versions that keep their numbers; undelete brings back
    _taken: dict[int, tuple[dict[str, Any], datetime]] = field(default_factory=dict)

    def read(self, path: str, version: int | None = None) -> Document:
        self.interruption()
        return self.peek(path, version)

    def peek(self, path: str, version: int | None = None) -> Document:
        """What stands there, without being a request that anything could come before."""
        versions = self.versions.get(path, [])
        at = len(versions) if version is None else version
        if not 1 <= at <= len(versions):
            return Document(version=0, data=None, read_at=self.clock(), mount="secret", path=path)
        data = None if (path, at) in self.deleted else dict(versions[at - 1])
        created = self._created(versions[at - 1])
        return Document(version=at, data=data, created=created, read_at=self.clock(), mount="secret", path=path)

    def taken_at(self, version: dict[str, Any], at: datetime) -> None:
        """Say when Vault took a version that a test puts there."""
        self._taken[id(version)] = version, at

    def _created(self, version: dict[str, Any]) -> datetime:
        """When it was first seen here; no two versions were taken in the same microsecond."""
        taken = self.clock() + timedelta(microseconds=len(self._taken))
        return self._taken.setdefault(id(version), (version, taken))[1]

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        self.interruption()
        fault, self.fault = self.fault, None
        if fault == "lost-before":
            raise VaultUnreachable("no answer to the write")
        versions = self.versions.setdefault(path, [])
        if len(versions) != cas:
            raise CasConflict(path)
        plain = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value for key, value in data.items()
        }
        versions.append(plain)
        self._created(plain)
        if fault == "lost-after":
            raise VaultUnreachable("no answer to the write")
        return len(versions)

    def keep_versions(self, path: str, count: int) -> bool:
        self.interruption()
        return False


@dataclass
class World:
    """One account at the model provider, published in the model Vault, and whoever reads it."""

    grace: timedelta = timedelta(hours=1)
    max_secrets: int = 2
    secondary: bool = False
    verify_balance: bool = False
    clock: Clock = field(default_factory=Clock)
    ahead: timedelta = timedelta()  # of the runners' clocks, the provider's and Vault's are right
    audit: AuditLog = field(default_factory=lambda: AuditLog(None))
    settings: Settings = field(init=False)
    provider: ModelProvider = field(init=False)
    vault: ModelVault = field(default_factory=ModelVault)
    runners: int = 0
    interruption: Interruption = field(default_factory=Interruption)

    def __post_init__(self) -> None:
        self.provider = ModelProvider(self.clock, self.max_secrets, interruption=self.interruption)
        self.vault.interruption = self.interruption
        self.vault.clock = self.clock
        accounts: list[dict[str, Any]] = [
            {
                "name": "shop",
                "api_key": "shopkey",
                "path": "apps/shop",
                "grace": self.grace,
                "verify_balance": self.verify_balance,
            },
        ]
        if self.secondary:
            accounts[0]["primary"] = "parent"
            accounts.append({"name": "parent", "api_key": "parentkey", "path": "apps/parent"})
            self.provider.add("parentkey", "ParentSecret001")
            self.provider.primaries["shopkey"] = "parentkey"
            self.publish("ParentSecret001", path="apps/parent")
        self.settings = Settings.model_validate(
            {
                "vault": {"address": "http://127.0.0.1:1", "auth": {"token": "model-token-0001"}},
                "account_api": {"max_secrets": self.max_secrets},
                "accounts": accounts,
            }
        )

    @property
    def account(self) -> AccountSettings:
        return self.settings.accounts[0]

    def publish(self, value: str, *, path: str = "apps/shop", secret_id: str | None = None) -> None:
        """What a human does by hand."""
        versions = self.vault.versions.setdefault(path, [])
        before = versions[-1] if versions else {}
        versions.append(before | {"api_secret": value} | ({"secret_id": secret_id} if secret_id else {}))

    def rotation(self, **policy: Any) -> Rotation:
        """A run by a runner that never ran before."""
        self.runners += 1
        wanted: dict[str, Any] = {
            "instance": f"instance-{self.runners}",
            "account": "shop",
            "lease": self.settings.daemon.lease,
            "explicit": True,
            "trigger": Trigger.MANUAL,
            "has_primary": self.secondary,
            "grace": self.grace,
            "max_secrets": self.max_secrets,
            "request_timeout": self.provider.request_timeout,
            "api_key": self.account.api_key,
            "window": self.provider.settle,
        }
        max_wait = policy.pop("patience", timedelta())
        kind = RequestKind.MANUAL
        if policy.pop("force", False):
            kind = RequestKind.FORCE
        if policy.pop("compromised", False):
            kind = RequestKind.COMPROMISED
        asked_at = policy.pop("fresh_after", None)
        asked: Request | None = policy.pop("asked", None)

        def ask(journal: Journal, published: Published, _: datetime | None) -> Asked | None:
            """Ask for a secret that is younger than an instant, or for just what the test asks."""
            if asked is not None:
                return Asked(asked, published.secret)
            if asked_at is None or (journal.rotated_at is not None and journal.rotated_at >= asked_at):
                return None
            name = f"request-{self.runners}"
            made = requests.new_request(kind, journal, published, at=self.clock(), by="somebody", id_=name)
            return Asked.of(made, published.secret)

        rotation = Rotation(
            self.account,
            self.settings,
            self.provider,
            self.vault,
            policy=Policy(**(wanted | policy)),
            clock=lambda: self.clock() + self.ahead,
            wait=self.clock.wait,
            monotonic=self.clock.monotonic,
            max_wait=max_wait,
            ask=ask,
            audit=self.audit,
        )
        rotation.state.log = _SILENT
        return rotation

    def identify(self) -> None:
        """Run until the published secret's id is certain."""
        for _ in range(10):
            self.rotation().run()
            if self.journal.current_id is not None:
                return
            self.clock.wait(self.provider.settle)
        raise AssertionError(f"the id stays pending: {self.journal}")

    @property
    def journal(self) -> Any:
        return parse_journal(self.vault.peek(self.settings.journal_path(self.account)))

    @property
    def published(self) -> str | None:
        secret = parse_published(self.vault.peek(self.account.path), self.account).secret
        return secret.get_secret_value() if secret else None

    @property
    def live(self) -> dict[str, str]:
        return {id_: value for id_, (value, _) in self.provider.secrets["shopkey"].items()}

    def consumer_works(self) -> bool:
        return self.published is not None and self.provider.authenticates("shopkey", self.published)
