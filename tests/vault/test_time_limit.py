"""The time that one operation may take, whatever the server does."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import stamina

from rotator.vault import LONGEST_READ, VaultUnreachable
from testkit.cluster import at_best
from testkit.proxy import FaultProxy
from tests.vault.kv_mount import KvMount, assert_silent


@contextlib.contextmanager
def bad_server(misbehave: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that accepts and then does what only a broken one does."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    connection, _ = listener.accept()
                    threading.Thread(target=attend, args=(connection,), daemon=True).start()

        def attend(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                while not over.is_set() and misbehave(connection) is not None:
                    over.wait(0.05)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()


def _drips_headers(connection: socket.socket) -> int:
    return connection.send(b"H")


def _drips_body() -> Callable[[socket.socket], int]:
    begun: set[int] = set()

    def drip(connection: socket.socket) -> int:
        if id(connection) not in begun:
            begun.add(id(connection))
            return connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        return connection.send(b" ")

    return drip


MISBEHAVIOUR: dict[str, Callable[[socket.socket], object]] = {
    "never answers": lambda connection: 0,
    "drips headers": _drips_headers,
    "drips a body": _drips_body(),
    "answers garbage": lambda connection: connection.send(b"\x16\x03\x01 not HTTP\r\n\r\n") and None,
    "answers without end": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (17 << 20)),
    "hangs up": lambda connection: None,
}


@pytest.mark.parametrize("misbehave", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_request_ends_in_time_with_any_server(place: KvMount, misbehave: Callable[[socket.socket], object]) -> None:
    with bad_server(misbehave) as address, stamina.set_testing(True, attempts=1):
        vault = place.vault(address=address, timeout="300ms")

        def ask() -> None:
            with pytest.raises(VaultUnreachable, match=r"does not answer|is too long") as caught:
                vault.health()
            assert_silent(caught.value, place.bao.root_token)

        at_best(0.3 + 0.25, ask)


def test_last_read_gets_the_remaining_time_only(place: KvMount) -> None:
    sent: set[int] = set()

    def one_byte_late(connection: socket.socket) -> int:
        if id(connection) in sent:
            return 0
        sent.add(id(connection))
        time.sleep(0.6)
        return connection.send(b"H")

    with bad_server(one_byte_late) as address, stamina.set_testing(True, attempts=1):

        def ask() -> None:
            sent.clear()
            with pytest.raises(VaultUnreachable):
                place.vault(address=address, timeout="700ms").health()

        at_best(0.7 + 0.35, ask)


def raises_unreachable(ask: Callable[[], object], said: str | None = None) -> None:
    with pytest.raises(VaultUnreachable, match=said):
        ask()


def test_operations_end_in_the_promised_time(place: KvMount) -> None:
    with bad_server(_drips_headers) as address:
        vault = place.vault(address=address, timeout="300ms")
        for ask in (lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0), vault.keep_alive):
            # Logging in ends it, and that only reads.
            at_best(0.3 * LONGEST_READ + 1.2, partial(raises_unreachable, ask))


def test_write_and_read_back_end_in_promised_time(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, timeout="300ms")
    vault.keep_alive()
    with bad_server(_drips_headers) as slow:
        proxy.target = slow
        uncertain = "unchanged or as rotator wrote it"
        at_best(0.3 * 4 + 1.2, partial(raises_unreachable, lambda: vault.write("a", {}, cas=0), uncertain))
