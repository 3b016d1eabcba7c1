"""Settings of accounts: defaults, each account, balances and top-ups; and how an account inherits."""

from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from rotator.config.types import (
    DURATION_PATTERN,
    ApiKey,
    BlackoutText,
    Cron,
    Duration,
    Euros,
    Name,
    PositiveDuration,
    Section,
    VariableName,
    VaultPath,
    WindowText,
    Zone,
    format_duration,
)
from rotator.core.generator import DEFAULT_ALPHABET, MAX_LENGTH, Recipe
from rotator.core.scheduling import Blackout, Schedule, Window

DEFAULT_EVERY = timedelta(days=30)
# The default of jitter with every: the time from grace to every, divided by the share, but at most the cap.
JITTER_SHARE = 10
JITTER_CAP = timedelta(hours=6)
BALANCE_THRESHOLD = Decimal("5.00")


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
    """The schedule that accounts with equal settings share, so that it is parsed and checked once."""
    return Schedule(
        every,
        cron,
        ZoneInfo(timezone),
        tuple(Window.parse(text) for text in windows),
        tuple(Blackout.parse(text) for text in blackouts),
        max_age,
        jitter,
    )


@lru_cache
def _recipe(length: int, alphabet: str) -> Recipe:
    """The recipe that accounts with equal settings share, so that it is checked once."""
    return Recipe(length, alphabet)


class Fields(Section):
    """The names under which the published document holds its values. rotator does not change other fields."""

    api_key: str = Field("api_key", min_length=1, description="Name of the field with the API key.")
    api_secret: str = Field("api_secret", min_length=1, description="Name of the field with the secret.")
    secret_id: str = Field("secret_id", min_length=1, description="Name of the field with the id of the secret.")
    rotated_at: str = Field("rotated_at", min_length=1, description="Name of the field with the time of the rotation.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = (self.api_key, self.api_secret, self.secret_id, self.rotated_at)
        if len(set(names)) < len(names):
            raise ValueError("has one name twice")
        return self


_SectionT = TypeVar("_SectionT", bound=Section)


@lru_cache(maxsize=4096)
def _shared(section: _SectionT) -> _SectionT:
    """One object for all accounts that say the same: a fleet has far more accounts than ways to set them up."""
    return section


class Defaults(Section):
    """Defaults of all accounts; an account can override each of them."""

    every: PositiveDuration | None = Field(
        None, description="The age at which rotator replaces a secret; 30d if neither this nor cron is set."
    )
    cron: Cron | None = Field(
        None,
        description="In place of every: when rotator replaces secrets: minute, hour, day, month, weekday by timezone.",
        examples=["0 3 1 * *"],
    )
    timezone: Zone = Field("UTC", description="Time zone of cron, windows and blackouts (IANA name).")
    windows: tuple[WindowText, ...] = Field((), description="When rotations may begin; none: at any time.")
    blackouts: tuple[BlackoutText, ...] = Field(
        (), description="Days on which rotations may not begin, first and last included."
    )
    max_age: PositiveDuration | None = Field(
        None, description="At this age, rotator replaces a secret in spite of windows and blackouts."
    )
    jitter: Duration | None = Field(
        None,
        description="Over how long rotations are spread: before the end of every, after the time of cron. If not set: "
        "with every, a tenth of what every is longer than grace, 6h at most; with cron, nothing.",
    )
    grace: Duration = Field(
        timedelta(hours=24), description="The grace period: how long a previous secret keeps working."
    )
    verify_timeout: PositiveDuration = Field(
        timedelta(minutes=5), description="The time limit until a candidate authenticates."
    )
    verify_balance: bool = Field(
        False,
        description="Whether a candidate must also read the balance, on the other host, before rotator publishes it.",
    )
    secret_length: int = Field(MAX_LENGTH, description="Length of new secrets, 8 to 25.")
    secret_alphabet: str = Field(DEFAULT_ALPHABET, description="Characters of new secrets.")
    fields: Annotated[Fields, AfterValidator(_shared)] = Field(
        Fields(), description="Field names of the published document."
    )

    @property
    def recipe(self) -> Recipe:
        """Length and alphabet of new secrets."""
        return _recipe(self.secret_length, self.secret_alphabet)

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


class TopUpSettings(Section):
    """Whether rotator may spend money to keep an account filled, and where the reference of the payment is.

    The reference (`trx`) is as good as money: it comes from Vault or from the environment, never from a file.
    """

    per_day: int = Field(0, ge=0, le=100, description="The most top-ups in any 24 hours; 0: none.")
    trx_path: VaultPath | None = Field(
        None, description="The document with the payment's reference, below vault.mount; not one that consumers read."
    )
    trx_field: str = Field("trx", min_length=1, description="Its field.")
    trx_env: VariableName | None = Field(None, description="Or the variable with the payment's reference.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.trx_path is not None and self.trx_env is not None:
            raise ValueError("trx_path and trx_env exclude each other")
        return self


def _unless_off(value: object) -> object:
    return None if value == "off" else value


class BalanceSettings(Section):
    """Balances of accounts: how often `rotator run` reads them, the threshold, and automatic top-ups."""

    every: Annotated[
        PositiveDuration | None,
        BeforeValidator(_unless_off),
        PlainSerializer(lambda every: "off" if every is None else format_duration(every), return_type=str),
        WithJsonSchema({"type": "string", "pattern": f"^({DURATION_PATTERN}|off)$", "examples": ["1h", "off"]}),
    ] = Field(timedelta(hours=1), description='How often each balance is read; "off": never.')
    threshold: Euros = Field(
        BALANCE_THRESHOLD,
        description="In euros. A balance below the threshold is low. balance_threshold of an account overrides it.",
    )
    top_up: TopUpSettings = Field(default_factory=TopUpSettings, description="Automatic top-ups; top_up of an account.")


class AccountSettings(Defaults):
    """One account; it can override each default."""

    name: Name = Field(description="Name of the account and of its journal.")
    api_key: ApiKey = Field(description="The account's API key (not a secret).")
    path: VaultPath = Field(description="The published document, below vault.mount.")
    primary: Name | None = Field(None, description="Name of the primary account that may act for this one.")
    enabled: bool = Field(True, description="false: rotator does not manage the account.")
    balance_threshold: Euros = Field(
        BALANCE_THRESHOLD, description="In euros. A balance below the threshold is low. Default: balance.threshold."
    )
    top_up: Annotated[TopUpSettings, AfterValidator(_shared)] = Field(
        TopUpSettings(), description="Overrides of balance.top_up for this account."
    )

    @model_validator(mode="after")
    def _can_top_up(self) -> Self:
        if self.top_up.per_day and self.top_up.trx_path is None and self.top_up.trx_env is None:
            raise ValueError("top_up.per_day needs trx_path or trx_env: where the reference of the payment is")
        return self


def inherit(defaults: dict[str, Any], account: Any) -> Any:
    """An account with the defaults that it does not override; the names of fields are inherited one by one.

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


def inherit_balance(balance: dict[str, Any], account: Any) -> Any:
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
