"""The chart, rendered by Helm itself with every kind of values, and Kubernetes' schemas to hold its objects to."""

import json
import re
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from deploy.render import CHART, MODES
from rotator.config import Settings, load

Object = dict[str, Any]

ACCOUNTS = [
    {"name": "main", "api_key": "abcd1234", "path": "nexmo/main"},
    {"name": "shop", "api_key": "ef567890", "path": "nexmo/shop", "primary": "main", "every": "7d", "max_age": "9d",
     "fields": {"api_secret": "NEXMO_API_SECRET"}},
]  # fmt: skip
LEAST: Object = {"config": {"vault": {"address": "https://vault.example.com:8200"}, "accounts": ACCOUNTS}}
EVERYTHING: Object = {
    "replicaCount": 4,
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
        "audit": {"file": "/var/log/rotator/audit.jsonl"},
    },
    "image": {"repository": "registry.example.com/team/rotator", "tag": "1.2.3", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "clusterDomain": "example.internal",
    "commonLabels": {"team": "night", "app.kubernetes.io/instance": "other"},
    "commonAnnotations": {"contact": "sre"},
    "workloadLabels": {"tier": "workload"},
    "workloadAnnotations": {"note": "workload"},
    "configMapLabels": {"tier": "config"},
    "configMapAnnotations": {"note": "config"},
    "podLabels": {"cost": "7", "app.kubernetes.io/component": "other"},
    "podAnnotations": {"note": "true"},
    "serviceAccount": {"name": "keeper", "labels": {"tier": "account"}, "annotations": {"note": "account"}},
    "vaultToken": {"audience": "https://vault.example.com", "expirationSeconds": 7200},
    "vaultCa": {"configMap": "company-ca", "key": "root.pem"},
    "cronjob": {"schedule": "7 * * * *", "timeZone": "Europe/Berlin"},
    "strategy": {"type": "Recreate"},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    "revisionHistoryLimit": 3,
    "podSecurityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10002},
    "securityContext": {"runAsUser": 10003},
    "resources": {"limits": {"memory": "512Mi"}},
    "startupProbe": {"initialDelaySeconds": 3, "failureThreshold": 90},
    "livenessProbe": {"periodSeconds": 20, "timeoutSeconds": 7},
    "readinessProbe": {"failureThreshold": 4, "successThreshold": 2},
    "podDisruptionBudget": {"maxUnavailable": "25%", "labels": {"tier": "budget"}, "annotations": {"note": "budget"}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
        {
            "maxSkew": 2,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"team": "night"}},
        },
    ],
    "networkPolicy": {
        "dns": {"to": [{"namespaceSelector": {"matchLabels": {"dns": "yes"}}}], "ports": [53, 5353]},
        "vault": {"to": [{"podSelector": {"matchLabels": {"app": "vault"}}}], "ports": [8200, 8201]},
        "provider": {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [3128]},
        "metrics": {"from": [{"namespaceSelector": {"matchLabels": {"monitoring": "yes"}}}]},
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 4318}]}],
        "extraIngress": [{"ports": [{"protocol": "TCP", "port": 8080}]}],
        "labels": {"tier": "policy"},
        "annotations": {"note": "policy"},
    },
    "service": {
        "labels": {"tier": "service"},
        "annotations": {"note": "service"},
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv6", "IPv4"],
    },
    "extraArgs": ["--config", "/etc/rotator/config.toml"],
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "proxy-ca", "configMap": {"name": "proxy-ca"}}],
    "extraVolumeMounts": [{"name": "proxy-ca", "mountPath": "/etc/proxy-ca", "readOnly": True}],
    "extraContainers": [{"name": "shipper", "image": "shipper:1"}],
    "extraInitContainers": [{"name": "prepare", "image": "prepare:1", "restartPolicy": "Always"}],
    "extraObjects": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": '{{ include "rotator.fullname" . }}-more'}},
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}-text\n",
    ],
}
CLAIM: Object = {
    "metadata": {"name": "audit"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
CLAIMED: Object = {
    "volumeClaimTemplates": [CLAIM],
    "extraVolumeMounts": [{"name": "audit", "mountPath": "/var/log/rotator"}],
}
MONITORED: Object = {
    "serviceMonitor": {
        "enabled": True,
        "namespace": "monitoring",
        "interval": "15s",
        "scrapeTimeout": "10s",
        "labels": {"release": "prometheus"},
        "annotations": {"note": "service monitor"},
        "relabelings": [{"targetLabel": "cluster", "replacement": "eu"}],
        "metricRelabelings": [{"action": "labeldrop", "regex": "pod"}],
    },
    "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "annotations": {"note": "rules"}},
    "dashboard": {"enabled": True, "namespace": "grafana", "annotations": {"note": "dashboard"}},
}
MATRIX = {
    **{mode: LEAST | {"mode": mode} for mode in MODES},
    **{f"{mode}, everything": EVERYTHING | {"mode": mode} for mode in MODES},
    "deployment, monitored": LEAST | MONITORED | {"mode": "deployment"},
    "statefulset, claimed": EVERYTHING | CLAIMED | {"mode": "statefulset"},
    "deployment, existing": {"mode": "deployment", "existingConfigMap": "ours", "vaultCa": {"secret": "ca"}},
    "statefulset, monitored": EVERYTHING | MONITORED | {"mode": "statefulset"},
}
# Those whose configuration the chart itself writes.
CONFIGURED = [name for name in MATRIX if not name.endswith("existing")]
DAEMONS = [name for name in CONFIGURED if not name.startswith("cronjob")]
OWNED = {"app.kubernetes.io/name": "rotator", "app.kubernetes.io/instance": "night"}
DAEMON = OWNED | {"app.kubernetes.io/component": "daemon"}


@cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: Object, name: str = "night") -> list[Object]:
    """Every object, as a cluster would get it."""
    texts = chart().render(values, name=name, namespace="secrets")
    return [one for path, text in texts.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


def notes(mode: str, name: str = "night") -> str:
    """The text that `helm install` ends with."""
    texts = chart().render(LEAST | {"mode": mode}, name=name, namespace="secrets")
    (found,) = (text for path, text in texts.items() if path.endswith("NOTES.txt"))
    return found


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
    """rotator's own container, which is the first."""
    found: Object = pod["spec"]["containers"][0]
    assert found["name"] == "rotator"
    return found


def settings(name: str, folder: Path) -> Settings:
    """The ConfigMap as rotator reads it."""
    return loaded(next(one for one in objects(name, "ConfigMap") if "config.toml" in one["data"]), folder)


def loaded(config_map: Object, folder: Path) -> Settings:
    file = folder / "config.toml"
    file.write_text(config_map["data"]["config.toml"])
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("VAULT_ADDR", "BAO_ADDR", "VAULT_TOKEN", "BAO_TOKEN", "VAULT_CACERT", "BAO_CACERT"):
            patch.delenv(variable, raising=False)
        return load(file)


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
