"""Which listed ids are unknown: a later list tells."""

from dataclasses import replace

from rotator.core.protocol import Awaited, Fail, Poll, Step, transitions
from rotator.rotation.preview import look_further
from rotator.rotation.run import Rotation
from rotator.rotation.waiting import PAST_THE_END

# How often a later list can show new ids, which a still later one has to confirm.
_LATER_LISTS = 3


def confirm(rotation: Rotation, step: Step) -> Step:
    """Wait until a later list tells whether the ids are unknown because of which a run would fail.

    An old list can show the published secret's id although a person removed it, and another id has its value: the value
    was added again, or twice. A person can have removed it a moment ago. So the wait begins with this command, also if
    earlier runs have noticed the ids. Nothing is written.

    Returns:
        The next step by then.

    Raises:
        StoppedError: If the process stops.
    """
    state = rotation.state
    state.know(replace(state.journal, noticed=None))
    for _ in range(_LATER_LISTS):
        case = state.situation
        noticed = transitions.noticed(case)
        if not isinstance(step, Fail) or not case.unconfirmed or noticed is None:
            break
        state.know(replace(state.journal, noticed=noticed))
        rotation.waiting.for_fact(Poll(case.confirmed_at(noticed) - case.now + PAST_THE_END, Awaited.LOOK))
        step = look_further(rotation)
    return step
