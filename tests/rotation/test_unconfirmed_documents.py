"""A published document that names no account: its value is replaced only if something shows whose it is."""

from typing import Any

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Create, Fail, Trigger
from rotator.errors import RotatorError
from rotator.rotation import Operator, Outcome, preview
from testkit.model import World
from tests.rotation.worlds import BY_HAND, DAY, FIRST, MOMENT, run_until

FOREIGN = "OtherTeams0001"


def new(**settings: Any) -> World:
    """A secondary account that rotator has never seen."""
    world = World(secondary=True, **settings)
    world.provider.add("shopkey", FIRST)
    return world


def run_for_a_day(world: World) -> Outcome:
    """Runs of a daemon."""
    for _ in range(24):
        world.rotation(explicit=False).run()
        world.clock.wait(DAY / 24)
    return world.rotation().run()


def waiting() -> World:
    """An account whose first secret was created through its primary account a moment ago, and is not published yet."""
    world = new()
    run_until(world.rotation(), Create, then_perform=True)
    world.clock.wait(DAY)
    return world


def test_candidate_is_not_published_over_another_accounts_value() -> None:
    world = waiting()
    world.publish(FOREIGN)
    outcome = run_for_a_day(world)
    assert (outcome.reason, world.published) == ("unconfirmed_document", FOREIGN)
    assert len(world.live) == 2
    (own, _) = world.live
    Operator(world.rotation()).adopt(SecretStr(FIRST), own, replace_working=True)
    assert world.consumer_works()
    assert world.published != FOREIGN


def test_candidate_replaces_a_value_that_authenticates() -> None:
    """A person published the secret in use while the candidate was waiting."""
    world = waiting()
    candidate = world.journal.candidate
    world.publish(FIRST)
    outcome = world.rotation().run()
    assert outcome.published
    assert SecretStr(world.published or "") == candidate
    assert FIRST in world.live.values()


def test_value_that_authenticated_once_is_rescued() -> None:
    """The journal remembers it, although the account is not adopted: the secret's id is one of two."""
    world = new(max_secrets=3)
    world.provider.add("shopkey", BY_HAND)
    world.publish(FIRST)
    assert world.rotation().run().reason == "ambiguous"
    assert world.journal.current is None
    world.provider.remove("shopkey", next(iter(world.live)))
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.RESCUE
    assert world.consumer_works()


def test_earlier_version_that_authenticates_is_restored() -> None:
    """A person mistyped the value before rotator saw the document."""
    world = new()
    world.publish(FIRST)
    world.publish(f"{FIRST}x")
    world.rotation().run()
    assert world.published == FIRST


APPROLE = {"role_id": "role-of-others", "secret_id": "secret-id-of-others"}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(APPROLE, id="credentials of another application"),
        pytest.param({"api_key": 12345, "password": "x"}, id="a key that is no text"),
        pytest.param({"rotated_at": "by hand, see the wiki"}, id="another date"),
        pytest.param({"api_secret": {"of": "others"}}, id="a value that is no text"),
        pytest.param({"username": "u"}, id="no field of rotator's"),
    ],
)
def test_fields_of_unknown_owner_stay(document: dict[str, Any]) -> None:
    """The path is another application's, and the document lacks the field for the value."""
    world = new()
    world.vault.write("apps/shop", document, cas=0)
    live = world.live
    assert isinstance(preview(world.rotation()).step, Fail)
    assert run_for_a_day(world).reason == "unconfirmed_document"
    with pytest.raises(RotatorError, match="nothing shows that apps/shop is the document of shop"):
        Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert world.vault.versions["apps/shop"] == [document]
    assert world.live == live


def test_empty_document_needs_no_proof() -> None:
    world = new()
    world.vault.write("apps/shop", {}, cas=0)
    world.rotation(explicit=False).run()
    assert world.consumer_works()


def test_adopt_names_fields_that_it_overwrites() -> None:
    """The field is no history of rotator's: the command waits for no revocation of an earlier run."""
    world = new()
    world.vault.write("apps/shop", APPROLE, cas=0)
    began = world.clock()
    with pytest.raises(RotatorError, match="would overwrite its field secret_id") as raised:
        Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert raised.value.next_command == Command.of("adopt", "shop", "--replace")
    Operator(world.rotation()).adopt(SecretStr(FIRST), None, replace_working=True)
    assert (world.published, world.clock()) == (FIRST, began)
    assert world.vault.versions["apps/shop"][-1]["role_id"] == "role-of-others"


def test_document_is_own_when_journal_describes_it() -> None:
    """A person removes the field for the value, and the account's key."""
    world = new()
    world.rotation().run()
    document = world.vault.peek("apps/shop")
    world.vault.write("apps/shop", {"owner": "team a"}, cas=document.version)
    world.rotation().run()
    assert world.consumer_works()
    assert world.vault.versions["apps/shop"][-1]["owner"] == "team a"


@pytest.mark.parametrize("path", ["apps/shop", "apps/moved"])
def test_adopt_asks_before_it_replaces_unconfirmed_value(path: str) -> None:
    """Also after the path was changed in the configuration: the journal speaks of another document."""
    world = new()
    if path != "apps/shop":
        world.publish(FIRST)
        world.identify()
        moved = world.account.model_copy(update={"path": path})
        world.settings = world.settings.model_copy(update={"accounts": (moved, *world.settings.accounts[1:])})
    world.publish(FOREIGN, path=path)
    with pytest.raises(RotatorError, match=f"nothing shows that {path} is the document of shop") as raised:
        Operator(world.rotation()).adopt(SecretStr(FIRST), None)
    assert raised.value.next_command == Command.of("adopt", "shop", "--replace")
    assert world.vault.versions[path] == [{"api_secret": FOREIGN}]
    Operator(world.rotation()).adopt(SecretStr(FIRST), None, replace_working=True)
    assert world.vault.versions[path][-1]["api_secret"] == FIRST
    world.clock.wait(MOMENT)
    world.identify()
