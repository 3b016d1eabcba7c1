"""The provider's support asks for the id of a request: each log line about an answer of the provider contains it."""

import json
from typing import Any

from rotator.emulator import Emulator, Revision, running
from testkit.cluster import Cluster
from tests.system.harness import ClusterAccount


def test_lines_about_provider_contain_request_ids(cluster: Cluster) -> None:
    """F3: the id of the request that created a secret was in no line."""
    emulator = Emulator([], revision=Revision.V1_0_4)
    with running(emulator) as url:
        cluster.emulator, cluster.api_url = emulator, url
        account = ClusterAccount(cluster).open()
        account.configure()
        account.adopted()
        emulator.faults.add("list:503:1")
        finished = account.run("-vv", "rotate-now", account.name, "--compromised")
    assert finished.code == 0, finished
    lines: list[dict[str, Any]] = [json.loads(line) for line in finished.err.splitlines()]
    provider = url.partition("//")[2]
    answered = {
        (line["method"], line["status"]): line.get("request_id")
        for line in lines
        if line["event"] == "http.request" and line["server"] == provider
    }
    assert set(answered) >= {("GET", 503), ("GET", 200), ("POST", 201), ("DELETE", 204)}
    assert all(answered.values())
    (created,) = (line for line in lines if line["event"] == "rotation.created")
    (revoked,) = (line for line in lines if line["event"] == "rotation.revoked")
    assert (created["request_id"], revoked["request_id"]) == (answered["POST", 201], answered["DELETE", 204])
