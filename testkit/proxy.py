"""A proxy that a test stands in front of a server, to lose requests and answers, or to answer in its place."""

import http.client
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit


class Action(Enum):
    """What happens to a request.

    DROP_BEFORE closes the connection without asking the server; DROP_AFTER asks it and drops its answer.
    """

    FORWARD = "forward"
    DROP_BEFORE = "drop before"
    DROP_AFTER = "drop after"


FORWARD, DROP_BEFORE, DROP_AFTER = Action


@dataclass(frozen=True)
class Answer:
    """What is sent back; given by a hook, it is sent in place of the server's."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Call:
    """One request, counted from 0 over all connections."""

    index: int
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.index} {self.method} {self.path}"


@dataclass
class FaultProxy:
    """Forwards HTTP/1.1 requests one by one, many on a connection, each through two hooks.

    Attributes:
        target: The address of the server; plain HTTP.
        on_request: Called with every request; an Answer is sent at once, the server not being asked.
        on_response: Called with the server's answer before it is sent back.
        calls: Every request so far.
        address: Where it listens.
    """

    target: str
    on_request: Callable[[Call], Action | Answer] = lambda call: FORWARD
    on_response: Callable[[Call, Answer], Action | Answer] = lambda call, answer: FORWARD
    calls: list[Call] = field(default_factory=list)
    address: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """Listen on a free port of the loopback interface until the end of the block."""
        server = _Server(self)
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def record(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
        """Note a request."""
        with self._lock:
            call = Call(len(self.calls), method, path, headers, body)
            self.calls.append(call)
            return call

    def ask(self, call: Call) -> Answer:
        """The server's answer."""
        url = urlsplit(self.target)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        try:
            connection.request(call.method, call.path, body=call.body or None, headers=call.headers)
            answer = connection.getresponse()
            skipped = ("transfer-encoding", "content-length", "connection")
            headers = tuple(pair for pair in answer.getheaders() if pair[0].lower() not in skipped)
            return Answer(answer.status, answer.read(), headers)
        finally:
            connection.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone in the middle of a request is the point of it all."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out in one piece
    server: _Server

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        proxy = self.server.proxy
        call = proxy.record(self.command, self.path, headers, body)
        decision: Action | Answer = proxy.on_request(call)
        if decision in (FORWARD, DROP_AFTER):
            answer = proxy.ask(call)
            decision = decision if decision is DROP_AFTER else proxy.on_response(call, answer)
            decision = answer if decision is FORWARD else decision
        if isinstance(decision, Answer):
            self._send(decision)
        else:
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _relay  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""
