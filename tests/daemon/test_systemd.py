"""systemd: what a real daemon tells a real socket, and the unit file before systemd's own judges."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rotator.config import load
from rotator.daemon import Systemd
from testkit.cluster import PATIENCE, Cluster, eventually
from tests.daemon.test_daemon import open_accounts

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "rotator.service"
# The exposure that `systemd-analyze security` finds, of 10, and all that it finds.
EXPOSURE = 1.1
OPEN = {
    "PrivateNetwork=",  # Vault and the provider are there
    "RestrictAddressFamilies=~AF_(INET|INET6)",
    "RestrictAddressFamilies=~AF_UNIX",  # NOTIFY_SOCKET
    "IPAddressDeny=",  # whose addresses are not known here
    "ProcSubset=",  # the metric of the start time needs /proc/stat
    "DeviceAllow=",  # ProtectClock= itself allows reading the hardware's
    "RootDirectory=/RootImage=",  # the interpreter is the host's
}


@dataclass
class Manager:
    """The end of NOTIFY_SOCKET that systemd holds."""

    address: str
    received: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
            end.settimeout(0.05)
            self.bound.set()
            while not self._stop.is_set():
                try:
                    self.received.append(end.recv(4096).decode())
                except TimeoutError:
                    continue

    def __enter__(self) -> "Manager":
        self.bound = threading.Event()
        self._thread = threading.Thread(target=self.listen)
        self._thread.start()
        assert self.bound.wait(PATIENCE)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def beats(self) -> int:
        return self.received.count("WATCHDOG=1")

    @property
    def states(self) -> list[str]:
        """What it was told, watchdog and status aside, by name."""
        told = [message.split("=")[0] for message in self.received]
        return [state for state in told if state not in ("WATCHDOG", "STATUS")]

    def wait_for(self, true: Callable[[], bool]) -> None:
        eventually(true, what=lambda: self.received)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "notify")) as made:
        yield made


def test_daemon_notifies_systemd_of_its_states(cluster: Cluster, manager: Manager) -> None:
    cluster.configure(open_accounts(cluster, "a", "b"))
    begun = time.monotonic()
    with cluster.daemon(env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}) as daemon:
        manager.wait_for(lambda: "READY=1" in manager.received)
        assert daemon.get("/readyz").status_code == 200
        assert manager.states == ["READY"]
        manager.wait_for(lambda: "STATUS=2 accounts" in manager.received)
        # Half of WATCHDOG_USEC is 0.2 s. Beats can be late on a busy machine, but never early.
        before = manager.beats
        manager.wait_for(lambda: manager.beats >= before + 5)
        assert manager.beats <= (time.monotonic() - begun) / 0.2 + 1
        cluster.configure(open_accounts(cluster, "a", "b", "c"))
        manager.wait_for(lambda: len(manager.states) == 3)
        daemon.wait_for("config.reloaded")
        cluster.config.write_text("nonsense")
        manager.wait_for(lambda: len(manager.states) == 5)
        daemon.wait_for("config.reload_failed")
        assert daemon.end() == 0
    assert manager.states == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
    [reload, _] = [message for message in manager.received if message.startswith("RELOADING=1")]
    assert begun < int(reload.split("\nMONOTONIC_USEC=")[1]) / 1e6 < time.monotonic()
    cluster.outputs += manager.received


def test_daemon_is_alive_unready_when_vault_is_unavailable(cluster: Cluster, manager: Manager) -> None:
    cluster.configure(open_accounts(cluster, "a"), vault={"address": "http://127.0.0.1:1", "timeout": "1s"})
    with cluster.daemon(env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}) as daemon:
        daemon.wait_for("vault.unavailable")
        cluster.config.write_text(cluster.config.read_text() + "# the same\n")
        daemon.wait_for("config.reloaded")
        manager.wait_for(lambda: manager.beats > 3)
        assert manager.states == []
        [status] = [message for message in manager.received if message.startswith("STATUS=")]
        assert status.startswith("STATUS=Not ready: Vault")


@pytest.mark.parametrize("thread", ["inbox.Inbox", "vault_monitor.VaultMonitor"])
def test_watchdog_fires_when_a_thread_died(cluster: Cluster, manager: Manager, thread: str) -> None:
    cluster.configure(open_accounts(cluster, "a"))
    broken = (
        "from rotator.cli.app import main; from rotator.daemon import inbox, vault_monitor\n"
        f"{thread}.run = lambda self: None; main()"
    )
    environment = os.environ | {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "100000",
        "ROTATOR_CONFIG": str(cluster.config),
        "VAULT_TOKEN": cluster.bao.root_token.get_secret_value(),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", broken, "run"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        while "daemon.started" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.8)
        assert manager.beats <= 1  # one look may have been before its death
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_systemd_notifies_an_abstract_socket() -> None:
    with Manager(f"@rotator-test-{os.urandom(8).hex()}") as manager:
        Systemd({"NOTIFY_SOCKET": manager.address}).ready()
        manager.wait_for(lambda: manager.received == ["READY=1"])


def test_systemd_ignores_foreign_watchdog_and_missing_manager(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert Systemd({"WATCHDOG_USEC": "1000000"}).pulse is None
    assert Systemd({"NOTIFY_SOCKET": gone, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).pulse is None
    assert Systemd({"NOTIFY_SOCKET": gone, "WATCHDOG_USEC": "soon"}).pulse is None
    mine = Systemd({"NOTIFY_SOCKET": gone, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())})
    assert mine.pulse is not None
    mine.ready()
    mine.alive()
    mine.stopping()


# --- the unit --------------------------------------------------------------------------------------------------


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that is on this machine, since systemd looks for it."""
    copy = tmp_path / "rotator.service"
    copy.write_text(UNIT.read_text().replace("/opt/rotator/bin/rotator run", f"{sys.executable} run"))
    return copy


def analyze(*args: str | Path) -> "subprocess.CompletedProcess[str]":
    tool = shutil.which("systemd-analyze")
    assert tool, "systemd-analyze is not on this machine: install Debian's package systemd"
    return subprocess.run([tool, *args], capture_output=True, text=True, check=False)


def test_systemd_verifies_the_unit_without_warnings(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unit_exposes_only_the_listed_privileges(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--json=short", f"--threshold={EXPOSURE * 10:.0f}", unit)
    assert done.returncode == 0, done.stdout
    found = {one["name"] for one in json.loads(done.stdout) if float(one["exposure"] or 0) > 0}
    assert found == OPEN


def test_unit_settings_exist_and_their_times_fit(unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    example = (UNIT.parent.parent.parent / "config.example.toml").read_text()
    role = 'method = "approle"\nrole_id = "6f1e7a2c-0000-4000-8000-000000000000"\n'
    config = re.sub(r"(?m)^\[vault\.auth\]\n.*\n.*\n", f"[vault.auth]\n{role}", example)
    (tmp_path / "vault-secret-id").write_text("anything")
    (tmp_path / "config.toml").write_text(config)
    for variable in re.findall(r"(?m)^Environment=(ROTATOR_\w+=.*)$", unit.read_text()):
        name, value = variable.split("=", 1)
        assert "/etc/rotator/" in value or "%d/" in value
        monkeypatch.setenv(name, re.sub(r"/etc/rotator|%d", str(tmp_path), value))
    settings = load(Path(os.environ["ROTATOR_CONFIG"]))
    credential, source = values["LoadCredential"].split(":")
    assert settings.vault.auth.secret_id_file == tmp_path / credential
    assert source.startswith("/etc/rotator/")
    assert settings.daemon.shutdown_timeout.total_seconds() < float(values["TimeoutStopSec"])
    assert settings.daemon.shutdown_timeout.total_seconds() < float(values["WatchdogSec"])
    assert values["Type"] == "notify"
    assert values["ExecStart"].endswith(" run")
    assert values["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert values["RestartPreventExitStatus"] == "2"
    assert {"always", "5"} == {values["Restart"], values["RestartSec"]}
    assert values["TimeoutStartSec"] == "infinity"  # Vault may be away for long
    assert values["Wants"] == values["After"] == "network-online.target"
    assert values["WantedBy"] == "multi-user.target"
    assert values["Description"].startswith("Rotates the API secrets")
    # What the score does not count.
    limits = {"UMask": "0077", "LimitCORE": "0", "MemoryMax": "512M", "TasksMax": "128"}
    assert limits.items() <= values.items()
    assert (values["SystemCallErrorNumber"], values["PrivateIPC"]) == ("EPERM", "yes")
