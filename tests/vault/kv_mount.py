"""A KV mount for one test, clocks, and assertions about requests and errors."""

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import requests
from pydantic import SecretStr

from rotator.config import VaultSettings
from rotator.demo import OpenBao
from rotator.vault import (
    Vault,
    VaultError,
)
from testkit.openbao import Admin, TlsOpenBao
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy

CANARY = "Canary0fTheDocument"
NUMBERS = count(1)
SEALED = Answer(503, b'{"errors":["Vault is sealed"]}')
LEADERLESS = Answer(500, b'{"errors":["local node not active but active cluster node not found"]}')


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@dataclass
class Stopwatch:
    """A monotonic clock that a test moves on. Between two looks at it, a microsecond passes."""

    now: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class KvMount:
    """A KV v2 mount of a test's own, and sessions that work there."""

    bao: OpenBao
    admin: Admin
    mount: str

    def settings(self, **changes: Any) -> VaultSettings:
        values: dict[str, Any] = {"address": self.bao.address, "mount": self.mount, "timeout": "20s"}
        return VaultSettings(**values | {"auth": {"token": self.bao.root_token}} | changes)

    def vault(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        **changes: Any,
    ) -> Vault:
        return Vault(self.settings(**changes), clock=clock, monotonic=monotonic)

    def limited(self, rules: str) -> SecretStr:
        """A token with a policy of its own."""
        name = f"p{next(NUMBERS)}"
        self.admin.policy(name, rules)
        return self.admin.token(name)

    def everything(self) -> str:
        """The name of a policy that allows all that rotator does in the mount."""
        name = f"p{next(NUMBERS)}"
        self.admin.policy(name, f'path "{self.mount}/data/*" {{ capabilities = ["create", "read", "update"] }}')
        return name

    def approle(self, **options: Any) -> dict[str, Any]:
        """An AppRole of its own; how to log in with it."""
        mount = f"approle{next(NUMBERS)}"
        self.admin("POST", f"sys/auth/{mount}", {"type": "approle"})
        self.admin("POST", f"auth/{mount}/role/r", {"token_policies": [self.everything()], **options})
        role_id = self.admin("GET", f"auth/{mount}/role/r/role-id")["data"]["role_id"]
        secret_id = self.admin("POST", f"auth/{mount}/role/r/secret-id", {})["data"]["secret_id"]
        return {"method": "approle", "mount": mount, "role_id": role_id, "secret_id": SecretStr(secret_id)}


def first(method: str, action: Action | Answer, times: int = 1) -> Callable[[Call], Action | Answer]:
    """Do that to the first requests of a method to a document."""
    left = [times]

    def hook(call: Call) -> Action | Answer:
        if call.method == method and "/data/" in call.path and left[0]:
            left[0] -= 1
            return action
        return FORWARD

    return hook


def documents(proxy: FaultProxy) -> list[str]:
    """The methods of the requests for documents, in order."""
    return [call.method for call in proxy.calls if "/data/" in call.path]


def paths(proxy: FaultProxy) -> list[str]:
    return [call.path for call in proxy.calls]


def assert_silent(error: BaseException, *secrets: SecretStr | str) -> None:
    """Neither the error nor anything it leads to holds a value, or a request with a token in its headers."""
    plain = [secret.get_secret_value() if isinstance(secret, SecretStr) else secret for secret in secrets]
    texts = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        assert not isinstance(link, requests.RequestException), "its request holds the token"
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    for text in texts:
        for value in plain:
            assert value not in text


def secure(tls: TlsOpenBao, **changes: Any) -> VaultSettings:
    values: dict[str, Any] = {"address": tls.bao.address, "ca_cert": tls.ca_cert, "timeout": "20s"}
    return VaultSettings(**values | {"auth": {"token": tls.bao.root_token}} | changes)


def always(decision: Action | Answer) -> Callable[[Call], Action | Answer]:
    return lambda call: decision


def logins(proxy: FaultProxy) -> int:
    return sum(path.endswith("/login") for path in paths(proxy))


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Each in a thread of its own, all beginning together; an error is a result."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except VaultError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))
