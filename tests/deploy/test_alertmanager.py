"""The routing of alerts, by amtool and by a real Alertmanager: deploy/prometheus/alertmanager.yml."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from testkit.cluster import PATIENCE, eventually
from testkit.monitoring import MONITORING, SCRAPING, Rule, rules
from tests.monitoring.test_metrics import free_port

ROUTING = SCRAPING.with_name("alertmanager.yml")
RECEIVERS = {"page": "on-call", "ticket": "tickets"}


def amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in amtool("check-config", str(ROUTING))


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule.name)
def test_alert_reaches_its_receiver(rule: Rule) -> None:
    severity = rule.labels["severity"]
    verify = f"--verify.receivers={RECEIVERS[severity]}"
    labels = (f"alertname={rule.name}", f"severity={severity}", "job=rotator", "account=shop")
    assert RECEIVERS[severity] in amtool("config", "routes", "test", f"--config.file={ROUTING}", verify, *labels)


def test_documentation_shows_the_tested_file() -> None:
    text = MONITORING.read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert example == ROUTING.read_text(encoding="utf-8")


class Webhooks:
    """Receives notifications: the alerts' names, by receiver."""

    def __init__(self) -> None:
        self.received: dict[str, set[str]] = {"on-call": set(), "tickets": set()}

    @contextmanager
    def listening(self) -> Iterator[int]:
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received[told["receiver"]] |= {alert["labels"]["alertname"] for alert in told["alerts"]}
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()


def test_real_alertmanager_routes_and_inhibits(tmp_path: Path) -> None:
    hooks = Webhooks()
    with hooks.listening() as hook:
        quick = ROUTING.read_text(encoding="utf-8").replace("route:\n", "route:\n  group_wait: 1s\n", 1)
        config = tmp_path / "alertmanager.yml"
        config.write_text(re.sub(r"http://\w+:8080/", f"http://127.0.0.1:{hook}/", quick))
        port = free_port()
        command = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: is_ready(port))
                post(port, "RotatorNotReady", "page")
                eventually(lambda: hooks.received["on-call"] == {"RotatorNotReady"})
                post(port, "RotatorAccountOverdue", "ticket", account="shop")  # its consequence
                post(port, "RotatorLowBalance", "ticket", account="shop")
                eventually(lambda: hooks.received["tickets"] != set())
            finally:
                process.terminate()
    assert hooks.received == {"on-call": {"RotatorNotReady"}, "tickets": {"RotatorLowBalance"}}


def is_ready(port: int) -> bool:
    try:
        return (
            httpx.get(f"http://127.0.0.1:{port}/-/ready", trust_env=False, timeout=PATIENCE).status_code
            == httpx.codes.OK
        )
    except httpx.TransportError:
        return False


def post(port: int, name: str, severity: str, **labels: str) -> None:
    alert = {"labels": {"alertname": name, "severity": severity, "job": "rotator"} | labels}
    answer = httpx.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=[alert], trust_env=False, timeout=PATIENCE)
    assert answer.status_code == httpx.codes.OK, answer.text
