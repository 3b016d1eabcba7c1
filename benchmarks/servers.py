"""The servers that contenders are measured against, and how a contender is run; shared by the benchmarks.

OpenBao and the emulated provider are processes of their own, so that what they spend does not count as a contender's.
Where there are two cores they and the harness keep to the first one, and the contender has the others to itself.
"""

import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import httpx
import trustme
from pydantic import SecretStr

from rotator.core.generator import Recipe, generate
from rotator.demo import free_port, serving

HERE = Path(__file__).parent
PYTHON = sys.executable
ROTATOR = str(Path(PYTHON).with_name("rotator"))
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, CONTENDER_CORES = (CORES[:1], CORES[1:]) if len(CORES) > 1 else (CORES, CORES)


@dataclass(frozen=True)
class Spent:
    """What a process took, from its start to its end.

    Attributes:
        wall: Seconds that went by.
        cpu: Seconds of CPU, user and system, of the process and the ones it waited for.
        out: What it wrote to standard output.
    """

    wall: float
    cpu: float
    out: str


@dataclass(frozen=True)
class Account:
    """An account of a fleet."""

    name: str
    api_key: str
    path: str
    first: SecretStr


@dataclass(frozen=True)
class Servers:
    """An OpenBao and a provider that are up, and the accounts there.

    Attributes:
        vault: Where OpenBao answers.
        provider: Where the provider does.
        ca: The CA of both; None if they speak plain HTTP.
        pids: Of the two servers' processes.
        pinned: Whether servers and contenders have cores of their own.
    """

    folder: Path
    vault: str
    provider: str
    token: SecretStr
    ca: Path | None
    fleets: Mapping[str, Sequence[Account]]
    pids: Sequence[int]
    pinned: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """What a contender finds: the servers' certificate and Vault's token, no proxy, no other configuration.

        rotator's modules are compiled, as those of an installed package are.
        """
        mine = ("VAULT_", "BAO_", "ROTATOR_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
        kept |= {"VAULT_ADDR": self.vault, "VAULT_TOKEN": self.token.get_secret_value()}
        if self.ca is not None:
            kept |= dict.fromkeys(("VAULT_CACERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.ca))
        return kept

    def configuration(self, fleet: str, count: int) -> Path:
        """rotator's for the first accounts of a fleet: defaults but for the pace, and without grace.

        The consistency window is short, because an account's first rotation waits for it. No other one does.
        """
        file = self.folder / f"{fleet}-{count}.toml"
        tls = [] if self.ca is None else [f"ca_cert = {json.dumps(str(self.ca))}"]
        lines = ["[vault]", f'address = "{self.vault}"', *tls]
        lines += ["[account_api]", f'api_url = "{self.provider}"', f'rest_url = "{self.provider}"', *tls]
        lines += ["max_calls_per_second = 10000", 'consistency_window = "100ms"', "[defaults]", 'grace = "0s"']
        for account in self.fleets[fleet][:count]:
            lines += ["[[accounts]]", f'name = "{account.name}"', f'api_key = "{account.api_key}"']
            lines += [f'path = "{account.path}"']
        file.write_text("\n".join(lines))
        return file

    def script_input(self, fleet: str, count: int) -> Path:
        """What the scripts are told: where the provider is, and the first accounts of a fleet."""
        file = self.folder / f"{fleet}-{count}.json"
        accounts = [
            {"name": account.name, "api_key": account.api_key, "path": account.path}
            for account in self.fleets[fleet][:count]
        ]
        file.write_text(json.dumps({"provider": self.provider, "mount": "secret", "accounts": accounts}))
        return file

    def rotate(self, fleet: str, count: int, *, concurrency: int = 8, options: Sequence[str] = ()) -> Spent:
        """Have rotator rotate the first accounts of a fleet, as a user would; sure that each got a new secret."""
        environment = {"ROTATOR_DAEMON__CONCURRENCY": str(concurrency)}
        config = self.configuration(fleet, count)
        command = [ROTATOR, "rotate-now", "--all", "--json", *options, "--config", str(config)]
        spent = self.run(command, environment)
        found = json.loads(spent.out)
        whole = count if not options else len(found["accounts"])
        if (found["rotated"], found["revoked"], found["ok"]) != (whole, whole, whole):
            raise AssertionError(f"not every account was rotated: {spent.out[-2000:]}")
        return spent

    def script(self, name: str, fleet: str, count: int, *options: str) -> Spent:
        """Have a script of this folder rotate them."""
        return self.run([PYTHON, str(HERE / f"{name}.py"), str(self.script_input(fleet, count)), *options])

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Spent:
        """Run a contender to its end, on its cores.

        Raises:
            AssertionError: If it fails.
        """
        with (
            tempfile.TemporaryFile("w+", dir=self.folder) as out,
            tempfile.TemporaryFile("w+", dir=self.folder) as err,
        ):
            begun = time.perf_counter()
            cores = CONTENDER_CORES if self.pinned else CORES
            process = start(command, {**self.environment, **(environment or {})}, out, err, cores)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if process.returncode != 0:
                raise AssertionError(f"{command[:3]} ended with {process.returncode}: {err.read()[-2000:]}")
            return Spent(wall, usage.ru_utime + usage.ru_stime, out.read())

    def cpu(self) -> float:
        """Seconds of CPU that the servers took so far."""
        return sum(map(cpu, self.pids))

    def verify(self, fleet: str) -> None:
        """Make sure that every account's published secret works and is the only one.

        Raises:
            AssertionError: If one is not.
        """
        tls = ssl.create_default_context(cafile=self.ca)
        token = {"X-Vault-Token": self.token.get_secret_value()}

        def one(account: Account) -> None:
            published = client.get(f"{self.vault}/v1/secret/data/{account.path}", headers=token).json()["data"]["data"]
            auth = (account.api_key, published["api_secret"])
            listed = client.get(f"{self.provider}/accounts/{account.api_key}/secrets", auth=auth)
            listed.raise_for_status()
            ids = [secret["id"] for secret in listed.json()["_embedded"]["secrets"]]
            assert ids == [published["secret_id"]], f"{account.name}: {ids} live, {published['secret_id']} published"

        with httpx.Client(verify=tls, trust_env=False, timeout=60) as client, ThreadPoolExecutor(8) as pool:
            list(pool.map(one, self.fleets[fleet]))


def start(
    command: Sequence[str], environment: Mapping[str, str], out: Any, err: Any, cores: Sequence[int] = CONTENDER_CORES
) -> "subprocess.Popen[str]":
    """Start a contender on its cores."""
    pin = ["taskset", "-c", ",".join(map(str, cores))]
    return subprocess.Popen([*pin, *command], env=environment, stdout=out, stderr=err, text=True)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def among_servers() -> Iterator[None]:
    """Keep this process, and whatever it starts meanwhile, to the servers' cores."""
    os.sched_setaffinity(0, SERVER_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@contextmanager
def running(
    fleets: Mapping[str, int],
    *,
    tls: bool = True,
    public_cas: bool = False,
    latency: str = "0",
    pinned: bool = True,
) -> Iterator[Servers]:
    """Start both servers with accounts that each have one secret, which is published.

    Args:
        fleets: How many accounts, by what their fleet is called.
        tls: Whether both servers speak TLS.
        public_cas: Whether the CAs that all the world trusts stand in the CA file, too, as they do in production.
        latency: How late every answer of the provider comes.
        pinned: Whether the servers have the first core and the contenders the others. Otherwise all share all cores.
    """
    accounts = {
        fleet: [
            Account(f"{fleet}-{number:05}", f"{fleet}{number:05}", f"apps/{fleet}/{number:05}", generate(Recipe()))
            for number in range(count)
        ]
        for fleet, count in fleets.items()
    }
    placement = among_servers() if pinned else nullcontext()
    with tempfile.TemporaryDirectory() as name, placement:
        folder = Path(name)
        files = _certificates(folder, public_cas=public_cas) if tls else None
        with (
            _openbao(folder, files) as (vault, token, guard),
            _provider(folder, [one for fleet in accounts.values() for one in fleet], files, latency) as (provider, pid),
        ):
            [bao] = map(int, Path(f"/proc/{guard}/task/{guard}/children").read_text().split())
            made = Servers(folder, vault, provider, token, files["ca"] if files else None, accounts, (bao, pid), pinned)
            _publish(made)
            yield made


def _certificates(folder: Path, *, public_cas: bool) -> dict[str, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    public = Path(certifi.where()).read_bytes() if public_cas else b""
    files["ca"].write_bytes(authority.cert_pem.bytes() + public)
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    return files


@contextmanager
def _openbao(folder: Path, files: Mapping[str, Path] | None) -> Iterator[tuple[str, SecretStr, int]]:
    token = SecretStr(secrets.token_urlsafe(24))
    arguments = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{free_port()}"]
    address = f"http://{arguments[-1].partition('=')[2]}"
    if files is not None:
        listener = {"address": f"127.0.0.1:{free_port()}"}
        listener |= {"tls_cert_file": str(files["certificate"]), "tls_key_file": str(files["key"])}
        (folder / "bao.json").write_text(json.dumps({"listener": {"tcp": listener}}))
        arguments += ["-config", str(folder / "bao.json")]
        address = f"https://{listener['address']}"
    context = ssl.create_default_context(cafile=files["ca"]) if files else None
    environment = {"BAO_DEV_ROOT_TOKEN_ID": token.get_secret_value()}
    with serving(address, arguments, environment, tls=context) as (guard, _):
        yield address, token, guard


@contextmanager
def _provider(
    folder: Path, accounts: Sequence[Account], files: Mapping[str, Path] | None, latency: str
) -> Iterator[tuple[str, int]]:
    command = [ROTATOR, "emulator", "--port", "0", "--latency", latency]
    if files is not None:
        command += ["--tls-cert", str(files["certificate"]), "--tls-key", str(files["key"])]
    for account in accounts:  # made-up secrets: nothing else may be put among arguments
        command += ["--account", f"{account.api_key}:{account.first.get_secret_value()}"]
    said = folder / "emulator"
    with said.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        while not (found := re.search(r" at (http\S+) ", said.read_text())):
            assert process.poll() is None, said.read_text()
            time.sleep(0.05)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def _publish(servers: Servers) -> None:
    """Put every account's first secret into Vault."""
    headers = {"X-Vault-Token": servers.token.get_secret_value()}
    context = ssl.create_default_context(cafile=servers.ca)
    everyone = [account for fleet in servers.fleets.values() for account in fleet]

    def one(account: Account) -> None:
        data = {"api_key": account.api_key, "api_secret": account.first.get_secret_value()}
        client.post(f"/v1/secret/data/{account.path}", json={"data": data}).raise_for_status()

    with (
        httpx.Client(base_url=servers.vault, headers=headers, verify=context, trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(one, everyone))
