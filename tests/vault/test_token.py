"""The session's token: renewal, replacement, its end."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.vault import (
    VaultDenied,
)
from testkit.proxy import DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import NUMBERS, Clock, KvMount, assert_silent, paths


def test_session_sends_nothing_before_the_first_request(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    assert (paths(proxy), vault.token_expiry()) == ([], None)


def test_token_outlives_its_first_life_when_renewable(place: KvMount) -> None:
    """The session's clock is ahead of Vault's, so that it renews long before a slow process misses the end."""
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="5s", renewable=True)
    vault = place.vault(auth={"token": token}, clock=clock)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        vault.read("apps/shop")
        clock.advance(seconds=4)
        time.sleep(0.2)


def test_token_is_renewed_at_two_thirds_of_life(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    auth = place.approle(token_ttl="60s", token_max_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    vault.read("apps/shop")
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)
    clock.advance(seconds=35)
    vault.read("apps/shop")
    assert "/v1/auth/token/renew-self" not in paths(proxy)
    clock.advance(seconds=6)
    vault.read("apps/shop")
    assert paths(proxy)[-2:] == ["/v1/auth/token/renew-self", f"/v1/{place.mount}/data/apps/shop"]
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)


def test_token_near_its_longest_life_is_replaced(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    auth = place.approle(token_ttl="60s", token_max_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    vault.read("apps/shop")

    def little(call: Call, answer: Answer) -> Action | Answer:
        if not call.path.endswith("renew-self"):
            return FORWARD
        body = json.loads(answer.body)
        body["auth"]["lease_duration"] = 20
        return Answer(answer.status, json.dumps(body).encode())

    proxy.on_response = little
    clock.advance(seconds=41)
    vault.read("apps/shop")
    assert [path.rsplit("/", 1)[1] for path in paths(proxy)[-3:]] == ["renew-self", "login", "shop"]


def test_token_is_replaced_when_it_is_not_renewable(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s", token_type="batch"), clock=clock)
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault.read("apps/shop")
    clock.advance(seconds=41)
    vault.read("apps/shop")
    assert [path.rsplit("/", 1)[1] for path in paths(proxy)] == ["login", "shop", "login", "shop"]


def test_token_stays_in_use_when_renewal_is_lost(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s"), clock=clock)
    vault.read("apps/shop")
    proxy.on_request = lambda call: DROP_BEFORE if "/auth/" in call.path else FORWARD
    clock.advance(seconds=41)
    vault.read("apps/shop")
    tried = paths(proxy).count("/v1/auth/token/renew-self")
    assert tried > 0
    vault.read("apps/shop")
    assert paths(proxy).count("/v1/auth/token/renew-self") == tried, "not at every request"
    proxy.on_request = lambda call: FORWARD
    clock.advance(seconds=10)
    vault.read("apps/shop")
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)


def test_given_token_is_used_until_it_ends(place: KvMount) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="60s", renewable=False)
    vault = place.vault(auth={"token": token}, clock=clock)
    vault.read("apps/shop")
    clock.advance(seconds=50)
    with capture_logs() as events:
        vault.read("apps/shop")
        vault.read("apps/shop")
    assert [event["event"] for event in events] == ["vault.token_expiring"]
    place.admin("POST", "auth/token/revoke", {"token": token.get_secret_value()})
    with pytest.raises(VaultDenied, match=r"ended or was revoked.*VAULT_TOKEN") as caught:
        vault.read("apps/shop")
    assert_silent(caught.value, token)


def test_token_that_ended_early_is_replaced(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="4s", token_type="batch"), clock=Clock())
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault.read("apps/shop")
    time.sleep(4.3)
    vault.write("apps/shop", {"n": 2}, cas=1)
    names = [path.rsplit("/", 1)[1] for path in paths(proxy)]
    assert names == ["login", "shop", "shop", "lookup-self", "login", "shop"]


def test_threads_log_in_once_after_a_revocation(place: KvMount, proxy: FaultProxy) -> None:
    auth = place.approle(token_ttl="1h")
    vault = place.vault(address=proxy.address, auth=auth)
    vault.read("apps/shop")
    token = next(call.headers["X-Vault-Token"] for call in proxy.calls if "/data/" in call.path)
    place.admin("POST", "auth/token/revoke", {"token": token})
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda n: vault.write(f"apps/{n}", {"n": n}, cas=0), range(16)))
    assert versions == [1] * 16
    assert sum(path.endswith("/login") for path in paths(proxy)) == 2
    sent = {call.headers.get("X-Vault-Token") for call in proxy.calls if "/data/" in call.path}
    assert None not in sent, "no request went out without a token"


def test_token_without_the_default_policy_works(place: KvMount) -> None:
    token = place.admin.token(place.everything(), no_default_policy=True)
    vault = place.vault(auth={"token": token})
    assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
    assert vault.token_expiry() is None
    place.admin.policy("elsewhere", f'path "{place.mount}/data/x" {{ capabilities = ["read"] }}')
    limited = place.admin.token("elsewhere", no_default_policy=True)
    with pytest.raises(VaultDenied, match="policy does not let rotator read"):
        place.vault(auth={"token": limited}).read("apps/shop")


def test_token_that_does_not_exist_is_refused(place: KvMount) -> None:
    token = SecretStr(f"s.{'nosuchtoken' * 2}")
    with pytest.raises(VaultDenied, match="refuses rotator's token") as caught:
        place.vault(auth={"token": token}).read("apps/shop")
    assert_silent(caught.value, token)


def test_denied_requests_do_not_repeat_the_login(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    policy = f"p{next(NUMBERS)}"
    place.admin.policy(policy, f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    auth = place.approle(token_ttl="1h", token_policies=[policy])
    vault = place.vault(address=proxy.address, auth=auth, clock=clock)
    for _ in range(3):
        with pytest.raises(VaultDenied, match="policy does not let"):
            vault.read("apps/shop")
    assert sum(path.endswith("/login") for path in paths(proxy)) == 1
    clock.advance(minutes=2)
    with pytest.raises(VaultDenied, match="policy does not let"):
        vault.read("apps/shop")
    assert sum(path.endswith("/login") for path in paths(proxy)) == 2, "its role may allow more by now"
