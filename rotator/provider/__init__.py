"""The provider: its Account API, its answers and its limits."""

from rotator.provider.answers import (
    ApiError,
    AutoReloadDisabled,
    Balance,
    CallbackSettings,
    Forbidden,
    InvalidRequest,
    LostAnswer,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Reply,
    SecretInfo,
    Unauthorized,
    Unprovisioned,
)
from rotator.provider.client import KEPT, WORST_CASE, AccountApi, Credentials, OnBudget, OnRequest
from rotator.provider.models import HttpForwardMethod
from rotator.provider.rate_limiter import Budget, Hold, RateLimiter, remaining_budget, requested_wait

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
