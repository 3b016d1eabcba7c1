"""`account secrets create`: a value that the account has already is refused, whoever added it."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.errors import ConfigError
from rotator.fleet import manual_secrets
from tests.system.courses.course import Course
from tests.system.courses.events import Passing, Run, Verb

VALUE = SecretStr("TeamValue001")


@pytest.mark.parametrize("by_hand", [False, True], ids=["with rotator", "in the dashboard"])
def test_value_that_was_added_before_is_refused(by_hand: bool) -> None:
    """Neither the journal nor Vault contains it: only the provider tells."""
    course = Course(timedelta(minutes=5), 3)
    with course.patched():
        for _ in range(4):
            course.play(Run(Verb.DUE))
            course.play(Passing(timedelta(seconds=31)))
        if by_hand:
            course.provider.add("shopkey", VALUE.get_secret_value())
        else:
            manual_secrets.create(course.fleet(course.desk(Run(Verb.CREATE))), course.account, VALUE, generated=False)
        live = dict(course.live)
        with pytest.raises(ConfigError, match="This value is a secret of shop already"):
            manual_secrets.create(course.fleet(course.desk(Run(Verb.CREATE))), course.account, VALUE, generated=False)
        assert course.live == live
