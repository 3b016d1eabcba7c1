"""How results look: tables for people, one JSON object for programs."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rotator.config import AccountSettings, format_duration
from rotator.core.protocol import (
    Create,
    Fail,
    Journal,
    Learned,
    Pause,
    Phase,
    Prepare,
    Publish,
    Reason,
    Record,
    Refresh,
    Request,
    Rest,
    Revoke,
    TryEarlier,
)
from rotator.core.scheduling import CALLS, Event, Forecast, Kind, Load, busiest_account, hours, loads
from rotator.errors import visible
from rotator.logs import redact
from rotator.rotation import Outcome, Preview, Result, RotationError

# A forecast's table has so many events, its calendar so many days before it tells months instead.
_EVENTS_SHOWN = 20
_DAYS_SHOWN = 100
_NAMES_SHOWN = 5

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
                "error": _masked(outcome.error),
                "next_command": list(outcome.next_command.args) if outcome.next_command else None,
                "request": request_json(outcome.journal.request) if outcome.journal else None,
                "rotation_id": outcome.rotation_id,
            }
            for outcome in sorted(outcomes, key=lambda outcome: outcome.account)
        ],
    }


def request_json(request: Request | None) -> dict[str, Any] | None:
    """What a person asked for and is not done yet, for programs."""
    if request is None:
        return None
    return {"kind": request.kind.value, "by": _masked(request.by), "at": request.at, "id": request.id}


def print_outcomes(outcomes: Sequence[Outcome], now: datetime, *, asked: bool = False) -> None:
    """Print what a run did: one line for each account, then every failure and every request that is not done.

    Args:
        outcomes: How the runs ended.
        now: The time.
        asked: Whether the command asked for a rotation.
    """
    table = _table("account", "result", "what happened", "phase")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.account):
        table.add_row(outcome.account, _styled(outcome.result), _happened(outcome, now), _styled(outcome.phase))
    console = _console()
    console.print(table)
    for outcome in outcomes:
        if outcome.error:
            style = _STYLES[outcome.result]
            console.print(Text.assemble((outcome.account, style), ": ", visible(redact(outcome.error))), soft_wrap=True)
        if outcome.result is not Result.OK and asked:
            console.print(f"{outcome.account}: {visible(_recorded(outcome))}", soft_wrap=True)


def _recorded(outcome: Outcome) -> str:
    """What became of the request of a run that did not end well, and who carries it out."""
    request = outcome.journal.request if outcome.journal else None
    if request is not None:
        return (
            f"The request ({request.kind.value}, by {request.by}) is recorded. "
            "A running daemon carries it out, or run: rotator rotate-now --due"
        )
    if outcome.reason == Reason.FULL:
        return "The request is withdrawn: the account has no room before a grace period ends"
    if outcome.published:
        return "The new secret is published. Nothing of the request is left to record"
    return "The request is not recorded. Run the command again"


def print_adoption(outcome: Outcome) -> None:
    """Print which id an adoption took for the published secret's own, and how rotator knows."""
    journal = outcome.journal
    if journal is None or journal.current is None:
        return
    current = journal.current
    how = {
        Learned.PERSON: "you named it",
        Learned.ANSWERED: "the provider answered it when the secret was created",
        Learned.ELIMINATED: "several lists show no other id",
        Learned.PENDING: "rotator confirms it with three more lists, before it revokes anything",
    }[current.learned]
    console = _console()
    console.print(
        f"{outcome.account}: the published secret's id is {current.id or 'not known yet'} ({how})", soft_wrap=True
    )
    others = sorted(journal.unknown_ids)
    if others:
        options = " ".join(f"--retire {id_}" for id_ in others)
        console.print(
            f"{outcome.account}: other secrets stay: {', '.join(others)}. To revoke them after the grace period: "
            f"rotator adopt {outcome.account} --secret-id {current.id or 'ID'} {options}",
            soft_wrap=True,
        )


def print_previews(previews: Sequence[Preview | Outcome], now: datetime) -> None:
    """What a run would do and why."""
    table = _table("account", "phase", "age", "would")
    for preview in previews:
        row = preview_json(preview, now)
        phase = preview.journal.phase if isinstance(preview, Preview) else None
        age = _age(preview.journal.rotated_at, now) if isinstance(preview, Preview) else "-"
        table.add_row(preview.account, _styled(phase), age, visible(f"{row['step']}: {row['why']}"))
    _console().print(table)


def preview_json(preview: Preview | Outcome, now: datetime) -> dict[str, Any]:
    """One account of a plan, for programs."""
    if isinstance(preview, Outcome):
        return {"account": preview.account, "step": "fail", "why": _masked(preview.error), "until": None}
    step, why = _explained(preview, now)
    return {
        "account": preview.account,
        "phase": preview.journal.phase.value,
        "rotated_at": preview.journal.rotated_at,
        "step": step,
        "why": _masked(why),
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
        "secret_id_learned": journal.current.learned.value if journal.current else None,
        "rotated_at": journal.rotated_at,
        "request": request_json(journal.request),
        "due_at": _due_at(account, journal),
        "retiring": [{"id": entry.id, "not_before": entry.not_before} for entry in journal.retiring],
        "holder": _masked(journal.holder),
        "lease_until": journal.lease_until,
        "attempts": journal.attempts,
        "next_attempt_at": journal.next_attempt_at,
        "last_error": _masked(journal.ambiguity or journal.last_error),
    }


def _masked(text: str | None) -> str | None:
    """Text of a journal, which another version or another instance can have written."""
    return redact(text) if text is not None else None


def print_status(rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """What the journals say, for people."""
    table = _table("account", "phase", "age", "due", "revokes", "trouble")
    for row in rows:
        retiring = ", ".join(_when(entry["not_before"], now) for entry in row["retiring"]) or "-"
        due = _when(row["due_at"], now) if row["enabled"] else "disabled"
        times = f"failed {row['attempts']} times, " if row["attempts"] else ""
        failed = f"{times}see below" if row["last_error"] else ""
        asked = f"requested: {row['request']['kind']}" if row["request"] else ""
        trouble = failed or ("" if row["published"] else "nothing published") or asked
        phase = Phase(row["phase"]) if row["secret_id"] or row["last_error"] else None
        table.add_row(row["account"], _styled(phase), _age(row["rotated_at"], now), due, retiring, trouble)
    console = _console()
    console.print(table)
    for row in rows:
        if row["last_error"]:
            console.print(Text.assemble((row["account"], "bold red"), ": ", visible(row["last_error"])), soft_wrap=True)
        if row["request"]:
            asked, at = row["request"], f"{row['request']['at'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            who = visible(f"{row['account']}: {asked['by']} requested a rotation ({asked['kind']}) at {at}")
            console.print(f"{who}. To withdraw it: rotator rotate-now {row['account']} --cancel", soft_wrap=True)


def forecast_json(forecast: Forecast, left_out: Mapping[str, str]) -> dict[str, Any]:
    """What is going to happen, for programs; all of it, in UTC."""
    calls = hours(forecast, ZoneInfo("UTC"))
    counts = Counter(event.kind for event in forecast.events)
    return {
        "from": forecast.now,
        "until": forecast.until,
        "complete": not forecast.cut,
        "rotations": counts[Kind.ROTATE],
        "revocations": counts[Kind.REVOKE],
        "busiest_hour": max(calls, key=lambda hour: calls[hour], default=None),
        "busiest_account": _busiest_account_json(forecast),
        "hours": [{"at": hour, "calls": count} for hour, count in calls.items()],
        "events": [
            {"at": event.at, "account": event.account, "kind": event.kind.value, "overridden": event.overridden}
            for event in forecast.events
        ],
        "left_out": [{"account": account, "why": why} for account, why in left_out.items()],
    }


def _busiest_account_json(forecast: Forecast) -> dict[str, Any] | None:
    busiest = busiest_account(forecast)
    if busiest is None:
        return None
    account, hour, calls = busiest
    return {"account": account, "at": hour, "calls": calls}


def print_forecast(forecast: Forecast, left_out: Mapping[str, str], zone: ZoneInfo, calls_per_second: float) -> None:
    """What is going to happen, for people: the next events, a calendar, the busiest hour.

    Args:
        left_out: The accounts that it says nothing about, and why.
        zone: Whose clock and calendar to go by.
        calls_per_second: How many requests the provider gets at most.
    """
    console = _console()
    if forecast.events:
        console.print(_coming(forecast, zone))
        more = len(forecast.events) - _EVENTS_SHOWN
        if more > 0:
            console.print(f"... and {more:,} more; with --json all of them")
        console.print()
        days = loads(forecast, zone)
        monthly = len(days) > _DAYS_SHOWN
        months = loads(forecast, zone, monthly=True) if monthly else days
        console.print(_calendar(months, zone, monthly=monthly, plain=console.options.ascii_only))
        console.print()
    console.print("\n".join(_summary(forecast, zone, calls_per_second)), soft_wrap=True)
    for why in dict.fromkeys(left_out.values()):
        names = [name for name, reason in left_out.items() if reason == why]
        others = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
        console.print(visible(f"left out, {why}: {', '.join(names[:_NAMES_SHOWN])}{others}"), soft_wrap=True)


def _coming(forecast: Forecast, zone: ZoneInfo) -> Table:
    table = _table("when", "", "account", "what")
    for event in forecast.events[:_EVENTS_SHOWN]:
        at = event.at.astimezone(zone)
        table.add_row(f"{at:%Y-%m-%d %a %H:%M:%S}", _when(event.at, forecast.now), event.account, _coming_event(event))
    return table


def _coming_event(event: Event) -> str:
    if event.kind is Kind.REVOKE:
        return "revoke the secret before"
    return "rotate, forced by max_age" if event.overridden else "rotate"


def _calendar(rows: Sequence[Load], zone: ZoneInfo, *, monthly: bool, plain: bool) -> Table:
    """A row a day: how much happens, and its hours as a strip, in relation to the busiest of all."""
    marks = ".:-=+*#%@" if plain else "·▁▂▃▄▅▆▇█"
    table = _table("month" if monthly else "day")
    for heading in ("rotate", "revoke", "busiest hour"):
        table.add_column(heading, justify="right")
    table.add_column(Text("calls by hour of day\n0     6     12    18"), no_wrap=True)
    most = max(row.calls for row in rows)
    for row in rows:
        day = f"{row.first:%Y-%m}" if monthly else f"{row.first:%Y-%m-%d %a}"
        strip = "".join(marks[-(-calls * (len(marks) - 1) // most)] for calls in row.by_hour)
        busiest = row.busiest.astimezone(zone)
        table.add_row(day, f"{row.rotations:,}", f"{row.revocations:,}", f"{row.calls:,} at {busiest:%H}h", strip)
    return table


def _summary(forecast: Forecast, zone: ZoneInfo, calls_per_second: float) -> Iterable[str]:
    counts = Counter(event.kind for event in forecast.events)
    until = forecast.until.astimezone(zone)
    total = sum(CALLS[event.kind] for event in forecast.events)
    yield f"until {until:%Y-%m-%d %a %H:%M} ({zone.key})"
    yield f"in all: rotations {counts[Kind.ROTATE]:,}, revocations {counts[Kind.REVOKE]:,}, calls {total:,}"
    calls = hours(forecast, zone)
    if calls:
        busiest = max(calls, key=lambda hour: calls[hour])
        allowed = 3600 * calls_per_second
        yield (
            f"busiest hour: {busiest.astimezone(zone):%Y-%m-%d %a %H:%M}, "
            f"calls {calls[busiest]:,} ({allowed:,.0f} are allowed)"
        )
    most = busiest_account(forecast)
    if most is not None:
        yield f"one account in one hour: calls {most[2]:,} at most ({most[0]})"
    if forecast.cut:
        yield "after that there is too much to tell: ask for less time or for fewer accounts"


def _due_at(account: AccountSettings, journal: Journal) -> datetime | None:
    """When the published secret became due or will be; the windows that were missed since then do not count."""
    rotated_at = journal.rotated_at
    return account.schedule.due(account.name, rotated_at, rotated_at).at if rotated_at else None


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
        case Refresh():
            kept = "unchanged" if step.secret_id is None else "with the secret's id"
            return "rewrite", f"write the published document again, {kept}: {step.why}"
        case TryEarlier():
            return "restore", "the published secret does not work; look for an earlier version that does"
        case Fail():
            return "fail", str(RotationError(step))
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
    elif outcome.reason == Reason.IDENTIFYING:
        parts.append("the published secret's id is confirmed later")
    elif outcome.result is Result.DEFERRED:
        until = f" until {outcome.until.astimezone(UTC):%H:%M:%S} UTC" if outcome.until else ""
        parts.append(f"deferred{until}: {(outcome.reason or '').replace('_', ' ')}")
    elif outcome.result is Result.FAILED:
        parts.append((outcome.reason or "").replace("_", " "))
    return ", ".join(parts) or "nothing to do"


def _console() -> Console:
    """Where ids and errors are what they are, never markup: they are other people's words."""
    return Console(highlight=False, markup=False, emoji=False)


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
