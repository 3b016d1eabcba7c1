"""Policies, mounts, namespaces and the server's health."""

import pytest
import stamina
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.vault import (
    Vault,
    VaultDenied,
    VaultError,
    VaultSealed,
    VaultUnreachable,
    WrongMount,
)
from testkit.openbao import TlsOpenBao
from testkit.proxy import Answer, FaultProxy
from tests.vault.kv_mount import CANARY, NUMBERS, KvMount, always, assert_silent, paths, secure


def test_denied_write_names_the_missing_stanza(place: KvMount) -> None:
    token = place.limited(f'path "{place.mount}/data/apps/*" {{ capabilities = ["read"] }}')
    vault = place.vault(auth={"token": token})
    vault.read("apps/shop")
    with pytest.raises(VaultDenied) as caught:
        vault.write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert f'path "{place.mount}/data/apps/shop" {{ capabilities = ["create", "update"] }}' in str(caught.value)
    assert_silent(caught.value, CANARY, token)


def test_denied_read_names_the_missing_stanza(place: KvMount) -> None:
    token = place.limited(f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    with pytest.raises(VaultDenied) as caught:
        place.vault(auth={"token": token}).read("apps/shop")
    assert f'path "{place.mount}/data/apps/shop" {{ capabilities = ["read"] }}' in str(caught.value)


def test_capabilities_of_many_paths_take_one_request(place: KvMount, proxy: FaultProxy) -> None:
    token = place.limited(f'path "{place.mount}/data/a" {{ capabilities = ["create", "read"] }}')
    vault = place.vault(address=proxy.address, auth={"token": token})
    a, b = vault.data_path("a"), vault.metadata_path("b")
    assert vault.capabilities([a, b]) == {a: frozenset({"create", "read"}), b: frozenset({"deny"})}
    assert paths(proxy).count("/v1/sys/capabilities-self") == 1
    assert vault.capabilities([]) == {}
    assert place.vault().capabilities([a]) == {a: frozenset({"root"})}


def test_check_mount_accepts_kv_2_with_limited_tokens(place: KvMount) -> None:
    place.vault().check_mount()
    place.vault(
        auth={"token": place.limited(f'path "{place.mount}/data/a" {{ capabilities = ["read"] }}')}
    ).check_mount()


@pytest.mark.parametrize("root", [True, False], ids=["root", "limited"])
def test_check_mount_names_a_missing_mount(place: KvMount, root: bool) -> None:
    auth = {"token": place.bao.root_token if root else place.limited('path "x/*" { capabilities = ["read"] }')}
    vault = place.vault(mount="nowhere", auth=auth)
    with pytest.raises(WrongMount, match='no mount "nowhere"') as caught:
        vault.check_mount()
    assert caught.value.exit_code == 2


def test_missing_mount_is_not_a_missing_document(place: KvMount) -> None:
    vault = place.vault(mount="nowhere")
    with pytest.raises(WrongMount, match="no handler for route"):
        vault.read("apps/shop")
    with pytest.raises(WrongMount, match="no handler for route"):
        vault.write("apps/shop", {}, cas=0)


def test_check_mount_names_another_kind_of_mount(place: KvMount) -> None:
    mount = f"one{next(NUMBERS)}"
    place.admin("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    with pytest.raises(WrongMount, match="KV version 1"):
        place.vault(mount=mount).check_mount()
    with pytest.raises(WrongMount, match='type "cubbyhole"'):
        place.vault(mount="cubbyhole").check_mount()
    with pytest.raises(WrongMount, match=f'mount "{place.mount}"'):
        place.vault(mount=f"{place.mount}/below").check_mount()


def test_check_mount_names_a_refused_token(place: KvMount) -> None:
    with pytest.raises(VaultDenied, match="token"):
        place.vault(auth={"token": "s.nosuchtoken0001"}).check_mount()


def test_namespace_contains_its_own_documents(place: KvMount) -> None:
    namespace = f"team{next(NUMBERS)}"
    place.admin("POST", f"sys/namespaces/{namespace}", {})
    place.admin("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace=namespace)
    place.admin.policy("all", 'path "secret/data/*" { capabilities = ["create", "read"] }', namespace=namespace)
    token = place.admin.token("all", namespace=namespace)
    inside = place.vault(namespace=namespace, mount="secret", auth={"token": token})
    inside.check_mount()
    assert inside.write("apps/shop", {"n": 1}, cas=0) == 1
    assert place.vault(mount="secret").read("apps/shop").version == 0, "not outside of it"
    assert not inside.health().sealed, "health is the server's, whatever the namespace"


def test_missing_namespace_is_not_a_missing_document(place: KvMount) -> None:
    with pytest.raises(VaultError) as caught:
        place.vault(namespace="nobody").read("apps/shop")
    assert isinstance(caught.value, (WrongMount, VaultDenied))


def test_sealed_server_is_named_at_once(tls: TlsOpenBao) -> None:
    vault = Vault(secure(tls))
    vault.read("apps/shop")
    tls.seal()
    try:
        assert vault.health().sealed
        with capture_logs() as events, pytest.raises(VaultSealed, match="sealed"):
            vault.read("apps/shop")
        assert events == [], "it was tried again"
        with pytest.raises(VaultSealed, match="sealed"):
            vault.write("apps/shop", {"n": 1}, cas=0)
    finally:
        tls.unseal()
    assert vault.write("apps/sealed", {"n": 1}, cas=0) == 1


def test_health_contains_version_and_state(place: KvMount) -> None:
    health = place.vault().health()
    assert (health.version, health.sealed, health.standby) == (place.bao.version, False, False)


@pytest.mark.parametrize("status", [200, 429, 472, 473, 501, 503])
def test_health_is_read_at_any_status(place: KvMount, proxy: FaultProxy, status: int) -> None:
    body = b'{"version":"1.2","sealed":%s,"standby":true}' % (b"true" if status in (501, 503) else b"false")
    proxy.on_request = always(Answer(status, body))
    health = place.vault(address=proxy.address).health()
    assert (health.address, health.version, health.standby) == (proxy.address, "1.2", True)
    assert health.sealed is (status in (501, 503))


def test_health_refuses_a_disaster_recovery_secondary(place: KvMount, proxy: FaultProxy, second: FaultProxy) -> None:
    body = b'{"version":"1.2","sealed":false,"standby":false,"replication_dr_mode":"secondary"}'
    proxy.on_request = always(Answer(472, body))
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="disaster"):
        place.vault(address=proxy.address).health()
    assert place.vault(address=[proxy.address, second.address]).health().address == second.address
