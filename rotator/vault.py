"""Vault's KV v2 documents with check-and-set, and the session that reaches them; imports config, logs and errors.

OpenBao speaks the same protocol; every fact about the server below was tried on OpenBao 2.7.2.

VaultError
├── VaultUnreachable    no usable answer: a write may or may not have happened
│   ├── VaultSealed     the server is there, but sealed
│   └── VaultUntrusted  the certificates do not fit: nothing was sent
├── VaultDenied         the token is refused, or its policy lacks something
├── WrongMount          the mount does not exist or is not KV version 2 (exit code 2)
└── CasConflict         somebody else wrote the document first
"""

import ipaddress
import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import hvac
import requests
import stamina
import structlog
import urllib3
from hvac import exceptions as answers
from pydantic import SecretStr

from rotator.config import VaultSettings
from rotator.errors import RotatorError
from rotator.logs import conceal

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_READ_ATTEMPTS = 3
_WRITE_ATTEMPTS = 3
# A token younger than this has its role's present policies: logging in again because of them would gain nothing.
_FRESH = timedelta(minutes=1)
_log = structlog.get_logger()
T = TypeVar("T")


class VaultError(RotatorError):
    """Vault answered badly, or not at all."""


class VaultUnreachable(VaultError):
    """There was no usable answer. A write may have happened all the same."""


class VaultSealed(VaultUnreachable):
    """The server is sealed: somebody has to unseal it."""


class VaultUntrusted(VaultUnreachable):
    """There is no TLS connection, because a certificate does not fit; asking again would not help."""


class VaultDenied(VaultError):
    """The token is refused, or its policy does not allow the request."""


class _Forbidden(VaultError):
    """A 403, before it is known what it is about."""

    @property
    def by_policy(self) -> bool:
        """Whether a policy was asked at all: an invalid token is refused before that, in other words (seen)."""
        return "1 error occurred" in self.what


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
        data: What it holds; None if it was never written, or this version was deleted or destroyed.
        created: When this version was written.
    """

    version: int
    data: Mapping[str, Any] | None = field(repr=False)
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What an unauthenticated look at the server tells."""

    version: str
    sealed: bool
    standby: bool


@dataclass(frozen=True, slots=True)
class _Grant:
    """A token in use.

    Never changed, only replaced: a request that began with one token ends with it, whatever other threads do.

    Attributes:
        client: Asks with this token.
        since: When it was obtained, by a login.
        life: How long it was to live then; None if it never ends or may not say.
        expires_at: When it ends.
        renew_at: From when on it is to be renewed; None: never.
        renewable: Whether Vault says that it can be.
    """

    client: hvac.Client = field(repr=False)
    since: datetime
    life: timedelta | None = None
    expires_at: datetime | None = None
    renew_at: datetime | None = None
    renewable: bool = False

    def lasting(self, now: datetime, seconds: int, *, renewable: bool) -> "_Grant":
        """This token with the time that Vault gives it; 0 seconds is what a root token has, which never ends."""
        if not seconds:
            return replace(self, life=None, expires_at=None, renew_at=None, renewable=False)
        left = timedelta(seconds=seconds)
        life = max(left, self.life or left)
        return replace(self, life=life, expires_at=now + left, renew_at=now + left * 2 / 3, renewable=renewable)

    def shrunk(self, now: datetime) -> bool:
        """Whether less than half of its life is left."""
        return bool(self.life and self.expires_at and self.expires_at - now < self.life / 2)

    def postponed(self, now: datetime) -> "_Grant":
        """The same, to be renewed when a third of what is left is over; never, if nothing is."""
        if self.expires_at is None or self.expires_at <= now:
            return replace(self, renew_at=None)
        return replace(self, renew_at=now + (self.expires_at - now) / 3)


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
        self._lock = threading.Lock()  # held while logging in or renewing
        self._current: _Grant | None = None
        self._http = _session(settings, pool_size)
        if not settings.verify:
            _log.warning("vault.tls_verification_off", address=settings.address)
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it would say so at every request

    # --- documents -------------------------------------------------------------------------------------------

    def read(self, path: str, version: int | None = None) -> Document:
        """The current version of a document, or an older one.

        Args:
            path: Below vault.mount.
            version: Which; the newest if None.

        Raises:
            WrongMount: If there is no such mount or namespace.
            VaultError: If it could not be read. That it does not exist is no error.
        """
        api_path = self.data_path(path)

        def request(client: hvac.Client) -> Any:
            try:
                return client.adapter.get(f"/v1/{api_path}", params={} if version is None else {"version": version})
            except answers.InvalidPath as error:
                answer = _absent(error)
                if answer is None:
                    raise
                return answer

        answer = self._read("read", api_path, request)
        try:
            return _document(answer["data"])
        except (TypeError, KeyError, ValueError):
            pass
        raise self._unreadable(api_path)

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document over the version that was read, and over no other.

        If the answer is lost the document is read again to see whether the write happened. A conflict may be
        with one's own write, whose answer was lost on the way: so that is looked at, too.

        Args:
            path: Below vault.mount.
            data: All of it; values may be SecretStr, at any depth.
            cas: The version it replaces; 0 if there is none.

        Returns:
            The new version.

        Raises:
            CasConflict: If somebody else wrote it first.
            WrongMount: If there is no such mount or namespace.
            VaultError: If it could not be written, or that could not be found out.
        """
        lost: VaultUnreachable | None = None
        for _ in range(_WRITE_ATTEMPTS):
            try:
                version = self._write(path, data, cas)
            except VaultUnreachable as error:
                if lost is None and isinstance(error, (VaultSealed, VaultUntrusted)):
                    raise  # certainly not written
                lost, current = error, None
            else:
                if version is not None:
                    return version
                current = self.read(path)
                if current.version == cas:
                    break  # refused, and not because of anything that could be ours
            current = current or self._read_back(path)
            if current.version == cas + 1 and _same(current.data, data):
                _log.info("vault.lost_answer_made_up_for", path=path, version=current.version)
                return current.version
            if current.version != cas:
                break
        else:
            assert lost is not None  # noqa: S101 - every other way out of the loop is above
            raise lost
        raise CasConflict(path)

    def _write(self, path: str, data: Mapping[str, Any], cas: int) -> int | None:
        """The new version, or None if the document is not at the version that was given."""

        def request(client: hvac.Client) -> Any:
            try:
                return client.secrets.kv.v2.create_or_update_secret(
                    path=path, secret=_reveal(data), cas=cas, mount_point=self._settings.mount
                )
            except answers.InvalidRequest as error:
                if "check-and-set" not in _said(error):
                    raise
                return None

        answer = self._authorized("write", self.data_path(path), request)
        if answer is None:
            return None
        try:
            return int(answer["data"]["version"])
        except (TypeError, KeyError, ValueError):
            pass
        raise self._unreadable(self.data_path(path))

    def _read_back(self, path: str) -> Document:
        try:
            return self.read(path)
        except VaultError as error:
            what, next_step = error.what, error.next_step
        raise VaultUnreachable(
            f"There was no answer to a write to {path}, and now it cannot be read: {what}",
            unchanged="It is either as it was or as it was to be; the next run finds out",
            next_step=next_step,
        )

    def keep_versions(self, path: str, count: int) -> bool:
        """Have the server keep this many versions of a document, if the policy lets rotator say so.

        Returns:
            Whether it does.
        """

        def request(client: hvac.Client) -> Any:
            return client.secrets.kv.v2.update_metadata(path=path, max_versions=count, mount_point=self._settings.mount)

        try:
            self._authorized("update", self.metadata_path(path), request)
        except VaultError:
            return False  # nothing depends on it
        return True

    def data_path(self, path: str) -> str:
        """The API path of a document, as policies name it."""
        return f"{self._settings.mount}/data/{path}"

    def metadata_path(self, path: str) -> str:
        """The API path of a document's metadata, as policies name it."""
        return f"{self._settings.mount}/metadata/{path}"

    # --- what `check` and the preflight look at ----------------------------------------------------------------

    def health(self) -> Health:
        """Whether the server is there, unsealed and active; needs no login.

        Raises:
            VaultUnreachable: If there is no usable answer.
        """
        options = {"standbyok": "true", "perfstandbyok": "true", "sealedcode": "200", "uninitcode": "200"}
        client = self._client("", everywhere=True)  # asked within a namespace the server answers 400

        def request(client: hvac.Client) -> Any:
            return client.adapter.get("/v1/sys/health", params=options)

        answer = self._repeat(lambda: self._send("read sys/health", request, client))
        try:
            return Health(str(answer["version"]), bool(answer["sealed"]), bool(answer["standby"]))
        except (TypeError, KeyError):
            pass
        raise self._unreadable("sys/health")

    def check_mount(self) -> None:
        """Make sure that the mount is a KV version 2 one.

        Raises:
            WrongMount: If it is not, or the token cannot see it.
            VaultError: If that could not be found out.
        """
        mount, api_path = self._settings.mount, f"sys/internal/ui/mounts/{self._settings.mount}"

        def request(client: hvac.Client) -> Any:
            try:
                return client.adapter.get(f"/v1/{api_path}")
            except answers.Forbidden as error:
                # So it answers, to root as well, where there is no mount, and where the policy shows nothing of it.
                if "preflight" not in _said(error):
                    raise
                return None

        answer = self._read("read", api_path, request)
        if answer is None:
            raise self._wrong_mount(f'Vault has no mount "{mount}" that rotator\'s token may see')
        try:
            data = answer["data"]
            kind, version, path = data["type"], (data["options"] or {}).get("version"), data["path"].rstrip("/")
        except (TypeError, KeyError, AttributeError):
            kind = version = path = None
        if path is None:
            raise self._unreadable(api_path)
        if kind != "kv" or version != "2" or path != mount:
            described = f"KV version {version or 1}" if kind == "kv" else f'of type "{kind}"'
            raise self._wrong_mount(
                f'Vault\'s mount "{path}" is {described}, and vault.mount ("{mount}") has to name a KV version 2 one'
            )

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """What the token may do at each of these API paths, asked in one request.

        Args:
            paths: As policies name them, see `data_path`.

        Raises:
            VaultError: If that could not be found out.
        """
        if not paths:
            return {}  # the server refuses to be asked nothing
        answer = self._read(
            "update",
            "sys/capabilities-self",
            lambda client: client.adapter.post("/v1/sys/capabilities-self", json={"paths": list(paths)}),
        )
        try:
            return {path: frozenset(answer["data"][path]) for path in paths}
        except (TypeError, KeyError):
            pass
        raise self._unreadable("sys/capabilities-self")

    def token_expiry(self) -> datetime | None:
        """When the token in use ends; None if it never does, does not say, or there is none yet. Asks nobody."""
        grant = self._current
        return grant.expires_at if grant else None

    # --- requests ----------------------------------------------------------------------------------------------

    def _read(self, operation: str, api_path: str, request: Callable[[hvac.Client], T]) -> T:
        """A request that changes nothing: repeated a few times if it is not answered."""
        return self._repeat(lambda: self._authorized(operation, api_path, request))

    def _repeat(self, request: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=_worth_repeating,
            attempts=_READ_ATTEMPTS,
            timeout=2 * self._settings.timeout,
            wait_initial=0.2,
            wait_max=2.0,
            wait_jitter=0.2,
        ):
            with attempt:
                return request()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _authorized(self, operation: str, api_path: str, request: Callable[[hvac.Client], T]) -> T:
        """Send a request with a token that is good for it; on a 403 once more with another, if there is one."""
        what = f"{operation} {api_path}"
        grant = self._grant()
        try:
            return self._send(what, request, grant.client)
        except _Forbidden:
            works = self._works(grant)
        other = self._other_grant(grant, works=works)
        if other is not None:
            try:
                return self._send(what, request, other.client)
            except _Forbidden:
                works = self._works(other)
        raise self._denied(operation, api_path) if works else self._token_refused()

    def _send(self, what: str, request: Callable[[hvac.Client], T], client: hvac.Client) -> T:
        """Send it once.

        Raises:
            VaultError: Whatever goes wrong. It is raised outside of the handler, so that it does not carry the
                library's exception, whose request has the token in its headers.
        """
        try:
            return request(client)
        except (answers.VaultError, OSError, urllib3.exceptions.HTTPError) as error:
            problem = self._problem(what, error)
        raise problem

    def _problem(self, what: str, error: Exception) -> VaultError:
        address, said = self._settings.address, _said(error)
        if isinstance(error, answers.Forbidden):
            return _Forbidden(said)
        if isinstance(error, answers.InvalidPath):
            found_nothing = self._wrong_mount(f"Vault finds nothing to {what}: {said}")
            return found_nothing if isinstance(error.errors, list) else self._unreadable(what)
        if isinstance(error, (answers.InvalidRequest, answers.Unauthorized)):
            return VaultError(f"Vault refuses to {what}: {said}", unchanged="Nothing was written there")
        if isinstance(error, answers.VaultDown) and "sealed" in said:
            return VaultSealed(
                f"Vault at {address} is sealed",
                unchanged="Nothing was written",
                next_step="Unseal it: vault operator unseal",
            )
        if isinstance(error, answers.VaultError):
            return VaultUnreachable(
                f"Vault at {address} is in trouble: {said}", next_step="Look at the server: rotator check"
            )
        return _untrusted(address, error) or VaultUnreachable(
            f"Vault at {address} does not answer ({type(error).__name__})",
            next_step="Look at the server and the network: rotator check",
        )

    def _denied(self, operation: str, api_path: str) -> VaultDenied:
        wanted = {"write": ["create", "update"]}.get(operation, [operation])
        capabilities = ", ".join(f'"{capability}"' for capability in wanted)
        return VaultDenied(
            f"Vault's policy does not let rotator {operation} {api_path}",
            unchanged="Nothing was written there",
            next_step=f'Add to its policy: path "{api_path}" {{ capabilities = [{capabilities}] }}',
        )

    def _token_refused(self) -> VaultDenied:
        auth = self._settings.auth
        if auth.method == "token":
            next_step = "Give rotator a new one in VAULT_TOKEN, or let it log in by itself (vault.auth.method)"
        elif auth.method == "token_file":
            next_step = f"Put one that is valid into {auth.token_file}; it is read again at the next request"
        else:
            next_step = "Logging in again did not help either. Look at vault.auth: rotator check"
        return VaultDenied(
            "Vault refuses rotator's token: it has ended or was revoked",
            unchanged="Nothing was written",
            next_step=next_step,
        )

    def _wrong_mount(self, what: str) -> WrongMount:
        return WrongMount(
            what,
            unchanged="Nothing was written",
            next_step="Look at vault.mount and vault.namespace, or: vault secrets list -detailed",
        )

    def _unreadable(self, api_path: str) -> VaultUnreachable:
        return VaultUnreachable(
            f"The answer for {api_path} is not one of Vault's",
            next_step=f"Make sure that {self._settings.address} is Vault's address, not a proxy's",
        )

    # --- the token ---------------------------------------------------------------------------------------------

    def _grant(self) -> _Grant:
        """The token to use now."""
        with self._lock:
            grant = self._current
            if grant is None:
                grant = self._log_in()
            elif grant.renew_at is not None and self._clock() >= grant.renew_at:
                grant = self._replaced(grant)
            self._current = grant
            return grant

    def _other_grant(self, refused: _Grant, *, works: bool) -> _Grant | None:
        """Another token to try than the refused one, or None.

        Args:
            refused: The one a request was refused with.
            works: Whether it is valid all the same. Then only a policy that was changed since the login can help.
        """
        with self._lock:
            if self._current is not refused:
                return self._current  # another thread has seen to it
            if not self._has_another(refused.client.token) or (works and self._clock() - refused.since < _FRESH):
                return None
            _log.info("vault.login_again", token_valid=works)
            try:
                self._current = self._log_in()
            except VaultDenied:
                if not works:
                    raise
                return None
            return self._current

    def _has_another(self, token: str) -> bool:
        """Whether a login could give another token than this one."""
        auth = self._settings.auth
        if auth.method == "token_file":
            return _content(auth.token_file, "token_file").get_secret_value() != token
        return auth.method != "token"

    def _log_in(self) -> _Grant:
        auth = self._settings.auth
        if auth.method == "token":
            return self._looked_up(_clean(auth.token, "The token in VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN"))
        if auth.method == "token_file":
            return self._looked_up(_content(auth.token_file, "token_file"))
        where = f"auth/{auth.mount or auth.method}/login"
        credentials = self._credentials()

        def request(client: hvac.Client) -> Any:
            return client.adapter.post(f"/v1/{where}", json=credentials)

        said = "there is no token in the answer"
        try:
            return self._granted(self._send(f"log in at {where}", request, self._client("")))
        except VaultUnreachable:
            raise
        except VaultError as error:
            said = error.what
        except (TypeError, KeyError, ValueError):
            pass
        raise VaultDenied(
            f"Vault refuses rotator's login at {where}: {said}",
            unchanged="Nothing was written",
            next_step="Look at vault.auth, at the role in Vault and at whether the auth method is enabled there",
        )

    def _granted(self, answer: Any) -> _Grant:
        """What a login gave."""
        auth = answer["auth"]
        token = conceal(SecretStr(str(auth["client_token"] or ""))).get_secret_value()
        if not token:
            raise ValueError("no token")
        now = self._clock()
        grant = _Grant(self._client(token), now)
        return grant.lasting(now, int(auth["lease_duration"]), renewable=bool(auth["renewable"]))

    def _credentials(self) -> dict[str, str | None]:
        """What a login sends; what stands in files is read anew each time, since it may be rotated."""
        auth = self._settings.auth
        if auth.method == "approle":
            secret_id = auth.secret_id or _content(auth.secret_id_file, "secret_id_file")
            return {"role_id": auth.role_id, "secret_id": conceal(secret_id).get_secret_value()}
        if auth.method == "cert":
            return {"name": auth.role} if auth.role else {}
        jwt = _content(auth.jwt_file or KUBERNETES_JWT, "jwt_file")
        return {"role": auth.role, "jwt": jwt.get_secret_value()}

    def _looked_up(self, token: SecretStr) -> _Grant:
        """A token that was given, with what Vault knows of its life."""
        now = self._clock()
        grant = _Grant(self._client(token.get_secret_value()), now)
        try:
            data = self._send("look up the token", _look_up, grant.client)["data"]
            return grant.lasting(now, int(data["ttl"]), renewable=bool(data.get("renewable")))
        except _Forbidden as error:
            by_policy = error.by_policy
        except (TypeError, KeyError, ValueError):
            raise self._unreadable("auth/token/lookup-self") from None
        if by_policy:
            return grant  # without the default policy it may not ask how long it lives, but it is good otherwise
        raise self._token_refused()

    def _works(self, grant: _Grant) -> bool:
        """Whether a token is valid, whatever its policies say."""
        try:
            self._send("look up the token", _look_up, grant.client)
        except _Forbidden as error:
            return error.by_policy
        return True

    def _replaced(self, grant: _Grant) -> _Grant:
        """What to go on with when a token is to be renewed; the same one as long as there is nothing better."""
        now = self._clock()
        try:
            renewed = self._renewed(grant)
            if renewed is not None:
                return renewed
            if self._settings.auth.method != "token":
                return self._log_in()
        except VaultError as error:
            _log.warning("vault.renewal_failed", error=error.what)
            return grant.postponed(now)
        until = grant.expires_at.isoformat() if grant.expires_at else None
        _log.warning("vault.token_ends", until=until, next_step="Give rotator a new VAULT_TOKEN before then")
        return replace(grant, renew_at=None)

    def _renewed(self, grant: _Grant) -> _Grant | None:
        """The token with a longer life; None if it cannot have one.

        Raises:
            VaultUnreachable: If there is no answer.
        """
        if not grant.renewable:
            return None
        try:
            auth = self._send("renew the token", _renew, grant.client)["auth"]
            renewed = grant.lasting(self._clock(), int(auth["lease_duration"]), renewable=bool(auth["renewable"]))
        except VaultUnreachable:
            raise
        except (VaultError, TypeError, KeyError, ValueError) as error:
            _log.warning("vault.renewal_refused", error=_said(error))
            return None
        # Towards the longest life that its role allows, a token is renewed for less and less.
        if self._settings.auth.method != "token" and renewed.shrunk(self._clock()):
            return None
        return renewed

    def _client(self, token: str, *, everywhere: bool = False) -> hvac.Client:
        """A client with this token; an empty one keeps hvac from looking for one in the environment and the home."""
        settings = self._settings
        return hvac.Client(
            url=settings.address,
            token=token,
            cert=_pair(settings),
            verify=_verify(settings),
            timeout=settings.timeout.total_seconds(),  # type: ignore[arg-type] # requests takes fractions
            namespace=None if everywhere else settings.namespace,
            session=self._http,
        )


class _Session(requests.Session):
    """Follows a standby's redirect to the active server, but never from TLS to plain text: the token goes along."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and urlsplit(urljoin(resp.url, target)).scheme != "https":
            return None
        return target


def _session(settings: VaultSettings, pool_size: int) -> requests.Session:
    session = _Session()
    # The settings decide: no REQUESTS_CA_BUNDLE in place of ca_cert, no credentials from .netrc. Only the proxy is
    # the environment's to say, and as for `vault` itself there is none on the way to the loopback interface.
    session.trust_env = False
    if not _is_loopback(settings.address):
        session.proxies = dict(requests.utils.get_environ_proxies(settings.address))
    session.verify, session.cert = _verify(settings), _pair(settings)
    adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pair(settings: VaultSettings) -> tuple[str, str] | None:
    if settings.client_cert is None:
        return None
    return str(settings.client_cert), str(settings.client_key)


def _verify(settings: VaultSettings) -> bool | str:
    return str(settings.ca_cert) if settings.verify and settings.ca_cert else settings.verify


def _look_up(client: hvac.Client) -> Any:
    return client.adapter.get("/v1/auth/token/lookup-self")


def _renew(client: hvac.Client) -> Any:
    return client.adapter.post("/v1/auth/token/renew-self", json={})


def _worth_repeating(error: Exception) -> bool:
    return isinstance(error, VaultUnreachable) and not isinstance(error, (VaultSealed, VaultUntrusted))


def _untrusted(address: str, error: Exception) -> VaultUntrusted | None:
    """What is wrong with the certificates, if that is what is wrong."""
    text = str(error)
    if found := re.search(r"certificate verify failed: ([^(\"]+)", text):
        what = f"The certificate of {address} cannot be verified ({found[1].strip()})"
        next_step = "Name the CA that signed it in vault.ca_cert, and its own name in vault.address"
    elif found := re.search(r"SSL: (\w*(?:ALERT|WRONG_VERSION)\w*)", text):
        what = f"There is no TLS connection to {address} ({found[1]})"
        next_step = "Look at vault.address, vault.client_cert and vault.client_key"
    elif isinstance(error, ssl.SSLError) or re.search(r"X509|PEM|KEY_VALUES|TLS .*certificate", text):  # of our files
        what = "The certificates for Vault cannot be read"
        next_step = "Look at the files in vault.ca_cert, vault.client_cert and vault.client_key"
    else:
        return None
    return VaultUntrusted(what, unchanged="Nothing was sent", next_step=next_step)


def _said(error: Exception) -> str:
    """The server's words in one line; never the request."""
    errors = getattr(error, "errors", None)
    text = "; ".join(map(str, errors)) if isinstance(errors, list) else getattr(error, "what", "")
    return " ".join(text.split())[:300] or type(error).__name__


def _absent(error: answers.InvalidPath) -> Any:
    """What a 404 says of a document.

    The server answers 404 for one that was never written, for a version that is deleted or destroyed (then with
    its number), but also for a mount or a namespace that does not exist: None then, and for what is not Vault's.
    """
    try:
        answer = json.loads(error.text or "")
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    if answer.get("errors") == []:
        return {"data": None}
    return answer if answer.get("data") else None


def _document(found: Any) -> Document:
    if found is None:
        return Document(version=0, data=None)
    metadata, data = found["metadata"], found["data"]
    created = datetime.fromisoformat(metadata["created_time"])
    return Document(int(metadata["version"]), data if isinstance(data, dict) else None, created)


def _content(file: Path | None, setting: str) -> SecretStr:
    """What a file holds that is to be sent."""
    where = f"{file} (vault.auth.{setting})"
    try:
        text = file.read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError):
        text = None
    if text is None:
        raise VaultDenied(f"{where} cannot be read", unchanged="Nothing was written", next_step="Look at the file")
    return _clean(SecretStr(text), where)


def _clean(secret: SecretStr | None, where: str) -> SecretStr:
    """Nothing that requests would refuse to send, and quote in the exception that it raises instead."""
    if secret is None or not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise VaultDenied(
            f"{where} is empty or holds more than one word", unchanged="Nothing was written", next_step="Look at it"
        )
    return conceal(secret)


def _reveal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON: the last moment before a secret leaves for Vault."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(data), default=_plain, allow_nan=False))
    return plain


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


def _same(found: Mapping[str, Any] | None, written: Mapping[str, Any]) -> bool:
    """Whether that is what was written. Vault turns 1.0 into 1 and long integers into floats (seen)."""
    return found is not None and _canonical(found) == _canonical(_reveal(written))


def _canonical(data: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(json.dumps(data), parse_int=float), sort_keys=True)
