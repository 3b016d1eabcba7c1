"""Two versions of rotator on the same accounts: `make mixed-versions`, or `python -m benchmarks.mixed_versions --help`.

A daemon of an earlier commit and one of this tree rotate the same accounts on a real OpenBao and the emulated provider.
Both are killed and stopped at random, the provider fails at random, people add journal fields that neither version
knows, and commands of this tree go back to a previous secret and are killed meanwhile. The earlier daemon runs alone at
first, as before an upgrade. Judged is that

- every published secret that a consumer reads works,
- no field of a journal is lost, at any level,
- only secrets are revoked that a journal contains as retiring: nothing that either version still uses,
- after the storm, every account is well, and its secrets are the ones that its journal knows.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from benchmarks.fleet import Consumers, Daemon, look_at, open_account, rotations
from rotator import logs
from rotator.demo import OpenBao, running_openbao
from rotator.emulator import Emulator, Operation, running
from testkit.cluster import write_config
from testkit.openbao import Admin

ROOT = Path(__file__).parents[1]
TREES = ROOT / "build" / "versions"
# The first commit whose daemon works on journals of the present formats. 4d97702 is the first one that knows `format`:
# its daemon leaves every journal alone that this tree has written.
REF = "1f58e67"
# Sections and keys of the configuration before they got their public names.
EARLIER_NAMES = {
    "consistency_window": "settle",
    "resync_interval": "sweep",
    "daemon.circuit_breaker": "daemon.brake",
    "window": "of_last",
    "cooldown": "hold",
}
EVERY, GRACE, LEASE = timedelta(seconds=40), timedelta(seconds=25), timedelta(seconds=10)
ALONE, CALM = 0.15, timedelta(minutes=4)
TIMEOUT, WINDOW = timedelta(seconds=3), timedelta(seconds=2)
FAULTS = ("create:drop-after", "create:drop-before", "create:late@1s", "revoke:drop-after", "list:stale", "any:503:2")


def check_out(ref: str) -> Path:
    """Return the tree of an earlier commit, below build/.

    Raises:
        SystemExit: If the commit is not to be had.
    """
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run(
        [*git, "rev-parse", "--short", f"{ref}^{{commit}}"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        sys.exit(f"{ref} is no commit of this repository. Name one that is: REF=...")
    tree = TREES / found.stdout.strip()
    if not tree.exists():
        archive = subprocess.run([*git, "archive", ref, "rotator"], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(tree, filter="data")
    command = [sys.executable, "-c", "import rotator; print(rotator.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    file = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tree, env=environment).stdout
    assert Path(file.strip()).is_relative_to(tree), f"{file} is not of {ref}"
    return tree


def lost_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the fields of a journal that its next version lacks, although what they speak of is still there."""
    lost = [name for name in before if name not in after]
    pairs = [(before.get("current_id"), after.get("current_id"))]
    then, now = ({entry["id"]: entry for entry in journal["retiring"]} for journal in (before, after))
    pairs += [(then[id_], now[id_]) for id_ in then.keys() & now.keys()]
    for one, other in pairs:
        if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("id") == other.get("id"):
            lost += [f"{name} of {one['id']}" for name in one if name.startswith("news") and name not in other]
    return lost


@dataclass
class Watcher:
    """Reads every version of every journal.

    Attributes:
        seen: The newest version of each, and its content.
        retired: The ids that were retiring, by account.
        lost: What was in one version and not in the next.
    """

    vault: Admin
    names: Sequence[str]
    seen: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    retired: dict[str, set[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    formats: Counter[int] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        headers = {"X-Vault-Token": self.vault.root_token.get_secret_value()}
        with httpx.Client(base_url=f"{self.vault.address}/v1/secret/data", headers=headers, timeout=20) as client:
            while not self._stop.wait(0.02):
                for name in self.names:
                    self._look(client, name)

    def _look(self, client: httpx.Client, name: str) -> None:
        before, _ = self.seen.get(name, (0, {}))
        newest = _journal(client, name, 0)
        if newest is None or newest[0] == before:
            return
        between = [_journal(client, name, version) for version in range(before + 1, newest[0])] if before else []
        for version, journal in filter(None, [*between, newest]):
            known, earlier = self.seen.get(name, (0, {}))
            if known == version - 1 and known:
                self.lost += [f"{name}, version {version}: {what}" for what in lost_fields(earlier, journal)]
            self.seen[name] = version, journal
            self.formats[journal.get("format", 0)] += 1
            self.retired.setdefault(name, set()).update(entry["id"] for entry in journal["retiring"])


def _journal(client: httpx.Client, name: str, version: int) -> tuple[int, dict[str, Any]] | None:
    answer = client.get(f"/rotator/journal/{name}", params={"version": version})
    if not answer.is_success:
        return None
    data = answer.json()["data"]
    return data["metadata"]["version"], data["data"]


def _in_names_of(tree: Path, sections: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the sections with the names that this version of rotator knows."""
    files = (tree / "rotator").rglob("*.py")
    earlier = {} if any("consistency_window" in file.read_text() for file in files) else EARLIER_NAMES
    return {
        earlier.get(section, section): {earlier.get(key, key): value for key, value in values.items()}
        for section, values in sections.items()
    }


@dataclass
class Meeting:
    """One run."""

    folder: Path
    tree: Path
    dice: random.Random
    seconds: float
    names: Sequence[str]
    done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    news: dict[str, set[str]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        self.emulator = Emulator([])
        with ExitStack() as stack:
            self.bao: OpenBao = stack.enter_context(running_openbao())
            self.url = stack.enter_context(running(self.emulator))
            self.vault = Admin(self.bao.address, self.bao.root_token)
            self.accounts = [open_account(self.emulator, self.vault, name) for name in self.names]
            old, new = self._daemon("old", self.tree), self._daemon("new", ROOT)
            for daemon in (old, new):
                stack.callback(daemon.kill)
            old.start()
            consumers = Consumers([self.bao.address], self.bao.root_token, self.emulator, self.names)
            watcher = Watcher(self.vault, self.names)
            with consumers.reading(1), watcher.watching():
                old.await_ready()
                time.sleep(self.seconds * ALONE)
                new.start()
                new.await_ready()
                self._storm([old, new])
                back = self._calm()
            for daemon in (old, new):
                if not daemon.alive:
                    self.problems.append(f"the {daemon.name} daemon has ended by itself")
            return self._report(consumers, watcher, (old, new), back)

    def _daemon(self, name: str, tree: Path) -> Daemon:
        config = self.folder / f"{name}.toml"
        sections: dict[str, dict[str, Any]] = {
            "vault": {"address": self.bao.address, "timeout": TIMEOUT},
            "account_api": {
                "api_url": self.url,
                "rest_url": self.url,
                "timeout": TIMEOUT,
                "consistency_window": WINDOW,
                "max_calls_per_second": 500,
            },
            "defaults": {"every": EVERY, "grace": GRACE, "jitter": "4s", "verify_timeout": "8s"},
            "daemon": {"lease": LEASE, "min_spacing": "0s", "resync_interval": "3s"},
            "daemon.circuit_breaker": {"failures": 20, "window": 30, "cooldown": "5s"},
            "log": {"format": "json"},
        }
        write_config(config, _in_names_of(tree, sections), self.accounts)
        environment = {"PYTHONPATH": str(tree)}
        log = self.folder / f"{name}.log"
        return Daemon(name, config, self.bao.root_token, log, environment=environment, folder=tree)

    # --- the storm -------------------------------------------------------------------------------------------

    def _storm(self, daemons: Sequence[Daemon]) -> None:
        ends = time.monotonic() + self.seconds * (1 - ALONE)
        actions: list[Callable[[], None]] = [lambda: self._kill(self.dice.choice(daemons))] * 3
        actions += [lambda: self._stop_for_a_while(self.dice.choice(daemons)), self._fail, self._fail]
        actions += [self._add_news] * 3 + [self._go_back] * 3 + [self._rotate]
        while time.monotonic() < ends:
            self.dice.choice(actions)()
            time.sleep(self.dice.uniform(0.2, 2))
        self.emulator.faults.clear()

    def _kill(self, daemon: Daemon) -> None:
        self.done[f"{daemon.name} daemon killed"] += 1
        daemon.end(signal.SIGKILL)
        time.sleep(self.dice.uniform(0, 3))
        daemon.start()

    def _stop_for_a_while(self, daemon: Daemon) -> None:
        """Shorter than a lease: docs/protocol.md says what a longer stop may leave."""
        self.done[f"{daemon.name} daemon stopped"] += 1
        daemon.send(signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.5, LEASE.total_seconds() / 2))
        daemon.send(signal.SIGCONT)

    def _fail(self) -> None:
        fault = self.dice.choice(FAULTS)
        self.done[f"fault {fault}"] += 1
        self.emulator.faults.add(fault)

    def _add_news(self) -> None:
        """Write fields of a version to come into a journal, as one of its instances would."""
        name = self.dice.choice(self.names)
        stored = self.vault("GET", f"secret/data/rotator/journal/{name}")["data"]
        journal, version = stored["data"], stored["metadata"]["version"]
        field_name = f"news{version}"
        news = {field_name: {"version": version, "of": [name, None]}}
        if isinstance(journal["current_id"], dict) and journal["current_id"].get("id"):
            journal["current_id"] |= news
        journal["retiring"] = [entry | news for entry in journal["retiring"]]
        body = {"data": journal | news, "options": {"cas": version}}
        with suppress(AssertionError):  # an instance was quicker
            self.vault("POST", f"secret/data/rotator/journal/{name}", body)
            self.news.setdefault(name, set()).add(field_name)
            self.done["fields added"] += 1

    def _go_back(self) -> None:
        """Adopt the newest retiring secret with this tree's command, which is killed sometimes."""
        found = [entry for name in self.names for entry in self._retiring(name)]
        if not found:
            return
        _, name, value = max(found, key=lambda entry: entry[0])
        environment = {"OLD_VALUE": value.get_secret_value()}
        self._command("adopt", name, "--secret-env", "OLD_VALUE", "--replace", environment=environment)

    def _retiring(self, name: str) -> list[tuple[str, str, SecretStr]]:
        """Return the retiring secrets that are live: the end of their grace period, the account, the value."""
        journal = self.vault("GET", f"secret/data/rotator/journal/{name}")["data"]["data"]
        live = self.emulator.live(f"key{name}")
        return [(entry["not_before"], name, live[entry["id"]]) for entry in journal["retiring"] if entry["id"] in live]

    def _rotate(self) -> None:
        self._command(
            "rotate-now", self.dice.choice(self.names), self.dice.choice(("--force", "--due")), environment={}
        )

    def _command(self, *arguments: str, environment: Mapping[str, str]) -> None:
        killed_after = self.dice.uniform(0.4, 2) if self.dice.random() < 0.6 else None
        self.done[f"{arguments[0]}{' killed' if killed_after else ''}"] += 1
        token = self.bao.root_token.get_secret_value()
        everything = {**os.environ, "PYTHONPATH": str(ROOT), "VAULT_TOKEN": token, **environment}
        command = [sys.executable, "-m", "rotator", *arguments, "--config", str(self.folder / "new.toml")]
        with (self.folder / "commands.log").open("ab") as log:
            process = subprocess.Popen(command, env=everything, stdout=log, stderr=log, cwd=ROOT)
        try:
            code = process.wait(killed_after or 60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code not in (0, 1, 3, -signal.SIGKILL):
            self.problems.append(f"{arguments}: exit code {code}")

    # --- after it --------------------------------------------------------------------------------------------

    def _calm(self) -> float:
        """Wait until every account was seen to be well; how long that took, in seconds."""
        begun, left = time.monotonic(), set(self.names)
        while left and time.monotonic() < begun + CALM.total_seconds():
            left -= {name for name in left if not self._wrong(name)}
            time.sleep(0.5)
        return time.monotonic() - begun

    def _wrong(self, name: str) -> tuple[str, ...]:
        journal = self.vault("GET", f"secret/data/rotator/journal/{name}")["data"]["data"]
        if not isinstance(journal["current_id"], dict):
            return (f"{name}: no newer version has written its journal",)
        return look_at(self.vault, self.emulator, name, EVERY + timedelta(seconds=20)).wrong

    def _report(self, consumers: Consumers, watcher: Watcher, daemons: Sequence[Daemon], back: float) -> dict[str, Any]:
        for name in self.names:
            self.problems += self._wrong(name)
            missing = self.news.get(name, set()) - watcher.seen[name][1].keys()
            self.problems += [f"{name}: {sorted(missing)} lost"] if missing else []
        self.problems += [f"lost: {what}" for what in watcher.lost]
        revoked = [
            (request.api_key.removeprefix("key"), request.secret_id)
            for request in self.emulator.requests
            if request.operation is Operation.REVOKE and request.secret_id not in self.emulator.live(request.api_key)
        ]
        self.problems += [
            f"{name}: {id_} was revoked and never retiring"
            for name, id_ in revoked
            if id_ not in watcher.retired.get(name, set())
        ]
        published = {daemon.name: len(daemon.events("rotation.published")) for daemon in daemons}
        self.problems += [f"the {name} daemon published nothing" for name, count in published.items() if not count]
        self.problems += consumers.failures[:10]
        return {
            "accounts": len(self.names),
            "done": dict(sorted(self.done.items())),
            "rotations": sum(rotations(self.vault, name) for name in self.names),
            "published_by": published,
            "revoked": len(revoked),
            "journal_versions_by_format": dict(sorted(watcher.formats.items())),
            "consumer_reads": consumers.reads,
            "consumer_failures": len(consumers.failures),
            "seconds_to_converge": round(back, 1),
            "problems": self.problems[:30],
        }


def main() -> None:
    """Run it; exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Two versions of rotator on the same accounts.")
    parser.add_argument("--ref", default=REF, help="the commit of the earlier version; it has to know `format`")
    parser.add_argument(
        "--seed", type=int, default=None, help="of everything random but the timing; drawn if not given"
    )
    parser.add_argument("--seconds", type=float, default=150, help="how long it lasts, without the calm after it")
    parser.add_argument("--accounts", type=int, default=12)
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    tree = check_out(given.ref)
    print(f"seed {seed}, beside {tree.name}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))  # leaves no process behind
    logs.configure("error", "console")  # the emulator's
    names = [f"n{number:04}" for number in range(given.accounts)]
    keep = os.environ.get("KEEP")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(keep or made)
        folder.mkdir(exist_ok=True)
        report = Meeting(folder, tree, random.Random(seed), given.seconds, names).run()
    print(json.dumps(report, indent=2))
    if report["problems"]:
        sys.exit(f"missed; again: make mixed-versions REF={given.ref} SEED={seed}")


if __name__ == "__main__":
    main()
