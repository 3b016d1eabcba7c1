"""The seven operations of the Account API and where each is found.

Two families: the three of the account itself, which the provider keeps on another host and answers in an older
dialect, and the four of its secrets. The emulator has both on one port.
"""

from enum import StrEnum


class Operation(StrEnum):
    """An operation of the Account API."""

    BALANCE = "balance"
    TOP_UP = "top-up"
    SETTINGS = "settings"
    LIST = "list"
    CREATE = "create"
    GET = "get"
    REVOKE = "revoke"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return _WHERE[self][0]

    @property
    def path(self) -> str:
        """The path, its parameters in braces."""
        return _WHERE[self][1]

    @property
    def is_of_secrets(self) -> bool:
        """Whether it belongs to the family of the secrets: Basic only, JSON only, errors after RFC 7807."""
        return self.path.startswith("/accounts/")


_COLLECTION = "/accounts/{api_key}/secrets"
_ITEM = _COLLECTION + "/{secret_id}"
_WHERE = {
    Operation.BALANCE: ("GET", "/account/get-balance"),
    Operation.TOP_UP: ("POST", "/account/top-up"),
    Operation.SETTINGS: ("POST", "/account/settings"),
    Operation.LIST: ("GET", _COLLECTION),
    Operation.CREATE: ("POST", _COLLECTION),
    Operation.GET: ("GET", _ITEM),
    Operation.REVOKE: ("DELETE", _ITEM),
}
