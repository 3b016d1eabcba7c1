"""An account's journal as Vault stores it.

Several versions of rotator can meet in one fleet. Three rules keep a journal safe then:

- `format` says which version of rotator understands the journal. A journal of a newer format is never written.
- Fields that this version does not know are kept, at every level.
- A journal without `format` was written before formats existed. It has format 0.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rotator.errors import Code, RotatorError
from rotator.logs import conceal
from rotator.protocol import Journal, Retiring
from rotator.vault import Document

# The newest format that this version of rotator understands.
FORMAT = 0

_JOURNAL, _RETIRING = TypeAdapter(Journal), TypeAdapter(Retiring)
# Both are derived when a journal is stored, so that people and dashboards can read it. Nothing reads them back.
_DERIVED = frozenset({"format", "phase"})
_FIELDS = frozenset(field.name for field in fields(Journal)) - {"unknown_fields"}
_RETIRING_FIELDS = frozenset(field.name for field in fields(Retiring)) - {"unknown_fields"}


class JournalError(RotatorError):
    """The journal contains something that no version of rotator writes. It was left as it is."""

    code = Code.JOURNAL_UNREADABLE


class JournalNewerError(JournalError):
    """A newer version of rotator wrote the journal. It was left as it is."""

    code = Code.JOURNAL_NEWER


def parse_journal(document: Document) -> Journal:
    """Return the journal in a document, or an empty journal if the document was never written.

    Raises:
        JournalNewerError: If the journal has a newer format.
        JournalError: If the document contains something else.
    """
    if document.data is None:
        return Journal()
    _check_format(document.data.get("format", 0))
    known, unknown = _split(document.data, _FIELDS | _DERIVED)
    try:
        journal = _JOURNAL.validate_python(_without_defaults(known))
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors(include_input=False)}))
        raise _unreadable(f"wrong in: {names}") from None
    if journal.candidate is not None:
        conceal(journal.candidate, passing=True)
    if journal.retiring:
        stored = known["retiring"]
        journal = replace(journal, retiring=tuple(map(_with_unknown_fields, journal.retiring, stored)))
    return replace(journal, unknown_fields=json.dumps(unknown)) if unknown else journal


def render_journal(journal: Journal) -> dict[str, Any]:
    """Return the document of a journal. The candidate stays a `SecretStr`."""
    document: dict[str, Any] = _JOURNAL.dump_python(journal, mode="json")
    document |= {
        "phase": journal.phase.value,
        "candidate": journal.candidate,
        "ids_before": sorted(journal.ids_before),
        "unknown_ids": sorted(journal.unknown_ids),
        "retiring": [_render_retiring(entry) for entry in journal.retiring],
    }
    return _with_unknown(document)


def _check_format(found: object) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise _unreadable("wrong in: format")
    if found > FORMAT:
        raise JournalNewerError(
            f"A newer version of rotator wrote the journal: it has format {found}, "
            f"and this version understands formats up to {FORMAT}",
            unchanged="Nothing was changed",
            next_step="Run the newer version of rotator",
        )


def _unreadable(what: str) -> JournalError:
    return JournalError(
        f"The journal is not readable, {what}",
        unchanged="Nothing was changed",
        next_step="Restore its last good version: vault kv rollback -version=N",
    )


def _split(data: Mapping[str, Any], names: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields with these names, and the others."""
    known = {key: value for key, value in data.items() if key in names}
    return known, {key: value for key, value in data.items() if key not in names}


def _with_unknown_fields(entry: Retiring, stored: object) -> Retiring:
    unknown = _split(stored, _RETIRING_FIELDS)[1] if isinstance(stored, Mapping) else {}
    return replace(entry, unknown_fields=json.dumps(unknown)) if unknown else entry


def _render_retiring(entry: Retiring) -> dict[str, Any]:
    return _with_unknown(_RETIRING.dump_python(entry, mode="json"))


def _with_unknown(document: dict[str, Any]) -> dict[str, Any]:
    """Return a rendered value with the fields that this version does not know in their places."""
    unknown = document.pop("unknown_fields")
    return {**json.loads(unknown), **document} if unknown else document


def _without_defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ from an idle journal's.

    A daemon remembers the journals of all its accounts. The defaults that this leaves out are one object for all.
    """
    return {
        key: value
        for key, value in known.items()
        if key not in _DERIVED and (key not in _DEFAULTS or value != _DEFAULTS[key])
    }


_DEFAULTS = render_journal(Journal())
