"""The settings: a TOML file, overridden by ROTATOR_* variables.

Everything that can be known to be wrong without asking Vault or the provider is refused here, in one
line a mistake, before anything is contacted. Secrets never stand in the file: they come from the
environment, from files of their own, or from a prompt.
"""

import ipaddress
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from rotator.core.generator import DEFAULT_ALPHABET, MAX_LENGTH, Recipe
from rotator.core.scheduling import BLACKOUT_PATTERN, WINDOW_PATTERN, Blackout, Schedule, Window, cron_gaps
from rotator.errors import ConfigError

DEFAULT_FILES = (Path("config.toml"), Path("/etc/rotator/config.toml"))
DEFAULT_EVERY = timedelta(days=30)
# What is taken for jitter if nobody says: this part of the time between grace and every, and no more than so long.
JITTER_SHARE = 10
JITTER_CAP = timedelta(hours=6)
BALANCE_THRESHOLD = Decimal("5.00")

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_DURATION = re.compile(r"(?:[0-9]+(?:d|h|ms|m|s))+")
_DURATION_PART = re.compile(r"([0-9]+)(d|h|ms|m|s)")


@lru_cache(maxsize=4096)  # accounts of one kind share what they have in common
def _parsed_duration(text: str) -> timedelta:
    total = sum(
        (timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _DURATION_PART.findall(text)),
        timedelta(),
    )
    if total > timedelta(days=3660):
        raise OverflowError
    return total


def parse_duration(text: object) -> timedelta:
    """Read "30d", "24h", "1h30m", "50ms"; a plain 0 needs no unit.

    Raises:
        ValueError: If it is anything else, a negative one or one beyond ten years included.
    """
    if isinstance(text, timedelta):
        return text
    if text == "0" or (text == 0 and type(text) is int):
        return timedelta()
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError('is not a duration such as "30d", "24h", "90s" or "500ms"')
    try:
        return _parsed_duration(text)
    except OverflowError:
        raise ValueError("is longer than ten years") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as this duration, to the millisecond."""
    rest = round(duration / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("has to be longer than zero")
    return duration


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # the library looks for a file of that name
        raise ValueError('is not a time zone such as "Europe/Berlin"') from None
    return text


def _cron(text: str) -> str:
    cron_gaps(text)
    return text


def _read_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """The text as it stands, once it was found to be readable."""

    @lru_cache(maxsize=4096)
    def check(text: str) -> str:
        parse(text)
        return text

    return check


def _schema_pattern(pattern: str) -> str:
    """Without the names of groups, which not every reader of JSON schemas knows."""
    return f"^{re.sub(r'[?]P<[a-z]+>', '', pattern)}$"


@lru_cache(maxsize=65_536)
def _schedule(
    *,
    every: timedelta | None,
    cron: str | None,
    timezone: str,
    windows: tuple[str, ...],
    blackouts: tuple[str, ...],
    max_age: timedelta | None,
    jitter: timedelta,
) -> Schedule:
    """Accounts of one kind share one schedule: it is checked once, and nothing is parsed when it is asked."""
    return Schedule(
        every,
        cron,
        ZoneInfo(timezone),
        tuple(Window.parse(text) for text in windows),
        tuple(Blackout.parse(text) for text in blackouts),
        max_age,
        jitter,
    )


def _http_url(text: str) -> str:
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("may hold no blanks, line breaks or other than ASCII characters")
    url = TypeAdapter(HttpUrl).validate_python(text)
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("has to be a plain address, without credentials, query or fragment")
    return text.rstrip("/")


def is_loopback(address: str) -> bool:
    """Whether what is sent to the address stays on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_plain_text(address: str) -> bool:
    """Whether everybody on the way to the address can read what is sent there."""
    return urlsplit(address).scheme == "http" and not is_loopback(address)


def _euros(value: object) -> object:
    if isinstance(value, Decimal) or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,2})?", value)):
        return value
    raise ValueError('is not an amount in euros such as "5.00"')


def _unless_off(value: object) -> object:
    return None if value == "off" else value


def _vault_path(text: str) -> str:
    """KV v2 paths are joined into URLs: nothing may be left for the server or a proxy to reinterpret."""
    if not re.fullmatch(r"[\w.@~+=-]+(?:/[\w.@~+=-]+)*", text, re.ASCII):
        raise ValueError("has to be path parts of letters, digits and ._-@~+= joined by single slashes")
    if any(part in (".", "..") for part in text.split("/")):
        raise ValueError('may not hold "." or ".." as a part')
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({_DURATION.pattern}|0)$", "examples": ["30d", "90s"]}),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Zone = Annotated[str, AfterValidator(_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
WindowText = Annotated[
    str,
    AfterValidator(_read_by(Window.parse)),
    WithJsonSchema({"type": "string", "pattern": _schema_pattern(WINDOW_PATTERN), "examples": ["mon-fri 02:00-05:00"]}),
]
BlackoutText = Annotated[
    str,
    AfterValidator(_read_by(Blackout.parse)),
    WithJsonSchema({"type": "string", "pattern": _schema_pattern(BLACKOUT_PATTERN), "examples": ["12-24/01-02"]}),
]
Address = Annotated[str, AfterValidator(_http_url)]
VaultPath = Annotated[str, AfterValidator(_vault_path)]
Euros = Annotated[
    Decimal,
    BeforeValidator(_euros),
    PlainSerializer(lambda euros: f"{euros:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,2})?$", "examples": ["5.00"]}),
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
ApiKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


_SectionT = TypeVar("_SectionT", bound=_Section)


class VaultAuth(_Section):
    """How rotator logs in to Vault."""

    method: Literal["token", "token_file", "approle", "kubernetes", "jwt", "cert", "none"] = Field(
        "token", description="none: an agent adds its own token to each request (use_auto_auth_token)."
    )
    mount: VaultPath | None = Field(None, description="Where the auth method is mounted; its own name if unset.")
    role: str | None = Field(None, description="The role to log in as (kubernetes, jwt; optional for cert).")
    role_id: str | None = Field(None, description="AppRole: the role id.")
    secret_id_file: Path | None = Field(None, description="AppRole: a file that holds the secret id.")
    token_file: Path | None = Field(None, description="token_file: a file that holds the token, read anew at need.")
    jwt_file: Path | None = Field(None, description="jwt, kubernetes: the file with the JWT, read at each login.")
    token: SecretStr | None = Field(None, description="Environment only: ROTATOR_VAULT__AUTH__TOKEN.")
    secret_id: SecretStr | None = Field(None, description="Environment only: ROTATOR_VAULT__AUTH__SECRET_ID.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed: dict[str, bool] = {
            "token: set VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN": self.method == "token" and not self.token,
            "token_file": self.method == "token_file" and not self.token_file,
            "role_id": self.method == "approle" and not self.role_id,
            "secret_id_file (or ROTATOR_VAULT__AUTH__SECRET_ID)": self.method == "approle"
            and not (self.secret_id or self.secret_id_file),
            "role": self.method in ("kubernetes", "jwt") and not self.role,
            "jwt_file": self.method == "jwt" and not self.jwt_file,
        }
        for what, missing in needed.items():
            if missing:
                raise ValueError(f'method "{self.method}" needs {what}')
        return self


def _joined(value: object) -> object:
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _addresses(text: str) -> str:
    addresses = [_http_url(part.strip(" ")) for part in text.split(",")]
    if any(address.endswith("/v1") for address in addresses):
        raise ValueError("has to end before /v1, which rotator adds to each request")
    if len(set(addresses)) < len(addresses):
        raise ValueError("has one address twice")
    if len({address.startswith("https:") for address in addresses}) > 1:
        raise ValueError("has to be https for all or for none: a token that is to stay secret would go in plain text")
    return ",".join(addresses)


def _namespace(text: str) -> str:
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("is not a namespace: it has to consist of ASCII characters without blanks and line breaks")
    return text


class VaultSettings(_Section):
    """Where Vault is and where rotator's documents stand in it."""

    address: Annotated[
        str,
        BeforeValidator(_joined),
        AfterValidator(_addresses),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    ] = Field(
        description="Vault's or OpenBao's address, or several of one cluster, as a list or separated by commas; "
        "also from VAULT_ADDR or BAO_ADDR.",
    )
    namespace: Annotated[str, AfterValidator(_namespace)] | None = Field(
        None, description="The namespace, where the server has them."
    )
    mount: VaultPath = Field("secret", description="The KV v2 mount that holds every document.")
    journal_prefix: VaultPath = Field("rotator/journal", description="Where rotator keeps its own journals.")
    ca_cert: Path | None = Field(None, description="A PEM file with the CA of the server's certificate.")
    client_cert: Path | None = Field(None, description="A PEM file with rotator's own certificate.")
    client_key: Path | None = Field(None, description="The PEM file with its key.")
    verify: bool = Field(True, description="Whether to verify the server's certificate. Leave it on.")
    timeout: PositiveDuration = Field(timedelta(seconds=10), description="How long one request may take.")
    auth: VaultAuth = Field(default_factory=VaultAuth)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address of the cluster, in the order of preference."""
        return tuple(self.address.split(","))

    @model_validator(mode="after")
    def _certificate(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together")
        if self.auth.method == "cert" and self.client_cert is None:
            raise ValueError('auth method "cert" needs client_cert and client_key')
        return self


class AccountApiSettings(_Section):
    """The provider."""

    api_url: Address = Field("https://api.nexmo.com", description="The host with the secrets' operations.")
    rest_url: Address = Field("https://rest.nexmo.com", description="The host with balance, top-up and settings.")
    rest_auth: Literal["basic", "query"] = Field(
        "basic", description="How to log in there. query makes the secret part of URLs, which proxies and servers log."
    )
    timeout: PositiveDuration = Field(timedelta(seconds=10), description="How long one request may take in all.")
    consistency_window: Duration = Field(
        timedelta(seconds=30),
        description="How long the provider can contradict itself: carry out a request after its timeout, refuse a "
        "valid secret, not list a new one.",
    )
    max_calls_per_second: float = Field(
        10, gt=0, le=10_000, description="How many requests this process sends to a host of the provider at most."
    )
    max_secrets: int = Field(2, ge=2, le=100, description="How many secrets an account may have.")
    ca_cert: Path | None = Field(None, description="A PEM file with the CA of the server's certificate.")
    verify: bool = Field(True, description="Whether to verify the server's certificate. Leave it on.")


class Fields(_Section):
    """The names under which the published document holds its values; other fields are left alone."""

    api_key: str = Field("api_key", min_length=1)
    api_secret: str = Field("api_secret", min_length=1)
    secret_id: str = Field("secret_id", min_length=1)
    rotated_at: str = Field("rotated_at", min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = (self.api_key, self.api_secret, self.secret_id, self.rotated_at)
        if len(set(names)) < len(names):
            raise ValueError("has one name twice")
        return self


@lru_cache(maxsize=4096)
def _shared(section: _SectionT) -> _SectionT:
    """One object for all accounts that say the same: a fleet has far more accounts than ways to set them up."""
    return section


class Defaults(_Section):
    """What holds for every account that does not say otherwise."""

    every: PositiveDuration | None = Field(
        None, description="How old a secret may get; 30d if neither this nor cron is set."
    )
    cron: Cron | None = Field(
        None,
        description="Instead of every: when secrets are replaced, as minute, hour, day, month, weekday by timezone.",
        examples=["0 3 1 * *"],
    )
    timezone: Zone = Field("UTC", description="Whose clock and calendar cron, windows and blackouts go by (IANA name).")
    windows: tuple[WindowText, ...] = Field((), description="When rotations may begin; none: at any time.")
    blackouts: tuple[BlackoutText, ...] = Field((), description="Days on which they may not, first and last included.")
    max_age: PositiveDuration | None = Field(
        None, description="At this age a secret is replaced in spite of windows and blackouts."
    )
    jitter: Duration | None = Field(
        None,
        description="Over how long rotations are spread: before the end of every, after the time of cron. If not set: "
        "with every, a tenth of what every is longer than grace, 6h at most; with cron, nothing.",
    )
    grace: Duration = Field(
        timedelta(hours=24), description="How long the secret before the published one keeps working."
    )
    verify_timeout: PositiveDuration = Field(
        timedelta(minutes=5), description="How long a new secret may take until it authenticates."
    )
    verify_balance: bool = Field(
        False,
        description="Whether a new secret has to read the balance, too, on the other host, before it is published.",
    )
    secret_length: int = Field(MAX_LENGTH, description="Length of new secrets, 8 to 25.")
    secret_alphabet: str = Field(DEFAULT_ALPHABET, description="Characters of new secrets.")
    fields: Annotated[Fields, AfterValidator(_shared)] = Field(
        Fields(), description="Field names of the published document."
    )

    @property
    def recipe(self) -> Recipe:
        """What new secrets look like."""
        return Recipe(length=self.secret_length, alphabet=self.secret_alphabet)

    @property
    def schedule(self) -> Schedule:
        """When secrets are replaced."""
        jitter = self.jitter
        if jitter is None:
            spare = self.every - self.grace if self.every is not None else timedelta()
            jitter = max(timedelta(), min(spare / JITTER_SHARE, JITTER_CAP))
        return _schedule(
            every=self.every,
            cron=self.cron,
            timezone=self.timezone,
            windows=self.windows,
            blackouts=self.blackouts,
            max_age=self.max_age,
            jitter=jitter,
        )

    @model_validator(mode="before")
    @classmethod
    def _at_some_time(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("every") is None and values.get("cron") is None:
            return values | {"every": DEFAULT_EVERY}
        return values

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _ = self.recipe  # refuses an alphabet or a length that the provider's rules exclude
        shortest = self.schedule.shortest()
        if self.grace >= shortest:
            raise ValueError(
                f"grace ({format_duration(self.grace)}) has to be shorter than {self._shortest_of()} "
                f"({format_duration(shortest)}), or the account would be full whenever it is due"
            )
        return self

    def _shortest_of(self) -> str:
        what = "every" if self.cron is None else "the shortest time between two rotations by cron"
        return f"{what} less jitter" if self.jitter else what


class TopUpSettings(_Section):
    """Whether rotator may spend money to keep an account filled, and where the reference of the payment is.

    The reference (`trx`) is as good as money: it comes from Vault or from the environment, never from a file.
    """

    per_day: int = Field(0, ge=0, le=100, description="How many top-ups in any 24 hours at most; 0: never any.")
    trx_path: VaultPath | None = Field(
        None, description="The document with the payment's reference, below vault.mount; not one that consumers read."
    )
    trx_field: str = Field("trx", min_length=1, description="Its field.")
    trx_env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Or the variable with the payment's reference."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.trx_path is not None and self.trx_env is not None:
            raise ValueError("trx_path and trx_env exclude each other")
        return self


class BalanceSettings(_Section):
    """What accounts have left: how often `rotator run` asks, when it is too little, what is done about it."""

    every: Annotated[
        PositiveDuration | None,
        BeforeValidator(_unless_off),
        PlainSerializer(lambda every: "off" if every is None else format_duration(every), return_type=str),
        WithJsonSchema({"type": "string", "pattern": f"^({_DURATION.pattern}|off)$", "examples": ["1h", "off"]}),
    ] = Field(timedelta(hours=1), description='How often each balance is read; "off": never.')
    threshold: Euros = Field(
        BALANCE_THRESHOLD,
        description="In euros. A balance below the threshold is low. balance_threshold of an account overrides it.",
    )
    top_up: TopUpSettings = Field(default_factory=TopUpSettings, description="Automatic top-ups; top_up of an account.")


class AccountSettings(Defaults):
    """One account; any default can be said anew here."""

    name: Name = Field(description="What you call it; also the name of its journal.")
    api_key: ApiKey = Field(description="The account's API key (not a secret).")
    path: VaultPath = Field(description="The published document, below vault.mount.")
    primary: Name | None = Field(None, description="Name of the primary account that may act for this one.")
    enabled: bool = Field(True, description="false: rotator leaves the account alone.")
    balance_threshold: Euros = Field(
        BALANCE_THRESHOLD, description="In euros. A balance below the threshold is low. Default: balance.threshold."
    )
    top_up: Annotated[TopUpSettings, AfterValidator(_shared)] = Field(
        TopUpSettings(), description="What differs from balance.top_up for this account."
    )

    @model_validator(mode="after")
    def _can_top_up(self) -> Self:
        if self.top_up.per_day and self.top_up.trx_path is None and self.top_up.trx_env is None:
            raise ValueError("top_up.per_day needs trx_path or trx_env: where the reference of the payment is")
        return self


class CircuitBreakerSettings(_Section):
    """The daemon starts no new rotation if `failures` of the last `window` accounts failed for one kind of reason."""

    failures: int = Field(5, ge=1, le=1000, description="How many accounts must fail for one kind of reason.")
    window: int = Field(10, ge=1, le=1000, description="Of how many accounts that were tried last.")
    cooldown: PositiveDuration = Field(
        timedelta(minutes=10),
        description="How long the circuit breaker stays open. Doubled each time the test rotation fails.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.failures > self.window:
            raise ValueError(
                f"failures ({self.failures}) is more than window ({self.window}): the circuit breaker would never open"
            )
        return self


_HOST_NAME = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004
        raise ValueError('has to be HOST:PORT, such as "0.0.0.0:9464" or "[::]:9464"')
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)
    except ValueError:
        raise ValueError('has to begin with an IP address, such as "0.0.0.0" or "[::]"') from None
    return text


class DaemonSettings(_Section):
    """How the work is done; what only `rotator run` heeds is said to be so."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "0.0.0.0:9464",
        description="Where `rotator run` serves metrics, health and the status page.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        (),
        description="Names in the Host header that `rotator run` answers, besides IP addresses, localhost and the "
        'machine\'s own name. "*.NAME" allows every name below NAME.',
    )
    concurrency: int = Field(8, ge=1, le=256, description="How many accounts are worked on at once.")
    min_spacing: Duration = Field(
        timedelta(seconds=1), description="`rotator run`: the shortest time between the beginnings of two rotations."
    )
    resync_interval: PositiveDuration = Field(
        timedelta(minutes=5),
        description="`rotator run`: time between two readings of what other instances changed in Vault.",
    )
    verify_interval: PositiveDuration = Field(
        timedelta(hours=24),
        description="`rotator run`: how often each published secret is verified at the provider, rotations aside.",
    )
    shard: str | None = Field(
        None,
        pattern=r"^([0-9]+|auto)/[1-9][0-9]*$",
        description='Which part of the fleet is this process\'s: "0/4", or "auto/4" by its place in a StatefulSet or '
        "Indexed Job.",
    )
    shutdown_timeout: PositiveDuration = Field(
        timedelta(seconds=25), description="`rotator run`: how long it takes to end at most."
    )
    circuit_breaker: CircuitBreakerSettings = Field(default_factory=CircuitBreakerSettings)
    lease: PositiveDuration = Field(
        timedelta(minutes=2),
        description="How long a runner has an account to itself before another may take over.",
    )


class LogSettings(_Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"


class AuditSettings(_Section):
    """The audit log: what was done to secrets, by whom and why."""

    file: Path | None = Field(
        None, description="The file that it is appended to, on a disk of the machine's own; none if unset."
    )


class Settings(BaseSettings):
    """The whole configuration, checked."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix="ROTATOR_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    vault: VaultSettings
    account_api: AccountApiSettings = Field(default_factory=AccountApiSettings)
    defaults: Defaults = Field(default_factory=Defaults)
    balance: BalanceSettings = Field(default_factory=BalanceSettings)
    accounts: tuple[AccountSettings, ...] = Field(min_length=1, description="The accounts to rotate.")
    daemon: DaemonSettings = Field(default_factory=DaemonSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)

    @cached_property
    def _by_name(self) -> dict[str, AccountSettings]:
        return {account.name: account for account in self.accounts}

    def account(self, name: str) -> AccountSettings:
        """The account of that name.

        Raises:
            ConfigError: If no account has it.
        """
        found = self._by_name.get(name)
        if found is not None:
            return found
        known = ", ".join(account.name for account in self.accounts[:10])
        more = f" and {len(self.accounts) - 10} more" if len(self.accounts) > 10 else ""  # noqa: PLR2004
        raise ConfigError(f'No account is named "{name}"; configured are {known}{more}')

    def journal_path(self, account: AccountSettings) -> str:
        """Where the account's journal stands, below vault.mount."""
        return f"{self.vault.journal_prefix}/{account.name}"

    @property
    def fleet_path(self) -> str:
        """The path of the fleet document, below vault.mount: no account's name begins with an underscore."""
        return f"{self.vault.journal_prefix}/_fleet"

    def top_ups_path(self, account: AccountSettings) -> str:
        """Where the account's automatic top-ups are noted, below vault.mount: no journal's name has a slash in it."""
        return f"{self.vault.journal_prefix}/{account.name}/top-ups"

    @model_validator(mode="before")
    @classmethod
    def _inherit_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults, balance, accounts = values.get("defaults"), values.get("balance"), values.get("accounts")
        if not isinstance(accounts, list):
            return values
        if isinstance(defaults, dict):
            accounts = [_inherited(defaults, account) for account in accounts]
        if isinstance(balance, dict):
            accounts = [_with_balance(balance, account) for account in accounts]
        return values | {"accounts": accounts}

    @model_validator(mode="after")
    def _fleet(self) -> Self:
        for attribute in ("name", "path", "api_key"):
            _refuse_repeats(attribute, (getattr(account, attribute) for account in self.accounts))
        for account in self.accounts:
            _check_primary(account, self._by_name)
            if account.path == self.vault.journal_prefix or account.path.startswith(f"{self.vault.journal_prefix}/"):
                raise ValueError(
                    f'account "{account.name}": path "{account.path}" is inside vault.journal_prefix, '
                    "which consumers must not be able to read"
                )
        if (
            self.daemon.concurrency / self.account_api.max_calls_per_second
            > self.account_api.timeout.total_seconds() / 2
        ):
            raise ValueError(
                f"daemon.concurrency ({self.daemon.concurrency}) is too high for account_api.max_calls_per_second "
                f"({self.account_api.max_calls_per_second:g}): half of account_api.timeout would be over before a "
                "request's turn"
            )
        if self.daemon.lease < 3 * self.account_api.timeout:
            raise ValueError(
                f"daemon.lease ({format_duration(self.daemon.lease)}) has to be at least three times "
                f"account_api.timeout ({format_duration(self.account_api.timeout)}): work has to fit in it"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """ROTATOR_* first, then the file, then what Vault's and OpenBao's own clients read."""
        return env_settings, init_settings, _VaultEnvironment(settings_cls)


class _VaultEnvironment(PydanticBaseSettingsSource):
    """The variables that `vault` and `bao` themselves read, as the last resort."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        vault = _first_set(address="ADDR", namespace="NAMESPACE", ca_cert="CACERT")
        token = _first_set(token="TOKEN")  # noqa: S106 - the name of a variable  # nosec B106
        return {"vault": vault | ({"auth": token} if token else {})} if vault or token else {}


def _first_set(**names: str) -> dict[str, str]:
    values = {key: os.environ.get(f"VAULT_{name}") or os.environ.get(f"BAO_{name}") for key, name in names.items()}
    return {key: value for key, value in values.items() if value}


def _inherited(defaults: dict[str, Any], account: Any) -> Any:
    """An account with the defaults it does not say anew; the names of fields are inherited one by one.

    Of every and cron, one displaces the other.
    """
    if not isinstance(account, dict):
        return account
    if "every" in account or "cron" in account:
        defaults = {key: value for key, value in defaults.items() if key not in ("every", "cron")}
    general, own = defaults.get("fields"), account.get("fields")
    if isinstance(general, dict) and isinstance(own, dict):
        return defaults | account | {"fields": general | own}
    return defaults | account


def _with_balance(balance: dict[str, Any], account: Any) -> Any:
    """An account with what [balance] says and it does not; those of top_up are inherited one by one.

    Of trx_path and trx_env, one displaces the other.
    """
    if not isinstance(account, dict):
        return account
    threshold = {"balance_threshold": balance["threshold"]} if "threshold" in balance else {}
    general, own = balance.get("top_up", {}), account.get("top_up", {})
    if not (isinstance(general, dict) and isinstance(own, dict)):
        return threshold | account
    if "trx_path" in own or "trx_env" in own:
        general = {key: value for key, value in general.items() if key not in ("trx_path", "trx_env")}
    return threshold | account | {"top_up": general | own}


def _refuse_repeats(attribute: str, values: Iterable[str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f'two accounts have the {attribute} "{repeated[0]}"')


def _check_primary(account: AccountSettings, by_name: dict[str, AccountSettings]) -> None:
    if account.primary is None:
        return
    primary = by_name.get(account.primary)
    if primary is None:
        raise ValueError(f'account "{account.name}": its primary "{account.primary}" is not configured')
    if primary is account:
        raise ValueError(f'account "{account.name}" cannot be its own primary')
    if primary.primary is not None:
        raise ValueError(
            f'account "{account.name}": its primary "{primary.name}" is itself a secondary of "{primary.primary}"'
        )


def find_file(option: Path | None) -> Path:
    """The configuration file: the option, ROTATOR_CONFIG, ./config.toml or /etc/rotator/config.toml.

    Raises:
        ConfigError: If there is none.
    """
    chosen = option or (Path(os.environ["ROTATOR_CONFIG"]) if os.environ.get("ROTATOR_CONFIG") else None)
    if chosen is not None:
        return chosen
    for path in DEFAULT_FILES:
        if path.is_file():
            return path
    raise ConfigError(
        "There is no configuration: no --config, no ROTATOR_CONFIG, no ./config.toml, no /etc/rotator/config.toml",
        next_step="Start from config.example.toml",
    )


def load(path: Path) -> Settings:
    """Read and check the configuration.

    Raises:
        ConfigError: If the file cannot be read or anything in it or in the environment is wrong; each
            mistake is one line.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    _refuse_secrets(path, content)
    for key in content.keys() - Settings.model_fields.keys():
        raise ConfigError(f"{path}: {key}: is not a setting")
    try:
        settings = Settings(**content)
    except SettingsError as error:
        raise ConfigError(f"{path}: {error}: a variable for a whole section has to be JSON") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(path, error))) from None
    for file in _named_files(settings):
        if not file.is_file():
            raise ConfigError(f"{path}: {file} does not exist or is not a file")
    return settings


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two configurations, as JSON would show it; secrets are masked.

    Attributes:
        setting: Its name; "accounts" where an account is there in one of them only.
        old: What it was.
        new: What it is.
        accounts: The accounts that it is about.
    """

    setting: str
    old: Any
    new: Any
    accounts: tuple[str, ...] = ()


def changes(before: Settings, after: Settings) -> list[Change]:
    """What differs; a setting that changed in the same way for several accounts is one change."""
    found = [
        Change(f"{section}.{key}", old, new)
        for section in ("vault", "account_api", "balance", "daemon", "log", "audit")
        for key, old, new in _differences(getattr(before, section), getattr(after, section))
    ]
    old_accounts = {account.name: account for account in before.accounts}
    new_accounts = {account.name: account for account in after.accounts}
    for old, new, names in (
        (None, "added", new_accounts.keys() - old_accounts.keys()),
        ("removed", None, old_accounts.keys() - new_accounts.keys()),
    ):
        found += [Change("accounts", old, new, tuple(sorted(names)))] if names else []
    alike: dict[str, tuple[Change, list[str]]] = {}
    for name in sorted(new_accounts.keys() & old_accounts.keys()):
        for key, was, is_now in _differences(old_accounts[name], new_accounts[name]):
            change = Change(f"accounts.{key}", was, is_now)
            alike.setdefault(repr(change), (change, []))[1].append(name)
    return found + [replace(change, accounts=tuple(names)) for change, names in alike.values()]


def _differences(before: BaseModel, after: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    yield from ((key, old[key], new[key]) for key in old if old[key] != new[key])


def _refuse_secrets(path: Path, content: dict[str, Any]) -> None:
    vault = content.get("vault")
    auth = vault.get("auth") if isinstance(vault, dict) else None
    for key in ("token", "secret_id"):
        if isinstance(auth, dict) and key in auth:
            raise ConfigError(
                f"{path}: vault.auth.{key} is a secret and does not belong in a file; "
                f"set ROTATOR_VAULT__AUTH__{key.upper()} or name a file with {key}_file"
            )


def _named_files(settings: Settings) -> list[Path]:
    vault, api = settings.vault, settings.account_api
    files = (vault.ca_cert, vault.client_cert, vault.client_key, api.ca_cert, vault.auth.secret_id_file)
    return [file for file in files if file is not None]


_RENAMED = {
    ("account_api", "settle"): "account_api.consistency_window",
    ("accounts", "low_balance"): "balance_threshold",
    ("balance", "low"): "balance.threshold",
    ("daemon", "brake"): "daemon.circuit_breaker, with the keys failures, window and cooldown",
    ("daemon", "circuit_breaker", "of_last"): "daemon.circuit_breaker.window",
    ("daemon", "circuit_breaker", "hold"): "daemon.circuit_breaker.cooldown",
    ("daemon", "recheck"): "daemon.verify_interval",
    ("daemon", "sweep"): "daemon.resync_interval",
}


def _lines(path: Path, error: ValidationError) -> list[str]:
    lines: list[str] = []
    said: set[tuple[tuple[int | str, ...], str]] = set()
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        loc = problem["loc"]
        if loc == ("accounts",) and problem["type"] == "too_short" and lines:
            continue  # only because none of them is right
        if loc[:1] == ("accounts",) and (loc[2:], problem["msg"]) in said:
            continue  # inherited: said once, of [defaults] or [balance]
        if loc[:1] in (("defaults",), ("balance",)):
            inherited_as = ("balance_threshold",) if loc == ("balance", "threshold") else loc[1:]
            said.add((inherited_as, problem["msg"]))
        where = ".".join(str(part) for part in loc)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            renamed = _RENAMED.get(tuple(part for part in loc if isinstance(part, str)))
            message = f"is now called {renamed}" if renamed else "is not a setting"
        if problem["type"] == "missing":
            message = "is missing"
        lines.append(f"{path}: {where}: {message}" if where else f"{path}: {message}")
    return lines
