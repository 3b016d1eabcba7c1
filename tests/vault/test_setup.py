"""deploy/vault as it stands there, loaded by its own script into a real OpenBao: what it allows, what it refuses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.config import VaultSettings, load
from rotator.fleet import Finding, Fleet, Request, Wanted, examine
from rotator.rotation import Result
from rotator.vault import Vault, VaultDenied
from testkit.cluster import Cluster
from testkit.openbao import Issuer
from testkit.vault_site import FILES, FIRST, Site, fleet, publish, published_account, running_site

POLICY = (FILES / "rotator-policy.hcl").read_text()
STANZAS = re.findall(r'^path "[^"]+" \{\n.*?^\}\n', POLICY, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def cluster(site: Site, tmp_path: Path) -> Iterator[Cluster]:
    with published_account(site, tmp_path) as made:
        yield made


def test_setup_script_can_be_run_again(site: Site) -> None:
    site.admin("POST", "secret/data/nexmo/kept", {"data": {"n": 1}})
    site.set_up("main", "shop", cli="")
    assert site.admin("GET", "secret/data/nexmo/kept")["data"]["data"] == {"n": 1}
    assert site.admin("GET", "sys/policies/acl/nexmo-shop")["data"]["policy"].count('"secret/data/nexmo/shop"') == 1
    role = site.admin("GET", "auth/approle/role/nexmo-shop")["data"]
    assert role["token_policies"] == ["nexmo-shop"]
    role = site.admin("GET", "auth/kubernetes/role/nexmo-shop")["data"]
    assert (role["token_policies"], role["bound_service_account_names"]) == (["nexmo-shop"], ["shop"])
    for account in ("main", "shop"):
        assert site.admin("GET", f"secret/metadata/rotator/journal/{account}")["data"]["max_versions"] == 3
    assert "vault.auth.secret_id_file" in site.output
    assert max(map(len, site.output.splitlines())) <= 80
    assert site.bao.root_token.get_secret_value() not in site.output
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", site.output), "a role id or secret id was printed"
    assert not re.search(r"^\+ ", site.output, re.MULTILINE), "it tells each command"


@pytest.mark.parametrize("name", ["", "+", "*", "shop*", "a/b", "..", "a|b"])
def test_setup_refuses_names_that_widen_a_policy(name: str, tmp_path: Path) -> None:
    """The script stops before it calls Vault's command, which is missing here."""
    done = subprocess.run(
        ["/bin/sh", str(FILES / "setup.sh"), "main", name],
        env={"PATH": "/usr/bin:/bin", "VAULT_CLI": str(tmp_path / "missing")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"setup.sh: '{name}' is no name of an account: letters, digits, '.', '_' and '-' only. Nothing was changed.\n"
    )


def test_setup_uses_the_names_of_the_environment(tmp_path: Path) -> None:
    names = {
        "ROTATOR_MOUNT": "team/kv",
        "ROTATOR_PREFIX": "sms/live",
        "ROTATOR_JOURNALS": "state/journals",
        "ROTATOR_NAME": "rotator-live",
        "ROTATOR_NAMESPACE": "ops",
        "CONSUMER_NAME": "sms",
        "CONSUMER_NAMESPACE": "services",
    }
    with running_site(tmp_path) as made:
        made.set_up("shop", cli="", **names)
        policy = made.admin("GET", "sys/policies/acl/rotator-live")["data"]["policy"]
        paths = {path for path in re.findall(r'^path "([^"]+)"', policy, re.MULTILINE) if path.startswith("team/")}
        assert paths == {
            "team/kv/data/sms/live/*", "team/kv/data/state/journals/*", "team/kv/metadata/state/journals/*"
        }  # fmt: skip
        assert (
            made.admin("GET", "sys/policies/acl/sms-shop")["data"]["policy"].count('"team/kv/data/sms/live/shop"') == 1
        )
        for method in ("approle", "kubernetes"):
            role = made.admin("GET", f"auth/{method}/role/rotator-live")["data"]
            assert role["token_policies"] == ["rotator-live"]
        assert role["bound_service_account_names"] == ["rotator-live"]
        assert role["bound_service_account_namespaces"] == ["ops"]
        consumer = made.admin("GET", "auth/kubernetes/role/sms-shop")["data"]
        assert consumer["bound_service_account_namespaces"] == ["services"]
        assert made.admin("GET", "team/kv/metadata/state/journals/shop")["data"]["max_versions"] == 3


VARIABLES = (
    *("ROTATOR_MOUNT", "ROTATOR_PREFIX", "ROTATOR_JOURNALS", "ROTATOR_NAME", "ROTATOR_NAMESPACE"),
    *("CONSUMER_NAME", "CONSUMER_NAMESPACE"),
)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("name", ["sms/*", "sms/+/x", 'a"b', "a|b"])
def test_setup_refuses_variables_that_widen_a_policy(variable: str, name: str, tmp_path: Path) -> None:
    """The script stops before it calls Vault's command, which is missing here."""
    done = subprocess.run(
        [FILES / "setup.sh", "main"],
        env={"VAULT_CLI": str(tmp_path / "missing"), "PATH": os.environ["PATH"], variable: name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"setup.sh: '{name}' is no name: letters, digits, '.', '_', '/' and '-' only. Nothing was changed.\n"
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ROTATOR_PREFIX": "a/../b"}, "'a/../b' is no path: no part of it may be empty, '.' or '..'."),
        ({"ROTATOR_MOUNT": "kv//x"}, "'kv//x' is no path: no part of it may be empty, '.' or '..'."),
        ({"ROTATOR_JOURNALS": "j/"}, "'j/' is no path: no part of it may be empty, '.' or '..'."),
        (
            {"ROTATOR_PREFIX": "rotator/journal"},
            "ROTATOR_PREFIX rotator/journal is inside ROTATOR_JOURNALS rotator/journal: consumers could read journals.",
        ),
        (
            {"ROTATOR_PREFIX": "j/sms", "ROTATOR_JOURNALS": "j"},
            "ROTATOR_PREFIX j/sms is inside ROTATOR_JOURNALS j: consumers could read journals.",
        ),
    ],
)
def test_setup_refuses_paths_that_reach_journals(variables: dict[str, str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [FILES / "setup.sh", "main"],
        env={"VAULT_CLI": str(tmp_path / "missing"), "PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"setup.sh: {said} Nothing was changed.\n")


def test_documentation_lists_every_variable_of_setup() -> None:
    page = (FILES.parents[1] / "docs" / "vault-setup.md").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+):-", (FILES / "setup.sh").read_text()))
    assert set(VARIABLES) < used
    assert [name for name in sorted(used) if f"`{name}" not in page and f"{name}=" not in page] == []


def test_readme_quotes_the_policy_file() -> None:
    """The README's policy has the file's stanzas, one a line."""
    (quoted,) = re.findall(r"```hcl\n(.*?)```", (FILES.parent.parent / "README.md").read_text(), re.DOTALL)

    def words(text: str) -> str:
        return re.sub(r"\s+", "", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE))

    assert words(quoted) == words(POLICY)


def test_setup_script_passes_shellcheck() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, FILES / "setup.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- what is allowed and what is refused -----------------------------------------------------------------------


def operations(folder: str, name: str) -> dict[str, tuple[str, str, Any]]:
    """Everything that can be done to a document: method, path, body."""
    path = f"{folder}/{name}"
    return {
        "create": ("POST", f"secret/data/{path}-{os.urandom(4).hex()}", {"data": {}, "options": {"cas": 0}}),
        "read": ("GET", f"secret/data/{path}", None),
        "read an earlier version": ("GET", f"secret/data/{path}?version=1", None),
        "update": ("POST", f"secret/data/{path}", {"data": {"n": 2}}),
        "patch": ("PATCH", f"secret/data/{path}", {"data": {"n": 3}}),
        "limit versions": ("POST", f"secret/metadata/{path}", {"max_versions": 3}),
        "let versions expire": ("POST", f"secret/metadata/{path}", {"delete_version_after": "1s"}),
        "read metadata": ("GET", f"secret/metadata/{path}", None),
        "list": ("LIST", f"secret/metadata/{folder}", None),
        "undelete": ("POST", f"secret/undelete/{path}", {"versions": [1]}),
        "destroy": ("POST", f"secret/destroy/{path}", {"versions": [1]}),
        "delete": ("DELETE", f"secret/data/{path}", None),
        "delete metadata": ("DELETE", f"secret/metadata/{path}", None),
    }


WRITES = {"create", "read", "read an earlier version", "update"}
READS = {"read", "read an earlier version"}


@pytest.mark.parametrize(
    ("role", "folder", "name", "allowed"),
    [
        ("rotator", "nexmo", "main", WRITES),
        ("rotator", "nexmo/team", "shop", WRITES),
        ("rotator", "rotator/journal", "main", WRITES | {"limit versions"}),
        ("rotator", "rotator", "other", set()),
        ("rotator", "payments", "main", set()),
        ("rotator", "nexmo-old", "main", set()),
        ("nexmo-main", "nexmo", "main", READS),
        ("nexmo-main", "nexmo", "mainly", set()),
        ("nexmo-main", "nexmo", "shop", set()),
        ("nexmo-main", "nexmo/main", "below", set()),
        ("nexmo-main", "rotator/journal", "main", set()),
        ("nexmo-main", "rotator/journal", "shop", set()),
        ("nexmo-main", "payments", "main", set()),
    ],
)
def test_policy_allows_exactly_these_operations(
    site: Site, role: str, folder: str, name: str, allowed: set[str]
) -> None:
    site.admin("POST", f"secret/data/{folder}/{name}", {"data": {"n": 1}})
    asked = {what: site.ask(role, *request) for what, request in operations(folder, name).items()}
    assert {what for what, status in asked.items() if status != 403} == allowed
    assert all(asked[what] in (200, 204) for what in allowed), asked


def test_policy_allows_only_token_requests_beyond_documents(site: Site) -> None:
    assert site.ask("rotator", "GET", "auth/token/lookup-self") == 200
    assert site.ask("rotator", "POST", "auth/token/renew-self", {}) == 200
    assert site.ask("rotator", "POST", "sys/capabilities-self", {"paths": ["secret/data/nexmo/main"]}) == 200
    refused = [
        ("POST", "auth/token/create", {}),
        ("GET", "sys/policies/acl/rotator", None),
        ("POST", "sys/policies/acl/rotator", {"policy": POLICY}),
        ("GET", "sys/mounts", None),
        ("POST", "auth/approle/role/rotator/secret-id", {}),
        ("POST", "auth/approle/role/nexmo-main/secret-id", {}),
        ("LIST", "secret/metadata/", None),
        ("GET", "secret/config", None),
        ("POST", "cubbyhole/x", {"n": 1}),
    ]
    assert {path: site.ask("rotator", *request) for request in refused for path in request[1:2]} == {
        path: 403 for _, path, _ in refused
    }


# --- logging in ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looker(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Fleet]]:
    """The account again, and one session that looks at it again and again: policies change under its token."""
    with published_account(site, tmp_path_factory.mktemp("looker")) as made, fleet(load(made.config)) as session:
        yield made, session


def test_policy_suffices_for_checks_and_rotation(site: Site, cluster: Cluster) -> None:
    finished = cluster.run("check")
    assert finished.code == 0, finished
    assert "without this in the policy" not in finished.out
    settings = load(cluster.config)
    with fleet(settings) as session:
        [outcome] = session.run(settings.accounts, Request(Wanted.NOW, max_wait=timedelta(seconds=20)))
    assert (outcome.result, outcome.published, outcome.error) == (Result.OK, True, None)
    assert cluster.document("nexmo/main")["api_secret"] != FIRST
    assert not cluster.emulator.authenticates("keymain", SecretStr(FIRST))
    metadata = site.admin("GET", "secret/metadata/rotator/journal/main")["data"]
    assert metadata["max_versions"] == 3
    assert metadata["current_version"] > 3
    assert len(metadata["versions"]) == 3


def lessened() -> list[Any]:
    """The policy without each of its stanzas, and without each capability of each."""
    cases = []
    for stanza in STANZAS:
        path = stanza.split('"')[1]
        cases.append(pytest.param(POLICY.replace(stanza, ""), path, id=path))
        listed = re.search(r"capabilities += \[(.*?)\]", stanza)
        assert listed
        capabilities = listed[1].split(", ")
        for capability in capabilities if len(capabilities) > 1 else ():
            fewer = ", ".join(other for other in capabilities if other != capability)
            less = POLICY.replace(stanza, stanza.replace(listed[1], fewer))
            cases.append(pytest.param(less, path, id=f"{path} {capability}"))
    return cases


@pytest.mark.parametrize(("policy", "path"), lessened())
def test_check_names_the_missing_stanza(site: Site, looker: tuple[Cluster, Fleet], policy: str, path: str) -> None:
    cluster, session = looker
    publish(cluster)

    def complaints(policy: str) -> list[Finding]:
        site.admin.policy("rotator", policy)
        findings = list(examine(session, session.settings.accounts))
        cluster.outputs += [finding.what for finding in findings]
        return [finding for finding in findings if not finding.ok or "without this" in finding.what]

    try:
        [named] = complaints(policy)
        assert named.ok is path.startswith(("secret/metadata/", "auth/token/"))
        stanza = re.search(r'path "([^"]+)" \{ capabilities = \[(.*?)\] \}', named.what)
        assert stanza
        assert fnmatchcase(stanza[1], path)
        assert complaints(f"{policy}\n{stanza[0]}") == []  # what is named is all that it takes
    finally:
        site.admin.policy("rotator", POLICY)


def test_policy_has_six_stanzas() -> None:
    assert len(STANZAS) == POLICY.count("path ") == 6


def test_login_lasts_an_hour_with_one_policy(site: Site) -> None:
    role_id, secret_id = site.approle("rotator")
    auth = site.admin("PUT", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})["auth"]
    assert (auth["policies"], auth["lease_duration"], auth["renewable"]) == (["rotator"], 3600, True)


@pytest.mark.parametrize("name", ["rotator", "nexmo-main"])
@pytest.mark.parametrize("method", ["approle", "kubernetes"])
def test_roles_allow_unlimited_use_for_a_day(site: Site, method: str, name: str) -> None:
    role = site.admin("GET", f"auth/{method}/role/{name}")["data"]
    assert (role["token_ttl"], role["token_max_ttl"], role["token_num_uses"]) == (3600, 86400, 0)
    assert role.get("secret_id_num_uses", 0) == 0


@pytest.mark.parametrize(
    ("role", "who", "policies"),
    [("rotator", "rotator:rotator", ["rotator"]), ("nexmo-main", "apps:main", ["default", "nexmo-main"])],
)
def test_only_the_bound_service_account_logs_in(
    site: Site, tmp_path: Path, role: str, who: str, policies: list[str]
) -> None:
    """The API server's answers to TokenReview are simulated, over TLS; OpenBao's kubernetes method is the real one."""

    def jwt_of(account: str) -> str:
        namespace, name = account.split(":")
        claims = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "uid-1"}}
        jwt = Issuer().sign(sub=f"system:serviceaccount:{account}", **{"kubernetes.io": claims})
        site.reviews.accepted[jwt] = account
        return jwt

    answer = site.admin("PUT", "auth/kubernetes/login", {"role": role, "jwt": jwt_of(who)})
    assert (answer["auth"]["policies"], answer["auth"]["lease_duration"]) == (policies, 3600)
    values: dict[str, Any] = {"address": site.bao.address}
    values["auth"] = {"method": "kubernetes", "role": role, "jwt_file": tmp_path / "jwt"}
    (tmp_path / "jwt").write_text(jwt_of(who))
    settings = VaultSettings(**values)
    assert Vault(settings).read("nexmo/main") is not None
    for stranger in (who + "2", "x" + who):
        (tmp_path / "jwt").write_text(jwt_of(stranger))
        with pytest.raises(VaultDenied, match="auth/kubernetes/login"):
            Vault(settings).read("nexmo/main")


def test_setup_script_uses_every_file() -> None:
    script = (FILES / "setup.sh").read_text()
    for file in FILES.iterdir():
        assert file.name in script or file.name == "setup.sh"
        if file.suffix == ".json":
            json.loads(file.read_text())
