"""What only tests need of an OpenBao: one with TLS, clusters, their administration, and whom logins involve."""

import base64
import contextlib
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pydantic import SecretStr

from rotator.demo import OpenBao, free_port, serving
from testkit.cluster import eventually


@dataclass
class Admin:
    """Does with the root token whatever a test needs done."""

    address: str
    root_token: SecretStr
    tls: ssl.SSLContext | None = None

    def __call__(self, method: str, path: str, body: Any = None, *, namespace: str | None = None) -> dict[str, Any]:
        headers = {"X-Vault-Token": self.root_token.get_secret_value()}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        with httpx.Client(verify=self.tls or False, trust_env=False, timeout=20) as client:
            send = partial(client.request, method, f"{self.address}/v1/{path}", json=body, headers=headers)
            try:
                answer = send()
            except httpx.RemoteProtocolError:  # a server that has just started can close a connection without an answer
                answer = send()
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def policy(self, name: str, rules: str, *, namespace: str | None = None) -> None:
        self("PUT", f"sys/policies/acl/{name}", {"policy": rules}, namespace=namespace)

    def token(self, *policies: str, namespace: str | None = None, **options: Any) -> SecretStr:
        """A new token with these policies."""
        body = {"policies": policies, "ttl": "1h", **options}
        answer = self("POST", "auth/token/create", body, namespace=namespace)
        return SecretStr(answer["auth"]["client_token"])


@dataclass
class TlsOpenBao:
    """An OpenBao with a certificate, and who it and its clients trust."""

    bao: OpenBao
    unseal_key: str
    ca: trustme.CA
    ca_cert: Path
    other_ca_cert: Path
    client_cert: Path
    client_key: Path
    admin: Admin

    def seal(self) -> None:
        self.admin("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it, and wait until it is active."""
        self.admin("PUT", "sys/unseal", {"key": self.unseal_key})

        def active() -> bool:
            with httpx.Client(verify=self.admin.tls or False, trust_env=False, timeout=20) as client:
                return client.get(f"{self.bao.address}/v1/sys/health").status_code == httpx.codes.OK

        eventually(active, what=lambda: "the server stays sealed")


@contextmanager
def running_tls_openbao(folder: Path) -> Iterator[TlsOpenBao]:
    """A server with a TLS listener that asks for client certificates, initialized and unsealed."""
    ca, other = trustme.CA(), trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("rotator.example", common_name="rotator.example")
    files = {name: folder / f"{name}.pem" for name in ("ca", "other", "server", "key", "client", "client_key")}
    ca.cert_pem.write_to_path(files["ca"])
    other.cert_pem.write_to_path(files["other"])
    server.cert_chain_pems[0].write_to_path(files["server"])
    server.private_key_pem.write_to_path(files["key"])
    client.cert_chain_pems[0].write_to_path(files["client"])
    client.private_key_pem.write_to_path(files["client_key"])
    tls = ssl.create_default_context(cafile=str(files["ca"]))
    port = free_port()
    listener = {
        "address": f"127.0.0.1:{port}",
        "tls_cert_file": str(files["server"]),
        "tls_key_file": str(files["key"]),
    }
    config = {
        "storage": {"inmem": {}},
        "listener": {"tcp": listener},
        "api_addr": f"https://127.0.0.1:{port}",
        "cluster_addr": f"https://127.0.0.1:{free_port()}",
    }
    (folder / "bao.json").write_text(json.dumps(config))
    address = f"https://127.0.0.1:{port}"
    with serving(address, ["-config", str(folder / "bao.json")], tls=tls, ready=httpx.codes.NOT_IMPLEMENTED) as up:
        pid, health = up
        admin = Admin(address, SecretStr("none-yet"), tls)
        keys = admin("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        admin.root_token = SecretStr(keys["root_token"])
        made = TlsOpenBao(
            bao=OpenBao(address, admin.root_token, str(health["version"]), pid),
            unseal_key=keys["keys"][0],
            ca=ca,
            ca_cert=files["ca"],
            other_ca_cert=files["other"],
            client_cert=files["client"],
            client_key=files["client_key"],
            admin=admin,
        )
        made.unseal()
        admin("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        yield made


@dataclass
class Node:
    """One server of a cluster, with its data on disk: it can be killed and started again."""

    address: str
    config: Path
    pid: int = 0
    _server: ExitStack = field(default_factory=ExitStack)

    @property
    def name(self) -> str:
        return self.config.parent.name

    def start(self, ready: int) -> None:
        arguments = ["-config", str(self.config)]
        self.pid, _ = self._server.enter_context(serving(self.address, arguments, ready=ready))

    def signal(self, number: signal.Signals) -> None:
        """Send it to the server and its guard."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        self._server.close()

    def health(self) -> int:
        """200: active, 429: standby, 503: sealed; 0: no answer."""
        try:
            return httpx.get(f"{self.address}/v1/sys/health", trust_env=False, timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def close(self) -> None:
        self._server.close()


@dataclass
class RaftCluster:
    """Servers that keep the same data; the first one is the leader at the beginning."""

    nodes: list[Node]
    admin: Admin
    unseal_key: str
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=20))

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def start(self, node: Node) -> None:
        """Start it again with its data, and unseal it."""
        node.start(httpx.codes.SERVICE_UNAVAILABLE)
        self.unseal(node)

    def seal(self, node: Node) -> None:
        """Seal an active one; a standby answers that it cannot."""
        Admin(node.address, self.admin.root_token)("PUT", "sys/seal")

    def unseal(self, node: Node) -> None:
        Admin(node.address, self.admin.root_token)("PUT", "sys/unseal", {"key": self.unseal_key})

    def await_health(self, node: Node, *statuses: int) -> None:
        """Wait until it is one of these: 200 (active), 429 (standby)."""
        eventually(lambda: node.health() in statuses, what=lambda: f"{node.address} does not become {statuses}")

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """Read as root from any server that answers, while none leads a bit later; empty if there is nothing."""
        headers = {"X-Vault-Token": self.admin.root_token.get_secret_value()}
        for _ in range(600):
            for address in self.addresses:
                with contextlib.suppress(httpx.HTTPError):
                    answer = self._client.request(method, f"{address}/v1/{path}", headers=headers)
                    if answer.is_success or answer.status_code == httpx.codes.NOT_FOUND:
                        return dict(answer.json()) if answer.is_success else {}
            time.sleep(0.1)
        raise AssertionError(f"no server answers {method} {path}")

    def await_votes(self) -> None:
        """Wait until each of them has a vote: then one may fail."""

        def all_vote() -> bool:
            servers = self.ask("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
            return bool(sum(server["voter"] for server in servers) == len(self.nodes))

        eventually(all_vote, what=lambda: "not everybody may vote")

    def await_mount(self) -> None:
        """Wait until the mount has upgraded itself to version 2, everywhere."""
        headers = {"X-Vault-Token": self.admin.root_token.get_secret_value()}
        for address in self.addresses:
            ask = partial(httpx.get, f"{address}/v1/secret/config", headers=headers, trust_env=False, timeout=20)
            eventually(lambda ask=ask: ask().is_success)  # type: ignore[misc]


@contextmanager
def running_raft(
    folder: Path,
    size: int,
    advertise: Callable[[str, int], int] = lambda name, port: port,
    *,
    standby_reads: bool = True,
    patience: int = 1,
) -> Iterator[RaftCluster]:
    """A cluster of so many servers with raft storage and a KV v2 mount at secret/, unsealed.

    Args:
        folder: For their data.
        size: How many.
        advertise: Gives the port at which the others reach a server, by its name and the port that it listens on.
        standby_reads: Whether one that does not lead answers reads by itself, which is OpenBao's default.
        patience: How many seconds they go without news of a leader before they elect another one.
    """
    with ExitStack() as stack:
        nodes = [_raft_node(folder / f"node{number}", advertise, standby_reads, patience) for number in range(size)]
        for node in nodes:
            stack.callback(node.close)
            node.start(httpx.codes.NOT_IMPLEMENTED)
        first = nodes[0]
        admin = Admin(first.address, SecretStr("none-yet"))
        keys = admin("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        admin.root_token = SecretStr(keys["root_token"])
        cluster = RaftCluster(nodes, admin, keys["keys"][0])
        stack.callback(cluster._client.close)
        cluster.unseal(first)
        cluster.await_health(first, httpx.codes.OK)
        stable = {"server_stabilization_time": "500ms"}  # who joined has a vote after that
        admin("POST", "sys/storage/raft/autopilot/configuration", stable)
        for node in nodes[1:]:
            Admin(node.address, admin.root_token)("POST", "sys/storage/raft/join", {"leader_api_addr": first.address})
            cluster.unseal(node)
            cluster.await_health(node, httpx.codes.TOO_MANY_REQUESTS)
        cluster.await_votes()
        admin("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        cluster.await_mount()
        yield cluster


def _raft_node(folder: Path, advertise: Callable[[str, int], int], standby_reads: bool, patience: int) -> Node:
    folder.mkdir()
    port, cluster_port = free_port(), free_port()
    listener = {
        "address": f"127.0.0.1:{port}",
        "cluster_address": f"127.0.0.1:{cluster_port}",
        "tls_disable": True,
    }
    storage = {
        "path": str(folder),
        "node_id": folder.name,
        "performance_multiplier": patience,
        "autopilot_reconcile_interval": "200ms",
        "autopilot_update_interval": "200ms",
    }
    config = {
        "storage": {"raft": storage},
        "listener": {"tcp": listener},
        "api_addr": f"http://127.0.0.1:{port}",
        "cluster_addr": f"https://127.0.0.1:{advertise(folder.name, cluster_port)}",
        "disable_standby_reads": not standby_reads,
    }
    file = folder / "bao.json"
    file.write_text(json.dumps(config))
    return Node(f"http://127.0.0.1:{port}", file)


@dataclass
class Issuer:
    """Signs JWTs (ES256), as a CI system or a Kubernetes API server does."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def sign(self, **claims: Any) -> str:
        now = int(time.time())
        payload = {"iat": now - 5, "nbf": now - 5, "exp": now + 600, **claims}
        text = f"{_encoded({'alg': 'ES256', 'typ': 'JWT'})}.{_encoded(payload)}"
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass
class TokenReviews:
    """The part of a Kubernetes API server that OpenBao asks whose a service account's JWT is."""

    address: str
    accepted: dict[str, str] = field(default_factory=dict)  # JWT -> "namespace:name"
    asked: int = 0


@contextmanager
def running_token_reviews(tls: ssl.SSLContext | None = None) -> Iterator[TokenReviews]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reviews.asked += 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            account = reviews.accepted.get(body["spec"]["token"])
            status: dict[str, Any] = {"authenticated": account is not None}
            if account:
                status["user"] = {"username": f"system:serviceaccount:{account}", "uid": "uid-1", "groups": []}
            answer = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
            content = json.dumps(answer).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    reviews = TokenReviews(f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield reviews
    finally:
        server.shutdown()
        server.server_close()
