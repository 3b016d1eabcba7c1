"""How a daemon starts and rests, by the number of its accounts: `python -m benchmarks.scale [--quick]`.

A real OpenBao holds a journal and a published document for each account; none is due. It is filled once, for the most
accounts, and each daemon looks after the first so many of them. Measured are the time from the process's start to ready
and the CPU until then, its memory, the CPU it takes at rest, and how long its pages take.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from benchmarks import results
from benchmarks.fleet import open_managed_account
from benchmarks.results import Bar, Spread, spread
from benchmarks.servers import ROTATOR, among_servers, cpu, start
from rotator import logs
from rotator.config import VaultSettings
from rotator.demo import OpenBao, free_port, running_openbao
from rotator.emulator import Emulator, running
from rotator.vault import Vault

COUNTS = (1, 100, 1000, 10_000, 100_000)
PAGES = ("/metrics", "/api/status")
READY = 900.0


@dataclass(frozen=True)
class Rest:
    """One daemon.

    Attributes:
        ready: Seconds from its start until /readyz says so.
        started: CPU seconds until then.
        rss: KiB of memory at rest.
        idle: CPU seconds a second at rest.
        pages: Seconds that a page took, several times.
        sizes: Of the pages, in bytes.
    """

    accounts: int
    ready: float
    started: float
    rss: int
    idle: float
    pages: dict[str, list[float]]
    sizes: dict[str, int]

    def page(self, path: str) -> Spread:
        """The seconds of a page."""
        return spread(self.pages[path])


@dataclass
class Figures:
    """By the number of accounts; one first, as no daemon runs without any.

    Attributes:
        idle_seconds: For how long each daemon was watched at rest.
    """

    idle_seconds: float
    rests: list[Rest] = field(default_factory=list)

    def each(self, rest: Rest, what: str) -> float:
        """What an account costs beyond the daemon of one."""
        return float(getattr(rest, what) - getattr(self.rests[0], what)) / (rest.accounts - 1)


def measure(*, quick: bool) -> Figures:
    """Measure one daemon after the other."""
    counts = (1, 100, 300) if quick else COUNTS
    figures = Figures(2 if quick else 20)
    emulator = Emulator([])  # in this process: a fleet at rest hardly asks it anything
    with among_servers(), tempfile.TemporaryDirectory() as name, running_openbao() as bao, running(emulator) as url:
        begun = time.monotonic()
        _fill(bao, emulator, counts[-1])
        print(f"{counts[-1]:,} accounts written to Vault in {time.monotonic() - begun:.0f} s", flush=True)
        for count in counts:
            rest = _rest(Path(name), bao, url, count, figures.idle_seconds)
            figures.rests.append(rest)
            print(f"{count:,} accounts: ready in {rest.ready:.1f} s, {rest.rss / 1024:.1f} MiB", flush=True)
    return figures


def _fill(bao: OpenBao, emulator: Emulator, count: int) -> None:
    """What a fleet at rest looks like, in Vault and at the provider."""
    now = datetime.now(UTC)
    vault = Vault(VaultSettings(address=bao.address, auth={"token": bao.root_token}), pool_size=16)

    def write(number: int) -> None:
        open_managed_account(emulator, vault, f"{number:06}", now - timedelta(days=20 * _share(number)))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(count)))


def _share(number: int) -> float:
    """Spread between 0 and 1, whatever part of the fleet is looked at."""
    return number * 0.6180339887 % 1


def _rest(folder: Path, bao: OpenBao, url: str, count: int, seconds: float) -> Rest:
    listen = f"127.0.0.1:{free_port()}"
    config = _configuration(folder, bao.address, url, listen, count)
    environment = {**os.environ, "VAULT_TOKEN": bao.root_token.get_secret_value()}
    begun = time.monotonic()
    with (folder / "log").open("w") as log:
        daemon = start([ROTATOR, "run", "--config", str(config)], environment, subprocess.DEVNULL, log)
    try:
        with httpx.Client(base_url=f"http://{listen}", timeout=120, trust_env=False) as client:
            while not _is_ready(client):
                assert daemon.poll() is None, (folder / "log").read_text()[-2000:]
                waited = time.monotonic() - begun
                assert waited < READY, "it does not become ready"
                time.sleep(max(0.02, waited / 30))  # asking is work for it, too, and of a big fleet not little
            ready, started = time.monotonic() - begun, cpu(daemon.pid)
            time.sleep(seconds / 4)  # what was put off until ready
            before, at = cpu(daemon.pid), time.monotonic()
            time.sleep(seconds)
            idle = (cpu(daemon.pid) - before) / (time.monotonic() - at)
            rss = _rss(daemon.pid)
            taken = {path: [_get(client, path) for _ in range(9)] for path in PAGES}
        return Rest(
            count,
            ready,
            started,
            rss,
            idle,
            {path: [took for took, _ in pairs] for path, pairs in taken.items()},
            {path: pairs[-1][1] for path, pairs in taken.items()},
        )
    finally:
        daemon.terminate()
        daemon.wait(60)


def _configuration(folder: Path, vault: str, url: str, listen: str, count: int) -> Path:
    config = folder / "config.toml"
    lines = ["[vault]", f'address = "{vault}"', "[account_api]", f'api_url = "{url}"', f'rest_url = "{url}"']
    lines += ["[daemon]", f'listen = "{listen}"', "[log]", 'format = "json"']
    lines += ["[balance]", 'every = "off"']  # what reading balances costs is told in docs/balance.md
    for number in range(count):
        lines += ["[[accounts]]", f'name = "{number:06}"', f'api_key = "key{number:06}"']
        lines += [f'path = "apps/{number:06}"']
    config.write_text("\n".join(lines))
    return config


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _rss(pid: int) -> int:
    """KiB of memory that a process has now."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def _get(client: httpx.Client, path: str) -> tuple[float, int]:
    """Seconds that a page took, and its size."""
    begun = time.perf_counter()
    answer = client.get(path)
    answer.raise_for_status()
    return time.perf_counter() - begun, len(answer.content)


def bars(figures: Figures) -> list[Bar]:
    """Whether memory and /metrics are what they may be, and whether an account costs no more among many."""
    rests = {rest.accounts: rest for rest in figures.rests}
    found = []
    if rest := rests.get(100_000):
        each = figures.each(rest, "rss")
        found.append(Bar("memory of an account among 100,000", "at most 4 KiB", f"{each:.1f} KiB", each <= 4))
        before = rests[10_000]
        for what, name in (("rss", "memory"), ("started", "CPU until ready")):
            growth = figures.each(rest, what) / figures.each(before, what)
            text = f"{name} of an account among 100,000, by that among 10,000"
            found.append(Bar(text, "at most 1.1", f"{growth:.2f}", growth <= 1.1))
    if rest := rests.get(10_000):
        page = rest.page("/metrics")
        found.append(Bar("/metrics at 10,000 accounts", "under 500 ms", f"{page.text(1000, 0)} ms", page.median < 0.5))
    return found


if __name__ == "__main__":
    is_quick = "--quick" in sys.argv
    logs.configure("error", "console")  # the emulator's
    taken = measure(quick=is_quick)
    results.save("scale", taken, quick=is_quick)
    print(*bars(taken), sep="\n")
