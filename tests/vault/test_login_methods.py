"""Each way to log in, and the files with its credentials."""

import json
import os
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from rotator.config import VaultAuth
from rotator.vault import (
    Vault,
    VaultDenied,
    VaultUnauthorized,
)
from rotator.vault.login_methods import login_method
from testkit.openbao import Issuer, TlsOpenBao, running_token_reviews
from testkit.proxy import FaultProxy
from tests.vault.kv_mount import CANARY, NUMBERS, Clock, KvMount, assert_silent, secure

SECRET = "s.secret000001"
METHODS = {
    "approle": ("secret_id", "secret_id_file"),
    "jwt": ("jwt", "jwt_file"),
    "kubernetes": ("jwt", "jwt_file"),
    "token_file": ("token", "token_file"),
}


def test_refused_login_names_its_path_and_settings(place: KvMount) -> None:
    auth = place.approle() | {"secret_id": SecretStr("secret-id-canary")}
    with pytest.raises(VaultDenied, match=f"login at auth/{auth['mount']}/login.*vault.auth") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert_silent(caught.value, "secret-id-canary")


def test_token_file_is_read_again_after_a_refusal(place: KvMount, tmp_path: Path) -> None:
    policy, file = place.everything(), tmp_path / "token"
    old = place.admin.token(policy)
    file.write_text(old.get_secret_value() + "\n")
    vault = place.vault(auth={"method": "token_file", "token_file": file})
    vault.read("apps/shop")
    place.admin("POST", "auth/token/revoke", {"token": old.get_secret_value()})
    with pytest.raises(VaultDenied, match=f"Put a valid token into {file}"):
        vault.read("apps/shop")
    file.write_text(place.admin.token(policy).get_secret_value())
    assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("content", ["", "two\nwords", "naïve", None], ids=["empty", "two", "accent", "missing"])
def test_token_file_without_a_token_is_named(place: KvMount, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(VaultDenied, match=str(file)) as caught:
        place.vault(auth={"method": "token_file", "token_file": file}).read("apps/shop")
    assert_silent(caught.value, *([content] if content else []))


@pytest.mark.parametrize("key", ["token_file", "jwt_file"])
def test_secret_in_place_of_its_file_is_hidden(place: KvMount, key: str) -> None:
    auth = {"method": key.replace("jwt_file", "jwt"), "role": "rotator", key: Path(CANARY)}
    with pytest.raises(VaultDenied, match=f"vault.auth.{key}: the named file cannot be read") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert_silent(caught.value, CANARY)


def test_jwt_is_read_at_each_login(place: KvMount, tmp_path: Path, proxy: FaultProxy) -> None:
    issuer, mount, file = Issuer(), f"jwt{next(NUMBERS)}", tmp_path / "jwt"
    place.admin("POST", f"sys/auth/{mount}", {"type": "jwt"})
    place.admin("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [issuer.public_pem]})
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": [place.everything()],
    }
    place.admin("POST", f"auth/{mount}/role/rotator", role | {"token_ttl": "60s", "token_type": "batch"})
    clock = Clock()
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_file": file}
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    for subject in ("first", "second"):
        jwt = issuer.sign(sub=subject, aud="vault")
        file.write_text(jwt)
        vault.read("apps/shop")
        logins = [call for call in proxy.calls if call.path.endswith("/login")]
        assert json.loads(logins[-1].body)["jwt"] == jwt
        clock.advance(seconds=50)
    stranger = Issuer().sign(sub="x", aud="vault")
    file.write_text(stranger)
    with pytest.raises(VaultDenied, match=f"auth/{mount}/login") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert_silent(caught.value, stranger)


def test_kubernetes_service_account_logs_in(place: KvMount, tmp_path: Path) -> None:
    with running_token_reviews() as reviews:
        mount, file = f"kubernetes{next(NUMBERS)}", tmp_path / "token"
        account = {"namespace": "apps", "serviceaccount": {"name": "rotator", "uid": "uid-1"}}
        jwt = Issuer().sign(sub="system:serviceaccount:apps:rotator", **{"kubernetes.io": account})
        reviews.accepted[jwt] = "apps:rotator"
        file.write_text(jwt)
        place.admin("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
        ca = trustme.CA().cert_pem.bytes().decode()  # asked for although the host is plain HTTP
        config = {"kubernetes_host": reviews.address, "token_reviewer_jwt": jwt, "disable_local_ca_jwt": True}
        place.admin("POST", f"auth/{mount}/config", config | {"kubernetes_ca_cert": ca})
        role = {"bound_service_account_names": ["rotator"], "bound_service_account_namespaces": ["apps"]}
        place.admin("POST", f"auth/{mount}/role/rotator", role | {"token_policies": [place.everything()]})
        auth = {"method": "kubernetes", "mount": mount, "role": "rotator", "jwt_file": file}
        assert place.vault(auth=auth).write("apps/shop", {"n": 1}, cas=0) == 1
        assert reviews.asked == 1
        file.write_text(Issuer().sign(sub="x"))
        with pytest.raises(VaultDenied, match=f"auth/{mount}/login"):
            place.vault(auth=auth).read("apps/shop")


def test_client_certificate_logs_in(tls: TlsOpenBao) -> None:
    tls.admin("POST", "sys/auth/cert", {"type": "cert"})
    tls.admin.policy("all", 'path "secret/data/*" { capabilities = ["create", "read", "update"] }')
    ca = tls.ca_cert.read_text()
    tls.admin("POST", "auth/cert/certs/rotator", {"certificate": ca, "token_policies": ["all"]})
    pair = {"client_cert": tls.client_cert, "client_key": tls.client_key}
    for role in (None, "rotator"):
        vault = Vault(secure(tls, auth={"method": "cert", "role": role}, **pair))
        assert vault.read("apps/shop").version == 0
    with pytest.raises(VaultDenied, match="auth/cert/login"):
        Vault(secure(tls, auth={"method": "cert", "role": "nobody"}, **pair)).read("apps/shop")


def auth(method: str, file: Path) -> VaultAuth:
    settings: dict[str, dict[str, object]] = {
        "approle": {"role_id": "r", "secret_id_file": file},
        "jwt": {"role": "r", "jwt_file": file},
        "kubernetes": {"role": "r", "jwt_file": file},
        "token_file": {"token_file": file},
    }
    return VaultAuth.model_validate({"method": method, **settings[method]})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", [SECRET, SECRET + "\r\n", "\ufeff" + SECRET + "\n"])
def test_login_method_reads_the_line(method: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    assert login_method(auth(method, file)).credentials()[METHODS[method][0]] == SECRET


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["fifo", "device", "large", "missing", "lines", "blanks", "empty", "two words"])
def test_login_method_refuses_other_files_at_once(method: str, kind: str, tmp_path: Path) -> None:
    """A FIFO without a writer would block the session for ever, an endless file would fill the memory."""
    file = tmp_path / "secret"
    texts = {"lines": f"{SECRET}\n{SECRET}\n", "blanks": f" {SECRET}", "empty": "\n", "two words": f"{SECRET} x"}
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file = Path("/dev/zero")
    elif kind == "large":
        file.write_text("x" * 100_000)
    elif kind in texts:
        file.write_text(texts[kind])
    with pytest.raises(VaultUnauthorized) as caught:
        login_method(auth(method, file)).credentials()
    message = str(caught.value)
    assert str(file) in message
    assert f"vault.auth.{METHODS[method][1]}" in message
    assert "Nothing was written" in message
    assert SECRET not in message
