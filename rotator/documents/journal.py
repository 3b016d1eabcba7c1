"""An account's journal as Vault stores it.

Several versions of rotator can meet in one fleet. These rules keep a journal safe then:

- `format` says which version of rotator understands the journal. A journal of a newer format is never written.
- Only what restricts other instances raises the format. Each write uses the lowest format that can express it.
- Fields that this version does not know are kept, at every level.
- A journal without `format` has format 0, that of version 0.1.0. Its ids are strings. From format 1 on, `current_id` is
  an object, so that version 0.1.0 refuses the journal instead of dropping what it does not know.
"""

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rotator.core.instants import is_plausible
from rotator.core.protocol import Journal, Learned, told_at
from rotator.errors import Code, RotatorError
from rotator.logs import register_secret
from rotator.vault import Document

# The newest format that this version of rotator understands: it has the mark of a write that might be applied late.
FORMAT = 2
_PLAIN_FORMAT = 1

_JOURNAL = TypeAdapter(Journal)
# Fields whose stored keys have other names.
_STORED_NAMES = {"lease_holder": "holder", "last_doubt": "strangers"}
# Derived when a journal is stored, so that people and dashboards can read them. Nothing reads them back.
_DERIVED = ("format", "phase")
# Only the schedule calculates with it, and the schedule knows which ones to ignore.
_OF_SCHEDULE = ("rotated_at",)
# Which version a run wrote when, by the clock that dates Vault's answers; only if another clock stores versions.
_WRITTEN = "written"
_UNKNOWN = "unknown_fields"
_PENDING_FIELDS: Mapping[str, object] = {"foreign_ids": [], "looks": 0, "next_look": None, "restarts": 0}


class JournalError(RotatorError):
    """The journal contains something that no version of rotator writes. It was left as it is."""

    code = Code.JOURNAL_UNREADABLE


class JournalNewerError(JournalError):
    """A newer version of rotator wrote the journal. It was left as it is."""

    code = Code.JOURNAL_NEWER


@dataclass(frozen=True, slots=True)
class StoredJournal:
    """A journal and the version of the document that contains it.

    Attributes:
        journal: The journal; an empty one if there is none.
        version: The document's version; 0 if it was never written. A write over it names this number.
        written_at: When Vault stored that version, by the clock that dates its answers if that is known.
        expires_at: When Vault deletes that version by itself, by the same clock; None: never.
        has_data: Whether that version contains anything.
        undelete: The command that restores that version; None if it is not deleted, or Vault cannot restore it.
        read_at: When Vault answered, by Vault's clock; None if it did not say.
        vanished: Whether this session has seen it before, and it was deleted with all its versions.
    """

    journal: Journal
    version: int
    written_at: datetime | None
    expires_at: datetime | None
    has_data: bool
    undelete: str | None
    read_at: datetime | None
    vanished: bool

    @property
    def is_lost(self) -> bool:
        """Whether the journal was written and deleted since."""
        return self.vanished or (self.version > 0 and not self.has_data)


def load_journal(document: Document) -> StoredJournal:
    """Return the journal in a document, with its version.

    Raises:
        JournalError: As `parse_journal`.
    """
    journal = parse_journal(document)
    ahead = _storage_clock_ahead(document)
    return StoredJournal(
        journal,
        document.version,
        None if document.created is None else document.created - ahead,
        None if document.expires_at is None else document.expires_at - ahead,
        document.data is not None,
        document.undelete,
        document.read_at,
        document.vanished,
    )


def parse_journal(document: Document) -> Journal:
    """Return the journal in a document, or an empty journal if there is none.

    Raises:
        JournalNewerError: If the journal has a newer format.
        JournalError: If the document contains something else.
    """
    if document.data is None:
        return Journal()
    _check_format(document.data.get("format", 0), document)
    stored = {key: value for key, value in document.data.items() if key not in (*_DERIVED, _WRITTEN)}
    stored["current"] = _stored_identity(stored.pop("current_id", None))
    stored |= {name: stored.pop(key) for name, key in _STORED_NAMES.items() if key in stored}
    try:
        journal = _JOURNAL.validate_python(_without_defaults(_collected(Journal, stored)))
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_input=False)}
        raise _unreadable(wrong, document) from None
    wrong = {name for name, at in _instants(journal) if not (at.tzinfo and is_plausible(at))}
    if wrong:
        raise _unreadable(wrong, document)
    if journal.candidate is not None:
        register_secret(journal.candidate, passing=True)
    return journal


def render_journal(journal: Journal) -> dict[str, Any]:
    """Return the document of a journal. The candidate stays a `SecretStr`."""
    document: dict[str, Any] = _spread(_JOURNAL.dump_python(journal, mode="json"))
    document["current_id"] = document.pop("current") or {"id": None}
    document |= {key: document.pop(name) for name, key in _STORED_NAMES.items()}
    return document | {
        "format": _PLAIN_FORMAT if journal.publishing is None else FORMAT,
        "phase": journal.phase.value,
        "candidate": journal.candidate,
    }


def written_note(version: int, at: datetime) -> dict[str, Any]:
    """Return the field of a journal that says when a run wrote it.

    Args:
        version: The version of the document that the write makes.
        at: The time, or a later one, by the clock that dates Vault's answers.
    """
    return {_WRITTEN: {"version": version, "at": at.isoformat()}}


def _storage_clock_ahead(document: Document) -> timedelta:
    """Return how far the clock that stored a journal is ahead of the one that dates Vault's answers.

    That matters, and shows, while the version is from the future of the answer. Then the note of the run that wrote
    the version tells, unless another writer has repeated it in a later version.
    """
    created, read_at = document.created, document.read_at
    noted = (document.data or {}).get(_WRITTEN)
    if created is None or told_at(read_at, created) == read_at or not isinstance(noted, Mapping):
        return timedelta()
    try:
        at = datetime.fromisoformat(str(noted.get("at")))
    except ValueError:
        return timedelta()
    is_usable = noted.get("version") == document.version and at.tzinfo is not None and is_plausible(at)
    return created - at if is_usable and told_at(read_at, at) is not None else timedelta()


def _check_format(found: object, document: Document) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise _unreadable({"format"}, document)
    if found > FORMAT:
        raise JournalNewerError(
            f"A newer version of rotator wrote the journal: it has format {found}, "
            f"and this version understands formats up to {FORMAT}",
            unchanged="Nothing was changed",
            next_step="Run the newer version of rotator",
        )


def _unreadable(wrong: Set[str], document: Document) -> JournalError:
    stored = {"current": "current_id"} | _STORED_NAMES
    names = sorted(stored.get(name, name) for name in wrong)
    return JournalError(
        f"The journal is not readable, wrong in: {', '.join(names)}",
        unchanged="Nothing was changed",
        next_step=f"Restore its last good version N: {document.rollback}",
    )


def _instants(part: Any) -> Iterator[tuple[str, datetime]]:
    """Yield each instant that rules of the protocol calculate with, and the name of its field."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, datetime):
            if field.name not in _OF_SCHEDULE:
                yield field.name, value
            continue
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner):
                yield from _instants(inner)


def _stored_identity(stored: object) -> object:
    """Return the stored identity; None if there is no id. Version 0.1.0 stored the id alone.

    How that version learned the id is not known, so other ids can put it in doubt.
    """
    if isinstance(stored, str):
        return {"id": stored, "learned": Learned.ELIMINATED}
    return None if stored == {"id": None} else stored


def _collected(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields of a stored value, and the others as JSON text in `unknown_fields`."""
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    names = {field.name for field in fields(kind)} - {_UNKNOWN}
    for key, value in stored.items():
        if key not in names:
            unknown[key] = value
            continue
        part = _PARTS.get((kind.__name__, key))
        if part is not None and isinstance(value, Mapping):
            value = _collected(part, value)  # noqa: PLW2901 - the same value, one level deeper
        elif part is not None and isinstance(value, list):
            value = [_collected(part, one) if isinstance(one, Mapping) else one for one in value]  # noqa: PLW2901
        known[key] = value
    if unknown:
        known[_UNKNOWN] = json.dumps(unknown)
    return known


def _parts(kind: type) -> dict[tuple[str, str], type]:
    """Return which fields of a dataclass contain dataclasses, at every level: (class, field) to class."""
    found: dict[tuple[str, str], type] = {}
    for field in fields(kind):
        for candidate in _classes(field.type):
            found[kind.__name__, field.name] = candidate
            found |= _parts(candidate)
    return found


def _classes(annotation: Any) -> list[type]:
    if is_dataclass(annotation) and isinstance(annotation, type):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _classes(argument)]


def _spread(value: Any) -> Any:
    """Return a rendered value with the fields that this version does not know in their places, and lists sorted."""
    if isinstance(value, list):
        rendered = [_spread(one) for one in value]
        return sorted(rendered) if all(isinstance(one, str) for one in rendered) else rendered
    if not isinstance(value, dict):
        return value
    known = {key: _spread(one) if isinstance(one, (list, dict)) else one for key, one in value.items()}
    unknown = known.pop(_UNKNOWN, None)
    if _PENDING_FIELDS.items() <= known.items():  # of an id that is certain, they say nothing
        known = {key: one for key, one in known.items() if key not in _PENDING_FIELDS}
    return {**json.loads(unknown), **known} if unknown else known


def _without_defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ from an idle journal's.

    A daemon remembers the journals of all its accounts. The defaults that this leaves out are one object for all.
    """
    return {key: value for key, value in known.items() if key not in _DEFAULTS or value != _DEFAULTS[key]}


_PARTS = _parts(Journal)
_DEFAULTS: dict[str, Any] = _JOURNAL.dump_python(Journal(), mode="json")
