"""Settings of the process: the daemon with its circuit breaker, the log, the audit log."""

import ipaddress
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rotator.config.types import Duration, FileName, PositiveDuration, Section, ShardText
from rotator.core.protocol import LEASE


class CircuitBreakerSettings(Section):
    """The daemon starts no new rotation if `failures` of the last `window` accounts failed for one kind of reason."""

    failures: int = Field(5, ge=1, le=1000, description="The number of failed accounts that opens the circuit breaker.")
    window: int = Field(10, ge=1, le=1000, description="The number of accounts, the last ones, that are counted.")
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
        raise ValueError('has to be HOST:PORT or :PORT, such as "127.0.0.1:9464", "[::1]:9464" or ":9464"')
    if not host:
        return text
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)
    except ValueError:
        raise ValueError('has to begin with an IP address, such as "0.0.0.0" or "[::]"') from None
    return text


class DaemonSettings(Section):
    """The process. The description of a setting says if only `rotator run` uses it."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        ":9464",
        description="Where `rotator run` serves metrics, health and the status page: an IP address and a port, or a "
        "port alone for every address of the host, IPv4 and IPv6.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        (),
        description="Names in the Host header that `rotator run` answers, besides IP addresses, localhost and the "
        'machine\'s own name. "*.NAME" allows every name below NAME.',
    )
    service_names: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        (),
        description="More names like those in allowed_hosts: those of the Kubernetes Service, which the chart sets by "
        "ROTATOR_DAEMON__SERVICE_NAMES.",
    )
    concurrency: int = Field(
        8, ge=1, le=256, description="The number of accounts that rotator works on at the same time."
    )
    min_spacing: Duration = Field(
        timedelta(seconds=1), description="`rotator run`: the shortest time between the beginnings of two rotations."
    )
    resync_interval: PositiveDuration = Field(
        timedelta(minutes=5),
        description="`rotator run`: the interval between two readings of documents that other instances can change.",
    )
    verify_interval: PositiveDuration = Field(
        timedelta(hours=24),
        description="`rotator run`: the interval between two verifications of a published secret.",
    )
    shard: ShardText | None = Field(
        None,
        description='The shard of this process: "0/4", or "auto/4" for the ordinal of a StatefulSet or the completion '
        "index of an Indexed Job.",
    )
    shutdown_timeout: PositiveDuration = Field(
        timedelta(seconds=25), description="`rotator run`: the time limit of a stop."
    )
    circuit_breaker: CircuitBreakerSettings = Field(
        default_factory=CircuitBreakerSettings, description="When the daemon starts no new rotation."
    )
    lease: PositiveDuration = Field(
        LEASE,
        description="How long the lease of an account lasts, so that one instance at a time manages it. At least three "
        "times account_api.timeout.",
    )

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """Each name that a Host header can contain: the operator's, and those that the environment adds."""
        return self.allowed_hosts + self.service_names


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The lowest level that is logged.")
    format: Literal["json", "console"] = Field("console", description="One JSON object a line, or text for people.")


class AuditSettings(Section):
    """The audit log of actions at the provider and in Vault, with reason, instance and person."""

    file: FileName | None = Field(
        None, description="The file of the audit log, on a disk of this machine. Not set: no audit log."
    )
