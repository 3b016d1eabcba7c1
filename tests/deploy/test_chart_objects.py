"""Each object of the chart: security, labels, selectors, and the values that reach it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.render import CHART, MODES
from rotator import __version__
from tests.deploy.chart import (
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
    objects,
    pods,
    render,
    rendered,
    settings,
    template,
    the,
    workload,
)

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
