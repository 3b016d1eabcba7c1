"""Secrets that a person adds to an account, or revokes.

Both follow the protocol: a secret is added under the lease, and a revocation is recorded in the journal before a run
carries it out.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import structlog
from pydantic import SecretStr

from rotator.audit import Act, Entry, Found
from rotator.config import AccountSettings
from rotator.core.protocol import transitions, way_out
from rotator.core.protocol.wording import names_of
from rotator.documents import render_journal
from rotator.errors import Code, Command, ConfigError, RotatorError, list_of
from rotator.fleet.account_view import NO_REQUEST, LiveSecret, Standing, View, asking, look
from rotator.fleet.fleet import Fleet
from rotator.provider import LostAnswer, SecretInfo
from rotator.rotation import NONE_REVOKED, Operator, Outcome, StoppedError, audited_fingerprint, known_as
from rotator.vault import CasConflict, VaultError

_log = structlog.get_logger()


class NotNowError(RotatorError):
    """The command cannot change the account now. A later attempt can succeed."""

    exit_code = 3
    code = Code.LEASED


# --- adding one ----------------------------------------------------------------------------------------------


def require_room(fleet: Fleet, view: View) -> None:
    """Refuse to add a secret where there is no room, or where that would get into rotator's way.

    Raises:
        RotatorError: Why not.
    """
    name = view.account.name
    journal = view.journal
    limit = fleet.settings.account_api.max_secrets
    _require_rest(fleet, view)
    if journal.current is None:
        raise RotatorError(
            f"{name} is not adopted yet: with a second secret, the published secret's id would be ambiguous",
            unchanged="Nothing was changed",
            next_step="Adopt it first",
            next_command=Command.of("adopt", name),
        )
    if len(view.created) >= limit:
        raise RotatorError(
            f"{name} has {len(view.created)} of {limit} secrets: there is no room for another",
            unchanged="Nothing was changed",
            next_step="To see the secrets and their state",
            next_command=list_of(name),
        )


def _require_new_value(fleet: Fleet, account: AccountSettings, value: SecretStr) -> None:
    """Refuse a value that the account has or had.

    The provider gives each secret an id, also two with one value. Which of both ids is the published secret's would
    stay unknown, and a value that leaked would stay valid under the other id.

    Raises:
        ConfigError: If rotator knows the value, or if it authenticates: a person added it.
    """
    rotation = fleet.rotation(account, NO_REQUEST)
    rotation.state.observe()
    known = known_as(rotation.state, value)
    if known is None:
        with asking(account, list_of(account.name)):
            works = rotation.executor.access.list_with(value) is not None
        known = f"This value is a secret of {account.name} already" if works else None
    if known is not None:
        raise ConfigError(
            f"{known}. A second id of one value cannot be told from the first",
            unchanged="Nothing was added",
            next_step="Bring another value",
            next_command=Command.of("account", "secrets", "create", account.name),
        )


def by_hand(fleet: Fleet, account: AccountSettings, act: Act, **known: Any) -> AbstractContextManager[Found]:
    """Note a manual act on the account in the audit log.

    Raises:
        StoppedError: If the process stops; the act must not be done then.
        AuditError: If that is impossible; the act must not be done then.
    """
    if fleet.stop.is_set():
        raise StoppedError(
            f"The process stopped before it changed {account.name}", unchanged="Nothing was changed", next_command=None
        )
    entry = Entry(act, account.name, account.api_key, fleet.instance, trigger="manual", **known)
    return fleet.audit.acting(entry, required=True)


def create(fleet: Fleet, account: AccountSettings, value: SecretStr, *, generated: bool) -> SecretInfo:
    """Add a secret outside a rotation. rotator sends the create once, while this instance holds the lease.

    Args:
        generated: Whether the account's recipe generated the value.

    Raises:
        RotatorError: If it was not added; LostAnswer if it may have been all the same.
    """
    view = look(fleet, account)
    require_room(fleet, view)
    if not generated:
        _require_new_value(fleet, account, value)
    credentials = view.credentials
    policy = fleet.policy(account, NO_REQUEST)
    settings = fleet.settings
    path = settings.journal_path(account)
    version = view.journal_version
    case = view.situation(policy, fleet.now())
    journal = transitions.claimed(case)
    # If this succeeds, no other instance has changed the account since it was read.
    version = fleet.vault.write(path, render_journal(transitions.creating_by_hand(case)), cas=version)
    fleet.note_change(account)
    try:
        fingerprint = audited_fingerprint(account, value) if generated else None
        with (
            asking(account, list_of(account.name)),
            by_hand(fleet, account, Act.CREATE, fingerprint=fingerprint) as found,
        ):
            if not replace(view, journal=journal).situation(policy, fleet.now()).held:  # to note it may take a while
                raise NotNowError(
                    f"The lease of {account.name} ended before the secret could be added",
                    unchanged="Nothing was added",
                    next_step="To see the secrets before you try again",
                    next_command=list_of(account.name),
                )
            info = fleet.provider.create_secret(credentials, account.api_key, value)
            found.secret_id = info.id
            journal = transitions.created_by_hand(
                replace(view, journal=journal).situation(policy, fleet.now()), info.id
            )
            return info
    except LostAnswer:
        # Nothing is revoked while it may still be carried out: the full account would refuse it.
        journal = transitions.late_create(replace(view, journal=journal).situation(policy, fleet.now()))
        raise
    finally:
        try:
            released = transitions.released(replace(view, journal=journal).situation(policy, fleet.now()))
            fleet.vault.write(path, render_journal(released), cas=version)
        except (CasConflict, VaultError) as error:
            _log.info("lease.release_failed", account=account.name, error=str(error))  # it expires


# --- revoking one --------------------------------------------------------------------------------------------


def require_revocable(fleet: Fleet, view: View, secret_id: str) -> LiveSecret:
    """Refuse to revoke a secret that consumers might use.

    Returns:
        The secret; its standing is RETIRING, ADDED, UNKNOWN or REVOKED, or IN_DOUBT until a later list confirms its id.

    Raises:
        RotatorError: Why not.
    """
    name = view.account.name
    found = {secret.id: secret for secret in view.secrets}.get(secret_id)
    if found is None:
        raise _not_revoked(f"The provider lists no {secret_id} for {name}", "See what it lists", list_of(name))
    _require_rest(fleet, view)
    if len(view.created) == 1:
        raise _not_revoked(f"{secret_id} is the last secret of {name}", "Replace it", Command.of("rotate-now", name))
    if len(view.doubtful) > 1 and view.current_id is not None:
        certain, _ = way_out(view.situation(fleet.policy(view.account, NO_REQUEST), fleet.now()))
        raise _not_revoked(
            f"One of these ids is the published secret's: {names_of(view.doubtful)}",
            "Make its id certain",
            certain,
        )
    if secret_id in (view.current_id, view.journal.current_id, view.published.secret_id):
        raise _not_revoked(
            f"{secret_id} is the published secret of {name}: consumers use it",
            "Replace it",
            Command.of("rotate-now", name),
        )
    if view.current_id is None or view.current_id != view.journal.current_id:
        raise _not_revoked(
            f"The published secret of {name} is one of {len(view.created)}, and its id is not certain yet",
            "Make its id certain first",
            Command.of("rotate-now", name, "--due"),
        )
    return found


def _not_revoked(what: str, next_step: str, next_command: Command) -> RotatorError:
    return RotatorError(what, unchanged="Nothing was revoked", next_step=next_step, next_command=next_command)


def revoke(fleet: Fleet, account: AccountSettings, secret_id: str) -> Outcome:
    """Record that a secret may go at once, then have the ordinary rules revoke it.

    A retiring secret loses the rest of its grace period. An unknown or added secret takes the way of `rotator resolve`.

    Raises:
        RotatorError: If it must not go; nothing was recorded then.
    """
    view = look(fleet, account)
    found = require_revocable(fleet, view, secret_id)
    rotation = fleet.rotation(account, NO_REQUEST)
    if found.standing in (Standing.UNKNOWN, Standing.ADDED, Standing.REVOKED, Standing.IN_DOUBT):
        operator = Operator(rotation)
        if secret_id not in operator.unknown():
            raise NotNowError(
                f"{secret_id} is no longer unknown to rotator: {account.name} has changed meanwhile",
                unchanged=NONE_REVOKED,
                next_step="To see the secrets and their state",
                next_command=list_of(account.name),
            )
        return operator.resolve(frozenset({secret_id}))
    now = fleet.now()
    case = view.situation(fleet.policy(account, NO_REQUEST), now)
    retired = transitions.retired_by_hand(case, frozenset({secret_id}), not_before=now)
    path = fleet.settings.journal_path(account)
    with by_hand(fleet, account, Act.RETIRE, secret_id=secret_id):
        fleet.vault.write(path, render_journal(retired), cas=view.journal_version)
    fleet.note_change(account)
    _log.warning("account.retired_early", account=account.name, secret_id=secret_id)
    return rotation.run()


def _require_rest(fleet: Fleet, view: View) -> None:
    """Refuse while another instance holds the lease, or a rotation is unfinished.

    Raises:
        NotNowError: If another instance holds the lease.
        RotatorError: If a rotation is unfinished.
    """
    name = view.account.name
    journal = view.journal
    policy = fleet.policy(view.account, NO_REQUEST)
    until = view.situation(policy, fleet.now()).leased_until
    if until is not None:
        raise NotNowError(
            f"{journal.lease_holder} holds the lease of {name} until {until:%H:%M:%S} UTC",
            unchanged="Nothing was changed",
            next_step="Try again then. To wait for the lease",
            next_command=Command.of("rotate-now", name, "--due", "--wait", "5m"),
        )
    if journal.candidate is not None:
        raise RotatorError(
            f"A rotation of {name} is unfinished",
            unchanged="Nothing was changed",
            next_step="Finish it first",
            next_command=Command.of("rotate-now", name),
        )
