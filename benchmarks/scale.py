"""How a daemon with many accounts starts and rests: `make scale`, or `python -m benchmarks.scale ACCOUNTS SECONDS`.

A real OpenBao holds a journal and a published document for each account; none is due. Measured are the time from the
process's start to ready, its memory, the CPU it takes at rest, and how long its pages take.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from rotator import logs
from rotator.config import load
from rotator.emulator import Account, Emulator, running
from rotator.generator import Recipe, generate
from rotator.openbao import OpenBao, running_openbao
from rotator.protocol import Journal
from rotator.rotation import dump_journal
from rotator.vault import Vault

LISTEN = "127.0.0.1:19464"
# What 10,000 accounts may cost at most.
BARS = {"start_to_ready_s": 60, "idle_cpu_percent": 2, "/metrics ms": 1000}


def fill(folder: Path, bao: OpenBao, emulator: Emulator, url: str, count: int) -> Path:
    """Write the configuration, and to Vault and the provider what a fleet at rest looks like."""
    config = folder / "config.toml"
    head = f'[vault]\naddress = "{bao.address}"\n[account_api]\napi_url = "{url}"\n[daemon]\nlisten = "{LISTEN}"\n'
    head += '[balance]\nevery = "off"\n'  # a fleet at rest; what reading balances costs is told in docs/balance.md
    accounts = (
        f'[[accounts]]\nname = "account-{number:06}"\napi_key = "key{number:06}"\npath = "apps/{number:06}"\n'
        for number in range(count)
    )
    config.write_text("\n".join([head, '[log]\nformat = "json"\n', *accounts]))
    os.environ["VAULT_TOKEN"] = bao.root_token.get_secret_value()
    settings = load(config)
    vault = Vault(settings.vault, pool_size=16)
    now = datetime.now(UTC)

    def write(number: int) -> None:
        account = settings.accounts[number]
        rotated_at = now - timedelta(days=20 * number / count)
        secret = generate(Recipe())
        emulator.open_account(Account(account.api_key, secret))
        [id_] = emulator.live(account.api_key)
        published = {"api_key": account.api_key, "api_secret": secret, "secret_id": id_}
        vault.write(account.path, published, cas=0)
        journal = Journal(current_id=id_, rotated_at=rotated_at, published_version=1)
        vault.write(settings.journal_path(account), dump_journal(journal), cas=0)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(count)))
    return config


def cpu(pid: int) -> float:
    """Seconds of CPU that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """MiB of memory that a process has now."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def took(path: str, **headers: str) -> tuple[float, int]:
    """Seconds that a page took, the best of five, and its size."""
    best, size = 1e9, 0
    for _ in range(5):
        begun = time.perf_counter()
        answer = httpx.get(f"http://{LISTEN}{path}", headers=headers, timeout=60)
        answer.raise_for_status()
        best, size = min(best, time.perf_counter() - begun), len(answer.content)
    return best, size


def main(count: int, seconds: int) -> None:
    emulator = Emulator([])
    with tempfile.TemporaryDirectory() as folder, running_openbao() as bao, running(emulator) as url:
        begun = time.monotonic()
        config = fill(Path(folder), bao, emulator, url, count)
        print(f"{count} accounts written to Vault in {time.monotonic() - begun:.0f} s")
        begun = time.monotonic()
        with Path(folder, "log").open("w") as log:
            daemon = subprocess.Popen([sys.executable, "-m", "rotator", "run", "--config", str(config)], stderr=log)
        try:
            while True:
                time.sleep(0.05)
                try:
                    if httpx.get(f"http://{LISTEN}/readyz", timeout=10).status_code == httpx.codes.OK:
                        break
                except httpx.HTTPError:
                    assert daemon.poll() is None, Path(folder, "log").read_text()[-2000:]
            ready, spent = time.monotonic() - begun, cpu(daemon.pid)
            time.sleep(15)  # what was put off until ready
            before, at = cpu(daemon.pid), time.monotonic()
            time.sleep(seconds)
            idle = (cpu(daemon.pid) - before) / (time.monotonic() - at)
            pages = {path: took(path) for path in ("/metrics", "/api/status", "/readyz")}
            result = {
                "accounts": count,
                "start_to_ready_s": round(ready, 1),
                "cpu_until_ready_s": round(spent, 1),
                "rss_mib": round(rss(daemon.pid), 1),
                "idle_cpu_percent": round(100 * idle, 2),
                **{f"{path} ms": round(1000 * best, 1) for path, (best, _) in pages.items()},
                **{f"{path} KiB": round(size / 1024, 1) for path, (_, size) in pages.items()},
            }
            print(json.dumps(result, indent=2))
            missed = [what for what, most in BARS.items() if result[what] > most]
        finally:
            daemon.terminate()
            print(f"exit code {daemon.wait(60)}")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    logs.configure("error", "console")  # the emulator's
    main(int(sys.argv[1]), int(sys.argv[2]))
