"""CPU time of one request of each client, against a server in another process that answers at once.

    python -m benchmarks.request_cost [--requests 3000] [--tls]

The client's process counts its own CPU time only. The answers have the size of real ones.
"""

import argparse
import json
import multiprocessing
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import trustme
from pydantic import SecretStr

from rotator.config import AccountApiSettings, VaultAuth, VaultSettings
from rotator.provider import AccountApi, Credentials
from rotator.vault import Vault

SECRET = {"id": "ad6dc56f-07b5-46e1-a527-85530e625800", "created_at": "2017-03-02T16:34:49Z"}
SECRETS = [SECRET, SECRET | {"id": "other"}]
LIST = json.dumps({"_links": {"self": {"href": "/accounts/a/secrets"}}, "_embedded": {"secrets": SECRETS}})
METADATA = {"created_time": "2026-01-02T03:04:05.678901234Z", "deletion_time": "", "destroyed": False, "version": 7}
DOCUMENT = json.dumps({"request_id": "x", "data": {"data": {"state": "x" * 600}, "metadata": METADATA}})
TOKEN = json.dumps({"data": {"ttl": 0, "expire_time": None, "num_uses": 0, "renewable": False}})


def serve(listener: socket.socket, certificate: Path | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    while True:
        connection = listener.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection, context), daemon=True).start()


def answer(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
    while request := connection.recv(65536):
        path = request.split(b" ", 2)[1]
        body = LIST
        if b"/data/" in path:
            body = DOCUMENT
        elif b"lookup" in path:
            body = TOKEN
        date = "Date: Sat, 03 Jan 2026 04:05:06 GMT"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{date}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())


def cost(ask: Callable[[], object], requests: int) -> float:
    """Milliseconds of CPU time of one request."""
    for _ in range(100):
        ask()
    begun = time.process_time()
    for _ in range(requests):
        ask()
    return (time.process_time() - begun) / requests * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--tls", action="store_true", help="Use TLS")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        authority, ca, own = trustme.CA(), Path(folder, "ca.pem"), Path(folder, "own.pem")
        authority.cert_pem.write_to_path(str(ca))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(own))
        server = multiprocessing.get_context("fork").Process(
            target=serve, args=(listener, own if given.tls else None), daemon=True
        )
        server.start()
        address = f"{'https' if given.tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        api = AccountApi(
            AccountApiSettings(api_url=address, max_calls_per_second=10_000, ca_cert=ca), kept=timedelta(minutes=1)
        )
        auth = Credentials("abcd1234", SecretStr("Secret12345"))
        vault = Vault(VaultSettings(address=address, ca_cert=ca, auth=VaultAuth(token=SecretStr("token-0000000001"))))
        for name, ask in (
            ("provider, list", lambda: api.list_secrets(auth, "abcd1234")),
            ("Vault, read", lambda: vault.read("apps/shop")),
        ):
            figures = sorted(cost(ask, given.requests) for _ in range(5))
            print(f"{name}: {figures[2]:.3f} ms of CPU a request (least {figures[0]:.3f}, most {figures[-1]:.3f})")
        server.terminate()


if __name__ == "__main__":
    main()
