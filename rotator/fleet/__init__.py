"""Many accounts: runs, permissions, checks, sharding, and secrets that a person creates or revokes.

The module `manual_secrets` is public as a whole: `manual_secrets.revoke` says more than `revoke`.
"""

from typing import TYPE_CHECKING

from rotator.fleet.fleet import Fleet, log_internal_error
from rotator.fleet.request import Request, Wanted
from rotator.imports import import_on_use

if TYPE_CHECKING:
    from rotator.fleet.account_status import read_status
    from rotator.fleet.account_view import LiveSecret, asking, look, published_credentials
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
    "asking",
    "by_hand",
    "examine",
    "log_internal_error",
    "look",
    "manual_secrets",
    "parse_shard",
    "published_credentials",
    "read_status",
]

# Most commands need none of these, and start without them.
__getattr__ = import_on_use(
    __name__,
    {
        "Finding": "finding",
        "LiveSecret": "account_view",
        "Shard": "sharding",
        "State": "finding",
        "TopUpService": "top_ups",
        "asking": "account_view",
        "by_hand": "manual_secrets",
        "examine": "check",
        "look": "account_view",
        "parse_shard": "sharding",
        "published_credentials": "account_view",
        "read_status": "account_status",
    },
)
