"""The chart: rendered by Helm itself, held to Kubernetes' schemas and to rotator's own reading of its configuration."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from deploy.render import CHART
from rotator import __version__
from rotator.config import parse_duration
from rotator.fleet import Shard, parse_shard
from tests.deploy.chart import (
    ACCOUNTS,
    CONFIGURED,
    DAEMONS,
    EVERYTHING,
    LEAST,
    MATRIX,
    VERSIONS,
    Object,
    chart,
    container,
    is_core,
    kubernetes_errors,
    loaded,
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
