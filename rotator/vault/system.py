"""Questions about the server itself: health, the mount, and the token's capabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rotator.logs import foreign
from rotator.vault import diagnosis
from rotator.vault.client import Call, Client, Wire
from rotator.vault.errors import Forbidden, VaultError
from rotator.vault.reply import ErrorReply
from rotator.vault.session import Session
from rotator.vault.time_limit import LONGEST_READ, TimeLimit

# The server answers 200 whatever its state, except as a secondary of another cluster.
_HEALTH_OPTIONS = {"standbyok": "true", "perfstandbyok": "true", "sealedcode": "200", "uninitcode": "200"}


@dataclass(frozen=True, slots=True)
class Health:
    """State of a server, as it tells it without a login.

    Attributes:
        address: Its address.
        version: Its version.
        sealed: Whether it is sealed.
        standby: Whether another server of the cluster is active.
    """

    address: str
    version: str
    sealed: bool
    standby: bool


class System:
    """Questions about the server, the mount and the token."""

    def __init__(self, session: Session, mount: str) -> None:
        self._session = session
        self._client: Client = session.client
        self._mount = mount

    def health(self) -> Health:
        """Return the state of the server in use; see Vault.health."""
        call = Call("health", "read sys/health", self._client.limit(LONGEST_READ), in_namespace=False)
        try:
            return self._client.repeat(lambda: self._client.send(call, self._read_health, ""), call.limit)
        except Forbidden as error:
            refusal = error.what
        except (TypeError, KeyError, AttributeError):
            refusal = ""
        if refusal:
            raise VaultError(f"Vault at {self._client.address} refuses to read sys/health: {refusal}")
        raise diagnosis.unreadable("sys/health", self._client.address)

    def find_mount(self, limit: TimeLimit) -> str:
        """Return the accessor of the mount: a name that no other mount ever gets.

        Raises:
            WrongMount: If it is not of KV version 2, or the token cannot see it.
            VaultError: If there is no usable answer.
        """
        api_path = f"sys/internal/ui/mounts/{self._mount}"
        call = Call("mounts", f"read {api_path}", limit)

        def request(wire: Wire) -> Any:
            try:
                return wire.get(f"/v1/{api_path}")
            except ErrorReply as error:
                if not diagnosis.is_hidden_mount(error.reply):
                    raise
                return None

        answer = self._session.read(call, "read", api_path, request)
        if answer is None:
            raise diagnosis.hidden_mount(self._mount)
        try:
            problem = self._wrong_kind(answer["data"])
            accessor = foreign(str(answer["data"]["accessor"]))
        except (TypeError, KeyError, AttributeError):
            unreadable = diagnosis.unreadable(api_path, self._client.address)
        else:
            if problem is None:
                return accessor
            raise diagnosis.wrong_mount(problem)
        raise unreadable

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return what the token may do at each of these API paths; see Vault.capabilities."""
        if not paths:
            return {}  # the server refuses an empty list
        api_path = "sys/capabilities-self"
        call = Call("capabilities", f"update {api_path}", self._client.limit(LONGEST_READ))
        answer = self._session.read(
            call, "update", api_path, lambda wire: wire.post(f"/v1/{api_path}", json={"paths": list(paths)})
        )
        try:
            return {path: frozenset(answer["data"][path]) for path in paths}
        except (TypeError, KeyError):
            pass
        raise diagnosis.unreadable(api_path, self._client.address)

    def _read_health(self, wire: Wire) -> Health:
        try:
            body = wire.get("/v1/sys/health", params=_HEALTH_OPTIONS)
        except ErrorReply as error:  # a status tells the state, too, whatever the options say
            if not diagnosis.is_health(error.reply):
                raise
            body = error.reply.body
        if body.get("replication_dr_mode") == "secondary":
            raise diagnosis.disaster_secondary(wire.address)
        if body["sealed"] and self._client.has_alternatives:
            raise diagnosis.sealed(wire.address)
        return Health(wire.address, foreign(str(body["version"]), 40), bool(body["sealed"]), bool(body["standby"]))

    def _wrong_kind(self, mount: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the mount, as Vault describes it; None if it is the right one.

        Raises:
            KeyError: If the description cannot be read; or a TypeError or AttributeError.
        """
        kind = mount["type"]
        version = (mount["options"] or {}).get("version")
        path = mount["path"].rstrip("/")
        if kind == "kv" and version == "2" and path == self._mount:
            return None
        found = f'of type "{foreign(str(kind))}"'
        if kind == "kv":
            found = f"KV version {foreign(str(version or 1), 20)}"
        return (
            f'Vault\'s mount "{foreign(path)}" is {found}, '
            f'and vault.mount ("{self._mount}") has to name a KV version 2 one'
        )
