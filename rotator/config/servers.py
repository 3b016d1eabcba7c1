"""Settings of the two servers: Vault, with the login, and the provider."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator

from rotator.config.types import (
    Address,
    Duration,
    FileName,
    PlacedError,
    PositiveDuration,
    Section,
    VaultPath,
    is_host,
    read_url,
)


def _one_word(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip("\r\n")
    if not re.fullmatch("[!-~]+", value) or value[0] in "\"'":
        raise ValueError("must be one word of printable ASCII characters, without blanks, line breaks and quotes")
    return SecretStr(value)


Token = Annotated[SecretStr, AfterValidator(_one_word)]


class VaultAuth(Section):
    """How rotator logs in to Vault."""

    method: Literal["token", "token_file", "approle", "kubernetes", "jwt", "cert", "none"] = Field(
        "token", description="The auth method. none: an agent adds its own token to each request (use_auto_auth_token)."
    )
    mount: VaultPath | None = Field(None, description="Where the auth method is mounted; its own name if unset.")
    role: str | None = Field(None, description="The role to log in as (kubernetes, jwt; optional for cert).")
    role_id: str | None = Field(None, description="AppRole: the role id.")
    secret_id_file: FileName | None = Field(None, description="AppRole: a file that holds the secret id.")
    token_file: FileName | None = Field(
        None, description="token_file: a file with the token; rotator reads a changed file again."
    )
    jwt_file: FileName | None = Field(None, description="jwt, kubernetes: the file with the JWT, read at each login.")
    token: Token | None = Field(None, description="Environment only: ROTATOR_VAULT__AUTH__TOKEN.")
    secret_id: Token | None = Field(None, description="Environment only: ROTATOR_VAULT__AUTH__SECRET_ID.")

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
                raise PlacedError(f'method "{self.method}" needs {what}', ("method",))
        return self


def _empty() -> Any:
    return {}


def _joined(value: object) -> object:
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _namespace(text: str) -> str:
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("is not a namespace: it has to consist of ASCII characters without blanks and line breaks")
    return text


def _server_name(text: str) -> str:
    if not is_host(text):
        raise ValueError('is not a host name such as "vault.example.com", nor an IP address')
    return text


def _addresses(text: str) -> str:
    addresses = [read_url(part.strip(" ")) for part in text.split(",")]
    if any(address.endswith("/v1") for address in addresses):
        raise ValueError("has to end before /v1, which rotator adds to each request")
    if len(set(addresses)) < len(addresses):
        raise ValueError("has one address twice")
    if len({address.startswith("https:") for address in addresses}) > 1:
        raise ValueError("has to be https for all or for none: a token that is to stay secret would go in plain text")
    return ",".join(addresses)


class VaultSettings(Section):
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
    ca_cert: FileName | None = Field(None, description="A PEM file with the CA of the server's certificate.")
    ca_path: FileName | None = Field(
        None,
        description="A directory with the only CAs to trust, as `openssl rehash` names its files; without ca_cert.",
    )
    tls_server_name: Annotated[str, AfterValidator(_server_name)] | None = Field(
        None, description="The name that the server's certificate must contain, in place of the host of the address."
    )
    client_cert: FileName | None = Field(None, description="A PEM file with rotator's own certificate.")
    client_key: FileName | None = Field(None, description="The PEM file with its key.")
    verify: bool = Field(True, description="Whether to verify the server's certificate. Leave it on.")
    timeout: PositiveDuration = Field(timedelta(seconds=10), description="How long one request may take.")
    # Checked like a section of the file: the default method needs a token.
    auth: VaultAuth = Field(default_factory=_empty, validate_default=True, description="The login.")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address of the cluster, in the order of preference."""
        return tuple(self.address.split(","))

    @model_validator(mode="after")
    def _certificate(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise PlacedError("client_cert and client_key go together", ("client_cert",), ("client_key",))
        if self.auth.method == "cert" and self.client_cert is None:
            raise PlacedError('auth method "cert" needs client_cert and client_key', ("auth", "method"))
        return self


class AccountApiSettings(Section):
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
        10, gt=0, le=10_000, description="The most requests a second that this process sends to a host of the provider."
    )
    max_secrets: int = Field(2, ge=2, le=100, description="How many secrets an account may have.")
    ca_cert: FileName | None = Field(None, description="A PEM file with the CA of the server's certificate.")
    verify: bool = Field(True, description="Whether to verify the server's certificate. Leave it on.")
