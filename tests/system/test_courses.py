"""Commands that die at any request, people who interfere, configuration that changes: the promise is kept."""

import os
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from tests.system.courses.drawing import BEGINNINGS, COURSES, Beginning, play
from tests.system.courses.events import Deed, Event, Fault, Moment, Passing, Person, Pick, Request, Run, Verb

pytestmark = pytest.mark.timeout(7200)
HISTORIES = os.environ.get("ROTATOR_HISTORIES")


@hypothesis_settings(max_examples=int(HISTORIES or 500), derandomize=HISTORIES is None)
@given(beginning=BEGINNINGS, course=COURSES)
def test_any_course_keeps_the_promise(beginning: Beginning, course: Sequence[Event]) -> None:
    play(beginning, *course)


def test_undisturbed_course_ends_with_the_new_secret() -> None:
    course = play(Beginning(), Run(Verb.ROTATE), Passing(timedelta(minutes=6)), Run(Verb.DAEMON_FINISHES))
    assert list(course.live.values()) == [course.published] == ["Candidate001"]


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("request_", list(Request))
def test_disturbed_rotation_ends_with_one_secret(request_: Request, fault: Fault) -> None:
    """Each kind of request has its fault, while a run of the daemon comes right before it."""
    moment = Moment(request_, fault=fault, before=(Run(Verb.DAEMON),))
    course = play(Beginning(), Run(Verb.COMPROMISED, (moment,)))
    assert list(course.live.values()) == [course.published]


@pytest.mark.parametrize("deed", list(Deed))
def test_person_during_a_rotation_is_followed_to_rest(deed: Deed) -> None:
    moment = Moment(Request.PUBLISHED, before=(Person(deed),))
    assert play(Beginning(), Person(Deed.ADD), Run(Verb.ROTATE, (moment,))).works


# --- the judge has teeth: what a faulty rotator would do -----------------------------------------------------------


def test_judge_notices_a_revoked_published_secret() -> None:
    course = play(Beginning())
    desk = course.desk(Run(Verb.DUE))
    desk.read(course.account.path)
    course.provider.add("shopkey", "Another001")
    with pytest.raises(AssertionError, match="I2"):
        course.judge.revokes(desk, max(course.ids_of(course.published)), desk.looked_at)


def test_judge_forgives_revocation_sent_before_person_published() -> None:
    """The request is held up: its sender reads the document again before it lands."""
    course = play(Beginning())
    desk = course.desk(Run(Verb.DUE))
    desk.read(course.account.path)
    sent_at = desk.looked_at
    course.play(Person(Deed.ADD))
    course.play(Person(Deed.PUBLISH, Pick.ADDED))
    desk.read(course.account.path)
    own = max(course.ids_of(course.published))
    course.judge.revokes(desk, own, sent_at)
    with pytest.raises(AssertionError, match="I2"):
        course.judge.revokes(desk, own, desk.looked_at)


def test_judge_notices_a_revoked_secret_of_another() -> None:
    course = play(Beginning())
    with pytest.raises(AssertionError, match="I4"):
        course.judge.revokes(course.desk(Run(Verb.DUE)), course.provider.add("shopkey", "Another001"), 0)


def test_judge_notices_a_short_grace_period() -> None:
    course = play(Beginning())
    course.play(Run(Verb.ROTATE))
    with pytest.raises(AssertionError, match="grace"):
        course.judge.revokes(course.desk(Run(Verb.DUE)), str(course.id_of(Pick.REPLACED)), 0)


def test_judge_notices_that_resolve_offers_the_published_secret() -> None:
    course = play(Beginning())
    desk = course.desk(Run(Verb.RESOLVE))
    desk.read(course.account.path)
    with pytest.raises(AssertionError, match="resolve offers"):
        course.judge.offered(desk, course.ids_of(course.published))


def test_judge_notices_a_compromised_secret_published_again() -> None:
    course = play(Beginning())
    leaked = str(course.published)
    course.play(Run(Verb.COMPROMISED, (Moment(Request.REVOKE, fault=Fault.DIES_BEFORE),)))
    desk = course.desk(Run(Verb.DUE))
    desk.read(course.account.path)
    with pytest.raises(AssertionError, match="compromised"):
        desk.write(course.account.path, {"api_secret": leaked}, course.version)


def test_judge_notices_a_value_that_does_not_work() -> None:
    course = play(Beginning())
    desk = course.desk(Run(Verb.DUE))
    desk.read(course.account.path)
    with pytest.raises(AssertionError, match="I1"):
        desk.write(course.account.path, {"api_secret": "Nowhere001"}, course.version)
