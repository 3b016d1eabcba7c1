"""Authorities and certificates, as settings and environment name them, on real connections."""

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from rotator.errors import ConfigError
from testkit.cluster import PATIENCE
from tests.net.wire import ANSWERED, CLIENTS, NOT_SENT, Outcome, clean_environment, says, server, vault, write_pem


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    return write_pem(tmp_path, "ca.pem", authority.cert_pem.bytes())


@pytest.fixture
def other_ca(tmp_path: Path) -> Path:
    return write_pem(tmp_path, "other.pem", trustme.CA().cert_pem.bytes())


def serves(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def outcome(client: str, authority: trustme.CA, name: str = "127.0.0.1", **tls: Any) -> Outcome:
    with (
        server(says(200), serves(authority, name)) as good,
        CLIENTS[client](good.address, timeout=PATIENCE, **tls) as opened,
    ):
        return opened.read().outcome


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_ca_file_of_the_environment_is_trusted(
    client: str, variable: str, authority: trustme.CA, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(client, authority) is NOT_SENT
    monkeypatch.setenv(variable, str(ca))
    assert outcome(client, authority) is ANSWERED


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_ca_directory_of_the_environment_is_trusted(
    client: str, variable: str, authority: trustme.CA, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(hashed(ca)))
    assert outcome(client, authority) is ANSWERED


@pytest.mark.parametrize("client", CLIENTS)
def test_setting_outranks_the_environment(
    client: str, authority: trustme.CA, ca: Path, other_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    assert outcome(client, authority, ca_cert=other_ca) is NOT_SENT
    monkeypatch.setenv("SSL_CERT_FILE", "gone")
    assert outcome(client, authority, ca_cert=ca) is ANSWERED


@pytest.mark.parametrize("client", CLIENTS)
def test_ssl_cert_file_outranks_the_bundle_of_requests(
    client: str, authority: trustme.CA, ca: Path, other_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other_ca))
    assert outcome(client, authority) is ANSWERED


def test_changed_ca_file_applies_to_next_connection(authority: trustme.CA, other_ca: Path) -> None:
    with (
        server(says(200), serves(authority)) as good,
        vault(good.address, timeout=PATIENCE, ca_cert=other_ca) as client,
    ):
        assert client.read().outcome is NOT_SENT
        other_ca.write_bytes(authority.cert_pem.bytes() + b"\n")
        assert client.read().outcome is ANSWERED


def test_ca_path_of_vault_is_trusted(authority: trustme.CA, ca: Path, other_ca: Path) -> None:
    folder = hashed(ca)
    assert outcome("vault", authority, ca_path=folder) is ANSWERED
    assert outcome("vault", authority, ca_path=folder, ca_cert=other_ca) is NOT_SENT, "ca_cert comes first"


def test_missing_ca_path_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^vault\.ca_path: /gone cannot be used \(No such file or directory\)\. Name"
    ):
        vault("https://127.0.0.1:1", timeout=PATIENCE, ca_path="/gone").__enter__()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("variable", "content"),
    [
        ("SSL_CERT_FILE", None),
        ("SSL_CERT_FILE", b""),
        ("SSL_CERT_FILE", b"-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"),
        ("SSL_CERT_DIR", b"a file"),
        ("REQUESTS_CA_BUNDLE", b"garbage"),
    ],
)
def test_unusable_variable_is_named(
    client: str, variable: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path if content is None else write_pem(tmp_path, "other.pem", content)
    monkeypatch.setenv(variable, str(place))
    with pytest.raises(ConfigError, match=rf"^{variable}.* {place}.*Correct {variable}"):
        CLIENTS[client]("https://127.0.0.1:1", timeout=PATIENCE).__enter__()


@pytest.mark.parametrize("client", CLIENTS)
def test_unusable_variable_of_a_proxys_ca_is_named(
    client: str, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy.invalid:3128")
    with pytest.raises(ConfigError, match=rf"^SSL_CERT_FILE: {tmp_path} cannot be used"):
        CLIENTS[client]("https://far.invalid", timeout=PATIENCE, ca_cert=ca).__enter__()


@pytest.mark.parametrize("client", CLIENTS)
def test_file_that_became_unusable_is_named(client: str, authority: trustme.CA, ca: Path) -> None:
    with (
        server(says(200), serves(authority)) as good,
        CLIENTS[client](good.address, timeout=PATIENCE, ca_cert=ca) as opened,
    ):
        ca.write_bytes(b"garbage")
        ended = opened.read()
    assert ended.outcome is NOT_SENT
    assert f".ca_cert: {ca} cannot be used" in ended.text


def test_unusable_client_certificate_is_refused(ca: Path, other_ca: Path) -> None:
    """The files do not belong together."""
    with pytest.raises(ConfigError, match=rf"^vault\.client_cert: {ca}, with vault\.client_key: {other_ca} cannot be"):
        vault("https://127.0.0.1:1", timeout=PATIENCE, ca_cert=ca, client_cert=ca, client_key=other_ca).__enter__()


def test_tls_server_name_is_the_name_to_verify(authority: trustme.CA, ca: Path) -> None:
    other = {"ca_cert": ca, "tls_server_name": "vault.example"}
    assert outcome("vault", authority, "vault.example", ca_cert=ca) is NOT_SENT
    assert outcome("vault", authority, "vault.example", **other) is ANSWERED
    assert outcome("vault", authority, "127.0.0.1", **other) is NOT_SENT


def test_client_certificate_of_vault_is_shown(authority: trustme.CA, ca: Path, tmp_path: Path) -> None:
    context = serves(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    own = authority.issue_cert("rotator")
    files: dict[str, Any] = {
        "client_cert": write_pem(tmp_path, "own.pem", *(blob.bytes() for blob in own.cert_chain_pems)),
        "client_key": write_pem(tmp_path, "own.key", own.private_key_pem.bytes()),
    }
    with server(says(200), context) as strict, vault(strict.address, timeout=PATIENCE, ca_cert=ca, **files) as client:
        assert client.read().outcome is ANSWERED


def test_vault_variables_alone_change_no_connection(
    authority: trustme.CA, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They set the configuration; nothing else reads them."""
    monkeypatch.setenv("VAULT_CAPATH", str(hashed(ca)))
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "1")
    for client in CLIENTS:
        assert outcome(client, authority) is NOT_SENT


def hashed(ca: Path) -> Path:
    """A directory as `openssl rehash` makes it."""
    folder = ca.with_name("store")
    folder.mkdir()
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash", "-in", ca], capture_output=True, check=True, text=True
    )
    os.symlink(ca, folder / f"{done.stdout.strip()}.0")
    return folder
