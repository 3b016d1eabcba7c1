"""The container image, really built and run: `make image`, as root on Debian; too slow for every test run.

Its base is a Debian made here, so that no registry is asked; packages come from where pip finds them on this machine.
"""

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from rotator import __version__
from rotator.emulator import Account
from testkit.cluster import Cluster, Finished, Process, Running, eventually

PROJECT = Path(__file__).parents[2]
BASE_FOLDER = PROJECT / "build/image-base"
BASE = "localhost/rotator-test-base"
ACCOUNT = {"name": "main", "api_key": "abcd1234", "path": "nexmo/main"}
FIRST = "Secret12345"


@dataclass(frozen=True)
class Image:
    """The image, and a container of it.

    Attributes:
        config: What a container runtime goes by.
        root: The container's file system.
        layers: The sizes of its layers in bytes, the base's first.
        history: The commands that made them.
    """

    config: dict[str, Any]
    root: Path
    layers: tuple[int, ...]
    history: str

    def start(self, command: Sequence[str], env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Run a command as a cluster would: as the image's user, without a way to more rights, on a read-only disk."""
        seclude = (
            'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && '
            'exec setpriv --no-new-privs chroot --groups= --userspec="$0" "$@"'
        )
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", seclude, self.config["User"], str(self.root), *command],
            env=dict(entry.split("=", 1) for entry in self.config["Env"]) | {"HOME": "/"} | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, code: str) -> str:
        """What that prints in the image."""
        process = self.start(["python", "-c", code])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Everything in it but links, which have no rights of their own, and devices."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if Path(folder, name) != self.root / "dev"]
            for path in (Path(folder, name) for name in (*folders, *names)):
                found = path.lstat()
                if not stat.S_ISLNK(found.st_mode):
                    yield Path("/") / path.relative_to(self.root), found


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def _pip_conf() -> str:
    """Where pip gets its packages on this machine; folders of this machine are of no use inside."""
    said = _output(sys.executable, "-m", "pip", "config", "list")
    found = re.findall(r"^[^.\n]+\.(cert|index-url|extra-index-url|proxy|trusted-host)='(.*)'$", said, re.MULTILINE)
    lines = {key: f"{key} = {value}" for key, value in found if "file:" not in value}
    return "\n".join(["[global]", *lines.values(), ""])


@contextmanager
def _buildah() -> Iterator[Callable[..., str]]:
    """buildah, with a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield lambda *args: _output("buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/run", *args)
        finally:
            _output("buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/run", "rm", "--all")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if not BASE_FOLDER.exists():
        made = BASE_FOLDER.with_suffix(".part")
        subprocess.run(["rm", "-rf", str(made)], check=True)
        _output("debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", str(made))
        subprocess.run(["rm", "-rf", f"{made}/var/cache/apt", f"{made}/var/lib/apt/lists"], check=True)
        made.rename(BASE_FOLDER)
    pip_conf = tmp_path_factory.mktemp("pip") / "pip.conf"
    pip_conf.write_text(_pip_conf())
    with _buildah() as buildah:
        base = buildah("from", "scratch")
        buildah("add", "--quiet", base, str(BASE_FOLDER), "/")
        buildah("commit", "--quiet", base, BASE)
        buildah(
            "build", "--isolation=chroot", "--format=docker", "--pull-never", "--quiet", "--tag=localhost/rotator",
            f"--secret=id=pip.conf,src={pip_conf}", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",
            f"--build-arg=BASE={BASE}", f"--build-arg=VERSION={__version__}", "--build-arg=REVISION=abc123",
            str(PROJECT),
        )  # fmt: skip
        inspected = json.loads(buildah("inspect", "--type=image", "localhost/rotator"))
        container = buildah("from", "--pull-never", "localhost/rotator")
        root = Path(buildah("mount", container))
        (root / "etc/rotator").mkdir()
        oci_folder = tmp_path_factory.mktemp("pushed")
        buildah("push", "--quiet", "--disable-compression", "localhost/rotator", f"dir:{oci_folder}")
        manifest = json.loads((oci_folder / "manifest.json").read_text())
        yield Image(
            inspected["Docker"]["config"],
            root,
            tuple(layer["size"] for layer in manifest["layers"]),
            json.dumps(inspected["History"]),
        )


@contextmanager
def daemon(image: Image, cluster: Cluster) -> Iterator[Running]:
    """The image's own command on that cluster's configuration."""
    command = [*image.config["Entrypoint"], *image.config["Cmd"]]
    popen = image.start(command, {"VAULT_TOKEN": cluster.bao.root_token.get_secret_value()})
    running = Running(Process(cluster, command, popen))
    try:
        yield running
    finally:
        if popen.poll() is None:
            running.end()
        for stream in (popen.stdout, popen.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def inside(image: Image, cluster: Cluster) -> Cluster:
    """A cluster whose configuration is the image's, with one account."""
    cluster.emulator.open_account(Account(ACCOUNT["api_key"], SecretStr(FIRST)))
    cluster.configure([ACCOUNT], daemon={"listen": "127.0.0.1:9464"})
    (image.root / "etc/rotator/config.toml").write_text(cluster.config.read_text())
    return cluster


def rotator(image: Image, cluster: Cluster, *args: str, env: dict[str, str] | None = None) -> Finished:
    """rotator in the image, run to its end."""
    token = {"VAULT_TOKEN": cluster.bao.root_token.get_secret_value()}
    return Process(cluster, args, image.start([*image.config["Entrypoint"], *args], token | (env or {}))).finish()


def test_image_is_small(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    *base, own = image.layers
    with capsys.disabled():
        print(  # noqa: T201
            f"\nthe image's own layer: {own / 1e6:.0f} MB, its base here: {sum(base) / 1e6:.0f} MB, uncompressed"
        )
    assert len(base) == 1
    assert own < 60e6


def test_image_has_labels_and_command(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["rotator"], ["run"])
    assert config["StopSignal"] == "SIGTERM"
    assert (config["WorkingDir"], list(config["ExposedPorts"]), config["Volumes"]) == ("/", ["9464/tcp"], {})
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-c"]  # without a shell
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}
    assert labels == {
        "title": "rotator",
        "description": "Rotates the API secrets of Nexmo/Vonage accounts and publishes them in Vault",
        "licenses": "MIT",
        "version": __version__,
        "revision": "abc123",
        "name": BASE,
    }


def test_user_cannot_change_any_file(image: Image) -> None:
    uid, gid = map(int, image.config["User"].split(":"))
    open_to_all = {
        path
        for path, found in image.files()
        if found.st_mode & stat.S_IWOTH or found.st_uid == uid or found.st_gid == gid
    }
    assert open_to_all == {Path("/tmp"), Path("/var/tmp"), Path("/run/lock")}  # Debian's, for everybody
    assert image.python("import os; print(os.getuid(), os.getgid(), os.getgroups())") == "65532 65532 []"


def test_image_has_no_build_tools(image: Image) -> None:
    assert not (image.root / "build").exists()
    assert not (image.root / "root/.cache").exists()
    assert not (image.root / "etc/pip.conf").exists()
    assert "pip.conf" not in image.history.replace("id=pip.conf,target=/etc/pip.conf", "")
    names = {path.name for path in (image.root / "opt/rotator/bin").iterdir()}
    assert "rotator" in names
    assert not {"pip", "pip3"} & names
    environment = dict(entry.split("=", 1) for entry in image.config["Env"])
    assert environment.keys() == {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def test_image_has_exactly_the_pinned_packages(image: Image) -> None:
    pinned = re.findall(r"^([a-z0-9._-]+==[^ \\]+)", (PROJECT / "requirements/runtime.txt").read_text(), re.MULTILINE)
    installed = image.python(
        "import importlib.metadata as m, json, re;"
        "print(json.dumps([re.sub('[-_.]+', '-', d.name).lower() + '==' + d.version for d in m.distributions()]))"
    )
    assert sorted(json.loads(installed)) == sorted([*pinned, f"rotator=={__version__}"])


def test_every_module_is_compiled(image: Image) -> None:
    """On a read-only disk each start would compile it all anew."""
    sources = list((image.root / "opt/rotator/lib").rglob("*.py"))
    assert len(sources) > 500
    (tag,) = {path.name.split(".")[-2] for path in (image.root / "opt/rotator/lib").rglob("*.pyc")}
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1, f"{source} is looked at at each start"


def test_commands_work_on_a_read_only_disk(image: Image, inside: Cluster) -> None:
    assert rotator(image, inside, "--version").out == f"rotator {__version__}\n"
    adopted = rotator(image, inside, "adopt", "main", "--secret-env", "FIRST", env={"FIRST": FIRST})
    assert adopted.code == 0, adopted
    checked = rotator(image, inside, "check")
    assert (checked.code, "FAIL" in checked.out) == (0, False), checked
    rotated = rotator(image, inside, "rotate-now", "main", "--json")
    assert (rotated.code, rotated.json["rotated"]) == (0, 1), rotated
    published = SecretStr(inside.document("nexmo/main")["api_secret"])
    assert published.get_secret_value() != FIRST
    assert inside.emulator.authenticates(ACCOUNT["api_key"], published)


def test_daemon_is_healthy_and_stops(image: Image, inside: Cluster) -> None:
    def healthy() -> bool:
        process = image.start(image.config["Healthcheck"]["Test"][1:])
        process.communicate(timeout=30)
        return process.returncode == 0

    assert not healthy()
    with daemon(image, inside) as running:
        running.wait_for("daemon.started")
        eventually(healthy)
        assert httpx.get("http://127.0.0.1:9464/healthz").status_code == httpx.codes.OK
        assert running.end() == 0
