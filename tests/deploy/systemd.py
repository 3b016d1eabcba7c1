"""The unit and rotator-ctl under a real systemd: `make systemd`, as root on Debian.

systemd runs as the first process of namespaces of its own, and sees only the units that this file gives it. /etc, /opt
and /var/log in there are copies: nothing of the machine changes.
"""

import contextlib
import os
import pty
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.cluster import Cluster, eventually
from testkit.vault_site import FIRST, published_account, running_site

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "deploy" / "systemd"
DBUS = Path("/lib/systemd/system")
INIT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc
for folder in /opt /var/log /var/lib/private; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mount --make-rshared /
mkdir -p /etc/rotator /opt/rotator/bin /opt/python /opt/packages /opt/project
# Where the service's user can read them, wherever they are.
mount --bind "$2" /opt/python
mount --bind "$3" /opt/packages
mount --bind "$4" /opt/project
export container=other SYSTEMD_UNIT_PATH="$1"
exec /lib/systemd/systemd --system --unit=all.target --log-target=console --show-status=no
"""
NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--cgroup")
PACKAGES = sysconfig.get_path("purelib")
TARGETS = ("sysinit", "basic", "sockets", "shutdown", "umount", "final", "multi-user", "network-online")


@dataclass(frozen=True)
class Host:
    """A running systemd.

    Attributes:
        outputs: What commands printed.
        init: The process id of its first process, seen from outside.
        units: The folder with its units.
    """

    init: int
    units: Path
    outputs: list[str]

    def run(self, *command: str | Path, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command beside it, to its end."""
        entered = ["nsenter", "--all", "--target", str(self.init), "--", *command]
        done = subprocess.run(entered, input=text or "", capture_output=True, text=True, timeout=120, check=False)
        self.outputs.append(done.stdout + done.stderr)
        return done

    def do(self, *command: str | Path, text: str | None = None) -> str:
        """Run a command that must succeed; what it prints."""
        done = self.run(*command, text=text)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ctl(self, *args: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run the wrapper."""
        return self.run(FILES / "rotator-ctl", *args, text=text)


@contextmanager
def running_systemd(folder: Path, outputs: list[str]) -> Iterator[Host]:
    units = folder / "units"
    units.mkdir()
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "all.target").write_text("[Unit]\nDefaultDependencies=no\nWants=dbus.socket\n")
    (units / "dbus.socket").write_text((DBUS / "dbus.socket").read_text())
    (units / "dbus.service").write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\n"
        "ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation\n"
    )
    with (folder / "systemd.log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", *NAMESPACES, "sh", "-c", INIT, "sh", units, sys.base_prefix, PACKAGES, PROJECT],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            eventually(lambda: children.read_text().split() != [])
            host = Host(int(children.read_text()), units, outputs)
            eventually(lambda: host.run("systemctl", "is-active", "all.target").returncode == 0)
            host.do("systemctl", "start", "dbus.service")
            yield host
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "site").mkdir()
    with running_site(tmp_path / "site") as site, published_account(site, tmp_path) as made:
        made.vault("DELETE", "secret/metadata/nexmo/main")
        yield made


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Iterator[Host]:
    """The unit, installed as docs/systemd.md says, with a drop-in for what is different here."""
    auth = dict(cluster.base["vault.auth"])
    secret_id = Path(auth.pop("secret_id_file")).read_text()
    cluster.base["vault.auth"] = auth
    cluster.configure(
        [{"name": "main", "api_key": "keymain", "path": "nexmo/main"}],
        audit={"file": "/var/log/rotator/audit.jsonl"},
    )
    with running_systemd(tmp_path, cluster.outputs) as made:
        (made.units / "rotator.service").write_text((FILES / "rotator.service").read_text())
        (made.units / "rotator.service.d").mkdir()
        variables = "PYTHONPATH=/opt/project:/opt/packages LD_LIBRARY_PATH=/opt/python/lib"
        (made.units / "rotator.service.d" / "here.conf").write_text(
            f"[Service]\nLogsDirectory=rotator\nEnvironment={variables}\n"
        )
        program = f'#!/bin/sh\nexec /opt/python/bin/{Path(sys.executable).resolve().name} -m rotator "$@"\n'
        made.do("sh", "-c", "cat > /opt/rotator/bin/rotator && chmod 755 /opt/rotator/bin/rotator", text=program)
        made.do("sh", "-c", "umask 077; cat > /etc/rotator/vault-secret-id", text=secret_id)
        made.do("sh", "-c", "cat > /etc/rotator/config.toml", text=cluster.config.read_text())
        made.do("systemctl", "daemon-reload")
        yield made


def test_rotator_ctl_runs_commands_as_the_service(host: Host, cluster: Cluster) -> None:
    check = host.ctl("check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "not adopted yet" in check.stdout
    adopt = host.ctl("adopt", "main", "--secret-stdin", text=FIRST)
    assert adopt.returncode == 0, adopt.stdout + adopt.stderr
    assert cluster.document("nexmo/main")["api_secret"] == FIRST
    host.do("systemctl", "start", "rotator.service")  # waits for READY=1
    assert host.do("systemctl", "is-active", "rotator.service") == "active\n"
    status = host.ctl("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "main" in status.stdout
    rotated = host.ctl("rotate-now", "main")
    assert rotated.returncode == 0, rotated.stdout + rotated.stderr
    verified = host.ctl("audit", "verify", "/var/log/rotator/audit.jsonl")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_rotator_ctl_asks_on_a_terminal(host: Host, cluster: Cluster) -> None:
    ours, theirs = pty.openpty()
    entered = ["nsenter", "--all", "--target", str(host.init), "--", str(FILES / "rotator-ctl"), "adopt", "main"]
    process = subprocess.Popen(entered, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    while b"API secret of main: " not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, FIRST.encode() + b"\n")
    with contextlib.suppress(OSError):  # the end of a terminal
        while more := os.read(ours, 1000):
            shown += more
    host.outputs.append(shown.decode())
    assert process.wait() == 0, shown
    assert cluster.document("nexmo/main")["api_secret"] == FIRST


def test_rotator_ctl_shares_the_user_of_the_service(host: Host) -> None:
    """Otherwise a command would take the audit log away from the service."""
    host.do("systemctl", "start", "rotator.service")
    pid = host.do("systemctl", "show", "--value", "--property=MainPID", "rotator.service").strip()
    owner = host.do("stat", "--format=%u", f"/proc/{pid}")
    host.do("sh", "-c", "cat > /opt/rotator/bin/rotator", text="#!/bin/sh\nid --user\ntouch /etc/rotator/new\n")
    done = host.ctl("check")
    assert done.stdout == owner
    assert "Read-only file system" in done.stderr, "the sandbox is the service's as well"


def test_rotator_ctl_returns_the_exit_code(host: Host) -> None:
    done = host.ctl("rotate-now", "unknown")
    assert done.returncode == 2
    assert "unknown" in done.stderr


def test_rotator_ctl_names_a_missing_unit(host: Host) -> None:
    done = host.run("env", "ROTATOR_UNIT=other.service", FILES / "rotator-ctl", "check")
    assert done.returncode == 2
    assert "rotator-ctl: there is no unit other.service" in done.stderr


def test_service_stops_within_its_timeout(host: Host) -> None:
    host.do("systemctl", "start", "rotator.service")
    host.do("systemctl", "stop", "rotator.service")
    shown = host.do("systemctl", "show", "--property=Result,ExecMainStatus", "rotator.service").split()
    assert sorted(shown) == ["ExecMainStatus=0", "Result=success"]


def test_only_root_can_run_these_tests() -> None:
    assert os.geteuid() == 0, "make systemd needs root: it starts systemd in namespaces of its own"
