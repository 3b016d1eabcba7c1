"""What rotator makes of recorded answers of HashiCorp Vault, and of OpenBao's, which are recorded here."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rotator.config import VaultSettings
from rotator.demo import OpenBao
from rotator.vault import (
    Vault,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultSealed,
    VaultUnreachable,
    WrongMount,
    diagnosis,
)
from rotator.vault.errors import Forbidden, is_transient
from rotator.vault.http import Answer
from rotator.vault.reply import ErrorReply, Reply, parse_reply
from testkit import proxy
from testkit.openbao import Admin, RaftCluster, running_raft
from tests.vault.answers import ANSWERS, OPENBAO, Meaning, Recorded

ADDRESS = "http://vault.example:8200"
REQUEST = "read secret/data/apps/shop"


def parsed(status: int, content: bytes, media_type: str = "application/json") -> Reply:
    return parse_reply(Answer(status, content, media_type))


def diagnosed(reply: Reply) -> VaultError:
    return diagnosis.diagnose(REQUEST, ADDRESS, ErrorReply(reply))


# --- every recorded answer --------------------------------------------------------------------------------------------


def is_refusal(reply: Reply, *, by_policy: bool) -> bool:
    error = diagnosed(reply)
    return isinstance(error, Forbidden) and error.by_policy is by_policy


def is_error(reply: Reply, kind: type[VaultError]) -> bool:
    return type(diagnosed(reply)) is kind


def is_refused_login(reply: Reply) -> bool:
    """Any error but an outage ends a login as refused."""
    return not isinstance(diagnosed(reply), (VaultUnreachable, VaultRateLimited))


def is_wrapped(reply: Reply) -> bool:
    return reply.succeeded and bool(reply.body["wrap_info"]) and reply.body["data"] is None


def is_temporary(reply: Reply) -> bool:
    error = diagnosed(reply)
    return is_transient(error) and not error.maybe_done


CHECKS: dict[Meaning, Callable[[Reply], bool]] = {
    Meaning.TOKEN_REFUSED: lambda reply: is_refusal(reply, by_policy=False),
    Meaning.POLICY_DENIED: lambda reply: is_refusal(reply, by_policy=True),
    Meaning.LOGIN_REFUSED: is_refused_login,
    Meaning.SEALED: lambda reply: is_error(reply, VaultSealed),
    Meaning.HEALTH: diagnosis.is_health,
    Meaning.TEMPORARY: is_temporary,
    Meaning.RATE_LIMITED: lambda reply: diagnosis.is_rate_limit(reply) and is_error(reply, VaultRateLimited),
    Meaning.CONFLICT: diagnosis.is_conflict,
    Meaning.WRONG_MOUNT: lambda reply: is_error(reply, WrongMount),
    Meaning.HIDDEN_MOUNT: diagnosis.is_hidden_mount,
    Meaning.NEVER_WRITTEN: diagnosis.is_never_written,
    Meaning.WITHOUT_DATA: diagnosis.is_version_without_data,
    Meaning.WRAPPED: is_wrapped,
    Meaning.REFUSED: lambda reply: is_error(reply, VaultError),
}


@pytest.mark.parametrize("recorded", ANSWERS, ids=str)
def test_recorded_answer_is_understood(recorded: Recorded) -> None:
    assert CHECKS[recorded.meaning](parsed(recorded.status, recorded.content))


EXCLUSIVE = {
    Meaning.HEALTH: diagnosis.is_health,
    Meaning.RATE_LIMITED: diagnosis.is_rate_limit,
    Meaning.CONFLICT: diagnosis.is_conflict,
    Meaning.HIDDEN_MOUNT: diagnosis.is_hidden_mount,
    Meaning.NEVER_WRITTEN: diagnosis.is_never_written,
    Meaning.WITHOUT_DATA: diagnosis.is_version_without_data,
}


@pytest.mark.parametrize("recorded", ANSWERS, ids=str)
def test_recorded_answer_has_one_meaning(recorded: Recorded) -> None:
    reply = parsed(recorded.status, recorded.content)
    found = {meaning for meaning, check in EXCLUSIVE.items() if check(reply)}
    assert found == {recorded.meaning} & EXCLUSIVE.keys()


@pytest.mark.parametrize("recorded", [one for one in ANSWERS if one.meaning is Meaning.HEALTH], ids=str)
def test_recorded_health_is_read(bao: OpenBao, recorded: Recorded) -> None:
    answer = proxy.Answer(recorded.status, recorded.content)
    with proxy.FaultProxy(bao.address, lambda call: answer).running() as server:
        vault = session(server.address, bao)
        if recorded.body.get("replication_dr_mode") == "secondary":
            with pytest.raises(VaultUnreachable, match=r"disaster recovery secondary.*primary cluster"):
                vault.health()
        else:
            health = vault.health()
            assert (health.sealed, health.standby) == (recorded.body["sealed"], recorded.body["standby"])


@pytest.mark.parametrize("recorded", [one for one in ANSWERS if one.meaning is Meaning.WRAPPED], ids=str)
def test_recorded_wrapped_answer_is_refused(bao: OpenBao, recorded: Recorded) -> None:
    answer = proxy.Answer(recorded.status, recorded.content)
    with proxy.FaultProxy(
        bao.address, lambda call: answer if "/data/" in call.path else proxy.FORWARD
    ).running() as made:
        vault = session(made.address, bao)
        with pytest.raises(VaultDenied, match=r"wraps its answer.*min_wrapping_ttl") as caught:
            vault.read("apps/shop")
        assert str(recorded.body["wrap_info"].get("token")) not in str(caught.value)


def session(address: str, bao: OpenBao) -> Vault:
    return Vault(VaultSettings.model_validate({"address": address, "auth": {"token": bao.root_token}, "timeout": "9s"}))


# --- texts of a 403 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(
            diagnosis.policy_denied("read", "secret/data/apps/shop"),
            "Vault's policy does not let rotator read secret/data/apps/shop. Nothing was written there. "
            'Add to its policy: path "secret/data/apps/shop" { capabilities = ["read"] }.',
            id="policy, reading",
        ),
        pytest.param(
            diagnosis.policy_denied("write", "secret/data/apps/shop"),
            "Vault's policy does not let rotator write secret/data/apps/shop. Nothing was written there. "
            'Add to its policy: path "secret/data/apps/shop" { capabilities = ["create", "update"] }.',
            id="policy, writing",
        ),
        pytest.param(
            diagnosis.token_refused("Put a new token into VAULT_TOKEN"),
            "Vault refuses rotator's token: it has ended or was revoked. Nothing was written. "
            "Put a new token into VAULT_TOKEN.",
            id="token",
        ),
        pytest.param(
            diagnosis.login_refused("auth/approle/login", "permission denied"),
            "Vault refuses rotator's login at auth/approle/login: permission denied. Nothing was written. "
            "Check vault.auth, the role in Vault, that the auth method is enabled there, and whether Vault has locked "
            "the role out after failed logins: vault read sys/locked-users.",
            id="login",
        ),
    ],
)
def test_403_says_how_to_get_access(error: VaultError, text: str) -> None:
    assert str(error) == f"{text} To see whether it works now: rotator check."


# --- OpenBao's answers, recorded --------------------------------------------------------------------------------------


class Recorder:
    """Provokes each of OpenBao's answers on a real server."""

    def __init__(self, bao: OpenBao, raft: RaftCluster) -> None:
        self.bao, self.raft = bao, raft
        self.admin = Admin(bao.address, bao.root_token)
        self.mount = f"recorded{time.monotonic_ns()}"
        self.admin("POST", f"sys/mounts/{self.mount}", {"type": "kv", "options": {"version": "2"}})

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = "root", **headers: str
    ) -> httpx.Response:
        """Send a request to the server, as root unless told otherwise."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["X-Vault-Token"] = self.bao.root_token.get_secret_value() if token == "root" else token
        url = f"{self.bao.address}/v1/{path}"
        return httpx.request(method, url, json=body, headers=sent, trust_env=False, timeout=30)

    def ask_standby(self, path: str) -> httpx.Response:
        """Send a request to a standby of the cluster, as root."""
        headers = {"X-Vault-Token": self.raft.admin.root_token.get_secret_value()}
        return httpx.get(f"{self.raft.addresses[1]}/v1/{path}", headers=headers, trust_env=False, timeout=30)

    def invalid_token(self) -> httpx.Response:
        return self.ask("GET", f"{self.mount}/data/x", token="s.nosuchtoken00000")

    def no_token(self) -> httpx.Response:
        return self.ask("GET", f"{self.mount}/data/x", token=None)

    def policy(self) -> httpx.Response:
        self.admin.policy("recorded", 'path "elsewhere" { capabilities = ["read"] }')
        return self.ask("GET", f"{self.mount}/data/x", token=self.admin.token("recorded").get_secret_value())

    def approle_locked_out(self) -> httpx.Response:
        for _ in range(6):
            answer = self.wrong_secret_id()
        return answer

    def wrong_secret_id(self) -> httpx.Response:
        if f"{self.mount}-approle/" not in self.admin("GET", "sys/auth")["data"]:
            self.admin("POST", f"sys/auth/{self.mount}-approle", {"type": "approle"})
            self.admin("POST", f"auth/{self.mount}-approle/role/r", {"token_policies": ["default"]})
        role_id = self.admin("GET", f"auth/{self.mount}-approle/role/r/role-id")["data"]["role_id"]
        body = {"role_id": role_id, "secret_id": "wrong"}
        return self.ask("POST", f"auth/{self.mount}-approle/login", body, token=None)

    def sealed(self) -> httpx.Response:
        return self.at_sealed("secret/data/x")

    def health_of_a_sealed_server(self) -> httpx.Response:
        return self.at_sealed("sys/health")

    def at_sealed(self, path: str) -> httpx.Response:
        standby = self.raft.nodes[1]
        standby.kill()
        standby.start(httpx.codes.SERVICE_UNAVAILABLE)
        try:
            return self.ask_standby(path)
        finally:
            self.raft.unseal(standby)
            self.raft.await_health(standby, httpx.codes.TOO_MANY_REQUESTS)

    def health_of_a_standby(self) -> httpx.Response:
        return self.ask_standby("sys/health")

    def rate_limit_quota(self) -> httpx.Response:
        self.admin("POST", f"sys/quotas/rate-limit/{self.mount}", {"path": f"{self.mount}/", "rate": 1})
        try:
            for _ in range(20):
                answer = self.ask("GET", f"{self.mount}/data/x")
                if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    break
            return answer
        finally:
            self.admin("DELETE", f"sys/quotas/rate-limit/{self.mount}")

    def check_and_set_mismatch(self) -> httpx.Response:
        return self.ask("POST", f"{self.mount}/data/x", {"data": {"n": 1}, "options": {"cas": 5}})

    def wrapped_answer(self) -> httpx.Response:
        self.admin("POST", f"{self.mount}/data/x", {"data": {"n": 1}})
        try:
            return self.ask("GET", f"{self.mount}/data/x", X_Vault_Wrap_TTL="60s")
        finally:
            self.admin("DELETE", f"{self.mount}/metadata/x")

    def missing_document(self) -> httpx.Response:
        return self.ask("GET", f"{self.mount}/data/never")

    def deleted_version(self) -> httpx.Response:
        self.admin("POST", f"{self.mount}/data/deleted", {"data": {"n": 1}})
        self.admin("POST", f"{self.mount}/delete/deleted", {"versions": [1]})
        return self.ask("GET", f"{self.mount}/data/deleted")

    def missing_mount(self) -> httpx.Response:
        return self.ask("GET", "nowhere/data/x")

    def path_below_a_mount(self) -> httpx.Response:
        return self.ask("GET", f"{self.mount}/below/data/x")

    def hidden_mount(self) -> httpx.Response:
        return self.ask("GET", "sys/internal/ui/mounts/nowhere")

    def missing_namespace(self) -> httpx.Response:
        return self.ask("GET", f"{self.mount}/data/x", X_Vault_Namespace="nowhere")

    def too_large_a_document(self) -> httpx.Response:
        return self.ask("POST", f"{self.mount}/data/x", {"data": {"n": "x" * (33 << 20)}})

    def unsupported_method(self) -> httpx.Response:
        return self.ask("DELETE", "sys/capabilities-self")


@pytest.fixture(scope="module")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaftCluster]:
    with running_raft(tmp_path_factory.mktemp("raft"), 2) as cluster:
        yield cluster


def only_recorded(found: Any, recorded: Any) -> Any:
    """The part of an answer that the table contains."""
    if isinstance(found, dict) and isinstance(recorded, dict):
        return {key: only_recorded(found[key], value) for key, value in recorded.items()}
    return found


@pytest.mark.parametrize("recorded", [one for one in ANSWERS if one.server == OPENBAO], ids=str)
def test_openbao_answers_as_recorded(bao: OpenBao, raft: RaftCluster, recorded: Recorded) -> None:
    recorder = Recorder(bao, raft)
    name = recorded.name.replace(" ", "_").replace("-", "_").lower()
    answer: httpx.Response = getattr(recorder, name)()
    found = json.loads(answer.text.replace(recorder.mount, "MOUNT"))
    expected = recorded.body
    if recorded.meaning is Meaning.HEALTH:
        expected = {**expected, "version": bao.version}
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.status_code, only_recorded(found, expected)) == (recorded.status, expected)
    assert CHECKS[recorded.meaning](parsed(answer.status_code, answer.content))


def test_openbao_versions_are_the_ones_of_the_table(bao: OpenBao) -> None:
    assert {one.versions for one in ANSWERS if one.server == OPENBAO} == {".".join(bao.version.split(".")[:2])}


# --- answers of other programs ----------------------------------------------------------------------------------------

HTML = b"<html><body>Blocked: secret-of-the-page</body></html>"


@pytest.mark.parametrize(
    ("status", "advice", "unsent"),
    [
        (400, "scheme", True),
        (401, "login of its own", True),
        (403, "no policy of Vault", False),
        (404, "the proxy's path", True),
        (405, "GET and POST", True),
        (407, "credentials", True),
        (408, "proxy in front of Vault", False),
        (413, "1 MiB", True),
        (418, "proxy in front of Vault", True),
        (502, "proxy in front of Vault", False),
        (503, "proxy in front of Vault", False),
    ],
)
@pytest.mark.parametrize(
    ("content", "media_type"),
    [(HTML, "text/html"), (b'{"message":"Forbidden"}', "application/json"), (b'{"errors":["x"]}', "text/html")],
    ids=["HTML", "other JSON", "JSON as HTML"],
)
def test_answer_of_a_proxy_is_named_as_such(
    status: int, advice: str, unsent: bool, content: bytes, media_type: str
) -> None:
    error = diagnosed(parsed(status, content, media_type))
    assert isinstance(error, VaultUnreachable)
    assert f"To {REQUEST}, {ADDRESS} answers with HTTP {status} with {len(content)} bytes of {media_type}" in str(error)
    assert "not one of Vault's" in str(error)
    assert advice in error.next_step
    assert error.maybe_done is not unsent
    assert "secret-of-the-page" not in str(error) + repr(vars(error))


def test_server_that_expects_tls_is_named() -> None:
    """Go's HTTP server writes this without headers."""
    error = diagnosed(parsed(400, b"Client sent an HTTP request to an HTTPS server.\n", ""))
    assert "expects TLS" in str(error)
    assert "https://" in error.next_step
    assert not error.maybe_done
