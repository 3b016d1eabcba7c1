"""Limits of a policy beside its capabilities, and answers with a token in place of the data."""

from collections.abc import Callable

import pytest
import stamina

from rotator.vault import Vault, VaultDenied, VaultError, VaultUnreachable
from testkit.proxy import FORWARD, Answer, FaultProxy
from tests.vault.kv_mount import KvMount

WRAPPED = b'{"data":null,"auth":null,"wrap_info":{"token":"s.Wrapped0Token1","accessor":"Accessor0001","ttl":60}}'


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ('min_wrapping_ttl = "1s"', "although its policy has the capability"),
        ("", "does not let rotator read"),
    ],
)
def test_refusal_of_a_granted_path_names_limits(place: KvMount, limits: str, said: str) -> None:
    """OpenBao answers 403 with the words of a policy in both cases."""
    path = place.vault().data_path("apps/shop")
    capabilities = '["read", "create", "update"]' if limits else '["list"]'
    place.admin(
        "PUT", "sys/policies/acl/limits", {"policy": f'path "{path}" {{ capabilities = {capabilities}\n{limits} }}'}
    )
    vault = place.vault(auth={"token": place.admin.token("limits", "default")})
    with pytest.raises(VaultDenied, match=said) as caught:
        vault.read("apps/shop")
    assert ("min_wrapping_ttl" in caught.value.next_step) == bool(limits)
    assert ("Add to its policy" in caught.value.next_step) != bool(limits)


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("lookup-self", lambda vault: vault.keep_alive()),
        ("capabilities-self", lambda vault: vault.capabilities(["a"])),
        ("mounts", lambda vault: vault.check_mount()),
        ("/login", lambda vault: vault.keep_alive()),
        ("/data/", lambda vault: vault.write("apps/shop", {}, cas=0)),
    ],
    ids=["lookup", "capabilities", "mounts", "login", "write"],
)
def test_wrapped_answer_of_each_operation_is_named(place: KvMount, path: str, ask: Callable[[Vault], object]) -> None:
    with FaultProxy(place.bao.address).running() as proxy:
        proxy.on_request = lambda call: Answer(200, WRAPPED) if path in call.path else FORWARD
        vault = place.vault(address=proxy.address, auth=place.approle())
        with (
            stamina.set_testing(True, attempts=1),
            pytest.raises(VaultDenied, match=r"^Vault wraps its answer") as caught,
        ):
            ask(vault)
    assert "Wrapped0Token1" not in str(caught.value)


def test_429_of_a_proxy_is_no_quota(place: KvMount) -> None:
    with FaultProxy(place.bao.address).running() as proxy:
        vault = place.vault(address=proxy.address)
        vault.keep_alive()
        page = Answer(429, b"<html>slow down</html>", (("Content-Type", "text/html"),))
        proxy.on_request = lambda call: page
        with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="rate limit of the proxy"):
            vault.read("apps/shop")
        assert not vault.is_throttled


def test_refused_login_says_so_once(place: KvMount) -> None:
    auth = place.approle() | {"secret_id": "wrong"}
    with pytest.raises(VaultError, match=r"^Vault refuses rotator's login at ") as caught:
        place.vault(auth=auth).read("apps/shop")
    assert caught.value.what.lower().count("refuses") == 1


@pytest.mark.parametrize("data", [b"[1]", b'"x"', b"1", b"false"])
def test_document_that_is_no_object_is_unreadable(place: KvMount, data: bytes) -> None:
    body = b'{"data":{"data":%s,"metadata":{"version":1,"created_time":"2026-01-01T00:00:00Z"}}}' % data
    with FaultProxy(place.bao.address).running() as proxy:
        proxy.on_request = lambda call: Answer(200, body) if "/data/" in call.path else FORWARD
        vault = place.vault(address=proxy.address)
        with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
            vault.read("apps/shop")
