"""Certificates of a server: which authorities rotator trusts, and which certificate it shows."""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi

from rotator.errors import ConfigError
from rotator.net.proxies import Proxy

_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class TlsFailure(OSError):
    """There is no TLS connection, and the server is not the reason.

    Attributes:
        problem: The failure, without foreign text.
        next_step: The advice.
    """

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step


class UnusableCertificates(TlsFailure):
    """A file or a directory with certificates cannot be used. The problem names its setting or its variable."""

    def __init__(self, source: str, error: OSError, next_step: str) -> None:
        super().__init__(f"{source} cannot be used ({_reason(error)})", next_step)


class UntrustedProxy(TlsFailure):
    """A proxy does not show a certificate that rotator trusts."""

    def __init__(self, proxy: Proxy, error: Exception) -> None:
        super().__init__(
            f"There is no TLS connection to {proxy} ({_reason(error)})",
            f"Name the CA of the proxy in SSL_CERT_FILE, or correct {proxy.variable}",
        )


def _reason(error: Exception) -> str:
    """Return OpenSSL's words, without its codes."""
    text = getattr(error, "strerror", None) or str(error)
    return re.sub(r"^\[.*?\] | \(_ssl.*", "", text)


class Tls:
    """How to verify a server, and to be verified by it.

    Without `ca_file` and `ca_path` the environment decides: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else
    `REQUESTS_CA_BUNDLE`. If no variable is set, rotator trusts the CA store of the system, or certifi's if the system
    has none.

    Args:
        section: The section of the configuration that names the files, for errors.
        verify: Whether to verify the server's certificate.
        ca_file: A PEM file with the only authorities to trust.
        ca_path: A directory with the only authorities to trust, as `openssl rehash` names its files.
        client_cert: A PEM file with rotator's certificate.
        client_key: A PEM file with the key of that.
        server_name: The name that the server's certificate must contain; the host of its address if None.

    Raises:
        ConfigError: If a file or a directory does not exist, or cannot be used.
    """

    def __init__(
        self,
        *,
        section: str = "",
        verify: bool = True,
        ca_file: Path | None = None,
        ca_path: Path | None = None,
        client_cert: Path | None = None,
        client_key: Path | None = None,
        server_name: str | None = None,
    ) -> None:
        self.server_name = server_name
        self._verify = verify
        self._client = (client_cert, client_key)
        self._ca_file = ca_file
        self._ca_path = ca_path
        # Each with the advice if it cannot be used.
        self._client_source = (
            f"{section}.client_cert: {client_cert}, with {section}.client_key: {client_key}",
            "Name PEM files with a certificate and with its key, without a password",
        )
        self._ca_source = (
            f"{section}.ca_cert: {ca_file}" if ca_file else f"{section}.ca_path: {ca_path}",
            "Name a PEM file with the certificate of the CA",
        )
        if verify and not (ca_file or ca_path):
            self._ca_file, self._ca_path, variable = _store()
            source = variable or "The CA store of the system"
            paths = " and ".join(str(path) for path in (self._ca_file, self._ca_path) if path)
            advice = "unset it to trust the CA store of the system" if variable else "set SSL_CERT_FILE"
            self._ca_source = (f"{source}: {paths}", f"Correct {source}, or {advice}")
        self._made: tuple[object, ssl.SSLContext] | None = None
        self._check()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection. Files that changed since the last call are read again.

        Raises:
            UnusableCertificates: If a file or a directory cannot be read, or a file contains no certificate.
        """
        stamp = []
        if self._verify:
            with _naming(*self._ca_source):
                stamp = _stamps(self._ca_file, self._ca_path)
        with _naming(*self._client_source):
            stamp += _stamps(*self._client)
        if self._made is None or self._made[0] != stamp:
            self._made = (stamp, self._context())
        return self._made[1]

    def _context(self) -> ssl.SSLContext:
        if self._verify:
            with _naming(*self._ca_source):
                context = ssl.create_default_context(cafile=self._ca_file, capath=self._ca_path)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._client
        if certificate is not None:
            with _naming(*self._client_source):
                context.load_cert_chain(certificate, key, password=lambda: "")  # or OpenSSL asks the terminal
        return context

    def _check(self) -> None:
        try:
            self.context()
        except UnusableCertificates as error:
            raise ConfigError(error.problem, next_step=error.next_step) from None


@contextmanager
def _naming(source: str, next_step: str) -> Iterator[None]:
    """Name the source in the error of a file."""
    try:
        yield
    except OSError as error:  # an SSLError is one
        raise UnusableCertificates(source, error, next_step) from None


def _stamps(*paths: Path | None) -> list[tuple[int, int, int]]:
    """Return values that change with the content of the files."""
    return [(found.st_ino, found.st_mtime_ns, found.st_size) for found in (os.stat(path) for path in paths if path)]


def _store() -> tuple[Path | None, Path | None, str]:
    """The authorities that the environment or the system names: a file, a directory, or both, and the variables."""
    file, folder, bundle = (Path(value) if (value := os.environ.get(name)) else None for name in _CA_VARIABLES)
    for name, path in zip(_CA_VARIABLES, (file, folder, bundle), strict=True):
        if path is not None and not path.exists():
            raise ConfigError(
                f"{name} names {path}, which does not exist",
                next_step=f"Correct {name}, or unset it to trust the CA store of the system",
            )
    if folder is not None and not folder.is_dir():
        raise ConfigError(
            f"SSL_CERT_DIR names {folder}, which is no directory",
            next_step="Correct SSL_CERT_DIR, or name the file in SSL_CERT_FILE",
        )
    if file or folder:
        return file, folder, " and ".join(name for name in _CA_VARIABLES[:2] if os.environ.get(name))
    if bundle:
        return (None, bundle, "REQUESTS_CA_BUNDLE") if bundle.is_dir() else (bundle, None, "REQUESTS_CA_BUNDLE")
    paths = ssl.get_default_verify_paths()  # None in place of what does not exist
    if paths.cafile or (paths.capath and any(os.scandir(paths.capath))):
        return (Path(paths.cafile) if paths.cafile else None, Path(paths.capath) if paths.capath else None, "")
    return Path(certifi.where()), None, ""
