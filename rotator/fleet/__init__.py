"""Many accounts: runs, permissions, checks, sharding, and secrets that a person creates or revokes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rotator.fleet.fleet import Fleet, log_internal_error
from rotator.fleet.request import Request, Wanted

if TYPE_CHECKING:
    from rotator.fleet.account_status import read_status
    from rotator.fleet.account_view import LiveSecret, look, published_credentials, refused
    from rotator.fleet.check import examine
    from rotator.fleet.finding import Finding, State
    from rotator.fleet.manual_secrets import by_hand
    from rotator.fleet.sharding import Shard, parse_shard
    from rotator.fleet.top_ups import TopUpService

__all__ = [
    "Finding",
    "Fleet",
    "LiveSecret",
    "Request",
    "Shard",
    "State",
    "TopUpService",
    "Wanted",
    "by_hand",
    "examine",
    "log_internal_error",
    "look",
    "parse_shard",
    "published_credentials",
    "read_status",
    "refused",
]

_MODULES = {
    "Finding": "finding",
    "LiveSecret": "account_view",
    "Shard": "sharding",
    "State": "finding",
    "TopUpService": "top_ups",
    "by_hand": "manual_secrets",
    "examine": "check",
    "look": "account_view",
    "parse_shard": "sharding",
    "published_credentials": "account_view",
    "read_status": "account_status",
    "refused": "account_view",
}


def __getattr__(name: str) -> Any:
    """Import a module when its name is used: most commands need none of these, and start without them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
