"""How the metrics port answers under hostile requests: `python -m benchmarks.hostile [SECONDS]`, 60 s by default.

A process serves a fleet of 2,000 accounts. 300 clients a second request its largest answers, half of them with gzip:
some take the answer, some close the connection at once, some never read. The command measures /readyz as a probe
requests it, /metrics as Prometheus requests it every 15 s, the memory of the server, and a thread of the server that
does as much Python as a rotation, before and during the attack. It fails if a bar is missed.
"""

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median, quantiles

import httpx

from rotator import __version__
from rotator.core.protocol import Phase
from rotator.monitoring import AccountStatus, FleetStatus, Metrics, RetiringStatus
from rotator.web import App, serving

ACCOUNTS = 2000
RATE = 300
PROBE_EVERY = 0.2
SCRAPE_EVERY = 15.0
READYZ_P99 = 0.5
MEMORY_MIB = 256
QUIET = 5.0  # seconds before the attack
SLOWDOWN = 2.0  # of the median of the work
_PATHS = ("/metrics", "/api/status", "/metrics", "/")


def serve() -> None:
    """Serve the fleet until standard input is closed; print the address."""
    accounts = tuple(_account(number) for number in range(ACCOUNTS))
    started = datetime.now(UTC)

    def status() -> FleetStatus:
        return FleetStatus(
            at=datetime.now(UTC),
            version=__version__,
            instance="host-1",
            started_at=started,
            ready=True,
            not_ready=None,
            shard=None,
            circuit_breaker=None,
            accounts=accounts,
        )

    with serving(App(status, Metrics()), "127.0.0.1:0") as address:
        print(address, flush=True)
        threading.Thread(target=_work, daemon=True).start()
        sys.stdin.read()


def _work() -> None:
    """Print how long a rotation's share of Python takes, twenty times a second."""
    while True:
        begun = time.perf_counter()
        for number in range(1500):
            json.loads(json.dumps({"name": f"account-{number}", "ids": [number] * 3}))
        print(time.perf_counter() - begun, flush=True)
        time.sleep(0.05)


def _account(number: int) -> AccountStatus:
    now = datetime.now(UTC)
    return AccountStatus(
        name=f"account-{number:06}",
        api_key=f"key{number:06}",
        path=f"apps/{number:06}",
        primary=None,
        enabled=True,
        phase=Phase.OVERLAP,
        published=True,
        secret_id=f"5f2c1d9e-0000-4000-8000-{number:012}",
        rotated_at=now,
        due_at=now + timedelta(days=30),
        retiring=(RetiringStatus(f"5f2c1d9e-0000-4000-9000-{number:012}", now + timedelta(hours=24)),),
        live_secrets=2,
    )


async def _attack(address: str, seconds: float) -> int:
    """Send hostile requests at the rate; return how many."""
    host, port = address.split(":")
    ends = time.monotonic() + seconds
    clients: set[asyncio.Task[None]] = set()
    sent = 0
    while time.monotonic() < ends:
        client = asyncio.create_task(_hostile(host, int(port), sent))
        clients.add(client)
        client.add_done_callback(clients.discard)
        sent += 1
        await asyncio.sleep(max(0.0, ends - seconds + sent / RATE - time.monotonic()))
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return sent


async def _hostile(host: str, port: int, number: int) -> None:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            path = random.choice(_PATHS)
            gzip = "Accept-Encoding: gzip\r\n" if number % 2 else ""
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{gzip}Connection: close\r\n\r\n".encode())
            await writer.drain()
            if number % 3 == 0:
                while await reader.read(1 << 16):
                    pass
            elif number % 3 == 1:
                await asyncio.sleep(30)
        finally:
            writer.close()


def _probe(address: str, ends: float, times: list[float]) -> None:
    while time.monotonic() < ends:
        begun = time.perf_counter()
        connection = HTTPConnection(address, timeout=10)
        try:
            connection.request("GET", "/readyz")
            ok = connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            ok = False
        finally:
            connection.close()
        times.append(time.perf_counter() - begun if ok else 10.0)
        time.sleep(PROBE_EVERY)


def _scrape(address: str, ends: float, answered: list[bool]) -> None:
    with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
        while time.monotonic() < ends:
            try:
                answered.append(client.get("/metrics").status_code == httpx.codes.OK)
            except httpx.HTTPError:
                answered.append(False)
            time.sleep(min(SCRAPE_EVERY, max(0.0, ends - time.monotonic())))


def main(seconds: float) -> int:
    """Measure, print and compare; return the exit code."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        output = server.stdout
        address = output.readline().strip()
        work: list[tuple[float, float]] = []
        reader = threading.Thread(target=lambda: work.extend((time.monotonic(), float(line)) for line in output))
        reader.start()
        time.sleep(QUIET)
        starts = time.monotonic()
        ends = time.monotonic() + seconds
        times: list[float] = []
        answered: list[bool] = []
        honest = [
            threading.Thread(target=_probe, args=(address, ends, times)),
            threading.Thread(target=_scrape, args=(address, ends, answered)),
        ]
        for thread in honest:
            thread.start()
        attack = [sys.executable, "-m", "benchmarks.hostile", "--attack", address, str(seconds)]
        sent = int(subprocess.check_output(attack, text=True))
        for thread in honest:
            thread.join()
        [peak] = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmHWM" in line]
        server.terminate()
        reader.join()
    quiet, busy = (median(took for at, took in work if (at > starts) is during) for during in (False, True))
    p99 = quantiles(times, n=100)[98]
    memory = int(peak.split()[1]) / 1024
    print(f"{sent / seconds:.0f} hostile requests a second for {seconds:.0f} s, {ACCOUNTS} accounts")
    print(f"/readyz: p99 {p99 * 1000:.0f} ms of {len(times)} (bar: {READYZ_P99 * 1000:.0f} ms)")
    print(f"/metrics: {sum(answered)} of {len(answered)} scrapes answered (bar: all)")
    print(f"work: {quiet * 1000:.1f} ms before, {busy * 1000:.1f} ms during the attack (bar: {SLOWDOWN:.0f} times)")
    print(f"memory: {memory:.0f} MiB at most (bar: {MEMORY_MIB} MiB)")
    met = (p99 < READYZ_P99, all(answered), busy < SLOWDOWN * quiet, memory < MEMORY_MIB)
    return 0 if all(met) else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    elif sys.argv[1:2] == ["--attack"]:
        print(asyncio.run(_attack(sys.argv[2], float(sys.argv[3]))))
    else:
        sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 60.0))
