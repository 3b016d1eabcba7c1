"""Preview of a run with reads alone: the first step that changes something, or the end."""

from dataclasses import dataclass

from rotator.core.protocol import (
    CHANGING_STEPS,
    Awaited,
    Event,
    Fail,
    Journal,
    Observation,
    Poll,
    Reason,
    RestoreEarlierVersion,
    Step,
    Stop,
    WriteJournal,
    ownership,
)
from rotator.provider import RateLimited
from rotator.rotation.continuation import continuation
from rotator.rotation.run import MAX_STEPS, Rotation

# Journal writes that say less than the step after them.
_NOTES = (
    Event.CLAIMED,
    Event.REDATED,
    Event.REQUESTED,
    Event.LOOKED,
    Event.IDENTIFIED,
    Event.MISSED,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """First step of a run, before it is performed."""

    account: str
    journal: Journal
    seen: Observation
    step: Step


def preview(rotation: Rotation) -> Preview:
    """Look, without changing anything: return the first step that would change something, or the end."""
    rotation.state.observe()
    journal = rotation.state.journal
    try:
        step = look_further(rotation)
    except RateLimited as limited:  # the run would be deferred
        until = rotation.state.clock() + rotation.waiting.deferral(limited)
        step = Stop(Reason.RATE_LIMITED, until, limited.what, continuation(rotation.state))
    case = rotation.state.situation
    if isinstance(step, RestoreEarlierVersion) and not ownership.is_shown(case):
        step = ownership.refuse_unknown_owner(case)  # unless an earlier version authenticates: only a run can tell
    return Preview(rotation.account.name, journal, rotation.state.seen, step)


def look(rotation: Rotation) -> Step:
    """Do steps that only look, up to the first that changes something, waits for a candidate or ends the run.

    Journal writes that only note what a list shows count as done. Nothing is written.
    """
    rotation.state.observe()
    return look_further(rotation)


def look_further(rotation: Rotation) -> Step:
    """Do the same with what the run knows already."""
    step = _look_on(rotation)
    for _ in _NOTES:
        if not isinstance(step, WriteJournal) or step.event not in _NOTES:
            break
        rotation.state.know(step.journal)
        step = _look_on(rotation)
    return step


def _look_on(rotation: Rotation) -> Step:
    for _ in range(MAX_STEPS):
        if not rotation.state.is_observed:
            rotation.state.observe()
        step = rotation.decide()
        awaits_candidate = isinstance(step, Poll) and step.awaited is Awaited.CANDIDATE
        if awaits_candidate or isinstance(step, (*CHANGING_STEPS, Stop, Fail)):
            break
        rotation.perform(step)
    return step
