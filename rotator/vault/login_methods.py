"""How rotator logs in to Vault: one class for each method of vault.auth, and what all of them do."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from rotator.config import VaultAuth, read_secret_file, shown_name
from rotator.errors import ConfigError
from rotator.logs import register_secret
from rotator.vault import diagnosis
from rotator.vault.client import Call, Client
from rotator.vault.errors import (
    Forbidden,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultUnauthorized,
    VaultUnreachable,
)
from rotator.vault.time_limit import TimeLimit
from rotator.vault.token import Token, read_remaining_seconds, read_seconds, read_uses

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_LOOKUP_PATH = "auth/token/lookup-self"
# A header carries it.
_WORD = re.compile("[!-~]+")
Credentials = Mapping[str, str | None]


class LoginMethod(ABC):
    """A way to a token, by the settings of vault.auth.

    Attributes:
        reusable: Whether its credentials give another token at each login. If not, it only knows a given token.
    """

    reusable = True

    def __init__(self, auth: VaultAuth) -> None:
        self.auth = auth

    @property
    def path(self) -> str:
        """The API path of the login, without credentials."""
        return f"auth/{self.auth.mount or self.auth.method}/login"

    @abstractmethod
    def credentials(self) -> Credentials:
        """Return what a login sends; it reads files each time, because they are rotated.

        Raises:
            VaultUnauthorized: If they cannot be read.
        """

    def obtain_token(self, client: Client, credentials: Credentials, limit: TimeLimit, now: datetime) -> Token:
        """Log in.

        Raises:
            VaultUnauthorized: If Vault refuses it.
            VaultError: If there is no answer.
        """
        call = Call("login", f"log in at {self.path}", limit)
        reason = ""
        try:
            answer = client.send(call, lambda wire: wire.post(f"/v1/{self.path}", json=dict(credentials)), "")
            return _granted(answer, now)
        except (VaultUnreachable, VaultRateLimited, VaultDenied):
            raise
        except VaultError as error:
            reason = error.what
        except (TypeError, KeyError, ValueError):
            pass
        if reason:
            raise diagnosis.login_refused(self.path, reason)
        raise diagnosis.token_unusable(self.path, client.address)

    def has_another(self, token: Token) -> bool:  # noqa: ARG002 - a given token decides by it
        """Whether a login can give another token than this one.

        Raises:
            VaultUnauthorized: If that cannot be read.
        """
        return True

    def refusal(self, address: str) -> VaultUnauthorized:  # noqa: ARG002 - an agent's is named
        """Return the error of a token that Vault refuses."""
        return diagnosis.token_refused(self.advice())

    def advice(self) -> str:
        """Return the next step if Vault refuses the token of this method."""
        return "Another login did not help either. Check vault.auth"


class AppRole(LoginMethod):
    """An AppRole: a role id, and a secret id from a file or the environment."""

    def credentials(self) -> Credentials:
        """Return the role id and the secret id."""
        secret_id = self.auth.secret_id or _read_file(self.auth.secret_id_file, "secret_id_file")
        return {"role_id": self.auth.role_id, "secret_id": register_secret(secret_id).get_secret_value()}


class Jwt(LoginMethod):
    """A JWT from a file that its issuer renews."""

    def credentials(self) -> Credentials:
        """Return the role and the JWT."""
        return {"role": self.auth.role, "jwt": _read_file(self._file, "jwt_file").get_secret_value()}

    @property
    def _file(self) -> Path | None:
        return self.auth.jwt_file


class Kubernetes(Jwt):
    """The JWT of the pod's service account."""

    @property
    def _file(self) -> Path:
        return self.auth.jwt_file or KUBERNETES_JWT


class Certificate(LoginMethod):
    """The client certificate of the TLS connection."""

    def credentials(self) -> Credentials:
        """Return the role, if there is one; the certificate is not part of the request."""
        return {"name": self.auth.role} if self.auth.role else {}


class GivenToken(LoginMethod):
    """A token from the environment, which only an operator can replace."""

    reusable = False

    def credentials(self) -> Credentials:
        """Return the token."""
        token = _clean(self.auth.token, "The token in VAULT_TOKEN or ROTATOR_VAULT__AUTH__TOKEN")
        return {"token": token.get_secret_value()}

    def obtain_token(self, client: Client, credentials: Credentials, limit: TimeLimit, now: datetime) -> Token:
        """Return the given token, with the life that Vault knows of it."""
        token = Token(credentials["token"] or "", now)
        try:
            known = look_up(client, token, limit)
        except Forbidden:
            refused = self.refusal(client.address)
        else:
            return self.described(token, known, now)
        raise refused

    def described(self, token: Token, known: Mapping[str, Any] | None, now: datetime) -> Token:
        """Return the token with the life that Vault describes.

        Args:
            known: Vault's description; None if the token may not ask, because it lacks the default policy.

        Raises:
            TokenUseLimited: If it is good for a few requests only.
        """
        if known is None:
            return token
        diagnosis.refuse_use_limit(read_uses(known))
        return token.lasting(now, read_remaining_seconds(known), renewable=bool(known.get("renewable")))

    def has_another(self, token: Token) -> bool:  # noqa: ARG002 - there is never another
        """No: a process keeps the variables that it started with."""
        return False

    def advice(self) -> str:
        """Name the variable."""
        return "Put a new token into VAULT_TOKEN, or let rotator log in by itself (vault.auth.method)"


class TokenFile(GivenToken):
    """A token from a file, which an agent or an operator replaces."""

    def credentials(self) -> Credentials:
        """Return the token that the file contains now."""
        return {"token": _read_file(self.auth.token_file, "token_file").get_secret_value()}

    def has_another(self, token: Token) -> bool:
        """Whether the file contains another token."""
        return self.credentials()["token"] != token.value

    def advice(self) -> str:
        """Name the file."""
        name = "the file" if self.auth.token_file is None else shown_name(self.auth.token_file)
        return f"Put a valid token into {name}; rotator reads it at the next request"


class AgentToken(GivenToken):
    """No token: Vault Agent or Vault Proxy adds its own to each request (`use_auto_auth_token`), and renews it."""

    def credentials(self) -> Credentials:
        """Return no token."""
        return {"token": None}

    def described(self, token: Token, known: Mapping[str, Any] | None, now: datetime) -> Token:  # noqa: ARG002
        """Return it without a life: the agent replaces its token."""
        diagnosis.refuse_use_limit(read_uses(known or {}))
        return token

    def refusal(self, address: str) -> VaultUnauthorized:
        """Return the error of a request to which no agent added a valid token."""
        return diagnosis.token_missing(address, self.advice())

    def advice(self) -> str:
        """Name the settings of the agent."""
        return "Set use_auto_auth_token = true in the agent's api_proxy, point vault.address to it, and read its log"


_METHODS: Mapping[str, Callable[[VaultAuth], LoginMethod]] = {
    "token": GivenToken,
    "token_file": TokenFile,
    "approle": AppRole,
    "kubernetes": Kubernetes,
    "jwt": Jwt,
    "cert": Certificate,
    "none": AgentToken,
}


def login_method(auth: VaultAuth) -> LoginMethod:
    """Return the method that the settings name."""
    return _METHODS[auth.method](auth)


# --- what all methods do with a token -------------------------------------------------------------------------


def look_up(client: Client, token: Token, limit: TimeLimit) -> Mapping[str, Any] | None:
    """Return Vault's description of a token; None if the token is valid, but its policy does not allow to ask.

    Raises:
        Forbidden: If Vault does not recognize the token.
        VaultError: If there is no usable answer.
    """
    call = Call("lookup", "look up the token", limit)
    try:
        answer = client.send(call, lambda wire: wire.get(f"/v1/{_LOOKUP_PATH}"), token.value)
    except Forbidden as error:
        if not error.by_policy:
            raise
        return None
    try:
        data: Mapping[str, Any] = answer["data"]
        read_remaining_seconds(data)
        read_uses(data)
    except (TypeError, KeyError, ValueError, AttributeError):
        pass
    else:
        return data
    raise diagnosis.unreadable(_LOOKUP_PATH, client.address, maybe_done=False)


def is_valid(client: Client, token: Token, limit: TimeLimit) -> bool:
    """Whether Vault recognizes the token, whatever its policy allows.

    Raises:
        VaultError: If there is no usable answer.
    """
    try:
        look_up(client, token, limit)
    except Forbidden:
        return False
    return True


def may(client: Client, token: Token, capability: str, api_path: str, limit: TimeLimit) -> bool:
    """Whether the policies of a token have a capability, as far as Vault says so.

    Args:
        capability: "read", "update" or "write".
    """
    needed = {"create", "update"} if capability == "write" else {capability}
    call = Call("capabilities", f"ask what the token may do at {api_path}", limit)
    with suppress(VaultError, TypeError, KeyError):
        answer = client.send(
            call, lambda wire: wire.post("/v1/sys/capabilities-self", json={"paths": [api_path]}), token.value
        )
        found = set(answer["data"][api_path])
        return "root" in found or needed <= found
    return False


def renew(client: Client, token: Token, limit: TimeLimit, now: datetime) -> Token:
    """Return the token with a longer life.

    Raises:
        ValueError: If the answer cannot be read; or a TypeError or KeyError.
        VaultError: If Vault refuses it, or there is no answer.
    """
    call = Call("renew", "renew the token", limit)
    auth = client.send(call, lambda wire: wire.post("/v1/auth/token/renew-self", json={}), token.value)["auth"]
    return token.lasting(now, read_seconds(auth["lease_duration"]), renewable=bool(auth["renewable"]))


def _granted(answer: Any, now: datetime) -> Token:
    """Return the token in the answer to a login.

    Raises:
        TokenUseLimited: If it is good for a few requests only.
        ValueError: If there is none; or a TypeError or KeyError.
    """
    auth = answer["auth"]
    token = SecretStr(auth["client_token"] or "")
    if not _WORD.fullmatch(token.get_secret_value()):
        raise ValueError("no token")
    value = register_secret(token).get_secret_value()
    diagnosis.refuse_use_limit(read_uses(auth))
    seconds = read_seconds(auth["lease_duration"])
    return Token(value, now).lasting(now, seconds, renewable=bool(auth["renewable"]))


def _read_file(file: Path | None, setting: str) -> SecretStr:
    """Return the one word that a file contains.

    Raises:
        VaultUnauthorized: If it does not.
    """
    key = f"vault.auth.{setting}"
    if file is None:
        return _clean(None, key)
    try:
        return _clean(SecretStr(read_secret_file(file)), f"{file} ({key})")
    except ConfigError as error:
        what = f"{key}: {error.what}"
    raise VaultUnauthorized(what, unchanged="Nothing was written", next_step="Correct the file or its permissions")


def _clean(secret: SecretStr | None, place: str) -> SecretStr:
    """Return the secret if a header can carry it; a library would repeat any other in its exception.

    Raises:
        VaultUnauthorized: If not.
    """
    if secret is None or not _WORD.fullmatch(secret.get_secret_value()):
        raise VaultUnauthorized(
            f"{place} is empty or contains more than one word", unchanged="Nothing was written", next_step="Correct it"
        )
    return register_secret(secret)
