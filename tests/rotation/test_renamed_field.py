"""The configuration names another path or field for the value: consumers can read the secret at the earlier one."""

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Fail, Trigger
from rotator.errors import RotatorError
from rotator.rotation import Operator, Result, preview
from testkit.model import World
from tests.rotation.test_id_owners import OTHER, TYPO, adopt, rotated, run_for_days, waiting
from tests.rotation.worlds import rename_field, rotate

# --- ids that older versions name ---------------------------------------------------------------------------------


def rotated_under_another_field() -> tuple[World, str, str, str, str]:
    """The configuration named another field while rotator bootstrapped the account, and names the first one again.

    Returns:
        The account, the value in the first field, its id, the value in the other field, and its id.
    """
    world, value, own = rotated(secondary=True)
    rename_field(world, "password")
    assert rotate(world).published
    assert world.published is not None
    later, other = world.published, world.journal.current_id
    assert set(world.live) == {own, other}
    rename_field(world, "api_secret")
    return world, value, own, later, other


def test_adopt_takes_an_id_written_for_another_field() -> None:
    """The version that names it first contains an earlier value in the field of now."""
    world, _, own, later, other = rotated_under_another_field()
    world.publish(later)
    adopt(world, later, other)
    assert (world.journal.current_id, world.journal.retiring_ids) == (other, frozenset())
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_restored_value_gets_no_id_of_another_field() -> None:
    world, value, own, _, other = rotated_under_another_field()
    world.publish(TYPO)
    world.rotation().run()
    assert (world.published, world.journal.current_id) == (value, None)
    with pytest.raises(RotatorError, match=f"one of these ids is the published secret's: {own}, {other}"):
        Operator(world.rotation()).unknown()
    run_for_days(world)
    assert set(world.live) == {own, other}


# --- the secret that is published in the earlier field ------------------------------------------------------------


def publish_in(world: World, name: str, value: object) -> None:
    """A person writes a value into a field, and leaves the others."""
    versions = world.vault.versions["apps/shop"]
    versions.append(versions[-1] | {name: value})


def test_rescue_in_another_field_retires_nothing() -> None:
    world, _, own = rotated(secondary=True)
    rename_field(world, "password")
    publish_in(world, "password", "")
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.BOOTSTRAP
    assert world.journal.retiring_ids == frozenset()
    run_for_days(world)
    assert own in world.live


# What another application keeps in its field of the account's document.
PASSWORD_OF_OTHERS = "OtherApps0001"


@pytest.mark.parametrize("secondary", [True, False])
@pytest.mark.parametrize("content", [PASSWORD_OF_OTHERS, {"of": "others"}], ids=["text", "object"])
def test_field_of_another_application_stays(secondary: bool, content: object) -> None:
    """The configuration names it by mistake. The document names the account."""
    world, value, own = rotated(secondary=secondary)
    publish_in(world, "db_password", content)
    before = world.vault.versions["apps/shop"][-1]
    rename_field(world, "db_password")
    assert isinstance(preview(world.rotation()).step, Fail)
    outcome = world.rotation(explicit=False).run()
    assert outcome.reason == "unconfirmed_document"
    assert "nothing shows that the field db_password of apps/shop is shop's: the last published secret is in" in str(
        outcome.error
    )
    assert "would overwrite its field db_password. " in str(outcome.error)
    assert "primary account" not in str(outcome.error), "the document names the account already"
    with pytest.raises(RotatorError, match="nothing shows that the field db_password") as raised:
        Operator(world.rotation()).adopt(SecretStr(value), own)
    assert raised.value.next_command == Command.of("adopt", "shop", "--replace", "--secret-id", own)
    assert "correct it in the configuration (accounts.fields)" in str(raised.value)
    assert world.vault.versions["apps/shop"][-1] == before
    rename_field(world, "api_secret")
    assert world.rotation().run().result is Result.OK
    assert world.vault.versions["apps/shop"][-1] == before


def test_candidate_is_not_published_over_another_application() -> None:
    world, _, own, candidate = waiting()
    publish_in(world, "db_password", PASSWORD_OF_OTHERS)
    rename_field(world, "db_password")
    assert world.rotation().run().reason == "unconfirmed_document"
    assert world.published == PASSWORD_OF_OTHERS
    rename_field(world, "api_secret")
    assert world.rotation().run().published
    assert world.journal.current_id == candidate
    assert world.journal.retiring_ids == {own}


def test_person_renames_the_field_beside_a_refused_value() -> None:
    """The new name is right, and the value that a person wrote there is mistyped."""
    world, value, own = rotated()
    rename_field(world, "password")
    publish_in(world, "password", TYPO)
    assert world.rotation().run().reason == "unconfirmed_document"
    adopt(world, value, own)
    assert (world.published, world.journal.published_field) == (value, "password")
    run_for_days(world)
    assert set(world.live) == {own}


def test_candidate_published_in_another_field_retires_nothing() -> None:
    """The field's name changes while a candidate waits."""
    world, _, own, candidate = waiting()
    rename_field(world, "password")
    assert world.rotation().run().published
    assert world.journal.current_id == candidate
    assert world.journal.retiring_ids == frozenset()
    run_for_days(world)
    assert set(world.live) == {own, candidate}


def test_copy_in_another_field_precedes_a_candidate() -> None:
    """A person copied it there: from then on, the journal speaks of that field, and the candidate replaces it."""
    world, value, own, candidate = waiting()
    rename_field(world, "password")
    publish_in(world, "password", value)
    assert world.rotation().run().published
    assert (world.journal.current_id, world.journal.published_field) == (candidate, "password")
    (previous,) = world.journal.retiring
    assert (previous.id, previous.not_before) == (own, world.journal.rotated_at + world.grace)


def test_adoption_in_another_field_retires_nothing() -> None:
    world, value, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    rename_field(world, "password")
    publish_in(world, "password", value)
    adopt(world, OTHER, other)
    run_for_days(world)
    assert set(world.live) == {own, other}


def test_restored_version_of_another_field_retires_nothing() -> None:
    """A person filled the other field earlier, and mistypes it now."""
    world, _, own = rotated()
    other = world.provider.add("shopkey", OTHER)
    publish_in(world, "password", OTHER)
    rename_field(world, "password")
    publish_in(world, "password", TYPO)
    world.rotation().run()
    assert world.published == OTHER
    run_for_days(world)
    assert set(world.live) == {own, other}


# --- the secret that is published at the earlier path -------------------------------------------------------------


def move(world: World, path: str) -> None:
    """Change the path of the published document in the configuration."""
    moved = world.settings.accounts[0].model_copy(update={"path": path})
    world.settings = world.settings.model_copy(update={"accounts": (moved, *world.settings.accounts[1:])})


def test_rescue_at_another_path_retires_nothing() -> None:
    """A person copied the document there by hand, and mistyped the value."""
    world, _, own = rotated(secondary=True)
    move(world, "apps/moved")
    copied = world.vault.versions["apps/shop"][-1]
    world.vault.write("apps/moved", copied | {"api_secret": TYPO}, cas=0)
    assert world.rotation().run().published
    assert world.journal.trigger is Trigger.RESCUE
    run_for_days(world)
    assert own in world.live


def test_candidate_published_at_another_path_retires_nothing() -> None:
    """The path changes while a candidate waits. Nothing is published there yet."""
    world, _, own, candidate = waiting()
    move(world, "apps/moved")
    assert world.rotation().run().published
    run_for_days(world)
    assert set(world.live) == {own, candidate}
