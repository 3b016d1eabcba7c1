"""Differences between two configurations, for the log of a reload."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from rotator.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two configurations, with values as in JSON; secrets are masked.

    Attributes:
        setting: Its name; "accounts" where an account is there in one of them only.
        old: The previous value.
        new: The present value.
        accounts: Names of the accounts with this difference.
    """

    setting: str
    old: Any
    new: Any
    accounts: tuple[str, ...] = ()


def changes(before: Settings, after: Settings) -> list[Change]:
    """The differences; a setting that changed in the same way for several accounts is one change."""
    found = [
        Change(f"{section}.{key}", old, new)
        for section in ("vault", "account_api", "balance", "daemon", "log", "audit")
        for key, old, new in _differences(getattr(before, section), getattr(after, section))
    ]
    old_accounts = {account.name: account for account in before.accounts}
    new_accounts = {account.name: account for account in after.accounts}
    for old, new, names in (
        (None, "added", new_accounts.keys() - old_accounts.keys()),
        ("removed", None, old_accounts.keys() - new_accounts.keys()),
    ):
        found += [Change("accounts", old, new, tuple(sorted(names)))] if names else []
    alike: dict[str, tuple[Change, list[str]]] = {}
    for name in sorted(new_accounts.keys() & old_accounts.keys()):
        for key, was, is_now in _differences(old_accounts[name], new_accounts[name]):
            change = Change(f"accounts.{key}", was, is_now)
            alike.setdefault(repr(change), (change, []))[1].append(name)
    return found + [replace(change, accounts=tuple(names)) for change, names in alike.values()]


def _differences(before: BaseModel, after: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    yield from ((key, old[key], new[key]) for key in old if old[key] != new[key])
