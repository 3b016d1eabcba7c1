"""Vault's KV v2 documents with check-and-set, and the session that reaches them.

OpenBao speaks the same protocol; every fact about the server below was tried on OpenBao 2.7.2. What the session does
when is told in docs/vault.md.

VaultError
├── VaultUnreachable    no usable answer: a write may or may not have happened
│   ├── VaultSealed     the server is there, but sealed
│   └── VaultUntrusted  the certificates do not fit: nothing was sent
├── VaultRateLimited    a quota of Vault: the operation would have had to wait too long
├── VaultDenied         the policy lacks something
│   └── VaultUnauthorized  the token or the login is refused
├── WrongMount          the mount does not exist or is not KV version 2 (exit code 2)
└── CasConflict         somebody else wrote the document first
"""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hvac
import stamina
import structlog
import urllib3
from hvac import exceptions as answers
from hvac.api.secrets_engines import KvV2
from pydantic import SecretStr

from rotator.config import VaultSettings, in_plain_text
from rotator.errors import Code, RotatorError
from rotator.logs import foreign, register_secret
from rotator.net.answers import JSON, described, parse_json
from rotator.vault.throttle import Throttle
from rotator.vault.transport import Answer, Http, OnRequest, Unanswered

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
# How long an operation takes at most, in units of vault.timeout, logging in and asking again included; the pause before
# an attempt that finds no time left comes on top. What only reads, and what writes.
LONGEST_READ, LONGEST_WRITE = 2, 4
_LONGEST_PAUSE = 1.0
# Together with the pauses about three seconds: a cluster takes two or three to elect another leader.
_ATTEMPTS = 5
_WRITE_ATTEMPTS = 3
# How long one operation waits for turns at most while Vault limits the rate: a minute is a common interval of a quota.
# Together with the longest write it has to stay below daemon.lease.
LONGEST_THROTTLING = 65.0
# How long a document is known to be no older than this session's own write. After a restore of a snapshot it can be.
WRITES_REMEMBERED = 300.0
_MOST_REMEMBERED = 10_000
# How often a document is looked at that must be newer than a server says.
_LOOKS = 10
# A token is renewed when so much of its life is over: not all replicas at once, and at two thirds at the latest.
_RENEW_FROM, _RENEW_UNTIL = 0.6, 2 / 3
# A token younger than this has its role's present policies: logging in again because of them would gain nothing.
_FRESH = timedelta(minutes=1)
# How long no login is tried after a refused one, doubled each time.
_SHORTEST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0
# How often somebody is reminded of a token that ends.
_REMINDER = timedelta(days=1)
# What a document, or an answer about the rights at 500 paths, contains at most.
_MOST_VALUES = 100_000
# Of an answer's errors these are repeated.
_MOST_ERRORS = 5
_TOO_MANY_REQUESTS = 429
_log = structlog.get_logger()
T = TypeVar("T")


class VaultError(RotatorError):
    """Vault answered badly, or not at all."""

    code = Code.VAULT_ERROR


class VaultUnreachable(VaultError):
    """There was no usable answer.

    Attributes:
        maybe_done: Whether a write may have happened all the same.
    """

    code = Code.VAULT_UNREACHABLE

    def __init__(self, what: str, *, maybe_done: bool = True, unchanged: str = "", next_step: str = "") -> None:
        unchanged = unchanged or ("" if maybe_done else "Nothing was written")
        super().__init__(what, unchanged=unchanged, next_step=next_step)
        self.maybe_done = maybe_done


class VaultSealed(VaultUnreachable):
    """The server is sealed: somebody has to unseal it."""

    code = Code.VAULT_SEALED


class VaultUntrusted(VaultUnreachable):
    """There is no TLS connection, because a certificate does not fit; asking again would not help."""

    code = Code.VAULT_UNTRUSTED


def _worth_repeating(error: VaultUnreachable) -> bool:
    return not isinstance(error, (VaultSealed, VaultUntrusted))


class VaultRateLimited(VaultError):
    """Vault limits the rate of requests, and the operation would have had to wait too long. Nothing was written."""

    code = Code.VAULT_RATE_LIMITED


class VaultDenied(VaultError):
    """The token's policy does not allow the request."""

    code = Code.VAULT_DENIED


class VaultUnauthorized(VaultDenied):
    """Vault refuses rotator's token or login, or rotator has none to send: nothing can be read or written."""

    code = Code.VAULT_UNAUTHORIZED


class _Limited(VaultUnauthorized):
    """The token may be used a few times only."""


class _Forbidden(VaultError):
    """A 403, before it is known what it is about."""

    @property
    def by_policy(self) -> bool:
        """Whether a policy was asked at all: an invalid token is refused before that, in other words (seen)."""
        return "1 error occurred" in self.what


class WrongMount(VaultError):
    """vault.mount does not name a KV version 2 mount that the token can see."""

    exit_code = 2
    code = Code.VAULT_WRONG_MOUNT


class CasConflict(VaultError):
    """The document is at another version than the one this write was based on; it was not touched."""

    code = Code.CONFLICT

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
        expires_at: When Vault deletes this version by itself (`delete_version_after`); None: never.
        read_at: When Vault answered, by Vault's clock, in whole seconds; None if it did not say.
    """

    version: int
    data: Mapping[str, Any] | None = field(repr=False)
    created: datetime | None = None
    expires_at: datetime | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Written:
    """What this session wrote to a document last.

    Attributes:
        version: The KV version.
        created: Vault's time of that.
        at: The same, by the monotonic clock.
    """

    version: int
    created: datetime | None
    at: float


@dataclass(frozen=True, slots=True)
class Health:
    """What an unauthenticated look at the server tells."""

    address: str
    version: str
    sealed: bool
    standby: bool


@dataclass(frozen=True, slots=True)
class _Grant:
    """A token in use.

    Never changed, only replaced: a request that began with one token ends with it, whatever other threads do.

    Attributes:
        token: The token itself.
        since: When it was obtained, by a login.
        life: How long it was to live then; None if it never ends or may not say.
        expires_at: When it ends.
        renew_at: From when on it is to be renewed, or somebody reminded of its end; None: never.
        renewable: Whether Vault says that it can be.
    """

    token: str = field(repr=False)
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
        share = random.uniform(_RENEW_FROM, _RENEW_UNTIL)  # noqa: S311 - nobody gains from guessing it  # nosec B311
        return replace(self, life=life, expires_at=now + left, renew_at=now + left * share, renewable=renewable)

    def corrected(self, now: datetime, seconds: int) -> "_Grant":
        """The same, if Vault and this machine's clock agree on what is left of its life."""
        if self.life is None or self.expires_at is None:
            return self
        off = abs(self.expires_at - now - timedelta(seconds=seconds))
        # Vault rounds to seconds.
        return (
            self
            if off <= self.life / 20 + timedelta(seconds=1)
            else self.lasting(now, seconds, renewable=self.renewable)
        )

    def shrunk(self, now: datetime) -> bool:
        """Whether less than half of its life is left."""
        return bool(self.life and self.expires_at and self.expires_at - now < self.life / 2)

    def ended(self, now: datetime) -> bool:
        """Whether it is over."""
        return self.expires_at is not None and self.expires_at <= now

    def postponed(self, now: datetime) -> "_Grant":
        """The same, to be looked at when a third of what is left is over, or a day; never, if nothing is."""
        if self.expires_at is None or self.expires_at <= now:
            return replace(self, renew_at=None)
        return replace(self, renew_at=now + min((self.expires_at - now) / 3, _REMINDER))


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last login that failed.

    Attributes:
        error: How.
        at: When, by the monotonic clock: who waited for it then fails with it.
        until: Until when none is tried with the same credentials.
        pause: How long that was, in seconds.
        credentials: Their fingerprint.
    """

    error: VaultError
    at: float
    until: float = 0.0
    pause: float = 0.0
    credentials: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to Vault.

    Attributes:
        operation: What metrics call it.
        what: What an error says it was about.
        until: When it has to be over, by the monotonic clock.
        repeatable: Whether it may be sent twice.
        everywhere: Whether it is about the server, and so outside of any namespace.
    """

    operation: str
    what: str
    until: float
    repeatable: bool = True
    everywhere: bool = False


class _Wire(hvac.adapters.Adapter):  # type: ignore[type-arg] # generic in its stub only
    """What hvac speaks through: one request with one token, to one server."""

    def __init__(self, address: str, ask: Callable[..., Answer]) -> None:
        self.address = address
        self._ask = ask

    def get_login_token(self, response: Any) -> str:
        """Never asked for: rotator logs in by itself."""
        raise NotImplementedError

    def request(self, method: str, url: str, *_args: Any, **what: Any) -> Any:
        """What the answer holds.

        Raises:
            answers.VaultError: If it is an error, by its status.
            Unanswered: If there is none.
        """
        answer = self._ask(method.upper(), url, body=what.get("json"), params=what.get("params"))
        content = _parsed(answer.content)
        if 200 <= answer.status < 300:  # noqa: PLR2004
            return content
        said = content.get("errors") if answer.media_type == JSON else None
        errors = [str(line) for line in said[:_MOST_ERRORS]] if isinstance(said, list) else None
        summary = f"HTTP {answer.status} {described(answer.media_type, len(answer.content))}"
        raise answers.VaultError.from_status(answer.status, summary, errors=errors, json=content)


class Vault:
    """A session with one Vault, at one address or several; safe to use from several threads.

    It logs in at the first request, renews its token in time and logs in again when it must. It stays with an address
    until that one is of no use, and then goes on with the next.

    An operation that only reads takes no longer than LONGEST_READ times `settings.timeout`, one that writes no longer
    than LONGEST_WRITE times; up to a second comes on top, and what the system takes to look up a name. While Vault
    limits the rate of requests, all threads wait for their turns, an operation for LONGEST_THROTTLING seconds at most.

    Args:
        settings: Where Vault is and how to log in.
        pool_size: How many requests may be under way at once without a connection of their own.
        clock: Returns the time, aware UTC: for the life of the token.
        monotonic: Returns seconds that only grow: for waits and limits.
        on_request: Told of each HTTP request: the operation (read, write, metadata, login, renew, lookup, capabilities,
            mounts or health), the HTTP status or `not_sent` or `no_answer`, and the seconds it took.
    """

    def __init__(
        self,
        settings: VaultSettings,
        *,
        pool_size: int = 8,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        on_request: OnRequest | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._timeout = settings.timeout.total_seconds()
        self._addresses = settings.addresses
        self._at = self._stayed_at = 0  # which of them is in use, and which was said to be
        self._lock = threading.Lock()  # held while logging in or renewing
        self._current: _Grant | None = None
        self._failure: _Failure | None = None
        self._throttle = Throttle(self._slowed)
        self._throttled = threading.local()  # how long this thread waited for turns, and how long it still may
        self._written: dict[str, _Written] = {}  # the oldest write first
        self._remembering = threading.Lock()
        self._http = Http(settings, pool_size=pool_size, on_request=on_request or _nobody)
        if any(map(in_plain_text, settings.addresses)):
            _log.warning("vault.in_plain_text", address=settings.address, next_step="Use https: the token goes along")
        if not settings.verify:
            _log.warning("vault.tls_verification_off", address=settings.address)
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it would say so at every connection

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
        until = self._until(LONGEST_READ)
        return self._latest(path, until) if version is None else self._document(path, version, until)

    def _document(self, path: str, version: int | None, until: float) -> Document:
        api_path = self.data_path(path)

        def request(wire: _Wire) -> Document:
            try:
                return _document(wire.get(f"/v1/{api_path}", params=None if version is None else {"version": version}))
            except answers.InvalidPath as error:
                found = _absent(error)
                if found is None:
                    raise
                return found

        with suppress(TypeError, KeyError, ValueError):
            document = self._read(_Call("read", f"read {api_path}", until), "read", api_path, request)
            return replace(document, read_at=self._http.answered_at)
        raise self._unreadable(api_path)

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a document over the version that was read, and over no other.

        If the answer is lost the document is read again to see whether the write happened. A conflict may be
        with one's own write, whose answer was lost on the way: so that is looked at, too. One's own write is known by
        its content: no two writers may write the same.

        Args:
            path: Below vault.mount.
            data: All of it; values may be SecretStr, at any depth.
            cas: The version it replaces; 0 if there is none.

        Returns:
            The version that was written. It need not be the newest any more.

        Raises:
            CasConflict: If somebody else wrote it first.
            WrongMount: If there is no such mount or namespace.
            VaultError: If it could not be written, or that could not be found out.
        """
        until = self._until(LONGEST_WRITE)
        lost: VaultUnreachable | None = None
        for _ in range(_WRITE_ATTEMPTS):
            try:
                written = self._write(path, data, cas, until - self._timeout)  # so that there is time to look
            except VaultUnreachable as error:
                if lost is None and not error.maybe_done:
                    raise
                lost = error
            except VaultError:
                if lost is None:
                    raise
                break  # it says nothing of the request before, which was lost and can still be carried out
            else:
                if written is not None:
                    return self._remember(path, written)
                return self._own(path, data, cas, until, self._latest(path, until))
            current = self._read_back(path, until)
            if current.version != cas:
                return self._own(path, data, cas, until, current)
        assert lost is not None  # noqa: S101 - every other way out of the loop is above  # nosec B101
        lost.unchanged = "It is either as it was or as it was to be; the next run finds out"
        raise lost

    def _write(self, path: str, data: Mapping[str, Any], cas: int, until: float) -> Document | None:
        """The new version, or None if the document is not at the version that was given."""
        api_path = self.data_path(path)
        secret = _reveal(data)

        def request(wire: _Wire) -> Any:
            try:
                return KvV2(wire).create_or_update_secret(
                    path=path, secret=secret, cas=cas, mount_point=self._settings.mount
                )
            except answers.InvalidRequest as error:
                if "check-and-set" not in _words(error):
                    raise
                return None

        call = _Call("write", f"write {api_path}", until, repeatable=False)
        answer = self._repeat(
            lambda: self._authorized(call, "write", api_path, request),
            until,
            lambda error: _worth_repeating(error) and not error.maybe_done,
        )
        if answer is None:
            return None
        with suppress(TypeError, KeyError, ValueError):
            written = _document({"data": {"metadata": answer["data"], "data": None}})
            if written.version == cas + 1:
                return written
        raise self._unreadable(api_path)

    def _own(self, path: str, data: Mapping[str, Any], cas: int, until: float, current: Document) -> int:
        """The version that this write made, of a document that was changed since the version that was given.

        Raises:
            CasConflict: If it made none.
        """
        for _ in range(_LOOKS):
            if current.version != cas:
                break
            time.sleep(_LONGEST_PAUSE / _LOOKS)  # it was changed: the server that answers lags behind
            current = self._latest(path, until)
        if current.version > cas + 1:
            current = self._document(path, cas + 1, until)  # somebody has gone on from there
        if current.version == cas + 1 and _same(current.data, data):
            _log.info("vault.lost_answer_made_up_for", path=path, version=current.version)
            return self._remember(path, current)
        if current.version == cas or self._is_before(path, current, cas, until):
            raise self._of_the_past(path)
        raise CasConflict(path)

    def _is_before(self, path: str, current: Document, cas: int, until: float) -> bool:
        """Whether this is older than the version that the write was based on.

        A document that was deleted with all of its versions and written again has a lower number, too.
        """
        if not 0 < current.version < cas or current.created is None:
            return False
        base = self._document(path, cas, until)
        return base.created is not None and current.created < base.created

    def _latest(self, path: str, until: float) -> Document:
        """The newest version of a document, which is no older than what this session wrote a moment ago.

        Raises:
            VaultUnreachable: If only older ones are to be had.
        """
        for _ in range(_LOOKS):
            document = self._document(path, None, until)
            if not self._is_older(path, document):
                return document
            time.sleep(_LONGEST_PAUSE / _LOOKS)
        raise self._of_the_past(path)

    def _is_older(self, path: str, document: Document) -> bool:
        written = self._written.get(path)
        if written is None or document.version >= written.version or self._monotonic() - written.at > WRITES_REMEMBERED:
            return False
        # A document that was deleted with all of its versions has none, and is newer if it was written again.
        return document.created is not None and written.created is not None and document.created < written.created

    def _remember(self, path: str, written: Document) -> int:
        """Note the version that this session wrote; returns its number."""
        with self._remembering:
            self._written.pop(path, None)
            self._written[path] = _Written(written.version, written.created, self._monotonic())
            while len(self._written) > _MOST_REMEMBERED:
                del self._written[next(iter(self._written))]
        return written.version

    def _of_the_past(self, path: str) -> VaultUnreachable:
        return VaultUnreachable(
            f"Vault returns an older version of {path} than the one that rotator wrote or read before",
            unchanged="Whether this write was applied is not known; the next run finds out",
            next_step=f"Make sure that no cache stands in front of {self._settings.address}",
        )

    def _read_back(self, path: str, until: float) -> Document:
        try:
            return self._latest(path, until)
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

        def request(wire: _Wire) -> Any:
            return KvV2(wire).update_metadata(path=path, max_versions=count, mount_point=self._settings.mount)

        api_path = self.metadata_path(path)
        try:
            self._authorized(
                _Call("metadata", f"update {api_path}", self._until(LONGEST_READ)), "update", api_path, request
            )
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
        """Whether a server is there, unsealed and active; needs no login.

        Of several addresses the one is meant that is in use, or the next one that answers.

        Raises:
            VaultUnreachable: If there is no usable answer.
        """
        options = {"standbyok": "true", "perfstandbyok": "true", "sealedcode": "200", "uninitcode": "200"}
        alone = len(self._addresses) == 1

        def request(wire: _Wire) -> Health:
            try:
                answer = wire.get("/v1/sys/health", params=options)
            except answers.VaultError as error:  # by its status a server says what it is, whatever it was asked to say
                answer = _body(error)
                if "sealed" not in answer:
                    raise
            if answer.get("replication_dr_mode") == "secondary":
                raise answers.VaultDown(errors=["it is the standby of another cluster, for a disaster"])
            if answer["sealed"] and not alone:
                raise answers.VaultDown(errors=["Vault is sealed"])
            return Health(
                wire.address, foreign(str(answer["version"]), 40), bool(answer["sealed"]), bool(answer["standby"])
            )

        # Asked within a namespace the server answers 400.
        call = _Call("health", "read sys/health", self._until(LONGEST_READ), everywhere=True)
        try:
            return self._repeat(lambda: self._send(call, request, ""), call.until)
        except (TypeError, KeyError, AttributeError):
            pass
        raise self._unreadable("sys/health")

    def check_mount(self) -> None:
        """Make sure that the mount is a KV version 2 one.

        Raises:
            WrongMount: If it is not, or the token cannot see it.
            VaultError: If that could not be found out.
        """
        mount, api_path = self._settings.mount, f"sys/internal/ui/mounts/{self._settings.mount}"

        def request(wire: _Wire) -> Any:
            try:
                return wire.get(f"/v1/{api_path}")
            except answers.Forbidden as error:
                # So it answers, to root as well, where there is no mount, and where the policy shows nothing of it.
                if "preflight" not in _words(error):
                    raise
                return None

        call = _Call("mounts", f"read {api_path}", self._until(LONGEST_READ))
        answer = self._read(call, "read", api_path, request)
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
            found = (
                f"KV version {foreign(str(version or 1), 20)}" if kind == "kv" else f'of type "{foreign(str(kind))}"'
            )
            raise self._wrong_mount(
                f'Vault\'s mount "{foreign(path)}" is {found}, '
                f'and vault.mount ("{mount}") has to name a KV version 2 one'
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
        api_path = "sys/capabilities-self"
        answer = self._read(
            _Call("capabilities", f"update {api_path}", self._until(LONGEST_READ)),
            "update",
            api_path,
            lambda wire: wire.post(f"/v1/{api_path}", json={"paths": list(paths)}),
        )
        try:
            return {path: frozenset(answer["data"][path]) for path in paths}
        except (TypeError, KeyError):
            pass
        raise self._unreadable(api_path)

    # --- the session -----------------------------------------------------------------------------------------

    def keep_alive(self) -> None:
        """See to it that the session lasts, whether there is traffic or not; a daemon calls this every few seconds.

        The token is renewed when that is due, or replaced by a login; a token file that was changed is read. Then Vault
        is asked for the token. So returning means: a server answers, is unsealed and takes rotator's token.

        Raises:
            VaultError: Why nothing can be read or written at the moment.
        """
        until = self._until(LONGEST_READ)
        with suppress(VaultRateLimited):  # a server that limits the rate is there and unsealed
            self._repeat(lambda: self._kept_alive(until), until)

    def _kept_alive(self, until: float) -> None:
        grant = self._newest(self._grant(until), until)
        try:
            left = _left(self._send(_Call("lookup", "look up the token", until), _look_up, grant.token))
        except _Forbidden as error:
            refused = not error.by_policy  # without the default policy it may not ask, but it was recognized
        else:
            corrected = grant.corrected(self._clock(), left)
            if corrected is not grant:
                _log.info("vault.token_life_corrected", until=_text(corrected.expires_at))
                with self._turn(until):
                    self._current = corrected if self._current is grant else self._current
            return
        if refused and self._other_grant(grant, until)[0] is None:
            raise self._token_refused()

    def token_expiry(self) -> datetime | None:
        """When the token in use ends; None if it never does, does not say, or there is none yet. Asks nobody."""
        grant = self._current
        return grant.expires_at if grant else None

    # --- requests ----------------------------------------------------------------------------------------------

    def _until(self, times: int) -> float:
        """When an operation of this thread has to be over, by `_now`."""
        self._throttled.left = LONGEST_THROTTLING
        return self._now() + times * self._timeout

    def _now(self) -> float:
        """The monotonic time, less the time that this thread waited because of Vault's rate limit."""
        return self._monotonic() - self._waited

    @property
    def _waited(self) -> float:
        waited: float = getattr(self._throttled, "waited", 0.0)
        return waited

    @property
    def _may_wait(self) -> float:
        left: float = getattr(self._throttled, "left", LONGEST_THROTTLING)
        return left

    def _wait_for_turn(self) -> bool:
        """Wait until Vault's rate limit leaves room for a request of this thread; whether that was in time."""
        waited = self._throttle.admit(self._may_wait)
        if waited is None:
            return False
        self._stand_still(waited)
        return True

    def _stand_still(self, seconds: float) -> None:
        """This thread waited so long because of Vault's rate limit."""
        self._throttled.waited = self._waited + seconds
        self._throttled.left = self._may_wait - seconds

    def _read(self, call: _Call, capability: str, api_path: str, request: Callable[[_Wire], T]) -> T:
        """A request that changes nothing: repeated a few times if it is not answered."""
        return self._repeat(lambda: self._authorized(call, capability, api_path, request), call.until)

    def _repeat(
        self,
        request: Callable[[], T],
        until: float,
        worth: Callable[[VaultUnreachable], bool] = _worth_repeating,
    ) -> T:
        for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, VaultUnreachable) and worth(error),
            attempts=_ATTEMPTS,
            timeout=max(0.001, until - self._now()),
            wait_initial=0.2,
            wait_max=_LONGEST_PAUSE,
            wait_jitter=0.2,
        ):
            with attempt:
                return request()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _authorized(self, call: _Call, capability: str, api_path: str, request: Callable[[_Wire], T]) -> T:
        """Send a request with a token that is good for it; on a 403 once more with another, if there is one."""
        grant = self._grant(call.until)
        try:
            return self._send(call, request, grant.token)
        except _Forbidden:
            pass
        other, works = self._other_grant(grant, call.until)
        if other is not None:
            try:
                return self._send(call, request, other.token)
            except _Forbidden:
                works = self._works(other, call.until)
            if not works:
                self._distrust(other, call.until)
        raise self._denied(capability, api_path) if works else self._token_refused()

    def _send(self, call: _Call, request: Callable[[_Wire], T], token: str) -> T:
        """Send it to the server in use; to each of the others, as long as nothing can have happened at the one before.

        Raises:
            VaultError: Whatever goes wrong. It is raised outside of the handler, so that it does not carry the
                library's exception.
        """
        problems: list[VaultUnreachable] = []
        first = self._at
        for number in range(len(self._addresses)):
            at = (first + number) % len(self._addresses)
            address = self._addresses[at]
            try:
                answer = request(_Wire(address, partial(self._ask, call, address, token)))
            except (answers.VaultError, Unanswered) as error:
                problem = self._problem(call.what, address, error)
            else:
                self._stay(at, problems)
                return answer
            if not isinstance(problem, VaultUnreachable):
                raise problem
            problems.append(problem)
            if self._at == at:  # unless another thread has already gone on
                self._at = (at + 1) % len(self._addresses)
            if problem.maybe_done and not call.repeatable:
                break
        raise _together(problems)

    def _ask(self, call: _Call, address: str, token: str, method: str, path: str, **what: Any) -> Answer:
        headers = {"X-Vault-Token": token} if token else {}
        if self._settings.namespace and not call.everywhere:
            headers["X-Vault-Namespace"] = self._settings.namespace
        while self._wait_for_turn():
            sent_at = self._monotonic()
            send = partial(
                self._http.send,
                call.operation,
                method,
                address,
                path,
                headers=headers,
                until=call.until + self._waited,
                **what,
            )
            try:
                answer = send()
            except Unanswered as error:
                if not (error.cut and call.repeatable):
                    raise
                answer = send()  # the server may have closed a connection that was kept; a fresh one comes at once
            if not _is_limited(answer):
                self._throttle.accepted()
                return answer
            self._throttle.limited(sent_at, answer.retry_after)
        raise answers.RateLimitExceeded("the rate is limited")

    def _slowed(self, rate: float) -> None:
        _log.warning(
            "vault.rate_limited",
            requests_per_second=round(rate, 1),
            next_step="Raise the rate limit quota for rotator in Vault, or lower daemon.concurrency",
        )

    def _stay(self, at: int, problems: Sequence[VaultUnreachable]) -> None:
        """Say once that it is another address from now on."""
        if problems and self._stayed_at != at:
            self._stayed_at = at
            _log.warning("vault.address_changed", address=self._addresses[at], error=problems[-1].what)

    def _problem(self, what: str, address: str, error: answers.VaultError | Unanswered) -> VaultError:
        if isinstance(error, Unanswered):
            return _untrusted(address, error) or VaultUnreachable(
                f"Vault at {address} does not answer ({error.kind})",
                maybe_done=error.sent,
                next_step="Look at the server and the network: rotator check",
            )
        if isinstance(error, answers.RateLimitExceeded):
            return VaultRateLimited(
                f"Vault limits the rate of requests, and rotator would have to wait too long to {what}",
                unchanged="Nothing was written there",
                next_step="Lower daemon.concurrency, or raise the quota: vault list sys/quotas/rate-limit",
            )
        said, words = _said(error), _words(error)
        if isinstance(error, answers.Forbidden):
            return _Forbidden(said)
        if isinstance(error, answers.InvalidPath):
            found_nothing = self._wrong_mount(f"Vault finds nothing to {what}: {said}")
            return found_nothing if isinstance(error.errors, list) else self._unreadable(what)
        # A mount that was made a moment ago; a standby that knows of no leader to pass a request on to.
        not_yet = "non-versioned to versioned" in words or "active cluster node not found" in words
        if isinstance(error, (answers.InvalidRequest, answers.Unauthorized)) and not not_yet:
            return VaultError(f"Vault refuses to {what}: {said}", unchanged="Nothing was written there")
        if isinstance(error, answers.VaultDown) and "sealed" in words:
            return VaultSealed(
                f"Vault at {address} is sealed", maybe_done=False, next_step="Unseal it: vault operator unseal"
            )
        return VaultUnreachable(
            f"Vault at {address} is in trouble: {said}",
            maybe_done=not not_yet,
            next_step="Look at the server: rotator check",
        )

    def _denied(self, operation: str, api_path: str) -> VaultDenied:
        wanted = {"write": ["create", "update"]}.get(operation, [operation])
        capabilities = ", ".join(f'"{capability}"' for capability in wanted)
        return VaultDenied(
            f"Vault's policy does not let rotator {operation} {api_path}",
            unchanged="Nothing was written there",
            next_step=f'Add to its policy: path "{api_path}" {{ capabilities = [{capabilities}] }}',
        )

    def _token_refused(self) -> VaultUnauthorized:
        auth = self._settings.auth
        if auth.method == "token":
            next_step = "Give rotator a new one in VAULT_TOKEN, or let it log in by itself (vault.auth.method)"
        elif auth.method == "token_file":
            next_step = f"Put one that is valid into {auth.token_file}; it is read again at the next request"
        else:
            next_step = "Logging in again did not help either. Look at vault.auth: rotator check"
        return VaultUnauthorized(
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

    @contextmanager
    def _turn(self, until: float) -> Iterator[None]:
        """Only one thread at a time logs in or renews; who waits for it does so for as long as it has time."""
        begun, left = self._monotonic(), max(0.0, until - self._now())
        acquired = self._lock.acquire(timeout=left)
        if self._throttle.rate is not None:  # the other thread waits for its turn
            acquired = acquired or self._lock.acquire(timeout=max(0.0, self._may_wait))
            self._stand_still(self._monotonic() - begun)
        if not acquired:
            raise VaultUnreachable("Another thread is still logging in to Vault", maybe_done=False)
        try:
            yield
        finally:
            self._lock.release()

    def _grant(self, until: float) -> _Grant:
        """The token to use now."""
        grant, now = self._current, self._clock()
        if grant is not None:
            if grant.renew_at is None or now < grant.renew_at:
                return grant
            if self._lock.locked() and not grant.ended(now):
                return grant  # another thread renews it, and it is good until then
        asked_at = self._monotonic()
        with self._turn(until):
            if self._current is None:
                self._current = self._log_in(until, asked_at)
            elif self._current is grant:
                self._current = self._replaced(grant, until, asked_at)
            return self._current

    def _other_grant(self, refused: _Grant, until: float) -> tuple[_Grant | None, bool]:
        """Another token to try than the refused one, or None; and whether the refused one is valid all the same.

        If it is, only a policy that was changed since the login can help.
        """
        asked_at = self._monotonic()
        with self._turn(until):
            works = False
            if self._current is refused:
                works = self._works(refused, until)
                if not self._has_another(refused.token) or (works and self._clock() - refused.since < _FRESH):
                    return None, works
                _log.info("vault.login_again", token_valid=works)
                self._current = refused if works else None
            elif self._current is not None:
                return self._current, works  # another thread has seen to it
            try:
                self._current = self._log_in(until, asked_at)
            except VaultDenied:
                if not works:
                    raise
                return None, works
            return self._current, works

    def _newest(self, grant: _Grant, until: float) -> _Grant:
        """The token that the token file holds by now, if that one is any good."""
        if self._settings.auth.method == "token_file":
            asked_at = self._monotonic()
            with suppress(VaultDenied), self._turn(until):
                if self._current is grant and self._has_another(grant.token):
                    self._current = self._log_in(until, asked_at)
        return self._current or grant

    def _has_another(self, token: str) -> bool:
        """Whether a login could give another token than this one."""
        auth = self._settings.auth
        if auth.method == "token_file":
            return _content(auth.token_file, "token_file").get_secret_value() != token
        return auth.method != "token"

    def _distrust(self, grant: _Grant, until: float) -> None:
        """A token that is refused right after its login: the next login has to wait."""
        with self._turn(until):
            if self._current is grant and self._settings.auth.method not in ("token", "token_file"):
                self._current = None
                self._note_refusal(self._token_refused(), _fingerprint(self._credentials()))

    def _log_in(self, until: float, asked_at: float) -> _Grant:
        """A new token; for who has the turn.

        Args:
            until: When it has to be there, by the monotonic clock.
            asked_at: Since when it is waited for: a login that failed meanwhile fails this one, too.

        Raises:
            VaultDenied: If it is refused, or was a moment ago.
            VaultUnreachable: If there is no answer.
        """
        credentials = self._credentials()
        fingerprint, failure = _fingerprint(credentials), self._failure
        if failure is not None and failure.at >= asked_at:
            raise _again(failure.error)
        wait = failure.until - self._monotonic() if failure and failure.credentials == fingerprint else 0
        if failure is not None and wait > 0:
            raise _again(failure.error, f" (the next login is tried in {max(1, round(wait))} s)")
        try:
            grant = self._logged_in(credentials, until)
        except VaultDenied as error:
            self._note_refusal(error, fingerprint)
            raise
        except VaultUnreachable as error:
            error.maybe_done = False  # what was to be done with the token
            error.unchanged = "Nothing was written"
            self._failure = replace(failure or _Failure(error, 0.0), error=error, at=self._monotonic())
            raise
        self._failure = None
        return grant

    def _note_refusal(self, error: VaultError, fingerprint: int) -> None:
        before = self._failure.pause if self._failure and self._failure.credentials == fingerprint else 0.0
        pause = min(max(2 * before, _SHORTEST_BACKOFF), _LONGEST_BACKOFF)
        _log.warning("vault.login_refused", error=error.what, next_in_seconds=pause)
        now = self._monotonic()
        self._failure = _Failure(error, now, now + pause, pause, fingerprint)

    def _credentials(self) -> dict[str, str | None]:
        """What a login sends; what stands in files is read anew each time, since it may be rotated."""
        auth = self._settings.auth
        if auth.method == "token":
            token = _clean(auth.token, "The token in VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN")
            return {"token": token.get_secret_value()}
        if auth.method == "token_file":
            return {"token": _content(auth.token_file, "token_file").get_secret_value()}
        if auth.method == "approle":
            secret_id = auth.secret_id or _content(auth.secret_id_file, "secret_id_file")
            return {"role_id": auth.role_id, "secret_id": register_secret(secret_id).get_secret_value()}
        if auth.method == "cert":
            return {"name": auth.role} if auth.role else {}
        jwt = _content(auth.jwt_file or KUBERNETES_JWT, "jwt_file")
        return {"role": auth.role, "jwt": jwt.get_secret_value()}

    def _logged_in(self, credentials: dict[str, str | None], until: float) -> _Grant:
        token = credentials.get("token")
        if token is not None:
            return self._looked_up(token, until)
        auth = self._settings.auth
        where = f"auth/{auth.mount or auth.method}/login"
        said = "there is no token in the answer"
        try:
            call = _Call("login", f"log in at {where}", until)
            answer = self._send(call, lambda wire: wire.post(f"/v1/{where}", json=credentials), "")
            return self._granted(answer)
        except (VaultUnreachable, VaultRateLimited, _Limited):
            raise
        except VaultError as error:
            said = error.what
        except (TypeError, KeyError, ValueError):
            pass
        raise VaultUnauthorized(
            f"Vault refuses rotator's login at {where}: {said}",
            unchanged="Nothing was written",
            next_step="Look at vault.auth, at the role in Vault and at whether the auth method is enabled there",
        )

    def _granted(self, answer: Any) -> _Grant:
        """What a login gave."""
        auth = answer["auth"]
        token = register_secret(SecretStr(str(auth["client_token"] or ""))).get_secret_value()
        if not token:
            raise ValueError("no token")
        _refuse_limited(auth)
        now = self._clock()
        return _Grant(token, now).lasting(now, int(auth["lease_duration"]), renewable=bool(auth["renewable"]))

    def _looked_up(self, token: str, until: float) -> _Grant:
        """A token that was given, with what Vault knows of its life."""
        grant = _Grant(token, self._clock())
        try:
            answer = self._send(_Call("lookup", "look up the token", until), _look_up, token)
            left, data = _left(answer), answer["data"]
        except _Forbidden as error:
            by_policy = error.by_policy
        else:
            _refuse_limited(data)
            return grant.lasting(grant.since, left, renewable=bool(data.get("renewable")))
        if by_policy:
            return grant  # without the default policy it may not ask how long it lives, but it is good otherwise
        raise self._token_refused()

    def _works(self, grant: _Grant, until: float) -> bool:
        """Whether the token is valid, whatever it may do."""
        try:
            self._send(_Call("lookup", "look up the token", until), _look_up, grant.token)
        except _Forbidden as error:
            return error.by_policy
        return True

    def _replaced(self, grant: _Grant, until: float, asked_at: float) -> _Grant:
        """What to go on with when a token is to be renewed; the same one as long as there is nothing better."""
        method, now = self._settings.auth.method, self._clock()
        try:
            if method == "token_file" and self._has_another(grant.token):
                return self._log_in(until, asked_at)
            renewed = self._renewed(grant, until)
            if renewed is not None:
                return renewed
            if method not in ("token", "token_file"):
                return self._log_in(until, asked_at)
        except VaultError as error:
            if grant.ended(now) and method not in ("token", "token_file"):
                raise
            _log.warning("vault.renewal_failed", error=error.what)
            return grant.postponed(now)
        place = "VAULT_TOKEN" if method == "token" else str(self._settings.auth.token_file)
        _log.warning(
            "vault.token_ends", until=_text(grant.expires_at), next_step=f"Put a new token into {place} before then"
        )
        return replace(grant.postponed(now), renewable=False)

    def _renewed(self, grant: _Grant, until: float) -> _Grant | None:
        """The token with a longer life; None if it cannot have one.

        Raises:
            VaultUnreachable: If there is no answer.
        """
        if not grant.renewable:
            return None
        now = self._clock()
        try:
            auth = self._send(_Call("renew", "renew the token", until), _renew, grant.token)["auth"]
            renewed = grant.lasting(now, int(auth["lease_duration"]), renewable=bool(auth["renewable"]))
        except (VaultUnreachable, VaultRateLimited):
            raise
        except (VaultError, TypeError, KeyError, ValueError) as error:
            error_text = error.what if isinstance(error, VaultError) else "the answer is not one of Vault's"
            _log.warning("vault.renewal_refused", error=error_text)
            return None
        # Towards the longest life that its role allows, a token is renewed for less and less.
        return None if renewed.shrunk(now) else renewed


def _nobody(_operation: str, _code: str, _seconds: float) -> None:
    """Nobody wants to know."""


def _look_up(wire: _Wire) -> Any:
    return wire.get("/v1/auth/token/lookup-self")


def _renew(wire: _Wire) -> Any:
    return wire.post("/v1/auth/token/renew-self", json={})


def _left(answer: Any) -> int:
    """How many seconds a token that was looked up has left; 0 if it never ends."""
    try:
        data = answer["data"]
        # In its last second a token has 0 left, which is what one has that never ends.
        return max(int(data["ttl"]), 1 if data.get("expire_time") else 0)
    except (TypeError, KeyError, ValueError, AttributeError):
        pass
    raise VaultUnreachable("The answer for auth/token/lookup-self is not one of Vault's", maybe_done=False)


def _refuse_limited(token: Mapping[str, Any]) -> None:
    """A token for a few requests would end in the middle of a rotation, again and again."""
    uses = token.get("num_uses")
    if uses:
        raise _Limited(
            f"rotator's token is good for {uses if isinstance(uses, int) else 'a few'} requests only",
            unchanged="Nothing was written",
            next_step="Have it made without a limit: token_num_uses=0 for the role, or no -use-limit for a token",
        )


def _fingerprint(credentials: Mapping[str, str | None]) -> int:
    return hash(tuple(credentials.items()))


def _again(error: VaultError, more: str = "") -> VaultError:
    """The same error for another caller."""
    if isinstance(error, VaultUnreachable):
        return VaultUnreachable(error.what + more, maybe_done=False, next_step=error.next_step)
    return VaultUnauthorized(error.what + more, unchanged=error.unchanged, next_step=error.next_step)


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _together(problems: Sequence[VaultUnreachable]) -> VaultUnreachable:
    """What is wrong with all the servers that were asked."""
    if len(problems) == 1:
        return problems[0]
    kinds = {type(problem) for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else VaultUnreachable
    return kind(
        "; ".join(problem.what for problem in problems),
        maybe_done=any(problem.maybe_done for problem in problems),
        next_step=problems[-1].next_step,
    )


def _untrusted(address: str, error: Unanswered) -> VaultUntrusted | None:
    """What is wrong with the certificates, if that is what is wrong."""
    text = error.reason
    if found := re.search(r"certificate verify failed: ([^(\"]+)", text):
        what = f"The certificate of {address} cannot be verified ({foreign(found[1])})"
        next_step = "Name the CA that signed it in vault.ca_cert, and its own name in vault.address"
    elif found := re.search(r"SSL: (\w*(?:ALERT|WRONG_VERSION)\w*)", text):
        what = f"There is no TLS connection to {address} ({found[1]})"
        next_step = "Look at vault.address, vault.client_cert and vault.client_key"
    elif re.search(r"X509|PEM|KEY_VALUES|No such file|Permission denied", text):  # our own files
        what = "The certificates for Vault cannot be read"
        next_step = "Look at the files in vault.ca_cert, vault.client_cert and vault.client_key"
    else:
        return None
    return VaultUntrusted(what, maybe_done=False, unchanged="Nothing was sent", next_step=next_step)


def _is_limited(answer: Answer) -> bool:
    """Whether a quota refused the request. A standby answers sys/health with the same status, and says what it is."""
    return answer.status == _TOO_MANY_REQUESTS and "sealed" not in _parsed(answer.content)


def _words(error: answers.VaultError) -> str:
    """What the server says, to be recognized: not for an error, a log or a decision between accounts."""
    return "; ".join(error.errors) if isinstance(error.errors, list) else ""


def _said(error: answers.VaultError) -> str:
    """What the server says, to be repeated: its errors, or the size and the media type of anything else."""
    errors = error.errors if isinstance(error.errors, list) else []
    return "; ".join(filter(None, map(foreign, errors)))[:300] or str(error.args[0])


def _parsed(content: bytes) -> dict[str, Any]:
    """The object that a body holds; an empty one if it holds none."""
    try:
        answer = parse_json(content, _MOST_VALUES)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _body(error: answers.VaultError) -> dict[str, Any]:
    """The object that the body of an error holds; an empty one if it holds none."""
    return error.json if isinstance(error.json, dict) else {}


def _absent(error: answers.InvalidPath) -> Document | None:
    """What a 404 says of a document.

    The server answers 404 for one that was never written, for a version that is deleted or destroyed (then with
    its number), but also for a mount or a namespace that does not exist: None then, and for what is not Vault's.

    Raises:
        ValueError: If it cannot be read; or a TypeError or KeyError.
    """
    if error.errors == []:
        return Document(version=0, data=None)
    answer = _body(error)
    return _document(answer) if answer.get("data") else None


def _document(answer: Mapping[str, Any]) -> Document:
    """The document in an answer.

    Raises:
        VaultDenied: If it is wrapped.
        ValueError: If there is none; or a TypeError or KeyError.
    """
    _refuse_wrapped(answer)
    metadata, data = answer["data"]["metadata"], answer["data"]["data"]
    created = datetime.fromisoformat(metadata["created_time"])
    ends = metadata.get("deletion_time")  # of a version that is deleted, too: then it lies in the past
    expires_at = datetime.fromisoformat(ends) if ends and isinstance(data, dict) else None
    return Document(int(metadata["version"]), data if isinstance(data, dict) else None, created, expires_at)


def _refuse_wrapped(answer: Mapping[str, Any]) -> None:
    """A wrapped answer contains a token in place of the data, which is no sign that there are none.

    Raises:
        VaultDenied: If it is one.
    """
    wrapped = answer.get("wrap_info")
    if not wrapped:
        return
    for name in ("token", "wrapped_accessor", "accessor"):
        if isinstance(wrapped, dict) and isinstance(wrapped.get(name), str):
            register_secret(SecretStr(wrapped[name]))
    raise VaultDenied(
        "Vault wraps its answer to rotator (response wrapping or a control group) instead of giving it",
        unchanged="Nothing was written",
        next_step="Remove min_wrapping_ttl, max_wrapping_ttl and control_group from the policies of rotator's token",
    )


def _content(file: Path | None, setting: str) -> SecretStr:
    """What a file holds that is to be sent."""
    where = f"{file} (vault.auth.{setting})"
    try:
        text = file.read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError):
        text = None
    if text is None:
        raise VaultUnauthorized(
            f"{where} cannot be read", unchanged="Nothing was written", next_step="Look at the file"
        )
    return _clean(SecretStr(text), where)


def _clean(secret: SecretStr | None, where: str) -> SecretStr:
    """Nothing that requests would refuse to send, and quote in the exception that it raises instead."""
    if secret is None or not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise VaultUnauthorized(
            f"{where} is empty or holds more than one word", unchanged="Nothing was written", next_step="Look at it"
        )
    return register_secret(secret)


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
