"""The provider of a course: the model's, and the ways in which it contradicts itself for a while."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.provider import Credentials, SecretInfo
from testkit.model import ModelProvider


@dataclass
class TroubledProvider(ModelProvider):
    """Lists that lag, lack an id or show a revoked one: each for less than the consistency window.

    Attributes:
        lacking: Ids that lists lack, each until an instant.
        revoked: Revoked ids with their times, and until when lists show them.
        lags_until: Until when lists lack what was created in the meantime.
        lags_from: Since when.
        slow: How long a new secret takes to authenticate, by its id.
    """

    lacking: dict[str, datetime] = field(default_factory=dict)
    revoked: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    shows: timedelta = timedelta()
    lags: timedelta = timedelta()
    slowness: timedelta = timedelta()
    slow: dict[str, timedelta] = field(default_factory=dict)

    def add(self, api_key: str, value: str) -> str:
        """Add a secret."""
        id_ = super().add(api_key, value)
        self.slow[id_] = self.slowness
        if self.lags:
            self.lacking[id_] = self.clock() + self.lags
        return id_

    def remove(self, api_key: str, id_: str) -> None:
        """Remove a secret in the dashboard."""
        self._remember(api_key, id_)
        super().remove(api_key, id_)

    def authenticates(self, api_key: str, value: str) -> bool:
        """Whether the provider accepts a value now."""
        return any(
            known == value and created + self.slow.get(id_, timedelta()) <= self.clock()
            for id_, (known, created) in self.secrets.get(api_key, {}).items()
        )

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        """List the secrets, as a server of the provider's sees them."""
        now = self.clock()
        infos = super().list_secrets(auth, api_key)
        shown = tuple(info for info in infos if self.lacking.get(info.id, now) <= now)
        old = tuple(SecretInfo(id_, created) for id_, (created, until) in self.revoked.items() if until > now)
        return (*old, *shown)

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str:
        """Revoke a secret."""
        held = self.secrets[api_key].get(secret_id)
        request_id = super().revoke_secret(auth, api_key, secret_id)
        if held is not None and self.shows:
            self.revoked[secret_id] = held[1], self.clock() + self.shows
        return request_id

    def _remember(self, api_key: str, id_: str) -> None:
        if self.shows:
            self.revoked[id_] = self.secrets[api_key][id_][1], self.clock() + self.shows

    def calm(self) -> None:
        """No contradictions any more."""
        self.lacking.clear()
        self.revoked.clear()
        self.slow.clear()
        self.shows = self.lags = self.slowness = timedelta()
