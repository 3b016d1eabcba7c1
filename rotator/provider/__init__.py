"""The provider: its Account API, its answers and its limits."""

from rotator.provider.client import AccountApi, OnBudget, OnRequest
from rotator.provider.errors import (
    ApiError,
    AutoReloadDisabled,
    Forbidden,
    InvalidRequest,
    LostAnswer,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Unauthorized,
    Unprovisioned,
)
from rotator.provider.host import KEPT, WORST_CASE
from rotator.provider.models import Balance, CallbackSettings, HttpForwardMethod, SecretInfo
from rotator.provider.parsing import Reply
from rotator.provider.rate_limiter import Budget, Hold, RateLimiter, remaining_budget, requested_wait
from rotator.provider.request import Credentials

__all__ = [
    "KEPT",
    "WORST_CASE",
    "AccountApi",
    "ApiError",
    "AutoReloadDisabled",
    "Balance",
    "Budget",
    "CallbackSettings",
    "Credentials",
    "Forbidden",
    "Hold",
    "HttpForwardMethod",
    "InvalidRequest",
    "LostAnswer",
    "NotFound",
    "NotSent",
    "OnBudget",
    "OnRequest",
    "RateLimited",
    "RateLimiter",
    "Refused",
    "Reply",
    "SecretInfo",
    "Unauthorized",
    "Unprovisioned",
    "remaining_budget",
    "requested_wait",
]
