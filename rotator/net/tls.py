"""Certificates of a server: which authorities rotator trusts, and which certificate it shows."""

import os
import ssl
from pathlib import Path

import certifi

from rotator.errors import ConfigError

_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class Tls:
    """How to verify a server, and to be verified by it.

    Without `ca_file` and `ca_path` the environment decides: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else
    `REQUESTS_CA_BUNDLE`. If no variable is set, rotator trusts the CA store of the system, or certifi's if the system
    has none.

    Args:
        verify: Whether to verify the server's certificate.
        ca_file: A PEM file with the only authorities to trust.
        ca_path: A directory with the only authorities to trust, as `openssl rehash` names its files.
        client_cert: A PEM file with rotator's certificate.
        client_key: A PEM file with the key of that.
        server_name: The name that the server's certificate must contain; the host of its address if None.

    Raises:
        ConfigError: If a variable names a file or a directory that does not exist.
    """

    def __init__(
        self,
        *,
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
        if verify and not (ca_file or ca_path):
            self._ca_file, self._ca_path = _store()
        self._made: tuple[object, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection. Files that changed since the last call are read again.

        Raises:
            OSError: If a file or a directory cannot be read, or a file contains no certificate.
        """
        files = [self._ca_file, self._ca_path, *self._client] if self._verify else self._client
        stamp = [
            (found.st_ino, found.st_mtime_ns, found.st_size) for found in (os.stat(file) for file in files if file)
        ]
        if self._made is None or self._made[0] != stamp:
            self._made = (stamp, self._context())
        return self._made[1]

    def _context(self) -> ssl.SSLContext:
        if self._verify:
            context = ssl.create_default_context(cafile=self._ca_file, capath=self._ca_path)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._client
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=lambda: "")  # or OpenSSL asks the terminal
        return context


def _store() -> tuple[Path | None, Path | None]:
    """The authorities that the environment or the system names: a file, a directory, or both."""
    file, folder, bundle = (Path(value) if (value := os.environ.get(name)) else None for name in _CA_VARIABLES)
    for name, path in zip(_CA_VARIABLES, (file, folder, bundle), strict=True):
        if path is not None and not path.exists():
            raise ConfigError(
                f"{name} names {path}, which does not exist",
                next_step=f"Correct {name}, or unset it to trust the CA store of the system",
            )
    if file or folder:
        return file, folder
    if bundle:
        return (None, bundle) if bundle.is_dir() else (bundle, None)
    paths = ssl.get_default_verify_paths()  # None in place of what does not exist
    if paths.cafile or (paths.capath and any(os.scandir(paths.capath))):
        return (Path(paths.cafile) if paths.cafile else None, Path(paths.capath) if paths.capath else None)
    return Path(certifi.where()), None
