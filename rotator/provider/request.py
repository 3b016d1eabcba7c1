"""A request to the Account API, and the values of it that stay hidden."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, quote_plus, urlencode

from pydantic import SecretStr

from rotator import __version__
from rotator.logs import register_secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and one of its secrets."""

    api_key: str
    api_secret: SecretStr


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send.

    Attributes:
        operation: The name in metrics.
        method: The HTTP method.
        path: Below the host's address.
        auth: The credentials that authenticate the request.
        fields: Fields of the body, each hidden: JSON for the operations on secrets, a form for the others.
    """

    operation: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    auth: Credentials
    fields: Mapping[str, SecretStr] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def of_secrets(self) -> bool:
        """Whether it is one of the operations on secrets."""
        return self.path.startswith("/accounts/")

    @property
    def setting(self) -> str:
        """The configuration key of the address that it is sent to."""
        return "account_api.api_url" if self.of_secrets else "account_api.rest_url"

    def headers(self, *, in_query: bool) -> dict[str, str]:
        """The headers, with the credentials in the clear unless they are part of the query.

        The connection ends after a create: it can lead to one of many servers, and another server than the one that
        created a secret must confirm that the secret works.

        Raises:
            UnicodeEncodeError: If the credentials are no Unicode text; its text shows them.
        """
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small encoded body can decode to gigabytes
            "User-Agent": f"rotator/{__version__}",
        }
        if not in_query:
            headers["Authorization"] = f"Basic {self._basic()}"
        if self.operation == "create":
            headers["Connection"] = "close"
        return headers

    def target(self, *, in_query: bool) -> str:
        """The path, and the credentials in the clear if they are part of the query.

        Raises:
            UnicodeEncodeError: See `headers`.
        """
        if not in_query:
            return self.path
        secret = self.auth.api_secret.get_secret_value()
        return f"{self.path}?{urlencode({'api_key': self.auth.api_key, 'api_secret': secret})}"

    def body(self) -> dict[str, str]:
        """The fields in the clear."""
        return {name: value.get_secret_value() for name, value in self.fields.items()}

    def register(self) -> None:
        """Register every secret of it, so that texts of its answer are masked."""
        callbacks = self.operation == "settings"
        for value in (self.auth.api_secret, *(() if callbacks else self.fields.values())):
            register_secret(value, passing=True)

    def in_the_clear(self) -> list[str]:
        """Values that an echo of the request can contain: the credential as it was sent, and every field."""
        secret = self.auth.api_secret.get_secret_value()
        basic = self._basic().rstrip("=")
        values = [secret, *(value.get_secret_value() for value in self.fields.values())]
        shown = {basic, *values, *map(quote_plus, values), *(quote(value, safe="") for value in values)} - {""}
        return sorted(shown, key=len, reverse=True)  # one may begin with another

    def _basic(self) -> str:
        return b64encode(f"{self.auth.api_key}:{self.auth.api_secret.get_secret_value()}".encode()).decode()


def secrets_path(api_key: str, secret_id: str | None = None) -> str:
    """The path of an account's secrets, or of one of them."""
    collection = f"/accounts/{quote(api_key, safe='')}/secrets"
    return collection if secret_id is None else f"{collection}/{quote(secret_id, safe='')}"
