"""Each way to run sends the requests that benchmarks/calls.py lists, in that order and no others."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from benchmarks import bare
from benchmarks.calls import (
    COMPROMISED,
    DRY_RUN,
    FIRST_ROTATION,
    HEARTBEAT,
    LEAN,
    LOGIN,
    NOTHING_DUE,
    RECHECK,
    REFERENCE,
    REFERENCE_AT_THE_PROVIDER,
    RESOLVE,
    REVOCATION,
    ROTATION,
    ROTATION_WITH_GRACE,
    SECONDARY_COMES_IN,
    START,
    STATUS,
    SWEEP,
)
from rotator.core.generator import Recipe, generate
from rotator.emulator import Account, running
from testkit.cluster import Cluster, Tape, eventually, proxied
from tests.emulator.harness import issue

SCRIPTS = Path(bare.__file__).parent


# A command that changed journals says so to daemons, once for all of its accounts (tests/cli/test_status.py).
ANNOUNCEMENT = "vault     GET    journal/_fleet\nvault     POST   journal/_fleet\n"


class Counted:
    """A cluster with a counting proxy before either server."""

    def __init__(self, cluster: Cluster, tape: Tape) -> None:
        self.cluster, self.tape = cluster, tape

    def open(self, *names: str) -> None:
        for name in names:
            first = generate(Recipe())
            self.cluster.emulator.open_account(Account(f"key{name}", first))
            self.cluster.remember(first.get_secret_value())
            self.cluster.put(f"apps/{name}", {"api_secret": first.get_secret_value()})

    def calls(self, *args: str, code: int = 0) -> str:
        """What a command asks the servers, one request a line."""
        begun = len(self.tape.calls)
        finished = self.cluster.run(*args)
        assert finished.code == code, finished
        return self.since(begun).removesuffix(ANNOUNCEMENT)

    def since(self, begun: int) -> str:
        self.cluster.remember(*self.tape.secrets)
        return "".join(f"{line}\n" for line in map(self.line, range(begun, len(self.tape.calls))))

    def line(self, index: int) -> str:
        call = self.tape.calls[index]
        return f"{call.server:<9} {call.method:<6} {self.short(call.path)}"

    def short(self, path: str) -> str:
        """A path without what differs from run to run."""
        mount = self.cluster.mount
        known = {
            "/v1/auth/token/lookup-self": "token",
            "/v1/sys/capabilities-self": "capabilities",
            f"/v1/sys/internal/ui/mounts/{mount}": "mount",
        }
        path = re.sub(rf"^/v1/{mount}/data/rotator/journal/", "journal/", path)
        path = re.sub(rf"^/v1/{mount}/metadata/rotator/journal/(.*)", r"journal/\1 versions", path)
        path = re.sub(rf"^/v1/{mount}/data/apps/", "published/", path)
        path = re.sub(r"^/accounts/key(\w+)/secrets$", r"secrets/\1", path)
        path = re.sub(r"^/accounts/key(\w+)/secrets/[0-9a-f-]{36}$", r"secret/\1", path)
        return known.get(path, path)


def entry(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "api_key": f"key{name}", "path": f"apps/{name}", **more}


def listed(*blocks: str) -> str:
    return "".join(block.lstrip() for block in blocks)


@pytest.fixture
def counted(cluster: Cluster) -> Iterator[Counted]:
    tape = Tape()
    with proxied({"vault": cluster.bao.address, "provider": cluster.api_url}, tape) as urls:
        cluster.base = {
            "vault": {"address": urls["vault"]},
            "account_api": {"api_url": urls["provider"], "rest_url": urls["provider"]},
        }
        yield Counted(cluster, tape)


def test_first_rotation_adopts_the_account(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    assert counted.calls("rotate-now", "a") == listed(START, FIRST_ROTATION)


def test_every_rotation_without_grace_sends_equal_requests(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    counted.calls("rotate-now", "a")
    for options in (["a"], ["--all"]):
        assert counted.calls("rotate-now", *options) == listed(START, ROTATION)
    for urgent in ("--force", "--compromised"):  # the request is recorded first
        assert counted.calls("rotate-now", "a", urgent) == listed(START, COMPROMISED)


def test_rotation_with_grace_revokes_later(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    counted.calls("rotate-now", "a")
    counted.cluster.configure([entry("a")], defaults={"grace": "24h"})
    assert counted.calls("rotate-now", "a", "--wait", "0s") == listed(START, ROTATION_WITH_GRACE)
    counted.cluster.end_grace("a")
    assert counted.calls("rotate-now", "--due") == listed(START, REVOCATION)
    assert counted.calls("rotate-now", "--due") == listed(START, NOTHING_DUE)


def test_compromised_secret_is_revoked_despite_its_grace(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")], defaults={"grace": "1h"})
    counted.calls("rotate-now", "a", "--compromised")
    assert counted.calls("rotate-now", "a", "--compromised") == listed(START, COMPROMISED)


def test_secondary_is_adopted_through_its_primary(counted: Counted) -> None:
    counted.open("main")
    counted.cluster.emulator.open_account(Account("keya", generate(Recipe())), primary="keymain")
    [first] = counted.cluster.emulator.live("keya")
    counted.cluster.configure([entry("main"), entry("a", primary="main")])
    assert counted.calls("rotate-now", "a", code=1) == listed(START, SECONDARY_COMES_IN)
    assert first in counted.cluster.emulator.live("keya")
    # The id was first seen a moment ago: a later list has to confirm it.
    assert counted.calls("resolve", "a", "--revoke", first) == listed(START, NOTHING_DUE, RESOLVE)
    assert counted.calls("rotate-now", "a") == listed(START, ROTATION)


def test_status_and_dry_run_send_the_listed_requests(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    counted.calls("rotate-now", "a")
    assert counted.calls("status") == listed(LOGIN, STATUS)
    assert counted.calls("rotate-now", "a", "--dry-run") == listed(LOGIN, DRY_RUN)


def test_secrets_show_reads_each_document_once(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    counted.calls("rotate-now", "a")
    [only] = counted.cluster.emulator.live("keya")
    asked = counted.calls("account", "secrets", "show", "a", only).splitlines()
    assert [line.split(maxsplit=2)[2] for line in asked[-4:]] == ["journal/a", "published/a", "secrets/a", "secret/a"]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("account", "settings", "block"),
    [
        ({"every": "1s"}, {}, ROTATION),
        ({}, {"verify_interval": "500ms"}, RECHECK),
        ({}, {"resync_interval": "500ms"}, SWEEP),
    ],
    ids=["rotation", "recheck", "sweep"],
)
def test_daemon_repeats_the_listed_requests(
    counted: Counted, account: dict[str, str], settings: dict[str, str], block: str
) -> None:
    counted.open("a")
    counted.cluster.configure(
        [entry("a", **account)], daemon={"resync_interval": "1h"} | settings, balance={"every": "off"}
    )
    counted.calls("rotate-now", "a")
    calls = listed(block)

    def seen(*, heartbeats: bool = False) -> str:
        lines = (line for line in counted.since(begun).splitlines(keepends=True) if not line.endswith("token\n"))
        return "".join(line for line in lines if (line in HEARTBEAT) is heartbeats)

    with counted.cluster.daemon() as daemon:
        daemon.wait_until_ready()
        begun = len(counted.tape.calls)
        eventually(lambda: seen().count(calls) >= 4, what=seen)
    rounds = seen()[seen().index(calls) :]
    assert (calls * len(rounds)).startswith(rounds), "something else was asked between two rounds"
    heartbeats = seen(heartbeats=True)
    assert heartbeats in listed(HEARTBEAT) * (len(heartbeats) + 1), "a heartbeat asked for something else"


def scripted(counted: Counted, name: str, provider: str, **environment: str) -> str:
    """What a script of benchmarks/ asks the servers."""
    mount, vault = counted.cluster.mount, counted.cluster.base["vault"]["address"]
    given = {"provider": provider, "mount": mount, "accounts": [entry("a")]}
    file = counted.cluster.folder / "input.json"
    file.write_text(json.dumps(given))
    environment |= {"VAULT_ADDR": vault, "VAULT_TOKEN": counted.cluster.bao.root_token.get_secret_value()}
    begun = len(counted.tape.calls)
    subprocess.run([sys.executable, str(SCRIPTS / f"{name}.py"), str(file)], env=environment, check=True)
    return counted.since(begun)


def test_bare_script_sends_requests_of_a_rotation(counted: Counted) -> None:
    counted.open("a")
    counted.cluster.configure([entry("a")])
    counted.calls("rotate-now", "a")
    address = counted.cluster.base["account_api"]["api_url"]
    assert scripted(counted, "bare", address) == listed(START, ROTATION)
    assert bare.JOURNAL.keys() == counted.cluster.journal("a").keys()
    assert len(counted.cluster.emulator.live("keya")) == 1


def test_lean_script_sends_seven_requests(counted: Counted) -> None:
    counted.open("a")
    address = counted.cluster.base["account_api"]["api_url"]
    assert scripted(counted, "lean", address) == listed(LEAN)
    assert len(counted.cluster.emulator.live("keya")) == 1


def test_reference_sends_the_listed_requests(counted: Counted, tmp_path: Path) -> None:
    """The SDK speaks TLS alone, so the provider tells itself what it was asked."""
    counted.open("a")
    authority, emulator = trustme.CA(), counted.cluster.emulator
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = issue(authority, tmp_path)
    with running(emulator, certfile=files["certfile"], keyfile=files["keyfile"]) as url:
        asked = scripted(counted, "reference", url, REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"))
    assert asked == listed(REFERENCE)
    assert [str(request.operation) for request in emulator.requests] == REFERENCE_AT_THE_PROVIDER
    assert [value.get_secret_value() for value in emulator.live("keya").values()] == [
        counted.cluster.document("apps/a")["api_secret"]
    ]
