"""The commands as people and scripts meet them: exit codes, one clear line a mistake, tables that fit, JSON."""

import importlib.metadata
import json
import logging
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import trustme
import typer.main
from pydantic import SecretStr

from rotator.cli.app import app, main
from rotator.core.generator import Recipe, generate
from rotator.demo import running_openbao
from rotator.emulator import Account, Operation, running
from tests.support import PATIENCE, Cluster, Finished, Process, Tape, eventually, proxied

CHANGING = (Operation.CREATE, Operation.REVOKE)
STANZA = re.compile(r'path "[^"]+" \{ capabilities = \[[^\]]*\] \}')


@dataclass
class Payments:
    """The usual account: `payments`, whose secret is published and which rotator does not know yet."""

    cluster: Cluster
    first: SecretStr
    name: str = "payments"
    api_key: str = "abcd1234"
    path: str = "apps/payments"

    @property
    def live(self) -> list[str]:
        """The ids of its live secrets, oldest first."""
        return list(self.cluster.emulator.live(self.api_key))

    def entry(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "api_key": self.api_key, "path": self.path} | more

    def assert_adopted(self) -> None:
        """The brought secret is published. Its id is not, before several lists have shown it."""
        document, current = self.cluster.document(self.path), self.cluster.journal(self.name)["current_id"]
        assert document["api_secret"] == self.first.get_secret_value()
        assert document["secret_id"] is None
        assert (current["id"], current["learned"]) == (self.live[0], "pending")

    def identify(self) -> None:
        """Run until the id of the published secret is certain."""

        def certain() -> bool:
            finished = self.cluster.run("rotate-now", self.name, "--due")
            assert finished.code == 0, finished
            return bool(self.cluster.document(self.path)["secret_id"])

        eventually(certain, what=lambda: self.cluster.journal(self.name))

    def assert_works(self) -> None:
        """The published secret is live, under the id that is published with it."""
        document = self.cluster.document(self.path)
        live = self.cluster.emulator.live(self.api_key)
        assert live[document["secret_id"]].get_secret_value() == document["api_secret"]


def opened(cluster: Cluster, name: str = "payments", api_key: str = "abcd1234", *, published: bool = True) -> Payments:
    made = Payments(cluster, generate(Recipe()), name, api_key, f"apps/{name}")
    cluster.emulator.open_account(Account(api_key, made.first))
    cluster.remember(made.first.get_secret_value())
    if published:
        cluster.put(made.path, {"api_secret": made.first.get_secret_value()})
    return made


@pytest.fixture
def payments(cluster: Cluster) -> Payments:
    made = opened(cluster)
    cluster.configure([made.entry()])
    return made


def everything(cluster: Cluster) -> dict[str, Any]:
    """All that a command could have changed: every document and version below the mount, every live secret."""
    documents: dict[str, Any] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        listed = cluster.vault("GET", f"{cluster.mount}/metadata/{folder}?list=true", missing_ok=True)
        for key in listed["data"]["keys"] if listed else []:
            if key.endswith("/"):
                folders.append(folder + key)
            else:
                documents[folder + key] = cluster.vault("GET", f"{cluster.mount}/metadata/{folder}{key}")["data"]
    return {
        "documents": documents,
        "live": {key: dict(cluster.emulator.live(key)) for key in cluster.emulator.api_keys},
        "changing requests": [request for request in cluster.emulator.requests if request.operation in CHANGING],
    }


def said(finished: Finished) -> str:
    """The one line that a command which was refused printed, besides its log."""
    assert "Traceback" not in finished.err + finished.out, finished
    lines = [line for line in finished.err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, finished
    assert lines[0].startswith("rotator: "), finished
    assert not finished.out, finished
    return lines[0].removeprefix("rotator: ")


Here = Callable[..., Finished]


@pytest.fixture
def here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command in this process: for what needs no process of its own, at a tenth of the price."""

    def run(*args: str, **environment: str) -> Finished:
        monkeypatch.setenv("VAULT_TOKEN", cluster.bao.root_token.get_secret_value())
        monkeypatch.setenv("ROTATOR_CONFIG", str(cluster.config))
        monkeypatch.setattr(sys, "argv", ["rotator", *args])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        cluster.outputs += [out, err]
        code = ended.value.code
        return Finished(args, code if isinstance(code, int) else int(bool(code)), out, err)

    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loggers = {name: logging.getLogger(name) for name in (None, "httpx", "httpcore", "urllib3")}
    before = {name: (logger.level, list(logger.handlers)) for name, logger in loggers.items()}
    yield run
    for number, handler in signals.items():
        signal.signal(number, handler)
    for name, (level, handlers) in before.items():
        loggers[name].setLevel(level)
        loggers[name].handlers[:] = handlers
    structlog.reset_defaults()


# --- mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("rotate-now nobody", 'No account is named "nobody"; configured are payments.'),
        ("rotate-now", "Say which accounts: names, --all, or --due for what is due."),
        ("rotate-now payments --all", "Say which accounts: names, --all, or --due for what is due."),
        ("rotate-now --all --due", "Say which accounts: names, --all, or --due for what is due."),
        ("rotate-now --due --compromised", "--due and --compromised exclude each other"),
        ("rotate-now payments --cancel --force", "--cancel excludes --due, --force, --compromised and --dry-run"),
        ("rotate-now payments --wait soon", "--wait is not a duration"),
        ("plan --until 90d", "plan has no option --until. Run: rotator forecast --until 90d."),
        ("plan nobody", 'No account is named "nobody"'),
        ("status nobody", 'No account is named "nobody"'),
        ("check nobody", 'No account is named "nobody"'),
        ("resolve nobody", 'No account is named "nobody"'),
        ("adopt nobody --secret-env X", 'No account is named "nobody"'),
        ("adopt payments", "There is no terminal to ask on: use --secret-stdin, --secret-file or --secret-env."),
        ("adopt payments --secret-env NOT_SET_AT_ALL", "The value is empty."),
        ("adopt payments --secret-file /no/such/file", "/no/such/file cannot be read."),
        ("adopt", "Say which accounts: a name, or --all with --secret-dir."),
        ("adopt payments --all", "Say which accounts: a name, or --all with --secret-dir."),
        ("adopt --all", "--all needs --secret-dir: a directory with one file for each account."),
        ("adopt --all --secret-dir /no/such/folder", "/no/such/folder cannot be read: No such file or directory."),
        ("adopt payments --secret-file /dev/zero", "/dev/zero is not a regular file."),
        ("adopt payments --secret-env A --secret-stdin", "Name one source of the secret"),
        ("--config /no/such/file status", "/no/such/file cannot be read: No such file or directory."),
        ("emulator --account nonsense", "--account is not KEY:SECRET"),
        ("emulator --account abcd1234:Secret12345 --latency soon", "--latency is not a duration"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    payments: Payments, here: Here, monkeypatch: pytest.MonkeyPatch, args: str, line: str
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    before = everything(payments.cluster)
    finished = here(*args.split())
    assert finished.code == 2, finished
    assert said(finished).startswith(line)
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests, "the provider was asked before the command line was understood"


@pytest.mark.parametrize("args", ["rotate-now --no-such-option", "resolve", "no-such-command", "emulator"])
def test_what_is_no_command_line_at_all_is_usage(payments: Payments, here: Here, args: str) -> None:
    finished = here(*args.split())
    assert finished.code == 2, finished
    assert "Usage: rotator" in finished.err
    assert "Error: " in finished.err


@pytest.mark.parametrize("args", ["rotate-now payments", "adopt payments --secret-env X", "resolve payments"])
def test_an_account_that_is_not_enabled_is_refused(payments: Payments, here: Here, args: str) -> None:
    payments.cluster.configure([payments.entry(enabled=False)])
    before = everything(payments.cluster)
    finished = here(*args.split(), X=payments.first.get_secret_value())
    assert finished.code == 2, finished
    assert said(finished) == 'Account "payments" is not enabled. Set enabled = true for it, if you mean it.'
    assert everything(payments.cluster) == before


def test_all_leaves_out_an_account_that_is_not_enabled(payments: Payments, here: Here) -> None:
    payments.cluster.configure([payments.entry(enabled=False)])
    before = everything(payments.cluster)
    finished = here("rotate-now", "--all", "--json")
    assert (finished.code, finished.json["accounts"]) == (0, [])
    assert everything(payments.cluster) == before


def test_a_mount_that_does_not_exist_is_refused(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__MOUNT": "nowhere"})
    assert finished.code == 2, finished
    assert 'no mount "nowhere"' in said(finished)
    assert "Nothing was written" in said(finished)
    assert everything(payments.cluster) == before


def test_a_mount_of_the_first_kv_version_is_refused(payments: Payments) -> None:
    cluster, old = payments.cluster, f"{payments.cluster.mount}old"
    cluster.vault("POST", f"sys/mounts/{old}", {"type": "kv", "options": {"version": "1"}})
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__MOUNT": old})
    assert finished.code == 2, finished
    assert f'mount "{old}" is KV version 1' in said(finished)
    assert everything(cluster) == before
    assert cluster.vault("GET", f"{old}/?list=true", missing_ok=True) is None, "something was written to it"


def test_a_sealed_vault_is_named_as_such(payments: Payments) -> None:
    with running_openbao() as other:
        payments.cluster.remember(other.root_token.get_secret_value())
        root = {"X-Vault-Token": other.root_token.get_secret_value()}
        httpx.put(f"{other.address}/v1/sys/seal", headers=root).raise_for_status()
        env = {"ROTATOR_VAULT__ADDRESS": other.address, "VAULT_TOKEN": other.root_token.get_secret_value()}
        finished = payments.cluster.run("rotate-now", "payments", env=env)
    assert finished.code == 1, finished
    assert said(finished).startswith(f"Vault at {other.address} is sealed. Nothing was written.")
    assert not payments.cluster.emulator.requests


def test_a_vault_that_does_not_answer_is_named_as_such(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"ROTATOR_VAULT__ADDRESS": "http://127.0.0.1:1"})
    assert finished.code == 1, finished
    assert said(finished).startswith("Vault at http://127.0.0.1:1 does not answer")
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


def test_a_provider_whose_certificate_is_another_ca_s_is_not_talked_to(payments: Payments, tmp_path: Path) -> None:
    cluster, ours, theirs = payments.cluster, trustme.CA(), trustme.CA()
    issued = theirs.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    before = everything(cluster)
    with running(cluster.emulator, certfile=tmp_path / "cert.pem", keyfile=tmp_path / "key.pem") as url:
        cluster.configure([payments.entry()], account_api={"api_url": url, "ca_cert": tmp_path / "ca.pem"})
        finished = cluster.run("rotate-now", "payments")
    assert finished.code == 1, finished
    assert "Traceback" not in finished.err
    line, request = (line for line in finished.out.splitlines() if line.startswith("payments: "))
    assert request == "payments: The request is not recorded. Run the command again"
    assert "The certificate of" in line
    assert "account_api.ca_cert" in line
    assert not cluster.emulator.requests
    assert everything(cluster) == before


def token_with(cluster: Cluster, name: str, *stanzas: str) -> str:
    """A token that may do that and no more; what Vault calls default, if there is no more."""
    if stanzas:
        cluster.vault("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(stanzas)})
    made = cluster.vault("POST", "auth/token/create", {"policies": [name], "ttl": "1h"})
    token = str(made["auth"]["client_token"])
    cluster.remember(token)
    return token


def test_a_policy_that_reaches_only_some_paths_is_refused_and_the_missing_stanza_works(payments: Payments) -> None:
    cluster = payments.cluster
    journals = f'path "{cluster.mount}/data/rotator/journal/*" {{ capabilities = ["create", "read", "update"] }}'
    token = token_with(cluster, f"some-{cluster.mount}", journals)
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    (stanza,) = STANZA.findall(said(finished))
    assert f'"{cluster.mount}/data/{payments.path}"' in stanza
    assert "Nothing was written anywhere" in said(finished)
    assert everything(cluster) == before
    assert not cluster.emulator.requests
    cluster.vault("PUT", f"sys/policies/acl/some-{cluster.mount}", {"policy": f"{journals}\n{stanza}"})
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 0, finished
    payments.assert_works()


def test_a_policy_that_reaches_nothing_is_refused_with_every_stanza_and_those_alone_work(payments: Payments) -> None:
    """The commonest beginning of all: a new token, and nobody wrote a policy yet."""
    cluster = payments.cluster
    token = token_with(cluster, f"none-{cluster.mount}")
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    stanzas = STANZA.findall(said(finished))
    assert len(stanzas) == 2, "one for the document, one for its journal"
    assert everything(cluster) == before
    cluster.vault("PUT", f"sys/policies/acl/none-{cluster.mount}", {"policy": "\n".join(stanzas)})
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 0, finished
    payments.assert_works()


def test_a_token_that_vault_does_not_know_is_refused(payments: Payments) -> None:
    token = "hvs.NobodyEverIssuedThisOne"
    payments.cluster.remember(token)
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 1, finished
    assert re.match("Vault refuses .*token", said(finished))
    assert "VAULT_TOKEN" in said(finished), "what to do about it"
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


def test_a_journal_that_cannot_be_read_is_left_as_it_is(payments: Payments) -> None:
    payments.cluster.put("rotator/journal/payments", {"retiring": "not a list", "current_id": 3})
    before = everything(payments.cluster)
    finished = payments.cluster.run("rotate-now", "payments")
    assert finished.code == 1, finished
    assert "payments: The journal is not readable, wrong in: current_id, retiring." in finished.out
    assert "Traceback" not in finished.err
    assert everything(payments.cluster) == before
    assert not payments.cluster.emulator.requests


# --- rotate-now ----------------------------------------------------------------------------------------------


def test_a_rotation_tells_programs_what_it_did(payments: Payments) -> None:
    (first,) = payments.live
    finished = payments.cluster.run("rotate-now", "payments", "--json")
    assert finished.code == 0, finished
    (second,) = payments.live
    payments.assert_works()
    (rotation_id,) = [account["rotation_id"] for account in finished.json["accounts"]]
    assert re.fullmatch("[0-9a-f]{16}", rotation_id)
    assert finished.json == {
        "rotated": 1,
        "revoked": 1,
        "ok": 1,
        "deferred": 0,
        "failed": 0,
        "accounts": [
            {
                "account": "payments",
                "result": "ok",
                "phase": "idle",
                "rotated": True,
                "revoked": [first],
                "reason": "idle",
                "until": None,
                "error": None,
                "next_command": None,
                "request": None,
                "rotation_id": rotation_id,
            }
        ],
    }
    assert second != first
    for line in finished.err.splitlines():
        assert json.loads(line)["event"], "the log is JSON lines, and it is all on standard error"
    assert "rotation.published" in finished.err


def test_a_dry_run_changes_nothing(payments: Payments, here: Here) -> None:
    before = everything(payments.cluster)
    for args in (["--json"], ["--force"], ["--compromised"], []):
        finished = here("rotate-now", "payments", "--dry-run", *args)
        assert finished.code == 0, finished
        assert "payments" in finished.out
    assert "take up the account" in finished.out
    assert everything(payments.cluster) == before
    assert payments.cluster.emulator.requests, "it did look"


def test_a_full_account_in_its_grace_has_to_wait_unless_forced(payments: Payments) -> None:
    cluster = payments.cluster
    cluster.configure([payments.entry(grace="1h")])
    begun = cluster.run("rotate-now", "payments")
    assert begun.code == 0, begun
    assert begun.out.splitlines()[1].split(maxsplit=2)[2].strip() == (
        "new secret published, previous one revoked in 1h  overlap"
    )
    first, second = payments.live
    waiting = cluster.run("rotate-now", "payments", "--wait", "0")
    assert waiting.code == 3, waiting
    assert "full" in waiting.out
    assert f"payments: the account is full until {first} is revoked; --force does not wait for that" in waiting.out
    assert payments.live == [first, second]
    forced = cluster.run("rotate-now", "payments", "--force", "--json")
    assert forced.code == 0, forced
    assert forced.json["accounts"][0]["revoked"] == [first]
    assert payments.live[0] == second, "the one before keeps its own grace"
    assert len(payments.live) == 2
    payments.assert_works()


def test_a_compromised_secret_is_revoked_at_once_whatever_its_grace(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    (first,) = payments.live
    finished = payments.cluster.run("rotate-now", "payments", "--compromised", "--json")
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["revoked"] == [first]
    assert len(payments.live) == 1
    assert not payments.cluster.emulator.authenticates(payments.api_key, payments.first)
    payments.assert_works()


def test_due_rotates_what_is_due_and_nothing_else(payments: Payments) -> None:
    cluster = payments.cluster
    finished = cluster.run("rotate-now", "--due", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 0), finished
    assert not [request for request in cluster.emulator.requests if request.operation in CHANGING]
    other = opened(cluster, "alerts", "alerts01")
    cluster.configure([payments.entry(), other.entry(every="1ms")])
    finished = cluster.run("rotate-now", "--due", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 1), finished
    created = [request.api_key for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert created == ["alerts01"]
    assert cluster.journal("alerts")["trigger"] == "schedule"


def interrupt(process: Process) -> Finished:
    """Ctrl-C once the process says that it waits; what it printed. It must not go on waiting."""
    popen = process.popen
    assert popen.stderr is not None
    assert popen.stdout is not None
    log = ""
    while "rotation.waiting" not in log:
        line = popen.stderr.readline()
        assert line, f"it never waited:\n{log}"
        log += line
    time.sleep(0.1)
    popen.send_signal(signal.SIGINT)
    code = popen.wait(timeout=PATIENCE)
    out, log = popen.stdout.read(), log + popen.stderr.read()
    popen.stdout.close()
    popen.stderr.close()
    process.cluster.outputs += [out, log]
    return Finished(process.args, code, out, log)


def test_ctrl_c_while_a_grace_is_waited_for_ends_the_command_at_once(payments: Payments) -> None:
    payments.cluster.configure([payments.entry(grace="1h")])
    finished = interrupt(payments.cluster.start("rotate-now", "payments", "--wait", "2h", "--json"))
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["reason"] == "grace"
    assert "Traceback" not in finished.err
    assert len(payments.live) == 2
    assert payments.cluster.journal("payments")["holder"] is None
    payments.assert_works()


def test_ctrl_c_while_another_runner_is_waited_for_ends_the_command_at_once(payments: Payments) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    journal = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", journal)
    before = everything(payments.cluster)
    finished = interrupt(payments.cluster.start("rotate-now", "payments", "--wait", "2h", "--json"))
    assert finished.code == 3, finished
    (account,) = finished.json["accounts"]
    assert account["error"] == "host/1/x holds the lease"
    assert account["next_command"] == ["rotate-now", "payments", "--wait", "5m"]
    assert "Traceback" not in finished.err
    after = everything(payments.cluster)
    assert (after["live"], after["changing requests"]) == (before["live"], before["changing requests"])
    recorded = payments.cluster.journal("payments")
    assert (recorded["holder"], recorded["request"]["kind"]) == ("host/1/x", "manual"), "the lease holder continues"
    assert account["request"]["id"] == recorded["request"]["id"]


def test_status_shows_a_request_until_it_is_withdrawn(payments: Payments, here: Here) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    journal = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", journal)
    asked = here("rotate-now", "payments", "--force", "--wait", "0")
    assert asked.code == 3, asked
    assert "payments: The request (force, by " in asked.out
    assert "A running daemon carries it out, or run: rotator rotate-now --due" in asked.out
    request = payments.cluster.journal("payments")["request"]
    at = datetime.fromisoformat(request["at"])
    shown = here("status")
    assert f"payments: {request['by']} requested a rotation (force) at {at:%Y-%m-%d %H:%M:%S} UTC." in shown.out
    assert "rotator rotate-now payments --cancel" in shown.out
    (row,) = here("status", "--json").json["accounts"]
    assert row["request"] == {name: request[name] for name in ("kind", "by", "at", "id")}

    withdrawn = here("rotate-now", "payments", "--cancel", "--json")
    assert (withdrawn.code, withdrawn.json["accounts"][0]["withdrawn"]["id"]) == (0, request["id"])
    after = payments.cluster.journal("payments")
    assert (after["request"], after["holder"]) == (None, "host/1/x"), "the lease stays"
    assert here("rotate-now", "payments", "--cancel").out == "payments: no request is recorded\n"
    assert "requested" not in here("status").out
    assert not [request for request in payments.cluster.emulator.requests if request.operation in CHANGING]


def test_a_primary_goes_after_its_secondaries(cluster: Cluster) -> None:
    boss = opened(cluster, "boss", "boss0001")
    children = [opened(cluster, f"child{number}", f"child{number}") for number in range(3)]
    cluster.configure([boss.entry(), *(child.entry(primary="boss") for child in children)])
    finished = cluster.run("rotate-now", "--all", "--json")
    assert (finished.code, finished.json["rotated"]) == (0, 4), finished
    requests = cluster.emulator.requests
    last_of_the_children = max(at for at, request in enumerate(requests) if request.api_key != "boss0001")
    first_of_the_boss = min(at for at, request in enumerate(requests) if request.api_key == "boss0001")
    assert last_of_the_children < first_of_the_boss
    for account in (boss, *children):
        account.assert_works()


def test_a_secondary_that_has_nothing_published_is_brought_in_through_its_primary(cluster: Cluster) -> None:
    boss = opened(cluster, "boss", "boss0001")
    child = Payments(cluster, generate(Recipe()), "child", "child001", "apps/child")
    cluster.emulator.open_account(Account("child001", child.first), primary="boss0001")
    cluster.configure([boss.entry(), child.entry(primary="boss")])
    finished = cluster.run("rotate-now", "child", "--json")
    assert (finished.code, finished.json["rotated"]) == (1, 1), finished
    (account,) = finished.json["accounts"]
    assert (account["reason"], account["next_command"]) == ("ambiguous", ["resolve", "child"])
    assert child.first in cluster.emulator.live("child001").values(), "it might be in use elsewhere"
    (created,) = [request for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert (created.api_key, created.authenticated_as) == ("child001", "boss0001")
    assert cluster.document("apps/child")["api_key"] == "child001"
    child.assert_works()
    boss_s = cluster.emulator.live("boss0001")
    assert [value.get_secret_value() for value in boss_s.values()] == [boss.first.get_secret_value()]


def test_thirty_accounts_are_rotated_at_once(cluster: Cluster) -> None:
    accounts = [opened(cluster, f"a{number:02}", f"key{number:02}") for number in range(30)]
    cluster.configure([account.entry() for account in accounts])
    finished = cluster.run("rotate-now", "--all")
    assert finished.code == 0, finished
    names = [line.split()[0] for line in finished.out.splitlines()[1:]]
    assert names == [account.name for account in accounts], "a line an account, in order"
    for account in accounts:
        account.assert_works()
        assert len(account.live) == 1
    keys = [request.api_key for request in cluster.emulator.requests if request.operation is Operation.CREATE]
    assert sorted(keys) == [account.api_key for account in accounts]
    asked = [request.api_key for request in cluster.emulator.requests]
    assert asked != sorted(asked), "they went one after the other, not at once"


# --- adopt and resolve ---------------------------------------------------------------------------------------


def test_a_secret_is_adopted_from_a_variable_and_is_never_among_the_arguments(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    seen: list[bytes] = []
    tape = Tape()

    def look(_: object) -> None:
        seen.append(Path(f"/proc/{tape.victim}/cmdline").read_bytes())

    tape.when = look
    with proxied({"vault": cluster.bao.address, "provider": cluster.api_url}, tape) as urls:
        env = {"ROTATOR_VAULT__ADDRESS": urls["vault"], "ROTATOR_ACCOUNT_API__API_URL": urls["provider"]}
        process = cluster.start(
            "adopt", "payments", "--secret-env", "MINE", env=env | {"MINE": new.first.get_secret_value()}
        )
        tape.victim = process.popen.pid
        finished = process.finish()
    assert finished.code == 0, finished
    assert seen
    for arguments in seen:
        assert b"--secret-env\0MINE" in arguments
        assert new.first.get_secret_value().encode() not in arguments
    new.assert_adopted()
    new.identify()
    new.assert_works()
    current = cluster.journal("payments")["current_id"]
    assert (current["id"], current["learned"]) == (new.live[0], "eliminated")
    assert not [request for request in cluster.emulator.requests if request.operation in CHANGING]


def test_a_secret_is_adopted_from_standard_input(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    finished = cluster.run("adopt", "payments", "--secret-stdin", "--json", text=new.first.get_secret_value() + "\n")
    assert finished.code == 0, finished
    assert finished.json["accounts"][0]["phase"] == "idle"
    new.assert_adopted()


def test_a_secret_is_adopted_from_a_file(cluster: Cluster, here: Here, tmp_path: Path) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    (tmp_path / "secret").write_text(new.first.get_secret_value() + "\r\n")
    finished = here("adopt", "payments", "--secret-file", str(tmp_path / "secret"))
    assert finished.code == 0, finished
    assert f"payments: secret id {new.live[0]} (later lists confirm it)" in finished.out
    new.assert_adopted()


def test_adopt_says_what_it_did(cluster: Cluster, here: Here) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    first = here("adopt", "payments", "--secret-env", "MINE", MINE=new.first.get_secret_value())
    assert first.code == 0, first
    assert re.search(r"^payments +ok +adopted, version 1 published +idle$", first.out, re.MULTILINE), first
    again = here("adopt", "payments", "--secret-env", "MINE")
    assert again.code == 0, again
    assert re.search(r"version \d contained this secret already: it needed no adoption", again.out), again


def secret_files(cluster: Cluster, folder: Path, *accounts: Payments) -> Path:
    folder.mkdir()
    for account in accounts:
        file = folder / account.name
        file.touch(mode=0o600)
        file.write_text(account.first.get_secret_value() + "\n")
    return folder


def test_adopt_all_takes_each_value_from_a_file_of_its_own(cluster: Cluster, here: Here, tmp_path: Path) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}", published=False) for number in range(5)]
    cluster.configure([account.entry() for account in accounts])
    folder = secret_files(cluster, tmp_path / "values", *accounts[:4])
    (folder / "a3").write_text("Wrong0Secret9Value")
    finished = here("adopt", "--all", "--secret-dir", str(folder))
    assert finished.code == 1, finished
    assert finished.out.count("adopted, version 1 published") == 3
    assert "a3: The provider refuses this secret for a3 (key3). Nothing was written." in finished.out
    for account in accounts[:3]:
        account.assert_adopted()
    assert cluster.document("apps/a3") == cluster.document("apps/a4") == {}


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [("payments", 0o640, "Other users may read "), ("shop", 0o600, "/shop is named like no account.")],
)
def test_adopt_all_refuses_a_file_before_it_writes(
    payments: Payments, here: Here, name: str, mode: int, message: str
) -> None:
    folder = secret_files(payments.cluster, payments.cluster.folder / "values")
    (folder / name).touch()
    (folder / name).chmod(mode)
    before = everything(payments.cluster)
    finished = here("adopt", "--all", "--secret-dir", str(folder))
    assert finished.code == 2, finished
    assert message in said(finished)
    assert everything(payments.cluster) == before


def test_a_wrong_secret_is_not_adopted(cluster: Cluster) -> None:
    new = opened(cluster, published=False)
    cluster.configure([new.entry()])
    cluster.remember("Wrong0Secret9Value")
    before = everything(cluster)
    finished = cluster.run("adopt", "payments", "--secret-env", "MINE", env={"MINE": "Wrong0Secret9Value"})
    assert finished.code == 1, finished
    assert said(finished).startswith("The provider refuses this secret for payments (abcd1234). Nothing was written.")
    assert everything(cluster) == before


def test_a_secret_that_works_is_replaced_by_adoption_only_if_asked(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    known = here("adopt", "payments", "--secret-env", "MINE", MINE=payments.first.get_secret_value())
    assert known.code == 0, known
    (before_id,) = payments.live
    cluster.remember("Mine0Mine1Mine2")
    mine = cluster.emulator.add_secret(payments.api_key, SecretStr("Mine0Mine1Mine2"))
    before = everything(cluster)
    finished = here("adopt", "payments", "--secret-env", "MINE", "--secret-id", mine, MINE="Mine0Mine1Mine2")
    assert finished.code == 1, finished
    assert "already contains another secret, which authenticates" in said(finished)
    assert everything(cluster) == before
    finished = here("adopt", "payments", "--secret-env", "MINE", "--secret-id", mine, "--replace")
    assert finished.code == 1, finished
    assert f"a secret that rotator did not create: {before_id}" in finished.out, "adoption retires nothing unasked"
    assert cluster.document(payments.path)["secret_id"] == mine
    payments.assert_works()


def test_no_option_of_any_command_takes_a_secret_value() -> None:
    """`--secret` on a command line would stand in the process list. The emulator's are toys."""
    takes = {
        (path, option)
        for path, command in commands()
        for parameter in command.params
        for option in parameter.opts
        if ("secret" in option or "trx" in option) and not getattr(parameter, "is_flag", False)
    }
    assert takes == {
        ("adopt", "--secret-dir"),
        ("adopt", "--secret-file"),
        ("adopt", "--secret-env"),
        ("adopt", "--secret-id"),
        ("account secrets create", "--secret-file"),
        ("account secrets create", "--secret-env"),
        ("account secrets show", "secret_id"),
        ("account secrets revoke", "secret_id"),
        ("account top-up", "--trx-file"),
        ("account top-up", "--trx-env"),
        ("audit fingerprint", "--secret-file"),
        ("audit fingerprint", "--secret-env"),
        ("emulator", "--max-secrets"),
    }


def test_a_stranger_s_secret_stops_the_account_until_it_is_resolved(payments: Payments, here: Here) -> None:
    cluster = payments.cluster
    adopted = cluster.run("rotate-now", "payments")
    assert adopted.code == 0, adopted
    stranger = cluster.emulator.add_secret(payments.api_key, SecretStr("Stranger0Stranger1"))
    cluster.remember("Stranger0Stranger1")

    refused = cluster.run("rotate-now", "payments")
    assert refused.code == 1, refused
    assert f"a secret that rotator did not create: {stranger}" in refused.out
    assert "rotator resolve payments" in refused.out
    assert cluster.journal("payments")["phase"] == "ambiguous"

    before = everything(cluster)
    published = cluster.document(payments.path)["secret_id"]
    for wrong in (published, "00000000-0000-4000-8000-000000000000"):
        mistaken = here("resolve", "payments", "--revoke", wrong)
        assert mistaken.code == 2, mistaken
        assert said(mistaken) == f"{wrong} is not among the unknown secrets of payments: {stranger}."
    silent = cluster.run("resolve", "payments")
    assert silent.code == 2, silent
    assert f"rotator resolve payments --revoke {stranger}" in said(silent)
    assert everything(cluster) == before

    resolved = cluster.run("resolve", "payments", "--revoke", stranger, "--json")
    assert resolved.code == 0, resolved
    assert resolved.json["accounts"][0]["revoked"] == [stranger, published], "the request is carried out as well"
    assert len(payments.live) == 1
    assert (cluster.journal("payments")["phase"], cluster.journal("payments")["request"]) == ("idle", None)
    payments.assert_works()


# --- looking -------------------------------------------------------------------------------------------------


def a_colourful_fleet(cluster: Cluster) -> dict[str, Payments]:
    """One account of every kind that a table has to show, the ambiguous one and a long name included."""
    made = {
        name: opened(cluster, name, f"key{number}", published=name != "missing")
        for number, name in enumerate(["new", "overlap", "ambiguous", "missing", "off", "a-" + "long-" * 8 + "name"])
    }
    cluster.configure(
        [account.entry(grace="1h" if name != "off" else "0", enabled=name != "off") for name, account in made.items()]
    )
    cluster.remember("Stranger0Stranger1")
    cluster.emulator.add_secret(made["ambiguous"].api_key, SecretStr("Stranger0Stranger1"))
    return made


def test_tables_have_a_line_a_row_and_json_says_the_same(cluster: Cluster, here: Here) -> None:
    fleet = a_colourful_fleet(cluster)
    rotated = cluster.run("rotate-now", "overlap", "ambiguous")
    assert rotated.code == 1, rotated
    assert_table(rotated.out.split("ambiguous: ")[0], "account", "result", "what happened", "phase")

    (retiring,) = cluster.journal("overlap")["retiring"]
    ends = datetime.now(UTC) + timedelta(minutes=55)  # whatever the two commands take of the hour
    cluster.change_journal("overlap", retiring=[retiring | {"not_before": ends.isoformat()}])
    table = cluster.run("status")
    assert table.code == 0, table
    rows = assert_table(table.out.split("ambiguous: ")[0], "account", "phase", "age", "due", "revokes", "trouble")
    assert fleet["ambiguous"].api_key not in table.out
    assert "--secret-id" not in rows["ambiguous"], "ids stand below the table, unbroken, to be copied"
    assert re.fullmatch(r"overlap +overlap +(\d+m)?\d+s +in 29d(1[89]|2[0-3])h +in 5[0-4]m\d+s", rows["overlap"])
    assert rows["ambiguous"].split()[1] == "ambiguous"
    assert rows["missing"].endswith("nothing published")
    assert "disabled" in rows["off"]

    before = everything(cluster)
    status = here("status", "--json")
    assert status.code == 0, status
    entries = {entry["account"]: entry for entry in status.json["accounts"]}
    assert list(entries) == list(fleet), "every account, in the order of the file"
    assert (entries["overlap"]["phase"], len(entries["overlap"]["retiring"])) == ("overlap", 1)
    assert entries["overlap"]["secret_id"] == cluster.document("apps/overlap")["secret_id"]
    due = datetime.fromisoformat(entries["overlap"]["due_at"])
    age = due - datetime.fromisoformat(entries["overlap"]["rotated_at"])
    assert timedelta(days=30) - timedelta(hours=6) < age <= timedelta(days=30), "less its part of the jitter"
    assert (entries["ambiguous"]["phase"], entries["ambiguous"]["attempts"]) == ("ambiguous", 1)
    assert (entries["missing"]["published"], entries["off"]["enabled"]) == (False, False)

    table = cluster.run("plan")
    assert table.code == 1, "an account that cannot go on is a failure of the plan"
    rows = assert_table(table.out, "account", "phase", "age", "would")
    assert "off" not in rows
    plan = here("plan", "--json")
    assert plan.code == 1, plan
    steps = {entry["account"]: entry["step"] for entry in plan.json["accounts"]}
    assert (steps["new"], steps["overlap"], steps["ambiguous"], steps["missing"]) == ("record", "wait", "wait", "fail")
    for name in ("new", "overlap", "missing"):
        assert f" {steps[name]}:" in rows[name]
    assert here("plan", "new", "overlap").code == 0
    assert everything(cluster) == before


def test_forecast_foretells_rotations_and_revocations_from_the_journals_alone(cluster: Cluster, here: Here) -> None:
    a_colourful_fleet(cluster)
    assert cluster.run("rotate-now", "overlap", "ambiguous").code == 1
    before, asked = everything(cluster), len(cluster.emulator.requests)
    plan = here("forecast", "--until", "40d", "--json")
    assert plan.code == 0, plan
    assert len(cluster.emulator.requests) == asked, "the provider was asked"
    events = [(event["account"], event["kind"], event["overridden"]) for event in plan.json["events"]]
    assert events == [("overlap", "revoke", False), ("overlap", "rotate", False), ("overlap", "revoke", False)]
    rotated_at = datetime.fromisoformat(cluster.journal("overlap")["rotated_at"])
    rotate, revoke = (datetime.fromisoformat(event["at"]) for event in plan.json["events"][1:])
    assert timedelta(days=30) - timedelta(hours=6) < rotate - rotated_at <= timedelta(days=30)
    assert revoke - rotate == timedelta(hours=1)
    status = {entry["account"]: entry for entry in here("status", "--json").json["accounts"]}
    assert rotate == datetime.fromisoformat(status["overlap"]["due_at"])
    assert (plan.json["rotations"], plan.json["revocations"], plan.json["complete"]) == (1, 2, True)
    left_out = {entry["account"]: entry["why"] for entry in plan.json["left_out"]}
    assert left_out["ambiguous"] == "waiting for a person (rotator status)"
    assert left_out["missing"] == left_out["new"] == "not adopted yet"
    assert "off" not in left_out, "it is not enabled"

    text = here("forecast", "--until", "40d")
    assert text.code == 0, text
    assert all(len(line) <= 80 for line in text.out.splitlines() if not line.startswith("left out")), text
    assert re.search(r"^20\d\d-.{29,31}overlap +revoke the previous secret", text.out, re.MULTILINE)
    assert "in all: rotations 1, revocations 2, calls 7" in text.out
    assert here("forecast", "new", "--until", "40d", "--json").json["events"] == []
    assert everything(cluster) == before


def test_forecast_ends_when_it_is_told_to(payments: Payments, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rotator.fleet.fleet.Fleet.select", lambda self, *_, **__: self.stop.set() or self.settings.accounts
    )
    finished = here("forecast", "--until", "40d")
    assert finished.code == 1, finished
    assert said(finished) == "Stopped before every journal was read."


def test_forecast_leaves_out_an_account_whose_journal_cannot_be_read(payments: Payments, here: Here) -> None:
    payments.cluster.put("rotator/journal/payments", {"rotated_at": "yesterday"})
    plan = here("forecast", "--until", "40d", "--json")
    assert plan.code == 0, plan
    assert plan.json["left_out"] == [
        {"account": "payments", "why": "the journal is not readable, wrong in: rotated_at"}
    ]


def test_forecast_goes_by_the_windows_and_the_zone_of_the_defaults(payments: Payments, here: Here) -> None:
    payments.cluster.configure(
        [payments.entry()], defaults={"timezone": "Asia/Tokyo", "windows": ["mon-fri 02:00-03:00"], "grace": "0s"}
    )
    assert here("rotate-now", "payments").code == 0
    plan = here("forecast", "--until", "90d")
    rotations = re.findall(r"^20\d\d-\d\d-\d\d (\w+) (\d+):.* rotate", plan.out, re.MULTILINE)
    assert len(rotations) in (2, 3), plan
    assert {(day in ("Sat", "Sun"), hour) for day, hour in rotations} == {(False, "02")}
    assert "(Asia/Tokyo)" in plan.out


@pytest.mark.parametrize("length", ["0", "soon", "3661d"])
def test_forecast_takes_a_duration(payments: Payments, here: Here, length: str) -> None:
    finished = here("forecast", "--until", length)
    assert finished.code == 2, finished
    assert said(finished).startswith("--until ")


def assert_table(text: str, *columns: str) -> dict[str, str]:
    """Its rows by account: one line each, under headings that they are in line with."""
    header, *lines = text.splitlines()
    assert re.fullmatch(r" +".join(columns) + " *", header), header
    assert not re.search(r"[│┃━╇…\x1b]", text), "a frame, a colour or something cut off"
    starts = [header.index(column) for column in columns]
    rows = {}
    for line in lines:
        assert all(line[start - 1] == " " for start in starts[1:] if start < len(line)), f"out of line: {line}"
        rows[line.split()[0]] = line.rstrip()
    assert len(rows) == len(lines) > 0
    return rows


def test_check_says_ok_to_all_that_a_rotation_needs(payments: Payments) -> None:
    before = everything(payments.cluster)
    finished = payments.cluster.run("check")
    assert finished.code == 0, finished
    *lines, total = finished.out.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("ok    ") for line in lines)
    assert lines[-1] == "ok    account payments: the provider accepts the published secret, 1 live"
    assert total == "6 ok, 0 notes, 0 to do, 0 failed"
    assert everything(payments.cluster) == before


def test_check_lists_new_accounts_as_to_do(cluster: Cluster, here: Here) -> None:
    accounts = [opened(cluster, f"a{number}", f"key{number}", published=False) for number in range(8)]
    cluster.configure([account.entry() for account in accounts])
    finished = here("check")
    assert finished.code == 0, finished
    to_do = "to do accounts a0, a1, a2, a3, a4 and 3 more: not adopted yet. Run for each: rotator adopt NAME"
    assert to_do in finished.out.splitlines()
    assert finished.out.splitlines()[-1] == "5 ok, 0 notes, 1 to do, 0 failed"
    assert f"policy for {cluster.mount}/data/apps/* (8 paths)" in finished.out
    assert here("check", "--strict").code == 1


def test_check_fails_when_an_adopted_account_lost_its_document(payments: Payments, here: Here) -> None:
    assert here("rotate-now", "payments").code == 0
    payments.cluster.vault("DELETE", f"{payments.cluster.mount}/data/{payments.path}")
    finished = here("check")
    assert finished.code == 1, finished
    assert "FAIL  account payments: " in finished.out


def test_check_tries_the_audit_log(payments: Payments, here: Here, tmp_path: Path) -> None:
    good = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "audit.jsonl"))
    assert good.code == 0, good
    assert good.out.startswith(f"ok    the audit log {tmp_path}/audit.jsonl can be written")
    bad = here("check", ROTATOR_AUDIT__FILE=str(tmp_path / "missing" / "audit.jsonl"))
    assert bad.code == 2, bad
    assert bad.out.startswith("FAIL  audit.file: ")


def test_check_names_the_stanza_that_the_policy_lacks(payments: Payments) -> None:
    cluster = payments.cluster
    document = f'path "{cluster.mount}/data/{payments.path}" {{ capabilities = ["create", "read", "update"] }}'
    token = token_with(cluster, f"check-{cluster.mount}", document)
    before = everything(cluster)
    finished = cluster.run("check", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    failed, total = [line for line in finished.out.splitlines() if not line.startswith("ok   ")]
    assert total.endswith("1 failed")
    assert failed.startswith("FAIL  the policy lacks: ")
    (stanza,) = STANZA.findall(failed)
    assert stanza.startswith(f'path "{cluster.mount}/data/rotator/journal/payments"')
    assert everything(cluster) == before
    cluster.vault("PUT", f"sys/policies/acl/check-{cluster.mount}", {"policy": f"{document}\n{stanza}"})
    assert cluster.run("check", env={"VAULT_TOKEN": token}).code == 0


def test_check_finds_a_published_secret_that_does_not_work(payments: Payments, here: Here) -> None:
    payments.cluster.put(payments.path, {"api_secret": "Wrong0Secret9Value"})
    payments.cluster.remember("Wrong0Secret9Value")
    payments.cluster.emulator.remove_secret(payments.api_key, payments.live[0], force=True)
    payments.cluster.vault("DELETE", f"{payments.cluster.mount}/metadata/{payments.path}")
    payments.cluster.put(payments.path, {"api_secret": "Wrong0Secret9Value"})
    finished = here("check", "--json")
    assert finished.code == 1, finished
    (failed,) = [check["what"] for check in finished.json["checks"] if not check["ok"]]
    assert "the provider refuses the published secret (401)" in failed
    assert "rotator adopt payments" in failed


# --- the configuration, help and version ---------------------------------------------------------------------


def test_the_configuration_is_shown_without_its_secrets(payments: Payments, here: Here) -> None:
    finished = here("config", "show")
    assert finished.code == 0, finished
    assert finished.json["vault"]["auth"]["token"] == "**********"
    assert payments.cluster.bao.root_token.get_secret_value() not in finished.out
    assert finished.json["accounts"][0]["every"] == "30d", "defaults included"
    assert here("config", "show", ROTATOR_DEFAULTS__EVERY="7d").json["accounts"][0]["every"] == "7d"


def test_the_schema_of_the_configuration_is_json(here: Here) -> None:
    finished = here("config", "schema")
    assert finished.code == 0, finished
    assert "accounts" in finished.json["properties"]


def test_the_version_is_the_package_s(here: Here) -> None:
    finished = here("--version")
    assert (finished.code, finished.out) == (0, f"rotator {importlib.metadata.version('rotator')}\n")


def test_the_config_option_works_before_and_after_the_command(payments: Payments, here: Here) -> None:
    path = str(payments.cluster.config)
    for args in (["--config", path, "config", "show"], ["config", "show", "-c", path]):
        assert here(*args, ROTATOR_CONFIG="/no/such/file").code == 0


def commands() -> list[tuple[str, Any]]:
    """Every command by what is typed for it."""
    found: list[tuple[str, Any]] = []
    groups: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while groups:
        path, command = groups.pop()
        children = getattr(command, "commands", None)
        if children is None:
            found.append((path, command))
        else:
            groups += [(f"{path} {name}".strip(), child) for name, child in children.items()]
    return found


def test_the_walk_over_the_commands_finds_them_all() -> None:
    assert {"rotate-now", "adopt", "config show", "demo"} <= {path for path, _ in commands()}


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_the_help_of_every_command_has_an_example_of_it(here: Here, path: str) -> None:
    finished = here(*path.split(), "--help")
    assert finished.code == 0, finished
    text = " ".join(finished.out.split())
    assert re.search(rf"Examples?: `rotator {path}", text), text


def test_short_help_is_an_imperative_without_a_period() -> None:
    """A command is one line of `rotator --help`: at most 70 characters."""
    groups = [("", typer.main.get_command(app))]
    for path, group in groups:
        for name, command in getattr(group, "commands", {}).items():
            text = command.get_short_help_str(1000)
            assert re.fullmatch(r"[A-Z][a-z]+,? .*[^.]", text), (path, name, text)
            assert len(text) <= 70, text
            groups.append((f"{path} {name}", command))
    assert len(groups) > 20


def test_option_help_is_a_sentence() -> None:
    for path, command in commands():
        for option in command.params:
            if not option.hidden and option.name != "help":
                assert re.fullmatch(r"[A-Z].*[.]", option.help), (path, option.name, option.help)


def test_the_help_names_the_exit_codes(here: Here) -> None:
    finished = here("--help")
    assert "Exit codes: 0 done, 1 an account failed, 2 usage or configuration, 3 an account is deferred." in " ".join(
        finished.out.split()
    )


def test_the_help_comes_at_once(payments: Payments) -> None:
    """By the processor's time, which is the same however many other tests run beside this one."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert payments.cluster.run("--help").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    times = [once() for _ in range(5)]
    assert min(times) > 0.01, "nothing was measured"
    assert min(times) < 0.3, f"rotator --help took {min(times):.2f} s"
