"""How the results of runs, previews and journals look."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rotator.cli.terminal import Styled, Table, age, echo, relative
from rotator.config import AccountSettings
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
from rotator.errors import visible
from rotator.logs import redact
from rotator.rotation import Outcome, Preview, Result, RotationError

_COLORS = {
    Result.OK: "green",
    Result.DEFERRED: "yellow",
    Result.FAILED: "red",
    Phase.IDLE: "green",
    Phase.OVERLAP: "cyan",
    Phase.PREPARED: "yellow",
    Phase.AMBIGUOUS: "red",
}


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0: all done; 1: something failed; 3: nothing failed, but something has to wait."""
    results = {outcome.result for outcome in outcomes}
    if Result.FAILED in results:
        return 1
    return 3 if Result.DEFERRED in results else 0


def outcomes_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the results of runs, for programs."""
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
    """Return a pending request, for programs."""
    if request is None:
        return None
    return {"kind": request.kind.value, "by": _masked(request.by), "at": request.at, "id": request.id}


def print_outcomes(
    outcomes: Sequence[Outcome], now: datetime, *, asked: bool = False, adopted: Mapping[str, str], quiet: bool = False
) -> None:
    """Print what a run did: one line for each account, then every failure and every request that is not done.

    Args:
        outcomes: How the runs ended.
        now: The time.
        asked: Whether the command asked for a rotation.
        adopted: Result of the adoption, by account.
        quiet: Whether to print failures only.
    """
    table = Table(("account", "result", "details", "phase"), prose="details")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.account):
        happened = adopted.get(outcome.account) or _happened(outcome, now)
        table.rows.append((outcome.account, _styled(outcome.result), happened, _styled(outcome.phase)))
    if not quiet:
        table.print()
        for outcome in outcomes:
            if outcome.account in adopted:
                _print_identity(outcome)
    for outcome in outcomes:
        if quiet and outcome.result is not Result.FAILED:
            continue
        if outcome.error:
            name = Styled(outcome.account, _COLORS[outcome.result])
            echo(name, ": ", visible(redact(outcome.error)))
        if outcome.result is not Result.OK and asked:
            echo(f"{outcome.account}: {visible(_recorded(outcome))}")


def _recorded(outcome: Outcome) -> str:
    """Return the state of the request of a run that is not complete, and the next step."""
    request = outcome.journal.request if outcome.journal else None
    if request is not None:
        return f"The request ({request.kind.value}, by {request.by}) is recorded. A running daemon carries it out"
    if outcome.reason == Reason.FULL:
        return "The request is withdrawn: the account has no room before a grace period ends"
    if outcome.published:
        return "The new secret is published. Nothing of the request is left to record"
    return "The request is not recorded. Run the command again"


def adoption(outcome: Outcome, before: int) -> str:
    """Return what an adoption did.

    Args:
        outcome: How the run after it ended.
        before: The version of the published document before.
    """
    version = outcome.journal.published_version if outcome.journal else 0
    if outcome.result is not Result.OK or not version:
        return ""
    if version > before:
        return f"adopted, version {version} published"
    return f"adopted, version {version} contained this secret already: it needed no adoption"


def _print_identity(outcome: Outcome) -> None:
    """Print which id an adoption took for the published secret's own, and how rotator knows."""
    journal = outcome.journal
    if journal is None or journal.current is None:
        return
    current = journal.current
    how = {
        Learned.PERSON: "you named it",
        Learned.ANSWERED: "the provider answered it when the secret was created",
        Learned.ELIMINATED: "several lists show no other id",
        Learned.PENDING: "later lists confirm it",
    }[current.learned]
    echo(f"{outcome.account}: secret id {current.id or 'not known yet'} ({how})")
    others = sorted(journal.unknown_ids)
    if others:
        options = " ".join(f"--retire {id_}" for id_ in others)
        echo(
            f"{outcome.account}: other secrets stay: {', '.join(others)}. To revoke them after the grace period: "
            f"rotator adopt {outcome.account} --secret-id {current.id or 'ID'} {options}"
        )


def print_previews(previews: Sequence[Preview | Outcome], now: datetime) -> None:
    """Print the next step of each account's run, and the reason."""
    table = Table(("account", "phase", "age", "would"), prose="would")
    for preview in previews:
        row = preview_json(preview, now)
        phase = preview.journal.phase if isinstance(preview, Preview) else None
        since = age(preview.journal.rotated_at, now) if isinstance(preview, Preview) else "-"
        table.rows.append((preview.account, _styled(phase), since, visible(f"{row['step']}: {row['why']}")))
    table.print()


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
    """Return the state of an account from its journal, for programs."""
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
    """Print the state of accounts from their journals."""
    table = Table(("account", "phase", "age", "due", "revokes", "trouble"), prose="trouble")
    for row in rows:
        retiring = ", ".join(relative(entry["not_before"], now) for entry in row["retiring"]) or "-"
        due = relative(row["due_at"], now) if row["enabled"] else "disabled"
        times = f"failed {row['attempts']} times, " if row["attempts"] else ""
        failed = f"{times}see below" if row["last_error"] else ""
        asked = f"requested: {row['request']['kind']}" if row["request"] else ""
        trouble = failed or ("" if row["published"] else "nothing published") or asked
        phase = Phase(row["phase"]) if row["secret_id"] or row["last_error"] else None
        table.rows.append((row["account"], _styled(phase), age(row["rotated_at"], now), due, retiring, trouble))
    table.print()
    for row in rows:
        if row["last_error"]:
            echo(Styled(row["account"], "red", bold=True), ": ", visible(row["last_error"]))
        if row["request"]:
            asked, at = row["request"], f"{row['request']['at'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            who = visible(f"{row['account']}: {asked['by']} requested a rotation ({asked['kind']}) at {at}")
            echo(f"{who}. To withdraw it: rotator rotate-now {row['account']} --cancel")


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
            return "wait", f"{step.detail} ({relative(step.until, now)})"
        case _:
            raise AssertionError(f"a preview does not end with {type(step).__name__}")


def _happened(outcome: Outcome, now: datetime) -> str:
    parts = []
    if outcome.published:
        parts.append("new secret published")
    if outcome.revoked:
        parts.append(f"{len(outcome.revoked)} revoked")
    if outcome.reason == Reason.GRACE:
        parts.append(f"previous one revoked {relative(outcome.until, now)}")
    elif outcome.reason == Reason.IDENTIFYING:
        parts.append("the published secret's id is confirmed later")
    elif outcome.result is Result.DEFERRED:
        until = f" until {outcome.until.astimezone(UTC):%H:%M:%S} UTC" if outcome.until else ""
        parts.append(f"deferred{until}: {(outcome.reason or '').replace('_', ' ')}")
    elif outcome.result is Result.FAILED:
        parts.append((outcome.reason or "").replace("_", " "))
    return ", ".join(parts) or "nothing to do"


def _styled(value: Result | Phase | None) -> Styled:
    if value is None:
        return Styled("-")
    return Styled(value.value, _COLORS[value], bold=_COLORS[value] == "red")
