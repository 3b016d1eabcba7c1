"""The chart: rendered by Helm itself, held to Kubernetes' schemas and to rotator's own reading of its configuration."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from deploy.render import CHART, DEPLOY, MODES
from deploy.render import files as generated
from rotator import __version__
from rotator.config import parse_duration
from rotator.fleet import Shard, parse_shard
from tests.deploy.chart import (
    ACCOUNTS,
    CLAIM,
    CONFIGURED,
    DAEMON,
    DAEMONS,
    EVERYTHING,
    LEAST,
    MATRIX,
    MONITORED,
    OWNED,
    VERSIONS,
    Object,
    chart,
    container,
    is_core,
    kubernetes_errors,
    loaded,
    notes,
    objects,
    pods,
    render,
    rendered,
    settings,
    template,
    the,
    workload,
)

# --- what Helm and Kubernetes say ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(version: str) -> None:
    seen = {}
    for name in MATRIX:
        for one in filter(is_core, rendered(name)):
            seen[json.dumps(one, sort_keys=True)] = one
    assert len(seen) > 20
    assert [error for one in seen.values() for error in kubernetes_errors(one, version)] == []


def test_validation_refuses_unknown_fields() -> None:
    assert VERSIONS[0] == "1.29"
    broken = copy.deepcopy(the("deployment", "Deployment"))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    assert kubernetes_errors(broken, VERSIONS[-1])


@pytest.mark.parametrize("name", MATRIX)
def test_helm_lints_without_warning(name: str) -> None:
    report = helm_python.lint(CHART, MATRIX[name], strict=True, namespace="secrets")
    found = [one for one in report["messages"] if one["severity"] > 1]
    assert (found, report["errors"]) == ([], [])


def test_chart_ignores_files_of_editors_and_git(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(CHART, tmp_path / "rotator"))
    for name in (".gitattributes", ".rules.yml.swp", "rules.yml.tmp"):
        (copied / "files" / name).write_text("half a line")
    (copied / "templates" / "files.yaml").write_text(
        '{{ range $path, $_ := .Files.Glob "**" }}- {{ $path }}\n{{ end }}'
    )
    texts = helm_python.Chart.load(copied).render(LEAST, name="night", namespace="secrets")
    (found,) = (text for path, text in texts.items() if path.endswith("/files.yaml"))
    assert yaml.safe_load(found) == [".helmignore", "README.md", "files/rotator.json", "files/rules.yml"]


def test_objects_of_a_kind_have_different_names() -> None:
    for name in MATRIX:
        names = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
        assert len(names) == len(set(names))


def test_chart_installs_its_own_version() -> None:
    assert chart().metadata["appVersion"] == chart().version == __version__
    assert container(template(workload("deployment")))["image"] == f"rotator:{__version__}"


def test_digest_replaces_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    found = render(LEAST | {"image": {"repository": "registry.example.com/rotator", "tag": "1", "digest": digest}})
    (deployment,) = (one for one in found if one["kind"] == "Deployment")
    assert container(template(deployment))["image"] == f"registry.example.com/rotator@{digest}"


# --- which objects -----------------------------------------------------------------------------------------------


def test_mode_decides_the_kinds_of_objects() -> None:
    common = {"ConfigMap", "ServiceAccount", "NetworkPolicy", "Pod"}
    assert {one["kind"] for one in rendered("cronjob")} == common | {"CronJob"}
    served = common | {"Service", "PodDisruptionBudget"}
    assert {one["kind"] for one in rendered("deployment")} == served | {"Deployment"}
    assert {one["kind"] for one in rendered("statefulset")} == served | {"StatefulSet"}


def test_disabled_objects_are_absent() -> None:
    off = {"enabled": False}
    values = LEAST | {"serviceAccount": {"create": False, "name": "keeper"}}
    values |= dict.fromkeys(("networkPolicy", "podDisruptionBudget", "service"), off)
    found = render(values)
    assert {one["kind"] for one in found} == {"ConfigMap", "Deployment", "Pod"}
    assert {template(one)["spec"]["serviceAccountName"] for one in found if one["kind"] != "ConfigMap"} == {"keeper"}


def test_statefulset_always_has_a_service() -> None:
    found = render(LEAST | {"mode": "statefulset", "service": {"enabled": False}})
    assert "Service" in {one["kind"] for one in found}
    assert the("statefulset", "StatefulSet")["spec"]["serviceName"] == the("statefulset", "Service")["metadata"]["name"]


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")

# --- what runs ------------------------------------------------------------------------------------------------------


def test_mode_decides_the_command() -> None:
    assert container(template(workload("deployment")))["args"] == ["run"]
    assert container(template(workload("cronjob")))["args"] == ["rotate-now", "--due"]
    assert [container(one)["args"] for one in pods("deployment")].count(["check"]) == 1


def test_statefulset_pod_finds_its_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    stateful = the("statefulset, everything", "StatefulSet")
    command, option, shard, *more = container(template(stateful))["args"]
    assert (command, option, more) == ("run", "--shard", EVERYTHING["extraArgs"])
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    for ordinal in range(stateful["spec"]["replicas"]):
        monkeypatch.setenv("HOSTNAME", f"{stateful['metadata']['name']}-{ordinal}")
        assert parse_shard(shard) == Shard(ordinal, 4)


def test_workload_has_the_configured_replicas() -> None:
    assert the("deployment", "Deployment")["spec"]["replicas"] == 1
    assert the("deployment, everything", "Deployment")["spec"]["replicas"] == 4
    assert the("statefulset, everything", "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_rollout_starts_the_new_pod_first() -> None:
    strategy = the("deployment", "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_job_ignores_deferrals_and_fails_at_once_otherwise() -> None:
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


def test_cronjob_has_the_configured_schedule_and_time_zone() -> None:
    assert the("cronjob", "CronJob")["spec"]["schedule"] == "*/30 * * * *"
    assert "timeZone" not in the("cronjob", "CronJob")["spec"]
    given = the("cronjob, everything", "CronJob")["spec"]
    assert (given["schedule"], given["timeZone"]) == ("7 * * * *", "Europe/Berlin")


@pytest.mark.parametrize("name", DAEMONS)
def test_probes_use_the_port_of_the_daemon(name: str, tmp_path: Path) -> None:
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


def test_probes_allow_slow_starts_and_busy_processes() -> None:
    one = container(template(workload("deployment")))
    seconds = {probe: one[probe]["periodSeconds"] * one[probe]["failureThreshold"] for probe in PROBES}
    assert seconds == {"startupProbe": 120, "livenessProbe": 60, "readinessProbe": 20}
    assert all(one[probe]["timeoutSeconds"] <= one[probe]["periodSeconds"] for probe in PROBES)


def test_probes_take_times() -> None:
    one = container(template(workload("deployment, everything")))
    for probe in PROBES:
        times = {name: value for name, value in one[probe].items() if name != "httpGet"}
        assert times == chart().values[probe] | EVERYTHING[probe]


def test_jobs_and_checks_have_no_probes() -> None:
    for pod in pods("cronjob"):
        assert not {"ports", "startupProbe", "livenessProbe", "readinessProbe"} & container(pod).keys()


@pytest.mark.parametrize("name", CONFIGURED)
def test_grace_period_exceeds_the_shutdown_timeout(name: str, tmp_path: Path) -> None:
    shutdown = settings(name, tmp_path).daemon.shutdown_timeout.total_seconds()
    for pod in pods(name):
        assert shutdown + 4 < pod["spec"]["terminationGracePeriodSeconds"] <= shutdown + 6


@pytest.mark.parametrize("timeout", ["90s", "2m", "1h5m", "1d", "1500ms"])
def test_grace_period_follows_each_form_of_duration(timeout: str) -> None:
    found = render({"configToml": f'[daemon]\nshutdown_timeout = "{timeout}"\n'})
    seconds = next(template(one) for one in found if one["kind"] == "Deployment")["spec"][
        "terminationGracePeriodSeconds"
    ]
    assert 5 <= seconds - parse_duration(timeout).total_seconds() < 6


# --- the configuration ----------------------------------------------------------------------------------------------


def test_rotator_reads_the_configured_values(tmp_path: Path) -> None:
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


def test_config_toml_is_not_changed(tmp_path: Path) -> None:
    example = (CHART.parents[2] / "config.example.toml").read_text()
    found = render({"configToml": example})
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert config_map["data"]["config.toml"] == example
    assert loaded(config_map, tmp_path).account("shop").primary == "main"


def test_config_map_is_mounted_as_a_folder() -> None:
    for pod in (pod for name in CONFIGURED for pod in pods(name)):
        mount = next(one for one in container(pod)["volumeMounts"] if one["name"] == "config")
        assert mount == {"name": "config", "mountPath": "/etc/rotator", "readOnly": True}  # a subPath is never updated
        assert next(one for one in pod["spec"]["volumes"] if one["name"] == "config")["configMap"]["name"]


def test_pods_restart_only_for_settings_without_reload() -> None:
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


@pytest.mark.parametrize("name", CONFIGURED)
def test_vault_token_is_mounted_at_jwt_file(name: str, tmp_path: Path) -> None:
    given = MATRIX[name].get("vaultToken", {"audience": "vault", "expirationSeconds": 3600})
    jwt_file = settings(name, tmp_path).vault.auth.jwt_file
    assert jwt_file is not None
    for pod in pods(name):
        (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "vault-token")
        assert volume["projected"]["sources"] == [{"serviceAccountToken": {"path": jwt_file.name} | given}]
        (mount,) = (one for one in container(pod)["volumeMounts"] if one["name"] == "vault-token")
        assert (mount["mountPath"], mount["readOnly"]) == (str(jwt_file.parent), True)


def test_vault_token_is_absent_when_disabled() -> None:
    found = render(LEAST | {"vaultToken": {"enabled": False}})
    (pod,) = (template(one) for one in found if one["kind"] == "Deployment")
    assert [one["name"] for one in pod["spec"]["volumes"]] == ["config"]
    assert [one["name"] for one in container(pod)["volumeMounts"]] == ["config"]


@pytest.mark.parametrize(
    ("kind", "source"), [("configMap", {"configMap": {"name": "ca"}}), ("secret", {"secret": {"secretName": "ca"}})]
)
def test_vault_ca_comes_from_either_source(kind: str, source: Object) -> None:
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
def test_pods_are_restricted(name: str) -> None:
    given = MATRIX[name]
    for pod in pods(name):
        spec, one = pod["spec"], container(pod)
        assert spec["automountServiceAccountToken"] is False
        restricted = {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert spec["securityContext"] == restricted | given.get("podSecurityContext", {})
        restricted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["securityContext"] == restricted | given.get("securityContext", {})
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        assert spec["enableServiceLinks"] is False
        assert not any("hostPath" in volume for volume in spec["volumes"])
        assert one["resources"]["limits"] == given.get("resources", chart().values["resources"])["limits"]
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    if objects(name, "ServiceAccount"):
        assert the(name, "ServiceAccount")["automountServiceAccountToken"] is False


def test_platform_can_choose_the_user() -> None:
    """OpenShift gives each namespace a range of users and refuses others."""
    values = LEAST | {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    for pod in (template(one) for one in render(values) if one["kind"] in ("Deployment", "Pod")):
        assert pod["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert "runAsUser" not in container(pod)["securityContext"]


def test_network_policy_allows_dns_vault_and_provider() -> None:
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


def test_network_policy_takes_peers_ports_and_rules() -> None:
    given = EVERYTHING["networkPolicy"]
    policy = the("deployment, everything", "NetworkPolicy")["spec"]
    assert policy["egress"][3:] == given["extraEgress"]
    assert policy["ingress"][1:] == given["extraIngress"]
    assert the("cronjob, everything", "NetworkPolicy")["spec"]["ingress"] == given["extraIngress"]
    for rule, name in zip(policy["egress"][:3], ("dns", "vault", "provider"), strict=True):
        assert rule["to"] == given[name]["to"]
        assert {one["port"] for one in rule["ports"]} == set(given[name]["ports"])
    assert policy["ingress"][0]["from"] == given["metrics"]["from"]


# --- who belongs to whom ----------------------------------------------------------------------------------------------


def _selectors(name: str) -> Iterator[Object]:
    for one in rendered(name):
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            yield spec["selector"]
        elif one["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor", "ServiceMonitor"):
            yield spec["selector"]["matchLabels"]


@pytest.mark.parametrize("name", DAEMONS)
def test_selectors_match_daemons_only(name: str) -> None:
    labels = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["labels"] for pod in pods(name)}
    daemon, check = labels["daemon"], labels["check"]
    selectors = list(_selectors(name))
    assert len(selectors) >= 3
    for selector in selectors:
        assert selector == DAEMON
        assert selector.items() <= daemon.items()
        assert not selector.items() <= check.items()
    assert OWNED.items() <= check.items()  # the network policy is for it, too


def test_spread_constraints_select_pods_of_the_release() -> None:
    for name in ("deployment", "deployment, everything", "statefulset, everything"):
        constraints = template(workload(name))["spec"]["topologySpreadConstraints"]
        given = MATRIX[name].get("topologySpreadConstraints", chart().values["topologySpreadConstraints"])
        assert constraints == [{"labelSelector": {"matchLabels": DAEMON}} | one for one in given]


def test_disruption_budget_protects_ready_pods_only() -> None:
    budget = the("deployment", "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert the("deployment, everything", "PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


def test_service_publishes_pods_that_are_not_ready() -> None:
    assert the("deployment", "Service")["spec"]["publishNotReadyAddresses"] is True
    assert "clusterIP" not in the("deployment", "Service")["spec"]
    assert the("statefulset", "Service")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("mode", MODES)
def test_pod_values_reach_every_workload(mode: str) -> None:
    pod = template(workload(f"{mode}, everything"))
    spec, one = pod["spec"], container(pod)
    assert pod["metadata"]["labels"]["cost"] == "7"
    assert pod["metadata"]["annotations"]["note"] == "true"
    for key in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[key] == EVERYTHING[key]
    assert EVERYTHING["extraEnv"][0] in one["env"]
    assert one["envFrom"] == EVERYTHING["extraEnvFrom"]
    assert EVERYTHING["extraVolumeMounts"][0] in one["volumeMounts"]
    assert EVERYTHING["extraVolumes"][0] in spec["volumes"]
    assert spec["containers"][1:] == EVERYTHING["extraContainers"]
    assert spec["initContainers"] == EVERYTHING["extraInitContainers"]
    assert one["args"][-2:] == EVERYTHING["extraArgs"]
    assert one["image"] == "registry.example.com/team/rotator:1.2.3"
    assert one["imagePullPolicy"] == "Always"
    account = the(f"{mode}, everything", "ServiceAccount")["metadata"]
    assert spec["serviceAccountName"] == account["name"] == "keeper"


def test_check_pod_has_no_extra_containers() -> None:
    """`helm test` waits until every container has ended."""
    pod = the("deployment, everything", "Pod")
    assert pod["spec"]["containers"] == [container(pod)]
    assert pod["spec"]["initContainers"] == EVERYTHING["extraInitContainers"]
    assert container(pod)["args"] == ["check"]


@pytest.mark.parametrize("name", MATRIX)
def test_each_mount_has_a_volume(name: str) -> None:
    for pod in pods(name):
        claims = workload(name)["spec"].get("volumeClaimTemplates", []) if "kind" not in pod else []
        volumes = {one["name"] for one in pod["spec"]["volumes"]} | {one["metadata"]["name"] for one in claims}
        assert {one["name"] for one in container(pod)["volumeMounts"]} <= volumes


def test_statefulset_claims_a_volume_for_each_pod() -> None:
    assert the("statefulset, claimed", "StatefulSet")["spec"]["volumeClaimTemplates"] == [CLAIM]
    check = the("statefulset, claimed", "Pod")
    assert {"name": "audit", "emptyDir": {}} in check["spec"]["volumes"]


def test_update_strategies_replace_the_default() -> None:
    assert the("deployment, everything", "Deployment")["spec"]["strategy"] == EVERYTHING["strategy"]
    assert the("statefulset, everything", "StatefulSet")["spec"]["updateStrategy"] == EVERYTHING["updateStrategy"]
    assert "updateStrategy" not in the("statefulset", "StatefulSet")["spec"]


@pytest.mark.parametrize(("mode", "kind"), [("deployment", "Deployment"), ("statefulset", "StatefulSet")])
def test_workload_keeps_the_configured_revisions(mode: str, kind: str) -> None:
    assert the(mode, kind)["spec"]["revisionHistoryLimit"] == 10
    assert the(f"{mode}, everything", kind)["spec"]["revisionHistoryLimit"] == 3


def test_service_has_the_configured_ip_families() -> None:
    spec = the("deployment, everything", "Service")["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("PreferDualStack", ["IPv6", "IPv4"])
    assert not {"ipFamilyPolicy", "ipFamilies"} & the("deployment", "Service")["spec"].keys()


def test_extra_objects_are_templates() -> None:
    assert {one["metadata"]["name"] for one in objects("deployment, everything", "Secret")} == {
        "night-rotator-more",
        "night-text",
    }


def owned(name: str) -> list[Object]:
    """Every object but those of extraObjects."""
    return [one for one in rendered(name) if one["kind"] != "Secret"]


def test_objects_have_the_labels_of_the_release() -> None:
    for one in (one for name in MATRIX for one in owned(name)):
        labels = one["metadata"]["labels"]
        assert OWNED.items() <= labels.items()
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == __version__
        assert labels["helm.sh/chart"] == f"rotator-{__version__}"


PARTS = {
    "Deployment": ("workload", "workload"),
    "StatefulSet": ("workload", "workload"),
    "CronJob": ("workload", "workload"),
    "ConfigMap": ("config", "config"),
    "ServiceAccount": ("account", "account"),
    "Service": ("service", "service"),
    "NetworkPolicy": ("policy", "policy"),
    "PodDisruptionBudget": ("budget", "budget"),
}


@pytest.mark.parametrize("mode", MODES)
def test_labels_and_annotations_reach_every_object(mode: str) -> None:
    for one in owned(f"{mode}, everything"):
        metadata = one["metadata"]
        assert metadata["labels"]["team"] == "night"
        assert metadata["annotations"]["contact"] == "sre"
        if one["kind"] in PARTS:
            assert (metadata["labels"]["tier"], metadata["annotations"]["note"]) == PARTS[one["kind"]]
    for pod in pods(f"{mode}, everything"):
        assert pod["metadata"]["labels"]["team"] == "night"


def test_release_name_of_digits_stays_text() -> None:
    """YAML would read it as a number, which no label can be."""
    found = render(LEAST | MONITORED, name="123")
    assert {one["metadata"]["labels"]["app.kubernetes.io/instance"] for one in found} == {"123"}
    assert [error for one in filter(is_core, found) for error in kubernetes_errors(one, VERSIONS[-1])] == []


def test_pods_have_the_labels_of_their_component() -> None:
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


def test_helm_test_runs_check() -> None:
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
def test_monitors_scrape_the_metrics_port(kind: str, endpoints: str) -> None:
    one = the("statefulset, monitored", kind)
    given = MONITORED[kind[0].lower() + kind[1:]]
    assert one["apiVersion"] == "monitoring.coreos.com/v1"
    metadata = one["metadata"]
    assert metadata["labels"]["release"] == "prometheus"
    assert metadata.get("namespace") == given.get("namespace")
    assert metadata["annotations"].get("note") == given.get("annotations", {}).get("note")
    assert one["spec"].keys() == {"namespaceSelector", "selector", endpoints}
    assert one["spec"]["namespaceSelector"] == {"matchNames": ["secrets"]}
    (endpoint,) = one["spec"][endpoints]
    job = {"targetLabel": "job", "replacement": "night-rotator"}  # the alerts select by it
    expected = {"port": "metrics", "relabelings": [job, *given.get("relabelings", [])]}
    assert endpoint == expected | {
        key: given[key] for key in ("interval", "scrapeTimeout", "metricRelabelings") if key in given
    }
    labels = the("statefulset, monitored", "Service")["metadata"]["labels"]
    if kind == "ServiceMonitor":
        assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_rules_and_dashboard_equal_the_files() -> None:
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
    assert (dashboard["metadata"]["namespace"], dashboard["metadata"]["annotations"]) == (
        "grafana",
        {"note": "dashboard"},
    )
    assert rule["metadata"]["annotations"] == {"note": "rules"}
    assert json.loads(dashboard["data"]["rotator.json"]) == json.loads((CHART / "files/rotator.json").read_text())


# --- what is refused --------------------------------------------------------------------------------------------------


def _typos(values: Object, schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place of ours where a key could be mistyped."""
    if "properties" in schema:
        yield path
        for key, part in schema["properties"].items():
            yield from _typos(values, part, (*path, key))


def test_unknown_keys_are_refused_at_every_place() -> None:
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


def test_schema_has_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = {name for name, one in schema["properties"].items() if "const" not in one}
    assert values == chart().values.keys() | {"global"}


def test_matrix_sets_every_value() -> None:
    """Each value is rendered and validated with something else than its default."""
    set_somewhere = {name for values in MATRIX.values() for name in values}
    elsewhere = {"configToml", "nameOverride", "fullnameOverride"}  # each has a test of its own
    assert set_somewhere | elsewhere == chart().values.keys()


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"replicas": 2}, "the name of this value is replicaCount"),
        ({"env": []}, "the name of this value is extraEnv"),
        ({"volumes": []}, "the name of this value is extraVolumes"),
        ({"runAsUser": None, "containerSecurityContext": {}}, "the name of this value is securityContext"),
        ({"runAsUser": 5}, "the name of this value is podSecurityContext.runAsUser"),
        ({"replicaCuont": 2}, "'replicaCount'"),
        ({"image": {"pullpolicy": "Always"}}, "'pullPolicy'"),
    ],
)
def test_errors_name_the_right_value(values: Object, hint: str) -> None:
    with pytest.raises(helm_python.HelmError) as caught:
        render(LEAST | values)
    assert hint in str(caught.value)


def _documented(values: Object, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield f"{path}{key}", value
        if isinstance(value, dict) and path.count(".") == 0:
            yield from _documented(value, f"{path}{key}.")


def test_readme_explains_every_value() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \| \S", (CHART / "README.md").read_text(), re.MULTILINE))
    for place, _ in _documented(chart().values):
        parent = place.rpartition(".")[0]
        children = any(row.startswith(f"{place}.") for row in rows)
        whole = parent in rows and not any(row.startswith(f"{parent}.") for row in rows)
        assert place in rows or children or whole, f"values.yaml has no comment above {place}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "daemonset"}, "mode"),
        ({"replicaCount": "2"}, "replicaCount"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"livenessProbe": {"exec": {}}}, "exec"),
        ({"service": {"ipFamilies": ["IPv5"]}}, "ipFamilies"),
        ({"volumeClaimTemplates": [{"metadata": {"name": "x"}}]}, "spec"),
        ({"volumeClaimTemplates": [CLAIM]}, "only mode statefulset has them"),
        ({"existingConfigMap": "ours"}, "remove configToml and config.accounts"),
        ({"existingConfigMap": "ours", "config": {"accounts": []}, "configToml": "x=1"}, "remove configToml"),
        ({"configToml": "x ="}, "configToml is not valid TOML"),
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
def test_impossible_values_are_refused(values: Object, message: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(message)):
        render(LEAST | values)


# --- the other files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_notes_begin_with_the_next_commands(mode: str) -> None:
    shown = notes(mode)
    assert f"rotator {__version__} is installed as {mode} night-rotator." in shown
    commands = re.findall(r"(?m)^     (\S.*)$", shown)
    if mode == "cronjob":
        assert commands == [
            "helm test night --namespace secrets --logs",
            "helm upgrade night CHART --namespace secrets --reuse-values --set mode=deployment",
            "kubectl --namespace secrets exec -it deployment/night-rotator -- rotator adopt NAME",
            "helm upgrade night CHART --namespace secrets --reuse-values --set mode=cronjob",
            "kubectl --namespace secrets create job night-rotator-now --from=cronjob/night-rotator",
            "kubectl --namespace secrets logs --follow job/night-rotator-now",
        ]
        assert "*/30 * * * *" in shown
    else:
        kubectl = "kubectl --namespace secrets"
        assert commands == [
            f"{kubectl} exec {mode}/night-rotator -- rotator check",
            f"{kubectl} exec -it {mode}/night-rotator -- rotator adopt NAME",
            f"{kubectl} exec {mode}/night-rotator -- rotator status",
            f"{kubectl} port-forward {mode}/night-rotator 9464",
        ]


def test_generated_files_are_up_to_date() -> None:
    wanted = dict(generated())
    assert len(wanted) >= 4
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path.name} is not up to date: run `make manifests`"


@pytest.mark.parametrize("mode", MODES)
def test_plain_manifests_need_no_helm(mode: str, tmp_path: Path) -> None:
    found = list(yaml.safe_load_all((DEPLOY / f"kubernetes/{mode}.yaml").read_text()))
    assert mode in {one["kind"].lower() for one in found}
    assert "helm" not in json.dumps(found).lower()
    assert [error for one in found for error in kubernetes_errors(one, VERSIONS[-1])] == []
    (config_map,) = (one for one in found if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("main").api_key == "abcd1234"


def test_values_of_the_page_are_accepted(tmp_path: Path) -> None:
    page = (CHART.parents[2] / "docs/kubernetes.md").read_text()
    first, audit = (yaml.safe_load(shown) for shown in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    (config_map,) = (one for one in render(first) if one["kind"] == "ConfigMap")
    assert loaded(config_map, tmp_path).account("shop").primary == "main"
    found = {one["kind"]: one for one in render(audit | {"config": LEAST["config"] | audit["config"]})}
    file = loaded(found["ConfigMap"], tmp_path).audit.file
    pod = template(found["StatefulSet"])
    (mount,) = (one for one in container(pod)["volumeMounts"] if one["name"] == "audit")
    assert file is not None
    assert str(file.parent) == mount["mountPath"]
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsUser"]
    (claim,) = found["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == mount["name"]


def variables(one: Object, namespace: str = "secrets") -> dict[str, str]:
    """The variables of rotator's container with a value, as the kubelet would expand them."""
    found = (var for var in container(template(one))["env"] if "value" in var)
    return {var["name"]: var["value"].replace("$(POD_NAMESPACE)", namespace) for var in found}


OWN_HOSTS = 'allowed_hosts = ["rotator.example.com"]\n'
SOURCES: dict[str, Object] = {
    "config": {"config": LEAST["config"] | {"daemon": {"allowed_hosts": ["rotator.example.com"]}}},
    "text": {"configToml": f'vault.address = "https://v"\nvault.auth.method = "none"\n[daemon]\n{OWN_HOSTS}'},
    "existing": {"existingConfigMap": "ours"},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("mode", ["deployment", "statefulset"])
def test_service_names_are_known_hosts(mode: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the operator's own names, from each source of the configuration."""
    found = render(SOURCES[source] | {"mode": mode})
    maps = [one for one in found if one["kind"] == "ConfigMap"] or [
        {"data": {"config.toml": SOURCES["text"]["configToml"]}}
    ]
    account = '\n[[accounts]]\nname = "main"\napi_key = "abcd1234"\npath = "nexmo/main"\n'
    if "[[accounts]]" not in maps[0]["data"]["config.toml"]:
        maps[0]["data"]["config.toml"] += account
    (daemon,) = (one for one in found if one["kind"] in ("Deployment", "StatefulSet"))
    for name, value in variables(daemon).items():
        monkeypatch.setenv(name, value)
    service = "night-rotator.secrets"
    expected = {"night-rotator", service, f"{service}.svc", f"{service}.svc.cluster.local", "rotator.example.com"}
    pod_names = {f"*.{service}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")}
    known = loaded(maps[0], tmp_path).daemon.known_hosts
    assert set(known) == expected | (pod_names if mode == "statefulset" else set())


def test_service_names_have_the_domain_of_the_cluster() -> None:
    names = json.loads(variables(workload("deployment, everything"))["ROTATOR_DAEMON__SERVICE_NAMES"])
    assert "night-rotator.secrets.svc.example.internal" in names
    namespace = next(
        one for one in container(template(workload("deployment")))["env"] if one["name"] == "POD_NAMESPACE"
    )
    assert namespace["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_existing_config_map_fits_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart cannot read its port and its timeout: variables override them with those of the pod."""
    assert not objects("deployment, existing", "ConfigMap")
    one = workload("deployment, existing")
    for pod in pods("deployment, existing"):
        assert pod["spec"]["volumes"][0] == {"name": "config", "configMap": {"name": "ours"}}
    for name, value in variables(one).items():
        monkeypatch.setenv(name, value)
    text = the("deployment, everything", "ConfigMap")["data"]["config.toml"]
    monkeypatch.delenv("VAULT_CACERT")
    daemon = loaded({"data": {"config.toml": text}}, tmp_path).daemon
    assert container(template(one))["ports"][0]["containerPort"] == int(daemon.listen.rpartition(":")[2])
    assert template(one)["spec"]["terminationGracePeriodSeconds"] == daemon.shutdown_timeout.total_seconds() + 5
