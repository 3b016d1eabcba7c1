"""How the results of runs, previews and journals look."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rotator.cli.terminal import Styled, Table, age, echo, moment, print_sentences, relative
from rotator.config import Settings
from rotator.core.protocol import (
    Create,
    Fail,
    Journal,
    Learned,
    Poll,
    Prepare,
    Publish,
    Reason,
    Refresh,
    Request,
    RestoreEarlierVersion,
    Revoke,
    Stop,
    Trigger,
    WriteJournal,
)
from rotator.core.protocol.wording import MAX_NAMED, listed
from rotator.errors import Code, Command, visible
from rotator.monitoring import State, describe, masked, request_status, state
from rotator.rotation import Outcome, Preview, Result, RotationError

_COLORS = {
    Result.OK: "green",
    Result.DEFERRED: "yellow",
    Result.FAILED: "red",
    State.IDLE: "green",
    State.GRACE_PERIOD: "cyan",
    State.ROTATING: "yellow",
    State.OVERDUE: "yellow",
    State.FAILING: "red",
    State.AMBIGUOUS: "red",
}

# Only a person can run them: they name an id, bring a secret, or decide about an unknown one.
_COMMANDS_OF_PERSONS = frozenset({"adopt", "resolve", "account"})


def outcomes_json(outcomes: Sequence[Outcome], settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the results of runs, for programs."""
    counts = Counter(outcome.result for outcome in outcomes)
    return {
        "rotated": sum(outcome.published for outcome in outcomes),
        "revoked": sum(len(outcome.revoked) for outcome in outcomes),
        **{result.value: counts[result] for result in Result},
        "accounts": [
            _outcome_json(outcome, settings, now) for outcome in sorted(outcomes, key=lambda outcome: outcome.account)
        ],
    }


def _outcome_json(outcome: Outcome, settings: Settings, now: datetime) -> dict[str, Any]:
    journal = _own_journal(outcome)
    next_command = outcome.next_command or outcome.repeat
    return {
        "account": outcome.account,
        "result": outcome.result.value,
        "state": _state(settings, outcome.account, journal, now),
        "rotated": outcome.published,
        "revoked": list(outcome.revoked),
        "reason": outcome.reason,
        "until": outcome.until,
        "error": masked(_said(outcome)),
        "next_command": list(next_command.args) if next_command else None,
        "request": request_json(journal.request) if journal else None,
        "request_recorded": _is_recorded(outcome),
        "rotation_id": outcome.rotation_id,
    }


def request_json(request: Request | None) -> dict[str, Any] | None:
    """Return a pending request, for programs."""
    shown = request_status(request)
    return None if shown is None else asdict(shown)


def print_outcomes(
    outcomes: Sequence[Outcome],
    settings: Settings,
    now: datetime,
    *,
    asks: bool = False,
    adopted: Mapping[str, str],
    quiet: bool = False,
) -> None:
    """Print what a run did: one line for each account, then every failure and every request that is not done.

    Args:
        outcomes: How the runs ended.
        settings: The configuration.
        now: The time.
        asks: Whether the command asks for rotations.
        adopted: Result of the adoption, by account.
        quiet: Whether to print failures only.
    """
    table = Table(("account", "result", "details", "state"), prose="details")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.account):
        happened = adopted.get(outcome.account) or _happened(outcome, now)
        after = _state(settings, outcome.account, _own_journal(outcome), now)
        table.rows.append((outcome.account, styled(outcome.result), happened, styled(after)))
    if not quiet:
        table.print()
        for outcome in outcomes:
            if outcome.account in adopted:
                _print_identity(outcome)
    shown = [outcome for outcome in outcomes if not quiet or outcome.result is Result.FAILED]
    for result in (Result.OK, Result.DEFERRED, Result.FAILED):
        said = [(outcome.account, _said(outcome)) for outcome in shown if outcome.result is result]
        print_sentences([(account, sentence) for account, sentence in said if sentence], _COLORS[result])
    if asks:
        unfinished = [outcome for outcome in shown if outcome.result is not Result.OK]
        print_sentences((outcome.account, said_of_request(outcome)) for outcome in unfinished)


def _own_journal(outcome: Outcome) -> Journal | None:
    """Return the journal, unless it could not be read or belongs to another account."""
    return None if outcome.reason == Code.FOREIGN_JOURNAL else outcome.journal


def _recorded_request(outcome: Outcome) -> Request | None:
    """Return the recorded request that does what the command asked for, unless the journal is another account's."""
    return outcome.recorded_request if _own_journal(outcome) is not None else None


def _is_recorded(outcome: Outcome) -> bool | None:
    """Return whether the journal contains the command's request; None if that is not known."""
    if _recorded_request(outcome) is not None:
        return True
    is_unknown = outcome.journal_is_unknown or outcome.code is Code.INTERNAL_ERROR
    return None if is_unknown else False


def said_of_request(outcome: Outcome) -> str:
    """Return the state of the request of a run that is not complete, and the next step."""
    request = _recorded_request(outcome)
    needs_person = outcome.next_command is not None and outcome.next_command.args[0] in _COMMANDS_OF_PERSONS
    after = " after that" if needs_person else ""
    if request is not None:
        if request.of.is_unknown:
            return "The request is recorded. rotator cannot tell its secret's id: it stays until no secret is unknown"
        recorded = f"The request ({request.kind.value}, by {request.by}) is recorded"
        return f"{recorded}. A running daemon carries it out{after}"
    if outcome.repeat is not None:
        return _overtaken(outcome.repeat)
    if outcome.reason == Reason.FULL and outcome.journal is not None and outcome.journal.request is None:
        return "The request is withdrawn: the account has no room before a grace period ends"
    if outcome.published:
        return "The new secret is published. Nothing of the request is left to record"
    recorded = "is not" if _is_recorded(outcome) is False else "might not be"
    return f"The request {recorded} recorded. Run the command again{after}"


def _said(outcome: Outcome) -> str | None:
    """Return the failure or the deferral, or why the request of a complete run began no rotation; None if it did."""
    if outcome.error is None and outcome.result is Result.OK and outcome.repeat is not None:
        return _overtaken(outcome.repeat)
    return outcome.error


def _overtaken(repeat: Command) -> str:
    replaced = "Another secret was published before the request was recorded, so the request began no rotation"
    return f"{replaced}. To replace the published secret: {repeat}."


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
        options = " ".join(f"--retire {id_}" for id_ in others[:MAX_NAMED])
        own = journal.current_id or "ID"  # a pending id is a guess, and no advice makes a person's claim of it
        echo(
            f"{outcome.account}: other secrets stay: {listed(others)}. To revoke them after the grace period: "
            f"rotator adopt {outcome.account} --secret-id {own} {options}"
        )


def print_previews(previews: Sequence[Preview | Outcome], settings: Settings, now: datetime) -> None:
    """Print the next step of each account's run, and the reason."""
    table = Table(("account", "state", "age", "would"), prose="would")
    for preview in previews:
        row = preview_json(preview, settings, now)
        since = age(row["rotated_at"], now)
        why = "see below" if isinstance(preview, Outcome) else row["why"]
        table.rows.append((preview.account, styled(row["state"]), since, visible(f"{row['step']}: {why}")))
    table.print()
    print_sentences((one.account, one.error or "") for one in previews if isinstance(one, Outcome))


def preview_json(preview: Preview | Outcome, settings: Settings, now: datetime) -> dict[str, Any]:
    """One account of a plan, for programs."""
    row: dict[str, Any] = {"account": preview.account, "state": None, "rotated_at": None}
    if isinstance(preview, Outcome):
        return row | {"step": "fail", "why": masked(preview.error), "until": None}
    step, why = _explained(preview, now)
    return row | {
        "state": _state(settings, preview.account, preview.journal, now),
        "rotated_at": preview.journal.rotated_at,
        "step": step,
        "why": masked(why),
        "until": preview.step.until if isinstance(preview.step, Stop) else None,
    }


def _state(settings: Settings, name: str, journal: Journal | None, now: datetime) -> State | None:
    """Return the state of an account with this journal, as `rotator status` shows it; None if it was not read."""
    return None if journal is None else state(describe(settings.account(name), journal), now)


def _explained(preview: Preview, now: datetime) -> tuple[str, str]:
    step = preview.step
    journal = preview.journal
    match step:
        case Prepare():
            when = "at once" if step.trigger is Trigger.COMPROMISED else "later"
            return "rotate", f"create a new secret, publish it, revoke the old one {when} ({step.trigger.value})"
        case Create() | Publish() | Poll():
            return "finish", f"the rotation {journal.rotation_id} is unfinished"
        case Revoke():
            return "revoke", f"{step.id} is due"
        case WriteJournal():
            unfinished = "the unfinished work" if journal.candidate or journal.retiring else "the account"
            return "record", f"record {unfinished} in the journal ({step.event.value})"
        case Refresh():
            kept = "unchanged" if step.secret_id is None else "with the secret's id"
            return "rewrite", f"write the published document again, {kept}: {step.why}"
        case RestoreEarlierVersion():
            return "restore", "the published secret does not work; look for an earlier version that does"
        case Fail():
            return "fail", str(RotationError(step))
        case Stop(reason=Reason.IDLE):
            return "nothing", step.detail
        case Stop():
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
        count = len(outcome.journal.retiring) if outcome.journal else 1
        previous = "previous" if count == 1 else f"first of {count} previous"
        parts.append(f"{previous} revoked {relative(outcome.until, now)}")
    elif outcome.reason == Reason.IDENTIFYING:
        parts.append("the published secret's id is confirmed later")
    elif outcome.result is Result.DEFERRED:
        until = f" until {moment(outcome.until, now)}" if outcome.until else ""
        parts.append(f"deferred{until}: {(outcome.reason or '').replace('_', ' ')}")
    elif outcome.result is Result.FAILED:
        parts.append((outcome.reason or "").replace("_", " "))
    return ", ".join(parts) or "nothing to do"


def styled(value: Result | State | None) -> Styled:
    """Return a result or a state in its color; "-" for None."""
    if value is None:
        return Styled("-")
    color = _COLORS.get(value)
    return Styled(value.value, color, bold=color == "red")
