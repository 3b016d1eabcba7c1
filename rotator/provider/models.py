"""Values of the Account API."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

# HTTP request with which the provider calls an account's webhooks.
HttpForwardMethod = Literal["GET_QUERY_PARAMS", "POST_QUERY_PARAMS", "POST_JSON"]


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A secret as the provider lists it, without its value.

    Attributes:
        request_id: The `X-Request-Id` of an answer about this secret alone; empty if there was none.
    """

    id: str
    created_at: datetime
    request_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Balance:
    """Balance of an account.

    Attributes:
        euros: Exactly as the provider writes it; below zero if the account owes.
        auto_reload: Whether the account tops itself up; None if the provider does not say.
    """

    euros: Decimal
    auto_reload: bool | None


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Webhooks and limits of an account; None for each value that the answer does not contain.

    Attributes:
        mo_callback_url: URL for inbound messages; empty if unset.
        dr_callback_url: URL for delivery receipts; empty if unset.
        max_outbound_request: Messages sent per second.
        max_inbound_request: Messages received per second.
        max_calls_per_second: API calls per second.
    """

    mo_callback_url: str | None
    dr_callback_url: str | None
    max_outbound_request: int | None
    max_inbound_request: int | None
    max_calls_per_second: int | None
