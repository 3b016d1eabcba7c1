"""Courses that were found at random, and that broke a promise once, as short as they can be."""

from datetime import timedelta

import pytest

from tests.system.courses.drawing import Beginning, play
from tests.system.courses.events import (
    Deed,
    Event,
    Fault,
    Moment,
    Passing,
    Person,
    Pick,
    Request,
    Run,
    Trouble,
    Troubled,
    Verb,
)

DAY = timedelta(days=1)
NO_WAIT = NO_GRACE = timedelta()


def dies(request: Request, number: int = 0, fault: Fault = Fault.DIES_BEFORE) -> tuple[Moment, ...]:
    """Return the moment at which a command dies."""
    return (Moment(request, number, fault),)


PUBLISHED_ONLY = dies(Request.PUBLISHED, fault=Fault.DIES_AFTER)
ASKED_ONLY = dies(Request.LIST)
ADDED_BY_HAND = (Person(Deed.ADD), Person(Deed.PUBLISH, Pick.ADDED))

COURSES: dict[str, tuple[Beginning, tuple[Event, ...]]] = {
    "a compromised candidate, published and not recorded, is rolled back": (
        Beginning(),
        (
            Run(Verb.ROTATE, PUBLISHED_ONLY),
            Run(Verb.COMPROMISED, dies(Request.JOURNAL, 1)),
            Person(Deed.ROLL_BACK),
        ),
    ),
    "a candidate waits while the published secret is replaced and mistyped": (
        Beginning(secondary=True),
        (
            Run(Verb.ROTATE, dies(Request.CREATE)),
            Person(Deed.ADD),
            Person(Deed.REMOVE),
            Person(Deed.MISTYPE, Pick.ADDED),
        ),
    ),
    "a second secret leaks while the request for the first one waits": (
        Beginning(grace=NO_GRACE),
        (Run(Verb.COMPROMISED, ASKED_ONLY), *ADDED_BY_HAND, Run(Verb.COMPROMISED)),
    ),
    "the new secret leaks before its publication is recorded": (
        Beginning(),
        (Run(Verb.COMPROMISED, PUBLISHED_ONLY), Run(Verb.COMPROMISED, waits=NO_WAIT)),
    ),
    "a secret whose id no list shows is compromised": (
        Beginning(runs=0),
        (
            Troubled(Trouble.LISTS_LACK, Pick.OLDEST),
            Run(Verb.DUE),
            Run(Verb.COMPROMISED),
            Person(Deed.REMOVE),
        ),
    ),
    "the version of a leaked secret is deleted, and an earlier one contains it": (
        Beginning(),
        (Run(Verb.ROTATE), Person(Deed.EDIT), Run(Verb.DUE), Person(Deed.DELETE), Run(Verb.COMPROMISED)),
    ),
    "the version of a leaked secret is deleted, and a primary account creates another": (
        Beginning(secondary=True),
        (Run(Verb.ROTATE), Person(Deed.EDIT), Run(Verb.DUE), Person(Deed.DELETE), Run(Verb.COMPROMISED)),
    ),
    "a leaked secret was added again, and another one is published by hand": (
        Beginning(grace=DAY),
        (
            Person(Deed.ADD),
            Person(Deed.READD),
            Passing(timedelta(minutes=3)),
            Run(Verb.COMPROMISED),
            Person(Deed.PUBLISH, Pick.ADDED),
            Passing(timedelta(minutes=3)),
            Run(Verb.DUE),
        ),
    ),
    "a forced request follows a compromised one and an edit": (
        Beginning(runs=1),
        (Run(Verb.COMPROMISED, ASKED_ONLY), Person(Deed.EDIT), Run(Verb.FORCE, ASKED_ONLY)),
    ),
    "a mistyped secret is compromised, and an earlier one is restored": (
        Beginning(),
        (Person(Deed.MISTYPE), Run(Verb.COMPROMISED)),
    ),
    "a secret takes the place of a compromised one whose id is pending": (
        Beginning(grace=NO_GRACE, runs=1),
        (Run(Verb.COMPROMISED, ASKED_ONLY), *ADDED_BY_HAND),
    ),
    "a secret is rolled back while it is compromised and its id pending": (
        Beginning(grace=NO_GRACE),
        (*ADDED_BY_HAND, Run(Verb.COMPROMISED, ASKED_ONLY), Person(Deed.ROLL_BACK)),
    ),
    "a full account waits for ever, because the published id is not listed": (
        Beginning(),
        (Run(Verb.ROTATE), Person(Deed.READD), Run(Verb.FORCE)),
    ),
    "an id that the provider answered for an added secret is named for the published one": (
        Beginning(),
        (Run(Verb.CREATE), Run(Verb.ADOPT, named=Pick.SECOND, retire=(Pick.OLDEST,))),
    ),
    "a weaker request takes the place of a compromised one that is not recorded as done": (
        Beginning(runs=1),
        (
            Run(Verb.ROTATE, dies(Request.CREATE)),
            Run(Verb.COMPROMISED, PUBLISHED_ONLY),
            Run(Verb.FORCE, waits=NO_WAIT),
            Person(Deed.REMOVE),
        ),
    ),
    "a compromised secret is retired by hand": (
        Beginning(grace=DAY),
        (
            Person(Deed.ADD),
            Run(Verb.COMPROMISED),
            Run(Verb.ADOPT, value=Pick.ADDED, named=Pick.ADDED, retire=(Pick.PUBLISHED,), replace=True),
        ),
    ),
    "the compromised id is named for a candidate that is published and not recorded": (
        Beginning(grace=DAY),
        (Run(Verb.COMPROMISED, PUBLISHED_ONLY), Run(Verb.ADOPT, named=Pick.REPLACED)),
    ),
    "an unknown secret is published by hand, and a full account defers the run": (
        Beginning(secondary=True, runs=0),
        (
            Person(Deed.DELETE),
            Run(Verb.DUE),
            Person(Deed.PUBLISH, Pick.OLDEST, named=Pick.NONE),
            Run(Verb.ROTATE, waits=NO_WAIT),
        ),
    ),
    "a secret is added while a deleted document is bootstrapped": (
        Beginning(secondary=True),
        (
            Person(Deed.DELETE),
            Run(Verb.DUE, (Moment(Request.CREATE, 0, Fault.DIES_BEFORE, before=(Person(Deed.ADD),)),)),
        ),
    ),
    "an id of a version that was written for another field is named": (
        Beginning(secondary=True),
        (
            Person(Deed.RENAME_FIELD),
            Run(Verb.ROTATE),
            Person(Deed.RENAME_FIELD),
            Person(Deed.PUBLISH, Pick.REPLACED, named=Pick.NONE),
        ),
    ),
    "a rescue under another field retires the secret at the earlier one": (
        Beginning(secondary=True),
        (Person(Deed.RENAME_FIELD), Person(Deed.MISTYPE, Pick.OLDEST)),
    ),
}


COURSES["an added secret's id is named while the published one's is pending"] = (
    Beginning(runs=0),
    (Run(Verb.ADOPT), Run(Verb.CREATE), Run(Verb.ADOPT, named=Pick.SECOND, retire=(Pick.PUBLISHED,))),
)
COURSES["a compromised secret whose id is not known is retired by hand"] = (
    Beginning(max_secrets=3),
    (
        Person(Deed.ADD),
        Person(Deed.RENAME_FIELD),
        Person(Deed.PUBLISH, Pick.ADDED, named=Pick.NONE),
        Run(Verb.COMPROMISED),
        Person(Deed.RENAME_FIELD),
    ),
)
COURSES["the value that replaced a compromised one is deleted before a run reads it"] = (
    Beginning(runs=0),
    (
        Run(Verb.ROTATE),
        Run(Verb.COMPROMISED, waits=NO_WAIT),
        Person(Deed.PUBLISH, Pick.REPLACED, named=Pick.NONE),
        Person(Deed.DELETE),
    ),
)
COURSES["a forced rotation needs the room of one secret"] = (
    Beginning(max_secrets=3, grace=DAY),
    (Run(Verb.ROTATE), Run(Verb.ROTATE), Run(Verb.FORCE)),
)
COURSES["a person goes back to a retiring secret while a candidate waits"] = (
    Beginning(max_secrets=3, grace=DAY),
    (
        Run(Verb.ROTATE),
        Passing(DAY - timedelta(minutes=4)),
        Troubled(Trouble.SLOW, time=timedelta(seconds=20)),
        Run(Verb.ROTATE, dies(Request.CREATE)),
        Passing(timedelta(minutes=3)),
        Run(Verb.DAEMON),
        Person(Deed.PUBLISH, Pick.REPLACED, named=Pick.NONE),
        Passing(timedelta(minutes=3)),
        Run(Verb.DAEMON),
    ),
)
COURSES["a secret and its successor leak, and the primary account creates another one"] = (
    Beginning(max_secrets=3, grace=DAY, secondary=True, runs=0),
    (
        Run(Verb.COMPROMISED, PUBLISHED_ONLY),
        Run(Verb.COMPROMISED, waits=NO_WAIT),
        Person(Deed.MISTYPE),
    ),
)
COURSES["an added secret leaks, and the document is rolled back before a run reads it"] = (
    Beginning(max_secrets=3, grace=DAY, runs=4),
    (
        Run(Verb.CREATE),
        Person(Deed.PUBLISH, Pick.SECOND),
        Run(Verb.COMPROMISED, ASKED_ONLY),
        Person(Deed.ROLL_BACK),
        Run(Verb.ROTATE),
    ),
)
COURSES["a request is not written beside one for the secret before"] = (
    Beginning(),
    (
        Run(Verb.COMPROMISED, PUBLISHED_ONLY),
        Run(Verb.DUE),
        Run(Verb.COMPROMISED, dies(Request.JOURNAL, fault=Fault.REFUSED)),
    ),
)
COURSES["the published value is added again while lists show its removed id"] = (
    Beginning(grace=DAY, runs=0),
    (
        Run(Verb.ROTATE),
        Troubled(Trouble.LISTS_SHOW, Pick.NONE),
        Person(Deed.READD),
        Run(Verb.DUE),
        Run(Verb.RESOLVE),
    ),
)
COURSES["the published value is added again beside another secret, and one is resolved"] = (
    Beginning(grace=NO_GRACE, max_secrets=3),
    (
        Run(Verb.ROTATE),
        Person(Deed.ADD),
        Run(Verb.DUE),
        Troubled(Trouble.LISTS_SHOW, Pick.NONE),
        Person(Deed.READD),
        Run(Verb.RESOLVE, named=Pick.PUBLISHED),
        Run(Verb.REVOKE, named=Pick.PUBLISHED),
    ),
)
COURSES["a leaked secret is published again by hand, and a person names its id"] = (
    Beginning(),
    (
        Run(Verb.COMPROMISED, dies(Request.LIST, 1)),
        Run(Verb.DUE),
        Person(Deed.ROLL_BACK),
        Run(Verb.COMPROMISED),
        Run(Verb.ADOPT, named=Pick.OLDEST, retire=(Pick.SECOND,)),
    ),
)
COURSES["a person goes back to the retiring secret and forward again between two runs"] = (
    Beginning(grace=DAY),
    (
        Run(Verb.ROTATE),
        Passing(timedelta(hours=23, minutes=56)),
        Person(Deed.ROLL_BACK),
        Passing(timedelta(minutes=3, seconds=55)),
        Person(Deed.ROLL_BACK),
        Passing(timedelta(seconds=10)),
        Run(Verb.DAEMON),
    ),
)
COURSES["a person goes back and forward beside a candidate, and a list lacks an id"] = (
    Beginning(grace=timedelta(minutes=30)),
    (
        Run(Verb.ROTATE),
        Passing(timedelta(minutes=2)),
        Troubled(Trouble.LISTS_LACK, Pick.PUBLISHED),
        Run(Verb.ROTATE),
        Passing(timedelta(minutes=2)),
        Person(Deed.PUBLISH, Pick.REPLACED, named=Pick.NONE),
        Run(Verb.DAEMON),
        Passing(timedelta(minutes=2)),
        Person(Deed.PUBLISH, Pick.SECOND, named=Pick.NONE),
        Troubled(Trouble.LISTS_LACK, Pick.SECOND),
        Run(Verb.DAEMON),
    ),
)
COURSES["a leaked secret whose version is deleted is replaced by the first rotation"] = (
    Beginning(secondary=True, runs=0),
    (Person(Deed.DELETE), Run(Verb.COMPROMISED)),
)
COURSES["a command rotates a document whose field has another name, after one that died"] = (
    Beginning(secondary=True),
    (Person(Deed.RENAME_FIELD), Run(Verb.ROTATE, dies(Request.LIST, 1, Fault.LOST)), Run(Verb.ROTATE)),
)
COURSES["a leaked secret is deleted, and a person adopts another one"] = (
    Beginning(),
    (Person(Deed.DELETE), Person(Deed.ADD), Run(Verb.COMPROMISED)),
)
COURSES["a person forces a rotation of a deleted secret, and adopts another one"] = (
    Beginning(),
    (Person(Deed.DELETE), Person(Deed.ADD), Run(Verb.FORCE)),
)
COURSES["a secret that was created after a leak is deleted in Vault"] = (
    Beginning(),
    (
        Run(Verb.COMPROMISED, dies(Request.REVOKE, fault=Fault.DIES_AFTER)),
        Run(Verb.ROTATE),
        Person(Deed.DELETE),
        Run(Verb.ROTATE),
    ),
)
COURSES["a forced request over a mistyped value ends grace periods for the value behind it"] = (
    Beginning(grace=timedelta(minutes=5), runs=4),
    (Run(Verb.FORCE), Person(Deed.MISTYPE, Pick.OLDEST), Run(Verb.FORCE)),
)
COURSES["a forced request over a mistyped value is for the one that a person publishes again"] = (
    Beginning(grace=DAY, max_secrets=3),
    (
        Run(Verb.ROTATE),
        Run(Verb.ROTATE),
        Person(Deed.MISTYPE, Pick.REPLACED),
        Run(Verb.FORCE, (Moment(Request.PUBLISHED, 0, Fault.DIES_BEFORE, (Person(Deed.PUBLISH, Pick.REPLACED),)),)),
        Run(Verb.ADOPT),
    ),
)
COURSES["two people report one leak after the newest version was deleted"] = (
    Beginning(),
    (
        Run(Verb.ROTATE),
        Passing(timedelta(hours=30)),
        Run(Verb.DUE),
        Person(Deed.EDIT),
        Run(Verb.DUE),
        Person(Deed.DELETE),
        Run(Verb.COMPROMISED, (Moment(Request.JOURNAL, before=(Run(Verb.COMPROMISED),)),)),
    ),
)


@pytest.mark.parametrize("name", COURSES)
def test_written_course_keeps_the_promise(name: str) -> None:
    beginning, course = COURSES[name]
    play(beginning, *course)
