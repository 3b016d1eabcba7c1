"""Manual commands: resolve unknown secrets, and cancel a request."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from rotator.core.protocol import Command, Phase, Request, RequestKind, Target
from rotator.errors import RotatorError
from rotator.rotation import Operator
from rotator.vault import VaultDenied
from tests.rotation.worlds import (
    DAY,
    FIRST,
    adopted,
    answered,
    assert_settled,
    name_id,
    of_another_account,
    one_stale_list,
    rotate,
)


def test_added_secret_is_ambiguous_until_it_is_gone() -> None:
    world = adopted()
    stray = world.provider.add("shopkey", "HumanSecret001")
    assert rotate(world).reason == "ambiguous"
    assert world.journal.phase is Phase.AMBIGUOUS
    assert world.published == FIRST
    world.provider.remove("shopkey", stray)
    assert rotate(world).published
    assert world.journal.ambiguity is None


def test_resolve_revokes_named_ids_only() -> None:
    world = answered()
    stray = world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    rotation = Operator(world.rotation())
    assert list(rotation.unknown()) == [stray]
    outcome = rotation.resolve(frozenset({stray}))
    assert outcome.revoked == (stray,)
    assert world.journal.retiring_ids < world.live.keys(), "the requested rotation went on"


def test_resolve_refuses_the_published_secret() -> None:
    world = answered()
    world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    rotation = Operator(world.rotation())
    rotation.unknown()
    outcome = rotation.resolve(frozenset({world.journal.current_id}))
    assert outcome.revoked == ()
    assert world.consumer_works()


def test_id_of_published_document_is_never_offered() -> None:
    world = answered()
    stray = world.provider.add("shopkey", "HumanSecret001")
    world.vault.versions["apps/shop"][-1]["secret_id"] = stray
    outcome = world.rotation().run()
    assert outcome.next_command == Command.of("rotate-now", "shop", "--due")
    world.clock.wait(timedelta(minutes=1))
    outcome = world.rotation().run()
    assert outcome.reason == "ambiguous"
    assert outcome.next_command == Command.of("adopt", "shop", "--secret-id", world.journal.current_id)
    rotation = Operator(world.rotation())
    with pytest.raises(RotatorError):
        rotation.unknown()
    rotation.resolve(frozenset({stray}))
    assert stray in world.live


def test_unknown_secret_named_by_edit_can_be_resolved() -> None:
    world = adopted()
    (left,) = world.live
    world.publish(FIRST, secret_id=left)
    own = world.provider.add("shopkey", "ByHand000001")
    world.rotation().run()
    world.publish("ByHand000001")
    naming = Command.of("adopt", "shop", "--secret-id", "ID", "--retire", "OTHER_ID")
    assert world.rotation().run().next_command == naming
    assert name_id(world, own).reason == "ambiguous"
    Operator(world.rotation()).adopt(SecretStr("ByHand000001"), own, retire={left})
    assert_settled(world, world.rotation(patience=DAY).run())
    assert world.vault.versions["apps/shop"][-1]["secret_id"] == own


def test_listing_unknown_secrets_fails_when_journal_is_unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault can refuse writes and allow reads: an empty answer would say that nothing is unknown."""
    world = answered()
    world.provider.add("shopkey", "HumanSecret001")
    rotate(world)
    world.publish(world.published or "", secret_id=None)

    def refuse(*_args: object, **_options: object) -> int:
        raise VaultDenied("Vault denies the write", next_step="Add it to the policy")

    monkeypatch.setattr(world.vault, "write", refuse)
    with pytest.raises(RotatorError, match=r"before unknown secrets are known\. Vault denies the write"):
        Operator(world.rotation()).unknown()


def test_resolve_is_harmless_while_lists_lag_for_long() -> None:
    world = adopted()
    world.clock.wait(DAY)
    world.provider.listing_lag = timedelta(minutes=6)
    rotate(world)
    world.clock.wait(timedelta(minutes=10))
    world.rotation().run()
    rotation = Operator(world.rotation())
    rotation.resolve(frozenset(rotation.unknown()))
    assert world.consumer_works()


def test_resolve_is_harmless_after_one_stale_list() -> None:
    world = adopted()
    rotate(world)
    one_stale_list(world)
    world.rotation().run()
    rotation = Operator(world.rotation())
    rotation.resolve(frozenset(rotation.unknown()))
    assert world.consumer_works()


def test_request_in_foreign_journal_is_not_withdrawn() -> None:
    world = answered()
    request = Request(RequestKind.COMPROMISED, Target(id="id-of-other"), world.clock(), "somebody", "request")
    of_another_account(world, request=request)
    with pytest.raises(RotatorError, match="belongs to the account otherkey"):
        Operator(world.rotation()).cancel()
    assert world.journal.request == request
