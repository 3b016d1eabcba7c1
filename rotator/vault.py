"""Vault's KV v2 documents with check-and-set, and the session that reaches them; imports config, logs and errors.

OpenBao speaks the same protocol; every fact about the server below was tried on it.

VaultError
├── VaultUnreachable   no usable answer: a write may or may not have happened
│   └── VaultSealed    the server is there, but sealed
├── VaultDenied        the token is refused, or its policy lacks something
├── WrongMount         the mount does not exist or is not KV version 2 (exit code 2)
└── CasConflict        somebody else wrote the document first
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import hvac
import requests
import stamina
import structlog
from hvac import exceptions as answers
from pydantic import SecretStr

from rotator.config import VaultSettings
from rotator.errors import RotatorError
from rotator.logs import conceal

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_READ_ATTEMPTS = 3
_WRITE_ATTEMPTS = 3
_log = structlog.get_logger()
T = TypeVar("T")


class VaultError(RotatorError):
    """Vault answered badly, or not at all."""


class VaultUnreachable(VaultError):
    """There was no usable answer. A write may have happened all the same."""


class VaultSealed(VaultUnreachable):
    """The server is sealed: somebody has to unseal it."""


class VaultDenied(VaultError):
    """The token is refused, or its policy does not allow the request."""


class WrongMount(VaultError):
    """vault.mount does not name a KV version 2 mount that the token can see."""

    exit_code = 2


class CasConflict(VaultError):
    """The document is at another version than the one this write was based on; it was not touched."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was changed by somebody else meanwhile", unchanged="It was left as they wrote it")
        self.path = path


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document.

    Attributes:
        version: Its KV version; 0 if it was never written. A check-and-set write over it gives this number.
        data: What it holds; None if it was never written, or this version was deleted.
    """

    version: int
    data: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Health:
    """What an unauthenticated look at the server tells."""

    version: str
    sealed: bool
    standby: bool


@dataclass(frozen=True, slots=True)
class _Token:
    """The token in use, until when, and from when on it is to be renewed (None: never)."""

    expires_at: datetime | None
    renew_at: datetime | None
    renewable: bool


class Vault:
    """A session with one Vault server; safe to use from several threads.

    It logs in at the first request, renews its token at two thirds of its life and logs in again when it must.

    Args:
        settings: Where Vault is and how to log in.
        pool_size: How many requests may be under way at once.
        clock: Tells the time, aware UTC.
    """

    def __init__(
        self,
        settings: VaultSettings,
        *,
        pool_size: int = 8,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._token: _Token | None = None
        if not settings.verify:
            _log.warning("vault.tls_verification_off", address=settings.address)
        self._client = hvac.Client(
            url=settings.address,
            token="",  # an empty one keeps hvac from looking into the environment and the home directory
            cert=_pair(settings),
            verify=_verify(settings),
            timeout=settings.timeout.total_seconds(),  # type: ignore[arg-type] # requests takes fractions
            namespace=settings.namespace,
            session=_session(settings, pool_size),
        )

    # --- documents -------------------------------------------------------------------------------------------

    def read(self, path: str, version: int | None = None) -> Document:
        """The current version of a document, or an older one.

        Args:
            path: Below vault.mount.
            version: Which; the newest if None.

        Raises:
            VaultError: If it could not be read. That it does not exist is no error.
        """

        def request(client: hvac.Client) -> Any:
            try:
                return client.secrets.kv.v2.read_secret_version(
                    path=path, version=version, mount_point=self._settings.mount, raise_on_deleted_version=False
                )
            except answers.InvalidPath:
                return None

        answer = self._read("read", self.data_path(path), request)
        if answer is None:
            return Document(version=0, data=None)
        try:
            data, metadata = answer["data"]["data"], answer["data"]["metadata"]
            return Document(version=int(metadata["version"]), data=data if isinstance(data, dict) else None)
        except (TypeError, KeyError, ValueError):
            raise self._unreadable(self.data_path(path)) from None

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document over the version that was read, and over no other.

        If the answer is lost the document is read again to see whether the write happened. A conflict may be
        with one's own write, whose answer was lost on the way: so that is looked at, too.

        Args:
            path: Below vault.mount.
            data: All of it; values may be SecretStr.
            cas: The version it replaces; 0 if there is none.

        Returns:
            The new version.

        Raises:
            CasConflict: If somebody else wrote it first.
            VaultError: If it could not be written, or that could not be found out.
        """
        plain = _reveal(data)
        lost: VaultUnreachable | None = None
        for _ in range(_WRITE_ATTEMPTS):
            try:
                return self._write(path, plain, cas)
            except VaultUnreachable as error:
                lost = error
                current = self.read(path)
            except CasConflict:
                current = self.read(path)
                if current.version == cas:
                    raise
            if current.version == cas + 1 and current.data == plain:
                return current.version
            if current.version != cas:
                raise CasConflict(path)
        raise lost or CasConflict(path)

    def _write(self, path: str, plain: dict[str, Any], cas: int) -> int:
        def request(client: hvac.Client) -> Any:
            return client.secrets.kv.v2.create_or_update_secret(
                path=path, secret=plain, cas=cas, mount_point=self._settings.mount
            )

        try:
            answer = self._authorized("write", self.data_path(path), request)
        except answers.InvalidRequest as error:
            if "check-and-set" in str(error):
                raise CasConflict(path) from None
            raise VaultError(
                f"Vault refuses the write to {path}: {_said(error)}", unchanged="It was not written"
            ) from None
        try:
            return int(answer["data"]["version"])
        except (TypeError, KeyError, ValueError):
            raise self._unreadable(self.data_path(path)) from None

    def data_path(self, path: str) -> str:
        """The API path of a document, as policies name it."""
        return f"{self._settings.mount}/data/{path}"

    # --- what `check` and the preflight look at ----------------------------------------------------------------

    def health(self) -> Health:
        """Whether the server is there, unsealed and active; needs no login.

        Raises:
            VaultUnreachable: If there is no usable answer.
        """
        options = {"standbyok": "true", "perfstandbyok": "true", "sealedcode": "200", "uninitcode": "200"}
        answer = self._repeat(lambda: self._client.adapter.get("/v1/sys/health", params=options))
        try:
            return Health(str(answer["version"]), bool(answer["sealed"]), bool(answer["standby"]))
        except (TypeError, KeyError):
            raise self._unreadable("sys/health") from None

    def check_mount(self) -> None:
        """Make sure that the mount is a KV version 2 one.

        Raises:
            WrongMount: If it is not, or the token cannot see it.
            VaultError: If that could not be found out.
        """
        mount = self._settings.mount
        next_step = "Look at vault.mount, or: vault secrets list -detailed"
        try:
            answer = self._read("read", "", lambda client: client.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}"))
        except VaultDenied as denied:
            if not self._token_works():
                raise denied from None
            raise WrongMount(
                f'Vault has no mount "{mount}" that rotator\'s token may see',
                unchanged="Nothing was written anywhere",
                next_step=next_step,
            ) from None
        try:
            data = answer["data"]
            kind, version, path = data["type"], (data.get("options") or {}).get("version"), data["path"]
        except (TypeError, KeyError):
            raise self._unreadable("sys/internal/ui/mounts") from None
        if kind != "kv" or version != "2" or path.rstrip("/") != mount:
            described = f"KV version {version or 1}" if kind == "kv" else f'of type "{kind}"'
            raise WrongMount(
                f'Vault\'s mount "{path.rstrip("/")}" is {described}; vault.mount has to name a KV version 2 one',
                unchanged="Nothing was written anywhere",
                next_step=next_step,
            )

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """What the token may do at each of these API paths, asked in one request.

        Raises:
            VaultError: If that could not be found out.
        """
        answer = self._read(
            "update",
            "sys/capabilities-self",
            lambda client: client.adapter.post("/v1/sys/capabilities-self", json={"paths": list(paths)}),
        )
        try:
            return {path: frozenset(answer["data"][path]) for path in paths}
        except (TypeError, KeyError):
            raise self._unreadable("sys/capabilities-self") from None

    # --- requests ----------------------------------------------------------------------------------------------

    def _read(self, operation: str, path: str, request: Callable[[hvac.Client], T]) -> T:
        """A request that changes nothing: repeated a few times if it is not answered."""
        return self._repeat(lambda: self._authorized(operation, path, request))

    def _repeat(self, request: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=_worth_repeating, attempts=_READ_ATTEMPTS, wait_initial=0.2, wait_max=2.0, timeout=None
        ):
            with attempt, self._translated():
                return request()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _authorized(self, operation: str, path: str, request: Callable[[hvac.Client], T]) -> T:
        """Send a request with a token that is good for it; on a 403 log in once more before giving up."""
        token = self._valid_token()
        with self._translated():
            try:
                return request(self._client)
            except answers.Forbidden:
                pass
        if self._log_in_again(token):
            with self._translated():
                try:
                    return request(self._client)
                except answers.Forbidden:
                    pass
        raise self._denied(operation, path)

    def _translated(self) -> "_Translated":
        return _Translated(self._settings)

    def _denied(self, operation: str, path: str) -> VaultDenied:
        if not self._token_works():
            return VaultDenied(
                "Vault refuses rotator's token, and logging in again did not help",
                unchanged="Nothing was written",
                next_step="Give it a new token, or look at vault.auth: rotator check",
            )
        wanted = {"read": ["read"], "write": ["create", "update"]}.get(operation, [operation])
        capabilities = ", ".join(f'"{capability}"' for capability in wanted)
        return VaultDenied(
            f"Vault's policy does not let rotator {operation} {path}",
            unchanged="Nothing was written there",
            next_step=f'Add to its policy: path "{path}" {{ capabilities = [{capabilities}] }}',
        )

    def _unreadable(self, path: str) -> VaultError:
        return VaultUnreachable(
            f"The answer for {path} is not one of Vault's",
            next_step=f"Make sure that {self._settings.address} is Vault's address, not a proxy's",
        )

    # --- the token ---------------------------------------------------------------------------------------------

    def _valid_token(self) -> _Token:
        with self._lock:
            now = self._clock()
            token = self._token
            if token is None:
                token = self._log_in()
            elif token.renew_at is not None and now >= token.renew_at:
                token = self._renew(token)
            self._token = token
            return token

    def _log_in_again(self, refused: _Token) -> bool:
        """Whether there is another token to try than the refused one."""
        with self._lock:
            if self._token is not refused:
                return True  # another thread has done it already
            if self._settings.auth.method == "token":
                return False
            _log.info("vault.login_again")
            self._token = self._log_in()
            return True

    def _log_in(self) -> _Token:
        auth = self._settings.auth
        self._client.token = ""
        if auth.method in ("token", "token_file"):
            secret = auth.token if auth.method == "token" else SecretStr(_content(auth.token_file, "token_file"))
            assert secret is not None  # noqa: S101 - the settings were checked
            self._client.token = conceal(secret).get_secret_value()
            return self._look_up()
        mount = auth.mount or auth.method
        try:
            with self._translated():
                answer = self._client.adapter.post(f"/v1/auth/{mount}/login", json=self._login())
            granted = answer["auth"]
            self._client.token = conceal(SecretStr(granted["client_token"])).get_secret_value()
            return self._granted(granted["lease_duration"], renewable=bool(granted["renewable"]))
        except (answers.VaultError, TypeError, KeyError) as error:
            raise VaultDenied(
                f"Vault refuses the {auth.method} login at auth/{mount}: {_said(error)}",
                unchanged="Nothing was written",
                next_step="Look at vault.auth and at the role in Vault",
            ) from None

    def _login(self) -> dict[str, str | None]:
        auth = self._settings.auth
        if auth.method == "approle":
            secret_id = auth.secret_id or SecretStr(_content(auth.secret_id_file, "secret_id_file"))
            return {"role_id": auth.role_id, "secret_id": conceal(secret_id).get_secret_value()}
        if auth.method == "cert":
            return {"name": auth.role} if auth.role else {}
        jwt = SecretStr(_content(auth.jwt_file or KUBERNETES_JWT, "jwt_file"))  # it is rotated: read at each login
        return {"role": auth.role, "jwt": conceal(jwt).get_secret_value()}

    def _look_up(self) -> _Token:
        try:
            with self._translated():
                data = self._client.adapter.get("/v1/auth/token/lookup-self")["data"]
            return self._granted(data["ttl"], renewable=bool(data.get("renewable")))
        except (answers.VaultError, TypeError, KeyError) as error:
            raise VaultDenied(
                f"Vault refuses the token: {_said(error)}",
                unchanged="Nothing was written",
                next_step="Give rotator a valid one in VAULT_TOKEN, or let it log in by itself (vault.auth)",
            ) from None

    def _token_works(self) -> bool:
        try:
            self._look_up()
        except VaultError:
            return False
        return True

    def _renew(self, token: _Token) -> _Token:
        """A renewed token; a new one where it cannot be renewed; the old one as long as there is nothing better."""
        if token.renewable:
            try:
                with self._translated():
                    granted = self._client.adapter.post("/v1/auth/token/renew-self", json={})["auth"]
                return self._granted(granted["lease_duration"], renewable=bool(granted["renewable"]))
            except (answers.VaultError, VaultError, TypeError, KeyError) as error:
                _log.warning("vault.renewal_failed", error=_said(error))
        if self._settings.auth.method != "token":
            return self._log_in()
        until = token.expires_at.isoformat() if token.expires_at else "unknown"
        _log.warning("vault.token_ends", until=until, next_step="Give rotator a new VAULT_TOKEN before then")
        return _Token(token.expires_at, None, renewable=False)

    def _granted(self, seconds: int, *, renewable: bool) -> _Token:
        if not seconds:
            return _Token(None, None, renewable=False)  # a root token, which never ends
        now, life = self._clock(), timedelta(seconds=seconds)
        return _Token(now + life, now + life * 2 / 3, renewable=renewable)


class _Translated:
    """Turns what went wrong on the way into VaultUnreachable, without the request, which holds the token.

    What the server said by intention (400, 403, 404) passes, for the caller to make sense of.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        address = self._settings.address
        if isinstance(error, requests.exceptions.SSLError):
            raise VaultUnreachable(
                f"The certificate of {address} cannot be verified",
                unchanged="Nothing was written",
                next_step="Name the CA that signed it in vault.ca_cert",
            ) from None
        if isinstance(error, requests.exceptions.RequestException):
            raise VaultUnreachable(
                f"Vault at {address} does not answer ({type(error).__name__})",
                next_step="Look at the server and the network: rotator check",
            ) from None
        if isinstance(error, answers.VaultDown) and "sealed" in str(error):
            raise VaultSealed(
                f"Vault at {address} is sealed", unchanged="Nothing was written", next_step="Unseal it"
            ) from None
        if isinstance(error, answers.VaultError) and not isinstance(error, _MEANT):
            raise VaultUnreachable(
                f"Vault at {address} is in trouble: {_said(error)}", next_step="Look at the server: rotator check"
            ) from None


_MEANT = (answers.InvalidRequest, answers.Unauthorized, answers.Forbidden, answers.InvalidPath)


def _worth_repeating(error: Exception) -> bool:
    if isinstance(error, VaultSealed) or "certificate" in str(error):
        return False
    return isinstance(error, VaultUnreachable)


def _said(error: Exception) -> str:
    """The server's words in one line; never the request."""
    errors = getattr(error, "errors", None)
    text = "; ".join(map(str, errors)) if isinstance(errors, list) else getattr(error, "what", type(error).__name__)
    return " ".join(text.split())[:300] or type(error).__name__


def _content(file: Path | None, setting: str) -> str:
    assert file is not None  # noqa: S101 - the settings were checked
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise VaultDenied(
            f"{file} (vault.auth.{setting}) cannot be read",
            unchanged="Nothing was written",
            next_step="Look at the file",
        ) from None


def _reveal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON: the last moment before a secret leaves for Vault."""
    plain: dict[str, Any] = json.loads(json.dumps(data, default=SecretStr.get_secret_value))
    return plain


def _pair(settings: VaultSettings) -> tuple[str, str] | None:
    if settings.client_cert is None:
        return None
    return str(settings.client_cert), str(settings.client_key)


def _verify(settings: VaultSettings) -> bool | str:
    return str(settings.ca_cert) if settings.verify and settings.ca_cert else settings.verify


def _session(settings: VaultSettings, pool_size: int) -> requests.Session:
    session = requests.Session()
    # Nothing but the settings decides: no REQUESTS_CA_BUNDLE in place of ca_cert, no .netrc, no proxy.
    session.trust_env = False
    session.verify, session.cert = _verify(settings), _pair(settings)
    adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session
