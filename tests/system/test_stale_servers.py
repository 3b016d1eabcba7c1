"""Servers of one Vault that are not of one age, behind one address: real processes read through a proxy."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.system.harness import ClusterAccount, assert_ok

JOURNAL, PUBLISHED = "/data/rotator/journal/main", "/data/apps/main"


@dataclass
class Balancer:
    """Sends every second read of a document to a server that has the version before."""

    document: str
    reads: int = 0

    def answer(self, call: Call, answer: Answer) -> Action | Answer:
        if call.method != "GET" or not call.path.endswith(self.document) or answer.status != 200:
            return FORWARD
        self.reads += 1
        body = json.loads(answer.body)
        metadata = body["data"]["metadata"]
        if self.reads % 2 or metadata["version"] == 1:
            return FORWARD
        metadata["version"] -= 1
        return Answer(answer.status, json.dumps(body).encode(), answer.headers)


def rotate(shop: ClusterAccount, answer: Callable[[Call, Answer], Action | Answer], *options: str) -> tuple[int, str]:
    with FaultProxy(shop.cluster.bao.address, on_response=answer).running() as proxy, shop.consumer():
        finished = shop.rotate(*options, env={"ROTATOR_VAULT__ADDRESS": proxy.address})
    return finished.code, finished.out + finished.err


@pytest.mark.parametrize("document", [JOURNAL, PUBLISHED])
def test_stale_server_beside_current_server_only_delays_run(shop: ClusterAccount, document: str) -> None:
    """The lease of a killed run is there: the wait for it goes on to its end."""
    assert_ok(shop.rotate())
    until = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    journal = shop.journal | {"holder": "killed/1/x", "lease_until": until}
    shop.cluster.put("rotator/journal/main", journal)
    before = shop.published
    code, said = rotate(shop, Balancer(document).answer, "--force", "--wait", "30s")
    assert code == 0, said
    assert shop.published != before


def test_stale_read_back_leaves_the_write_certain(shop: ClusterAccount) -> None:
    """Vault acknowledged the new version, and a cache returns the one before."""
    remembered: list[Answer] = []
    written: list[Call] = []

    def answer(call: Call, answer: Answer) -> Action | Answer:
        if not call.path.endswith(PUBLISHED):
            return FORWARD
        if call.method == "POST":
            written.append(call)
        elif written:
            return remembered[-1]
        else:
            remembered.append(answer)
        return FORWARD

    before = shop.published
    code, said = rotate(shop, answer)
    assert code == 1, said
    assert shop.published != before
    assert "Vault returns an older version of apps/main" in said
    assert "Nothing was revoked, and the new secret is published" in said
    assert "is not known" not in said
    assert_ok(shop.rotate("--due"))
