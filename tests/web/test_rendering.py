"""One rendering serves all clients that wait for it, and health does not wait."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import httpx

from rotator.monitoring import FleetStatus, Metrics
from rotator.web import App, Request, serving
from rotator.web.answers import Answer
from rotator.web.rendering import OverloadedError, SharedRendering
from testkit.cluster import PATIENCE, eventually
from tests.web.harness import CALM, Slow, app, connect, connections_to


def test_health_is_answered_while_metrics_are_rendered() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        try:
            asked = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            for path in ("/healthz", "/readyz"):
                assert httpx.get(f"http://{address}{path}", timeout=PATIENCE).status_code == 200
        finally:
            slow.go_on.set()
        assert asked.result().status_code == 200


def test_rendering_is_shared_by_waiting_clients() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(6) as pool:
        try:
            first = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            others = [pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE) for _ in range(5)]
            eventually(lambda: connections_to(address) == 6)
        finally:
            slow.go_on.set()
        assert [asked.result().status_code for asked in (first, *others)] == [200] * 6
    assert slow.count <= 2  # a request can reach the application after the rendering


def test_answer_is_reused_for_its_period() -> None:
    calls = []

    def counted() -> FleetStatus:
        calls.append(1)
        return CALM

    with serving(App(counted, Metrics(), reuse=timedelta(hours=1)), "127.0.0.1:0") as address:
        for _ in range(5):
            for accept in ("*/*", "application/openmetrics-text"):
                assert (
                    httpx.get(f"http://{address}/metrics", headers={"Accept": accept}, timeout=PATIENCE).status_code
                    == 200
                )
            assert httpx.get(f"http://{address}/api/status", timeout=PATIENCE).status_code == 200
    assert len(calls) == 3  # two formats, and the status


def test_rendering_is_skipped_for_clients_that_have_gone() -> None:
    slow = Slow()
    with serving(app(slow.tell), "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.get, f"http://{address}/metrics", timeout=PATIENCE)
        assert slow.calls.acquire(timeout=PATIENCE)
        for _ in range(20):
            with closing(connect(address)) as hasty:
                hasty.sendall(
                    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n"
                )
        assert httpx.get(f"http://{address}/healthz", timeout=PATIENCE).status_code == 200  # after all of them
        slow.go_on.set()
        assert first.result().status_code == 200
        assert httpx.get(f"http://{address}/healthz", timeout=PATIENCE).status_code == 200
    assert slow.count == 1


def test_bound_counts_requests_of_one_moment() -> None:
    """Requests that the server reads in one step are counted one by one, not when their tasks begin."""

    async def ask() -> list[str]:
        lock = asyncio.Lock()
        rendering = SharedRendering(
            lambda: Answer(b"x", "text/plain"), renderers=lock, reuse=timedelta(), max_waiting=2
        )
        found: list[Answer | Awaitable[Answer] | None] = []
        async with lock:
            for _ in range(4):
                try:
                    found.append(rendering.get(Request("GET", "/metrics", {})))
                except OverloadedError:
                    found.append(None)
        return [str((await one).body) if isinstance(one, asyncio.Future) else "503" for one in found]

    assert asyncio.run(ask()) == ["b'x'", "b'x'", "503", "503"]


def test_clients_beyond_the_bound_get_503() -> None:
    slow = Slow()
    bounded = App(slow.tell, Metrics(), reuse=timedelta(), max_waiting=1)
    with serving(bounded, "127.0.0.1:0") as address, ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(httpx.get, f"http://{address}/api/status", timeout=PATIENCE)
            assert slow.calls.acquire(timeout=PATIENCE)
            refused = httpx.get(f"http://{address}/api/status", timeout=PATIENCE)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            for path in ("/healthz", "/readyz"):
                assert httpx.get(f"http://{address}{path}", timeout=PATIENCE).status_code == 200
        finally:
            slow.go_on.set()
        assert first.result().status_code == 200
