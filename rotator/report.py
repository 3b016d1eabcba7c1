"""How results look: tables for people, one JSON object for programs; imports rotation and below."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rotator.config import AccountSettings, format_duration
from rotator.protocol import (
    Create,
    Fail,
    Journal,
    Pause,
    Phase,
    Prepare,
    Publish,
    Reason,
    Record,
    Rest,
    Revoke,
    TryEarlier,
)
from rotator.rotation import Outcome, Preview, Result

_STYLES = {
    Result.OK: "green",
    Result.DEFERRED: "yellow",
    Result.FAILED: "bold red",
    Phase.IDLE: "green",
    Phase.OVERLAP: "cyan",
    Phase.PREPARED: "yellow",
    Phase.AMBIGUOUS: "bold red",
}


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    json.dump(value, sys.stdout, indent=2, default=_jsonable)
    sys.stdout.write("\n")


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0: all done; 1: something failed; 3: nothing failed, but something has to wait."""
    results = {outcome.result for outcome in outcomes}
    if Result.FAILED in results:
        return 1
    return 3 if Result.DEFERRED in results else 0


def outcomes_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What a run did, for programs."""
    counts = Counter(outcome.result for outcome in outcomes)
    return {
        "rotated": sum(outcome.published for outcome in outcomes),
        "revoked": sum(len(outcome.revoked) for outcome in outcomes),
        **{result.value: counts[result] for result in Result},
        "accounts": [
            {
                "account": outcome.account,
                "result": outcome.result.value,
                "phase": outcome.phase.value if outcome.phase else None,
                "rotated": outcome.published,
                "revoked": list(outcome.revoked),
                "reason": outcome.reason,
                "until": outcome.until,
                "error": outcome.error,
                "rotation_id": outcome.rotation_id,
            }
            for outcome in sorted(outcomes, key=lambda outcome: outcome.account)
        ],
    }


def print_outcomes(outcomes: Sequence[Outcome], now: datetime) -> None:
    """What a run did, for people: a line an account, then in full whatever did not end well."""
    table = _table("account", "result", "what happened", "phase")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.account):
        table.add_row(outcome.account, _styled(outcome.result), _happened(outcome, now), _styled(outcome.phase))
    console = Console(highlight=False)
    console.print(table)
    for outcome in outcomes:
        if outcome.error:
            style = _STYLES[outcome.result]
            console.print(Text.assemble((outcome.account, style), ": ", outcome.error), soft_wrap=True)


def print_previews(previews: Sequence[Preview | Outcome], now: datetime) -> None:
    """What a run would do and why."""
    table = _table("account", "phase", "age", "would")
    for preview in sorted(previews, key=lambda preview: preview.account):
        row = preview_json(preview, now)
        phase = preview.journal.phase if isinstance(preview, Preview) else None
        age = _age(preview.journal.rotated_at, now) if isinstance(preview, Preview) else "-"
        table.add_row(preview.account, _styled(phase), age, f"{row['step']}: {row['why']}")
    Console(highlight=False).print(table)


def preview_json(preview: Preview | Outcome, now: datetime) -> dict[str, Any]:
    """One account of a plan, for programs."""
    if isinstance(preview, Outcome):
        return {"account": preview.account, "step": "fail", "why": preview.error, "until": None}
    step, why = _explained(preview, now)
    return {
        "account": preview.account,
        "phase": preview.journal.phase.value,
        "rotated_at": preview.journal.rotated_at,
        "step": step,
        "why": why,
        "until": preview.step.until if isinstance(preview.step, Rest) else None,
    }


def status_json(account: AccountSettings, journal: Journal, *, published: bool) -> dict[str, Any]:
    """What the journal says of an account, for programs."""
    return {
        "account": account.name,
        "api_key": account.api_key,
        "enabled": account.enabled,
        "path": account.path,
        "published": published,
        "phase": journal.phase.value,
        "secret_id": journal.current_id,
        "rotated_at": journal.rotated_at,
        "due_at": journal.rotated_at + account.every if journal.rotated_at else None,
        "retiring": [{"id": entry.id, "not_before": entry.not_before} for entry in journal.retiring],
        "holder": journal.holder,
        "lease_until": journal.lease_until,
        "attempts": journal.attempts,
        "next_attempt_at": journal.next_attempt_at,
        "last_error": journal.ambiguity or journal.last_error,
    }


def print_status(rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """What the journals say, for people."""
    table = _table("account", "phase", "age", "due", "revokes", "trouble")
    for row in rows:
        retiring = ", ".join(_when(entry["not_before"], now) for entry in row["retiring"]) or "-"
        due = _when(row["due_at"], now) if row["enabled"] else "disabled"
        failed = f"failed {row['attempts']} times, see below" if row["last_error"] else ""
        trouble = failed or ("" if row["published"] else "nothing published")
        phase = Phase(row["phase"]) if row["secret_id"] or row["last_error"] else None
        table.add_row(row["account"], _styled(phase), _age(row["rotated_at"], now), due, retiring, trouble)
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        if row["last_error"]:
            console.print(Text.assemble((row["account"], "bold red"), ": ", row["last_error"]), soft_wrap=True)


def _explained(preview: Preview, now: datetime) -> tuple[str, str]:
    step, journal = preview.step, preview.journal
    match step:
        case Prepare():
            return "rotate", f"create a new secret, publish it, revoke the old one later ({step.trigger.value})"
        case Create() | Publish() | Pause():
            return "finish", f"the rotation {journal.rotation_id} is unfinished"
        case Revoke():
            return "revoke", f"{step.id} is due"
        case Record():
            unfinished = "the work that is under way" if journal.candidate or journal.retiring else "the account"
            return "record", f"take up {unfinished} ({step.event.value})"
        case TryEarlier():
            return "restore", "the published secret does not work; look for an earlier version that does"
        case Fail():
            return "fail", f"{step.what}. {step.next_step}."
        case Rest(reason=Reason.IDLE):
            return "nothing", step.detail
        case Rest():
            return "wait", f"{step.detail} ({_when(step.until, now)})"
        case _:
            raise AssertionError(f"a preview does not end with {type(step).__name__}")


def _happened(outcome: Outcome, now: datetime) -> str:
    parts = []
    if outcome.published:
        parts.append("new secret published")
    if outcome.revoked:
        parts.append(f"{len(outcome.revoked)} old revoked")
    if outcome.reason == Reason.GRACE:
        parts.append(f"old one revoked {_when(outcome.until, now)}")
    elif outcome.result is not Result.OK:
        parts.append((outcome.reason or "").replace("_", " "))
        if outcome.until:
            parts.append(f"again {_when(outcome.until, now)}")
    return ", ".join(parts) or "nothing to do"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _styled(value: Result | Phase | None) -> Text:
    return Text("-") if value is None else Text(value.value, style=_STYLES[value])


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "-"
    if at <= now:
        return "now"
    return f"in {_coarse(at - now)}"


def _age(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else _coarse(now - at)


def _coarse(duration: timedelta) -> str:
    """The two largest units of a duration, seconds at the smallest."""
    seconds = max(0, round(duration.total_seconds()))
    for unit in (86_400, 3600, 60):
        if seconds >= unit:
            step = {86_400: 3600, 3600: 60, 60: 1}[unit]
            return format_duration(timedelta(seconds=seconds - seconds % step))
    return f"{seconds}s"


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in a report")
