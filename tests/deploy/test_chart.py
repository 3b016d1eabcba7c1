"""The chart: rendered by Helm itself, held to Kubernetes' schemas and to rotator's own reading of its configuration."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from deploy.render import CHART, DEPLOY, MODES
from deploy.render import files as generated
from rotator import __version__
from rotator.config import Settings, load, parse_duration
from rotator.fleet import Shard, parse_shard

Object = dict[str, Any]

ACCOUNTS = [
    {"name": "main", "api_key": "abcd1234", "path": "nexmo/main"},
    {"name": "shop", "api_key": "ef567890", "path": "nexmo/shop", "primary": "main", "every": "7d", "max_age": "9d",
     "fields": {"api_secret": "NEXMO_API_SECRET"}},
]  # fmt: skip
LEAST: Object = {"config": {"vault": {"address": "https://vault.example.com:8200"}, "accounts": ACCOUNTS}}
EVERYTHING: Object = {
    "replicas": 4,
    "config": {
        "vault": {"address": ["https://vault-0:8200", "https://vault-1:8200"], "timeout": "8s"},
        "account_api": {"max_calls_per_second": 5, "max_secrets": 2},
        "defaults": {"windows": ["mon-thu 02:00-05:00"], "grace": "12h", "secret_length": 20},
        "accounts": ACCOUNTS,
        "daemon": {
            "listen": "[::]:9999",
            "concurrency": 16,
            "shutdown_timeout": "1m20s500ms",
            "circuit_breaker": {"failures": 4},
        },
    },
    "image": {"repository": "registry.example.com/team/rotator", "tag": "1.2.3", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"name": "keeper", "annotations": {"team": "a"}},
    "vaultToken": {"audience": "https://vault.example.com", "expirationSeconds": 7200},
    "vaultCa": {"configMap": "company-ca", "key": "root.pem"},
    "cronjob": {"schedule": "7 * * * *", "timeZone": "Europe/Berlin"},
    "runAsUser": 10001,
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
        {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "networkPolicy": {
        "dns": {"to": [{"namespaceSelector": {"matchLabels": {"dns": "yes"}}}], "ports": [53, 5353]},
        "vault": {"to": [{"podSelector": {"matchLabels": {"app": "vault"}}}], "ports": [8200, 8201]},
        "provider": {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [3128]},
        "metrics": {"from": [{"namespaceSelector": {"matchLabels": {"monitoring": "yes"}}}]},
    },
    "service": {"annotations": {"a": "b"}},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "volumes": [{"name": "proxy-ca", "configMap": {"name": "proxy-ca"}}],
    "volumeMounts": [{"name": "proxy-ca", "mountPath": "/etc/proxy-ca", "readOnly": True}],
    "podLabels": {"cost": "7"},
    "podAnnotations": {"note": "true"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
}
MONITORED: Object = {
    "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True},
}
MATRIX = {
    **{mode: LEAST | {"mode": mode} for mode in MODES},
    **{f"{mode}, everything": EVERYTHING | {"mode": mode} for mode in MODES},
    "deployment, monitored": LEAST | MONITORED | {"mode": "deployment"},
    "statefulset, monitored": EVERYTHING | MONITORED | {"mode": "statefulset"},
}
DAEMONS = [name for name in MATRIX if not name.startswith("cronjob")]
OWNED = {"app.kubernetes.io/name": "rotator", "app.kubernetes.io/instance": "night"}
DAEMON = OWNED | {"app.kubernetes.io/component": "daemon"}


@cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: Object, name: str = "night") -> list[Object]:
    """Every object, as a cluster would get it."""
    texts = chart().render(values, name=name, namespace="secrets")
    return [one for path, text in texts.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


@cache
def rendered(name: str) -> tuple[Object, ...]:
    return tuple(render(MATRIX[name]))


def objects(name: str, kind: str) -> list[Object]:
    return [one for one in rendered(name) if one["kind"] == kind]


def the(name: str, kind: str) -> Object:
    (one,) = objects(name, kind)
    return one


def template(one: Object) -> Object:
    """The pod that an object makes, or is."""
    spec: Object = one["spec"]
    if one["kind"] == "Pod":
        return one
    found: Object = spec["jobTemplate"]["spec"]["template"] if one["kind"] == "CronJob" else spec["template"]
    return found


def workload(name: str) -> Object:
    (one,) = (one for one in rendered(name) if one["kind"] in ("Deployment", "StatefulSet", "CronJob"))
    return one


def pods(name: str) -> list[Object]:
    """What the workload makes, and the pod of `helm test`."""
    found = [template(one) for one in rendered(name) if one["kind"] in ("Deployment", "StatefulSet", "CronJob", "Pod")]
    assert len(found) == 2
    return found


def container(pod: Object) -> Object:
    (only,) = pod["spec"]["containers"]
    assert "initContainers" not in pod["spec"]
    found: Object = only
    return found


def settings(name: str, folder: Path) -> Settings:
    """The ConfigMap as rotator reads it."""
    return loaded(next(one for one in objects(name, "ConfigMap") if "config.toml" in one["data"]), folder)


def loaded(config_map: Object, folder: Path) -> Settings:
    file = folder / "config.toml"
    file.write_text(config_map["data"]["config.toml"])
    return load(file)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VAULT_ADDR", "BAO_ADDR", "VAULT_TOKEN", "BAO_TOKEN", "VAULT_CACERT", "BAO_CACERT"):
        monkeypatch.delenv(variable, raising=False)


# --- what Helm and Kubernetes say ------------------------------------------------------------------------------

_SCHEMAS = resources("kubernetes_validate") / "kubernetes-json-schema"
VERSIONS = sorted(
    (
        found[0]
        for folder in _SCHEMAS.iterdir()
        if (found := re.findall(r"^v(1\.[0-9]+)\.0-local-strict$", folder.name)) and int(found[0][2:]) >= 29
    ),
    key=lambda version: int(version[2:]),
)


@cache
def _registry(version: str) -> "Registry[Any]":
    definitions = json.loads((_SCHEMAS / f"v{version}.0-local-strict/_definitions.json").read_text())
    registry: Registry[Any] = Resource.from_contents(definitions) @ Registry()
    return registry.crawl()


def kubernetes_errors(one: Object, version: str) -> list[str]:
    """What that Kubernetes would refuse, unknown fields included."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", one["apiVersion"])
    schema = json.loads((_SCHEMAS / f"v{version}.0-local-strict/{one['kind'].lower()}-{group}.json").read_text())
    validator = jsonschema.Draft202012Validator(schema, registry=_registry(version))
    return [f"{one['kind']} {error.json_path}: {error.message}" for error in validator.iter_errors(one)]


def is_core(one: Object) -> bool:
    return not one["apiVersion"].startswith("monitoring.coreos.com/")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object_strictly(version: str) -> None:
    seen = {}
    for name in MATRIX:
        for one in filter(is_core, rendered(name)):
            seen[json.dumps(one, sort_keys=True)] = one
    assert len(seen) > 20
    assert [error for one in seen.values() for error in kubernetes_errors(one, version)] == []


def test_the_validation_itself_refuses_an_unknown_field() -> None:
    assert VERSIONS[0] == "1.29"
    broken = copy.deepcopy(the("deployment", "Deployment"))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    assert kubernetes_errors(broken, VERSIONS[-1])


@pytest.mark.parametrize("name", MATRIX)
def test_helm_lints_without_a_warning(name: str) -> None:
    report = helm_python.lint(CHART, MATRIX[name], strict=True, namespace="secrets")
    found = [one for one in report["messages"] if one["severity"] > 1]
    assert (found, report["errors"]) == ([], [])


def test_what_an_editor_or_git_leaves_behind_is_no_part_of_the_chart(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(CHART, tmp_path / "rotator"))
    for name in (".gitattributes", ".rules.yml.swp", "rules.yml.tmp"):
        (copied / "files" / name).write_text("half a line")
    (copied / "templates" / "files.yaml").write_text(
        '{{ range $path, $_ := .Files.Glob "**" }}- {{ $path }}\n{{ end }}'
    )
    texts = helm_python.Chart.load(copied).render(LEAST, name="night", namespace="secrets")
    (found,) = (text for path, text in texts.items() if path.endswith("/files.yaml"))
    assert yaml.safe_load(found) == [".helmignore", "files/rotator.json", "files/rules.yml"]


def test_no_two_objects_of_a_kind_have_one_name() -> None:
    for name in MATRIX:
        names = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
        assert len(names) == len(set(names))


def test_the_chart_is_of_the_version_that_it_installs() -> None:
    assert chart().metadata["appVersion"] == chart().version == __version__
    assert container(template(workload("deployment")))["image"] == f"rotator:{__version__}"


def test_a_digest_takes_the_place_of_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    found = render(LEAST | {"image": {"repository": "registry.example.com/rotator", "tag": "1", "digest": digest}})
    (deployment,) = (one for one in found if one["kind"] == "Deployment")
    assert container(template(deployment))["image"] == f"registry.example.com/rotator@{digest}"


# --- which objects -----------------------------------------------------------------------------------------------


def test_each_mode_is_one_workload_and_what_belongs_to_it() -> None:
    common = {"ConfigMap", "ServiceAccount", "NetworkPolicy", "Pod"}
    assert {one["kind"] for one in rendered("cronjob")} == common | {"CronJob"}
    served = common | {"Service", "PodDisruptionBudget"}
    assert {one["kind"] for one in rendered("deployment")} == served | {"Deployment"}
    assert {one["kind"] for one in rendered("statefulset")} == served | {"StatefulSet"}


def test_what_is_switched_off_is_not_there() -> None:
    off = {"enabled": False}
    values = LEAST | {"serviceAccount": {"create": False, "name": "keeper"}}
    values |= dict.fromkeys(("networkPolicy", "podDisruptionBudget", "service"), off)
    found = render(values)
    assert {one["kind"] for one in found} == {"ConfigMap", "Deployment", "Pod"}
    assert {template(one)["spec"]["serviceAccountName"] for one in found if one["kind"] != "ConfigMap"} == {"keeper"}


def test_a_statefulset_keeps_the_service_that_it_needs() -> None:
    found = render(LEAST | {"mode": "statefulset", "service": {"enabled": False}})
    assert "Service" in {one["kind"] for one in found}
    assert the("statefulset", "StatefulSet")["spec"]["serviceName"] == the("statefulset", "Service")["metadata"]["name"]


# --- what runs ------------------------------------------------------------------------------------------------------


def test_each_mode_runs_its_command() -> None:
    assert container(template(workload("deployment")))["args"] == ["run"]
    assert container(template(workload("cronjob")))["args"] == ["rotate-now", "--due"]
    assert [container(one)["args"] for one in pods("deployment")].count(["check"]) == 1


def test_each_pod_of_a_statefulset_finds_its_part_of_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    stateful = the("statefulset, everything", "StatefulSet")
    command, option, shard = container(template(stateful))["args"]
    assert (command, option) == ("run", "--shard")
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    for ordinal in range(stateful["spec"]["replicas"]):
        monkeypatch.setenv("HOSTNAME", f"{stateful['metadata']['name']}-{ordinal}")
        assert parse_shard(shard) == Shard(ordinal, 4)


def test_replicas_are_as_many_as_asked_for() -> None:
    assert the("deployment", "Deployment")["spec"]["replicas"] == 1
    assert the("deployment, everything", "Deployment")["spec"]["replicas"] == 4
    assert the("statefulset, everything", "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_a_rollout_starts_the_new_pod_before_the_old_one_ends() -> None:
    strategy = the("deployment", "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_deferral_is_no_failure_of_the_job_and_a_failed_account_is_one_at_once() -> None:
    cron = the("cronjob", "CronJob")["spec"]
    job = cron["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    deferred, disrupted = job["podFailurePolicy"]["rules"]
    assert deferred == {
        "action": "Ignore",
        "onExitCodes": {"containerName": container(job["template"])["name"], "operator": "In", "values": [3]},
    }
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a podFailurePolicy needs it
    assert (cron["concurrencyPolicy"], cron["startingDeadlineSeconds"], cron["suspend"]) == ("Replace", 300, False)
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (1, 3)


def test_a_cronjob_goes_by_the_schedule_and_the_zone_it_is_given() -> None:
    assert the("cronjob", "CronJob")["spec"]["schedule"] == "*/30 * * * *"
    assert "timeZone" not in the("cronjob", "CronJob")["spec"]
    given = the("cronjob, everything", "CronJob")["spec"]
    assert (given["schedule"], given["timeZone"]) == ("7 * * * *", "Europe/Berlin")


@pytest.mark.parametrize("name", DAEMONS)
def test_probes_ask_the_port_on_which_the_daemon_listens(name: str, tmp_path: Path) -> None:
    one = container(template(workload(name)))
    port = int(settings(name, tmp_path).daemon.listen.rpartition(":")[2])
    assert one["ports"] == [{"name": "metrics", "containerPort": port}]
    paths = {probe: one[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {
        "startup": {"path": "/healthz", "port": "metrics"},
        "liveness": {"path": "/healthz", "port": "metrics"},
        "readiness": {"path": "/readyz", "port": "metrics"},
    }
    (service_port,) = the(name, "Service")["spec"]["ports"]
    assert service_port == {"name": "metrics", "port": port, "targetPort": "metrics"}


def test_probes_are_patient_with_a_start_and_a_busy_process() -> None:
    one = container(template(workload("deployment")))
    patience = {p: one[p]["periodSeconds"] * one[p]["failureThreshold"] for p in one if p.endswith("Probe")}
    assert patience == {"startupProbe": 120, "livenessProbe": 60, "readinessProbe": 20}
    assert all(one[probe]["timeoutSeconds"] <= one[probe]["periodSeconds"] for probe in patience)


def test_only_a_daemon_has_ports_and_probes() -> None:
    for pod in pods("cronjob"):
        assert not {"ports", "startupProbe", "livenessProbe", "readinessProbe"} & container(pod).keys()


@pytest.mark.parametrize("name", MATRIX)
def test_kubernetes_kills_only_after_rotator_ended_by_itself(name: str, tmp_path: Path) -> None:
    shutdown = settings(name, tmp_path).daemon.shutdown_timeout.total_seconds()
    for pod in pods(name):
        assert shutdown + 4 < pod["spec"]["terminationGracePeriodSeconds"] <= shutdown + 6


@pytest.mark.parametrize("timeout", ["90s", "2m", "1h5m", "1d", "1500ms"])
def test_every_way_to_write_a_shutdown_timeout_counts(timeout: str) -> None:
    found = render({"configToml": f'[daemon]\nshutdown_timeout = "{timeout}"\n'})
    seconds = next(template(one) for one in found if one["kind"] == "Deployment")["spec"][
        "terminationGracePeriodSeconds"
    ]
    assert 5 <= seconds - parse_duration(timeout).total_seconds() < 6


# --- the configuration ----------------------------------------------------------------------------------------------


def test_rotator_reads_the_configmap_as_it_was_meant(tmp_path: Path) -> None:
    least = settings("deployment", tmp_path)
    assert least.vault.address == "https://vault.example.com:8200"
    assert (least.vault.auth.method, least.vault.auth.role) == ("kubernetes", "rotator")
    assert least.log.format == "json"
    assert [account.name for account in least.accounts] == ["main", "shop"]
    assert least.account("shop").fields.api_secret == "NEXMO_API_SECRET"
    everything = settings("statefulset, everything", tmp_path)
    assert everything.vault.addresses == ("https://vault-0:8200", "https://vault-1:8200")
    assert (everything.daemon.concurrency, everything.daemon.circuit_breaker.failures) == (16, 4)
    assert everything.account_api.max_calls_per_second == 5
    assert everything.account("main").windows == ("mon-thu 02:00-05:00",)


def test_a_file_given_as_text_stays_as_it_is(tmp_path: Path) -> None:
    example = (CHART.parents[2] / "config.example.toml").read_text()
    found = render({"configToml": example})
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert config_map["data"]["config.toml"] == example
    assert loaded(config_map, tmp_path).account("shop").primary == "main"


def test_rotator_finds_the_folder_of_the_configmap_by_itself() -> None:
    for pod in (pod for name in MATRIX for pod in pods(name)):
        mount = next(one for one in container(pod)["volumeMounts"] if one["name"] == "config")
        assert mount == {"name": "config", "mountPath": "/etc/rotator", "readOnly": True}  # a subPath is never updated
        assert next(one for one in pod["spec"]["volumes"] if one["name"] == "config")["configMap"]["name"]


def test_a_change_restarts_the_pods_only_where_a_reload_cannot_do_it() -> None:
    def template_of(**daemon: Any) -> Object:
        config = LEAST["config"] | {"daemon": daemon}
        return next(template(one) for one in render({"config": config}) if one["kind"] == "Deployment")

    before = template_of(resync_interval="5m")
    assert template_of(resync_interval="10m", min_spacing="2s") == before
    more = LEAST["config"] | {
        "accounts": [*ACCOUNTS, {"name": "x", "api_key": "x", "path": "x"}],
        "log": {"level": "debug"},
    }
    assert next(template(one) for one in render({"config": more}) if one["kind"] == "Deployment") == before
    assert template_of(resync_interval="5m", concurrency=4) != before
    assert template_of(resync_interval="5m", shard="0/2") != before
    assert template_of(resync_interval="5m", listen="127.0.0.1:9464") != before


# --- Vault ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRIX)
def test_the_token_for_vault_stands_where_rotator_looks_for_it(name: str, tmp_path: Path) -> None:
    given = MATRIX[name].get("vaultToken", {"audience": "vault", "expirationSeconds": 3600})
    jwt_file = settings(name, tmp_path).vault.auth.jwt_file
    assert jwt_file is not None
    for pod in pods(name):
        (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "vault-token")
        assert volume["projected"]["sources"] == [{"serviceAccountToken": {"path": jwt_file.name} | given}]
        (mount,) = (one for one in container(pod)["volumeMounts"] if one["name"] == "vault-token")
        assert (mount["mountPath"], mount["readOnly"]) == (str(jwt_file.parent), True)


def test_no_token_is_made_for_who_logs_in_otherwise() -> None:
    found = render(LEAST | {"vaultToken": {"enabled": False}})
    (pod,) = (template(one) for one in found if one["kind"] == "Deployment")
    assert [one["name"] for one in pod["spec"]["volumes"]] == ["config"]
    assert [one["name"] for one in container(pod)["volumeMounts"]] == ["config"]


@pytest.mark.parametrize(
    ("kind", "source"), [("configMap", {"configMap": {"name": "ca"}}), ("secret", {"secret": {"secretName": "ca"}})]
)
def test_the_ca_of_vault_comes_from_either(kind: str, source: Object) -> None:
    found = render(LEAST | {"vaultCa": {kind: "ca", "key": "root.pem"}})
    (pod,) = (template(one) for one in found if one["kind"] == "Deployment")
    (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "vault-ca")
    ((what, inside),) = source.items()
    assert volume == {"name": "vault-ca", what: inside | {"items": [{"key": "root.pem", "path": "ca.crt"}]}}
    (mount,) = (one for one in container(pod)["volumeMounts"] if one["name"] == "vault-ca")
    assert mount["readOnly"]
    assert {"name": "VAULT_CACERT", "value": f"{mount['mountPath']}/ca.crt"} in container(pod)["env"]


# --- security -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRIX)
def test_every_pod_is_restricted(name: str) -> None:
    user = MATRIX[name].get("runAsUser", 65532)
    for pod in pods(name):
        spec, one = pod["spec"], container(pod)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        assert spec["enableServiceLinks"] is False
        assert not any("hostPath" in volume for volume in spec["volumes"])
        assert one["resources"]["limits"].keys() == {"memory"}
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    if objects(name, "ServiceAccount"):
        assert the(name, "ServiceAccount")["automountServiceAccountToken"] is False


def test_a_platform_that_chooses_the_user_may() -> None:
    (pod,) = (template(one) for one in render(LEAST | {"runAsUser": None}) if one["kind"] == "Deployment")
    assert pod["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_a_pod_may_talk_to_dns_vault_and_the_provider_and_to_nobody_else() -> None:
    policy = the("deployment", "NetworkPolicy")["spec"]
    assert policy["podSelector"] == {"matchLabels": OWNED}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    dns, vault, provider = policy["egress"]
    assert dns == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert vault == {"ports": [{"protocol": "TCP", "port": 8200}]}
    assert provider["ports"] == [{"protocol": "TCP", "port": 443}]
    four, six = (peer["ipBlock"] for peer in provider["to"])
    assert (four["cidr"], six["cidr"]) == ("0.0.0.0/0", "::/0")
    assert set(four["except"]) == {"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}
    assert set(six["except"]) == {"fc00::/7", "fe80::/10"}
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
    assert the("cronjob", "NetworkPolicy")["spec"]["ingress"] == []


def test_a_network_policy_can_be_narrowed() -> None:
    given = EVERYTHING["networkPolicy"]
    policy = the("deployment, everything", "NetworkPolicy")["spec"]
    for rule, name in zip(policy["egress"], ("dns", "vault", "provider"), strict=True):
        assert rule["to"] == given[name]["to"]
        assert {one["port"] for one in rule["ports"]} == set(given[name]["ports"])
    assert policy["ingress"][0]["from"] == given["metrics"]["from"]


# --- who belongs to whom ----------------------------------------------------------------------------------------------


def _selectors(name: str) -> Iterator[Object]:
    for one in rendered(name):
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            yield spec["selector"]
        elif one["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"):
            yield spec["selector"]["matchLabels"]


@pytest.mark.parametrize("name", DAEMONS)
def test_selectors_find_the_daemons_and_not_the_pod_of_the_check(name: str) -> None:
    labels = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["labels"] for pod in pods(name)}
    daemon, check = labels["daemon"], labels["check"]
    selectors = list(_selectors(name))
    assert len(selectors) >= 3
    for selector in selectors:
        assert selector == DAEMON
        assert selector.items() <= daemon.items()
        assert not selector.items() <= check.items()
    assert OWNED.items() <= check.items()  # the network policy is for it, too


def test_spreading_looks_at_the_pods_of_this_release() -> None:
    for name in ("deployment", "deployment, everything", "statefulset, everything"):
        constraints = template(workload(name))["spec"]["topologySpreadConstraints"]
        given = MATRIX[name].get("topologySpreadConstraints", chart().values["topologySpreadConstraints"])
        assert constraints == [one | {"labelSelector": {"matchLabels": DAEMON}} for one in given]


def test_a_drain_takes_one_pod_at_a_time_and_any_that_is_not_ready() -> None:
    budget = the("deployment", "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert the("deployment, everything", "PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


def test_the_status_page_is_there_while_vault_is_away() -> None:
    assert the("deployment", "Service")["spec"]["publishNotReadyAddresses"] is True
    assert "clusterIP" not in the("deployment", "Service")["spec"]
    assert the("statefulset", "Service")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_of_pods_reaches_them(mode: str) -> None:
    pod = template(workload(f"{mode}, everything"))
    spec, one = pod["spec"], container(pod)
    assert pod["metadata"]["labels"]["cost"] == "7"
    assert pod["metadata"]["annotations"]["note"] == "true"
    for key in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[key] == EVERYTHING[key]
    assert EVERYTHING["env"][0] in one["env"]
    assert one["envFrom"] == EVERYTHING["envFrom"]
    assert EVERYTHING["volumeMounts"][0] in one["volumeMounts"]
    assert EVERYTHING["volumes"][0] in spec["volumes"]
    assert one["image"] == "registry.example.com/team/rotator:1.2.3"
    assert one["imagePullPolicy"] == "Always"
    account = the(f"{mode}, everything", "ServiceAccount")["metadata"]
    assert spec["serviceAccountName"] == account["name"] == "keeper"
    assert account["annotations"] == {"team": "a"}


def test_every_object_says_whose_it_is() -> None:
    for one in (one for name in MATRIX for one in rendered(name)):
        labels = one["metadata"]["labels"]
        assert OWNED.items() <= labels.items()
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == __version__
        assert labels["helm.sh/chart"] == f"rotator-{__version__}"
    assert the("deployment, everything", "Service")["metadata"]["annotations"] == {"a": "b"}


def test_every_pod_says_whose_it_is_and_what_it_does() -> None:
    job = the("cronjob", "CronJob")["spec"]["jobTemplate"]
    assert OWNED.items() <= job["metadata"]["labels"].items()
    for name in MATRIX:
        does, check = ("job" if name.startswith("cronjob") else "daemon"), the(name, "Pod")
        for pod, component in ((template(workload(name)), does), (check, "check")):
            labels = pod["metadata"]["labels"]
            assert (OWNED | {"app.kubernetes.io/component": component}).items() <= labels.items()
            assert labels["helm.sh/chart"] == f"rotator-{__version__}"


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("night", {}, "night-rotator"),
        ("rotator-eu", {}, "rotator-eu"),
        ("night", {"nameOverride": "keys"}, "night-keys"),
        ("night", {"fullnameOverride": "keys"}, "keys"),
        ("n" * 53, {}, "n" * 52),
    ],
)
def test_objects_are_named_after_the_release(release: str, values: Object, name: str) -> None:
    found = render(LEAST | {"mode": "cronjob"} | values, name=release)
    assert {one["metadata"]["name"] for one in found} == {name, f"{name}-check"}
    watched = render(LEAST | MONITORED | values, name=release)
    parts = {(one["kind"], one["metadata"]["name"].removeprefix(name)) for one in watched}
    assert {part for _, part in parts} == {"", "-check", "-dashboard"}
    assert ("ConfigMap", "-dashboard") in parts


def test_helm_test_runs_the_check_of_rotator_once() -> None:
    for mode in MODES:
        pod = the(mode, "Pod")
        assert pod["metadata"]["annotations"] == {
            "helm.sh/hook": "test",
            "helm.sh/hook-delete-policy": "before-hook-creation",
        }
        assert (container(pod)["args"], pod["spec"]["restartPolicy"]) == (["check"], "Never")


# --- monitoring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "endpoints"), [("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")]
)
def test_a_monitor_scrapes_the_metrics_port(kind: str, endpoints: str) -> None:
    one = the("statefulset, monitored", kind)
    given = MONITORED[kind[0].lower() + kind[1:]]
    assert one["apiVersion"] == "monitoring.coreos.com/v1"
    assert one["metadata"]["labels"]["release"] == "prometheus"
    assert one["spec"].keys() == {"selector", endpoints}
    (endpoint,) = one["spec"][endpoints]
    assert endpoint == {
        "port": "metrics",
        "interval": given["interval"],
        "relabelings": [{"targetLabel": "job", "replacement": "night-rotator"}],  # what the alerts go by
    }
    labels = the("statefulset, monitored", "Service")["metadata"]["labels"]
    if kind == "ServiceMonitor":
        assert one["spec"]["selector"] == {"matchLabels": OWNED}
        assert OWNED.items() <= labels.items()


def test_the_rules_and_the_dashboard_are_those_of_the_files() -> None:
    rule = the("deployment, monitored", "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    original = (CHART / "files/rules.yml").read_text()
    assert set(re.findall(r"job=~?[\"'].*?[\"']", original)) == {'job="rotator"'}
    assert rule["spec"] == yaml.safe_load(original.replace('job="rotator"', 'job="night-rotator"'))
    for group in rule["spec"]["groups"]:
        assert group["name"]
        assert all(("alert" in one) != ("record" in one) and one["expr"] for one in group["rules"])
        for one in (one for one in group["rules"] if "alert" in one):
            assert one["labels"]["severity"]
            assert one["annotations"]["summary"]
    assert "absent(up" in json.dumps(rule["spec"])
    dashboard = next(one for one in objects("deployment, monitored", "ConfigMap") if "rotator.json" in one["data"])
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["rotator.json"]) == json.loads((CHART / "files/rotator.json").read_text())


# --- what is refused --------------------------------------------------------------------------------------------------


def _typos(values: Object, schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place of ours where a key could be mistyped."""
    if "properties" in schema:
        yield path
        for key, part in schema["properties"].items():
            yield from _typos(values, part, (*path, key))


def test_a_typo_is_refused_wherever_it_is() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    places = list(_typos(chart().values, schema))
    assert len(places) > 15
    for place in places:
        values: Object = copy.deepcopy(LEAST)
        at = values
        for key in place:
            at = at.setdefault(key, {})
        at["enabledd"] = True
        with pytest.raises(helm_python.HelmError, match="enabledd"):
            render(values)


def test_every_value_of_the_chart_is_in_its_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"].keys() == chart().values.keys() | {"global"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "daemonset"}, "mode"),
        ({"replicas": "2"}, "replicas"),
        ({"replicas": -1}, "replicas"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"vaultToken": {"expirationSeconds": 60}}, "expirationSeconds"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "maxUnavailable"),
        ({"networkPolicy": {"vault": {"ports": []}}}, "ports"),
        ({"config": {"defaults": {"grace": "24 hours"}}}, "grace"),
        ({"config": {"defaults": {"gracee": "24h"}}}, "gracee"),
        ({"config": {"accounts": [{"name": "main", "api_key": "abcd1234"}]}}, "path"),
        ({"config": {"vault": {"auth": {"token": "s.secret"}}}}, "token"),
        ({"config": {"vault": {"auth": {"secret_id": "secret"}}}}, "secret_id"),
        ({"config": {"vault": {"address": "https://v"}}}, "config.accounts is empty"),
        ({"config": {"accounts": ACCOUNTS}}, "config.vault.address is empty"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is empty"),
        ({"vaultCa": {"configMap": "a", "secret": "b"}}, "not both"),
        *(
            ({"mode": "cronjob", one: {"enabled": True}}, f"{one}.enabled: a cronjob has no metrics")
            for one in MONITORED
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_installed(values: Object, message: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(message)):
        render(LEAST | values)


# --- the other files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_notes_name_the_next_commands(mode: str) -> None:
    texts = chart().render(LEAST | {"mode": mode}, name="night", namespace="secrets")
    (notes,) = (text for path, text in texts.items() if path.endswith("NOTES.txt"))
    assert f"rotator {__version__} is installed as {mode} night-rotator." in notes
    assert ("the schedule (*/30 * * * *):" in notes) == (mode == "cronjob")
    assert "helm test night --namespace secrets --logs" in notes
    assert re.findall(r"^([0-9])[.] ", notes, re.MULTILINE) == ["1", "2", "3"]
    assert "rotator adopt NAME" in notes
    if mode == "cronjob":
        assert "create job night-rotator-now --from=cronjob/night-rotator" in notes
    else:
        assert f"kubectl --namespace secrets exec -it {mode}/night-rotator -- rotator adopt NAME\n" in notes
        assert f"port-forward {mode}/night-rotator 9464" in notes


def test_generated_files_are_what_make_manifests_writes() -> None:
    wanted = dict(generated())
    assert len(wanted) >= 4
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path.name} is not up to date: run `make manifests`"


@pytest.mark.parametrize("mode", MODES)
def test_the_plain_manifests_are_whole_without_helm(mode: str, tmp_path: Path) -> None:
    found = list(yaml.safe_load_all((DEPLOY / f"kubernetes/{mode}.yaml").read_text()))
    assert mode in {one["kind"].lower() for one in found}
    assert "helm" not in json.dumps(found).lower()
    assert [error for one in found for error in kubernetes_errors(one, VERSIONS[-1])] == []
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("main").api_key == "abcd1234"


def test_the_values_that_the_page_shows_are_accepted(tmp_path: Path) -> None:
    page = (CHART.parents[2] / "docs/kubernetes.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = render(yaml.safe_load(shown))
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("shop").primary == "main"


@pytest.mark.parametrize("mode", ["deployment", "statefulset"])
def test_service_names_are_allowed_hosts(mode: str, tmp_path: Path) -> None:
    values = LEAST | {"mode": mode, "config": LEAST["config"] | {"daemon": {"allowed_hosts": ["rotator.example.com"]}}}
    found = loaded(next(one for one in render(values) if one["kind"] == "ConfigMap"), tmp_path).daemon.allowed_hosts
    service = "night-rotator.secrets"
    expected = {"night-rotator", service, f"{service}.svc", f"{service}.svc.cluster.local", "rotator.example.com"}
    pods = {f"*.{service}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")}
    assert set(found) == expected | (pods if mode == "statefulset" else set())
