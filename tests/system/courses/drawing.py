"""Courses at random: strategies for events and for the accounts that they happen to."""

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st

from tests.system.courses.course import Course
from tests.system.courses.ending import Ending
from tests.system.courses.events import (
    Deed,
    Event,
    Fault,
    Moment,
    Passing,
    Person,
    Pick,
    Release,
    Request,
    Run,
    Trouble,
    Troubled,
    Verb,
    shown,
)

_NONE, _PUBLISHED = Pick.NONE, Pick.PUBLISHED
# A command within a command within a command: more would hardly ever be reached.
DEEPEST = 2
_NUMBERS = {
    Request.JOURNAL: 4,
    Request.PUBLISHED: 1,
    Request.LIST: 4,
    Request.READ: 6,
    Request.CREATE: 1,
    Request.REVOKE: 1,
    Request.ANY: 24,
}
_TIMES = st.sampled_from([1, 11, 31, 46, 61, 125, 301, 3_700, 90_000, 172_800]).map(lambda at: timedelta(seconds=at))
_WAITS = st.sampled_from([timedelta(minutes=3), timedelta()])
_PICKS = st.sampled_from(list(Pick))
_PUBLISHABLE = st.sampled_from([pick for pick in Pick if pick is not Pick.NONE])
_ALONE = [Deed.EDIT, Deed.DELETE, Deed.UNDELETE, Deed.DELETE_JOURNAL, Deed.ADD, Deed.RENAME_FIELD]
# A person who publishes a value leaves the id that the document names, removes it, or writes the right one.
_PERSONS = st.one_of(
    st.builds(Person, deed=st.sampled_from(_ALONE)),
    st.builds(Person, deed=st.sampled_from([Deed.REMOVE, Deed.READD, Deed.MISTYPE, Deed.PUBLISH]), pick=_PUBLISHABLE),
    st.builds(Person, deed=st.just(Deed.PUBLISH), pick=_PUBLISHABLE, named=st.just(Pick.NONE)),
    _PUBLISHABLE.map(lambda pick: Person(Deed.PUBLISH, pick, named=pick)),
    st.builds(Person, deed=st.just(Deed.ROLL_BACK), back=st.integers(1, 3)),
)
_TROUBLES = st.builds(
    Troubled,
    trouble=st.sampled_from(list(Trouble)),
    pick=_PICKS,
    time=st.sampled_from([timedelta(), timedelta(seconds=2), timedelta(seconds=20)]),
)
_RELEASES = st.builds(Release, number=st.integers(0, 2))
_ROTATING = [Verb.ROTATE, Verb.COMPROMISED, Verb.DUE]  # more often than others
_ROTATING += [verb for verb in Verb if verb not in (Verb.ADOPT, Verb.RESOLVE, Verb.REVOKE)]


def events(depth: int = DEEPEST) -> st.SearchStrategy[Event]:
    """Return a strategy for one event; for those within it if it is a command, to a limited depth."""
    moments = st.lists(_moments(depth), max_size=2).map(tuple)
    rotations = st.builds(Run, verb=st.sampled_from(_ROTATING), moments=moments, waits=_WAITS)
    adoptions = st.builds(
        Run,
        verb=st.just(Verb.ADOPT),
        moments=moments,
        waits=_WAITS,
        value=_PICKS,
        named=_PICKS,
        retire=st.lists(_PICKS.filter(lambda pick: pick is not Pick.NONE), max_size=1).map(tuple),
        replace=st.booleans(),
    )
    decisions = st.builds(
        Run, verb=st.sampled_from([Verb.RESOLVE, Verb.REVOKE]), moments=moments, waits=_WAITS, named=_PICKS
    )
    times = st.builds(Passing, time=_TIMES)
    return st.one_of(
        rotations, rotations, rotations, adoptions, decisions, _PERSONS, _PERSONS, times, _TROUBLES, _RELEASES
    )


def _moments(depth: int) -> st.SearchStrategy[Moment]:
    between = st.lists(events(depth - 1), max_size=3).map(tuple) if depth else st.just(())
    faults = st.sampled_from([None, Fault.DIES_AFTER, Fault.DIES_BEFORE, *Fault])
    return st.sampled_from(list(_NUMBERS)).flatmap(
        lambda request: st.builds(
            Moment,
            request=st.just(request),
            number=st.integers(0, _NUMBERS[request]),
            fault=faults,
            before=between,
        )
    )


@dataclass(frozen=True)
class Beginning:
    """The account that a course begins with.

    Attributes:
        runs: How many runs of rotator come first, a consistency window apart: after four, its id is certain.
    """

    grace: timedelta = timedelta(minutes=5)
    max_secrets: int = 2
    secondary: bool = False
    runs: int = 4

    def __str__(self) -> str:
        return (
            f"grace={shown(self.grace)}, max_secrets={self.max_secrets}, secondary={self.secondary}, runs={self.runs}"
        )


BEGINNINGS = st.builds(
    Beginning,
    grace=st.sampled_from([timedelta(minutes=5), timedelta(), timedelta(days=1)]),
    max_secrets=st.sampled_from([2, 2, 3]),
    secondary=st.booleans(),
    runs=st.sampled_from([4, 4, 0, 1]),
)
COURSES = st.lists(events(), min_size=3, max_size=12)


def play(beginning: Beginning, *course: Event) -> Course:
    """Play a course to its end. Fail if something does not hold."""
    played = Course(beginning.grace, beginning.max_secrets, secondary=beginning.secondary)
    with played.patched():
        for _ in range(beginning.runs):
            played.play_all(Run(Verb.DUE), Passing(timedelta(seconds=31)))
        played.happened[:] = [str(beginning)]
        played.play_all(*course)
        Ending(played).come_to_rest()
    return played
