"""The status of an account: its state, and what it says of the journal."""

from datetime import timedelta

import pytest

from rotator.config import AccountSettings
from rotator.core.protocol import Doubt, Identity, Journal, Learned, Request, RequestKind, Retiring, Target
from rotator.monitoring import RequestStatus, RetiringStatus, State, describe, state
from tests.monitoring.scraping import NOW, TRUE_OF

SHOP = AccountSettings(name="shop", api_key="abcd1234", path="apps/shop")
OWN = Identity("id-1", Learned.ELIMINATED, beside=frozenset({"id-1"}))


def test_status_names_the_requester_of_a_rotation() -> None:
    request = Request(RequestKind.COMPROMISED, Target(id="id-1"), NOW, "ann", "5f2c1d9e")
    assert describe(SHOP, Journal(current=OWN)).request is None
    status = describe(SHOP, Journal(current=OWN, request=request))
    assert status.request == RequestStatus(RequestKind.COMPROMISED, "ann", NOW, "5f2c1d9e")


def test_status_shows_end_of_a_retiring_secret() -> None:
    """A newer version's fields are not shown: nobody has checked that they contain no secret."""
    entry = Retiring("id-2", NOW + timedelta(hours=1), compromised=True, identity=OWN, unknown_fields='{"x": 1}')
    status = describe(SHOP, Journal(current=OWN, retiring=(entry,)))
    assert status.retiring == (RetiringStatus("id-2", NOW + timedelta(hours=1), compromised=True),)


def test_published_secret_is_never_counted_as_unknown() -> None:
    for own in (OWN, Identity("id-1", Learned.PENDING)):
        journal = Journal(current=own, ambiguity="two", unknown_ids=frozenset({"id-1", "id-2"}))
        status = describe(SHOP, journal)
        assert (status.unknown_secrets, status.live_secrets) == (1, 2)


def test_secrets_in_doubt_are_counted_but_not_unknown() -> None:
    journal = Journal(current=OWN, ambiguity="one of two", last_doubt=Doubt(frozenset({"id-2"}), NOW))
    status = describe(SHOP, journal)
    assert (status.unknown_secrets, status.live_secrets) == (0, 2)


def test_long_error_is_bounded() -> None:
    """A provider that lists 14,000 ids makes errors of 112 KB."""
    ids = frozenset(f"id-{number}" for number in range(2, 14_002))
    journal = Journal(current=OWN, ambiguity=f"unknown ids: {', '.join(sorted(ids))}", unknown_ids=ids)
    status = describe(SHOP, journal)
    assert len(status.last_error or "") == 2001
    assert status.unknown_secrets == 14_000
    assert state(status, NOW) is State.AMBIGUOUS


@pytest.mark.parametrize("case", TRUE_OF)
def test_state_is_the_first_that_applies(case: str) -> None:
    account, expected = TRUE_OF[case]
    assert state(account, NOW) is expected
