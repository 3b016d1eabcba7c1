"""The daemon's HTTP answers over real sockets: status, metrics, health, and their headers."""

import json
import logging
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from rotator.monitoring import AccountStatus, FleetStatus
from tests.web.harness import (
    CALM,
    EVERYWHERE,
    MANY,
    NOW,
    SHOP,
    Served,
    connect,
    served,
)


def test_status_has_every_field_and_utc_times(server: Served) -> None:
    answer = server.client.get("/api/status")

    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {field.name for field in fields(FleetStatus)}
    assert set(told["accounts"][0]) == {field.name for field in fields(AccountStatus)} - {"phase"} | {
        "state",
        "rotating",
    }
    assert told["at"] == "2026-11-23T18:05:07.250000Z"
    assert told["accounts"][0]["retiring"] == [
        {"id": "id-1", "not_before": "2026-11-24T15:05:07.250000Z", "compromised": False}
    ]
    assert told["accounts"][0]["request"] == {
        "kind": "compromised",
        "by": "ann",
        "at": "2026-11-23T17:58:07.250000Z",
        "id": "5f2c1d9e",
    }
    assert (told["accounts"][0]["state"], told["accounts"][0]["rotating"]) == ("grace_period", False)


def test_known_status_is_304_until_something_changes(server: Served) -> None:
    known = {"If-None-Match": server.client.get("/api/status").headers["etag"]}

    server.status = replace(CALM, at=NOW + timedelta(minutes=1))
    same = server.client.get("/api/status", headers=known)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["date"]

    server.status = replace(CALM, accounts=(replace(SHOP, attempts=1),))
    assert server.client.get("/api/status", headers=known).json()["accounts"][0]["state"] == "failing"


def test_metrics_have_the_requested_format(server: Served) -> None:
    plain = server.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'rotator_account_live_secrets{account="shop"} 2' in plain.text

    asked = server.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families: Iterable[Metric] = parse_openmetrics(asked.text)  # type: ignore[no-untyped-call]
    assert "rotator_ready" in {family.name for family in families}


def test_healthz_answers_without_a_status(server: Served) -> None:
    server.error = RuntimeError("no status")
    assert server.client.get("/healthz").status_code == 200


def test_readyz_gives_the_reason_when_not_ready(server: Served) -> None:
    assert (server.client.get("/readyz").status_code, server.client.get("/readyz").json()["ready"]) == (200, True)
    server.status = replace(CALM, ready=False, not_ready="3 of 7 journals were not read yet")
    answer = server.client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "3 of 7 journals were not read yet")


def test_internal_error_shows_no_details(server: Served) -> None:
    server.error = RuntimeError("hunter2")
    answer = server.client.get("/api/status")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; the log has the traceback"}


def test_unknown_path_is_not_repeated_in_the_answer(server: Served) -> None:
    for path in ("/nowhere<script>", "/metrics/", "/%2e%2e/status.py", "/index.html"):
        answer = server.client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "not found")
        assert "script" not in answer.text


@pytest.mark.parametrize("path", EVERYWHERE[:-1])
def test_head_is_get_without_the_body(server: Served, path: str) -> None:
    get, head = server.client.get(path), server.client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("path", EVERYWHERE)
def test_answers_have_security_headers(server: Served, path: str) -> None:
    headers = server.client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_refusals_and_errors_have_security_headers(server: Served) -> None:
    server.error = RuntimeError()
    for answer in (server.client.post("/"), server.client.get("/readyz")):
        assert answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_invalid_and_valid_requests_log_nothing(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.client.get("/healthz")
    with closing(connect(server.address)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert not [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "asyncio"))]


def test_ten_thousand_accounts_are_served_within_a_second() -> None:
    """Of CPU, the client's share included: what else the machine does is not the page's to answer for."""
    with served(replace(MANY, accounts=MANY.accounts * 50)) as server:
        for path in ("/api/status", "/metrics"):
            begun = time.process_time()
            answer = server.client.get(path)
            assert time.process_time() - begun < 1
            assert answer.status_code == 200
        assert len(json.loads(server.client.get("/api/status").content)["accounts"]) == 10_000
