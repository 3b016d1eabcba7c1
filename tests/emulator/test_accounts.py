"""The accounts and their secrets, as the provider keeps them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from rotator.emulator import (
    Account,
    Emulator,
    InvalidSecretError,
    LastSecretError,
    TooManySecretsError,
    UnknownAccountError,
    UnknownSecretError,
    parse_account,
    parse_primary,
)
from tests.emulator.harness import KEY, NEW, PATH, SECRET, Clock, basic, problem, world


def test_list_has_ids_dates_and_links_only() -> None:
    with world(clock=Clock()) as w:
        response = w.client.get(PATH)
        assert response.status_code == 200
        assert response.json() == {
            "_links": {"self": {"href": PATH}},
            "_embedded": {
                "secrets": [
                    {
                        "_links": {"self": {"href": f"{PATH}/{w.ids[0]}"}},
                        "id": w.ids[0],
                        "created_at": "2026-01-01T12:00:00Z",
                    }
                ]
            },
        }


def test_created_secret_is_listed_and_authenticates() -> None:
    with world() as w:
        created = w.create()
        assert created.status_code == 201
        listed = w.client.get(PATH, auth=(KEY, NEW)).json()["_embedded"]["secrets"]
        assert [info["id"] for info in listed] == [w.ids[0], created.json()["id"]]
        assert listed[1] == created.json()


def test_secret_is_fetched_by_id_or_link() -> None:
    with world() as w:
        created = w.create().json()
        assert w.client.get(f"{PATH}/{created['id']}").json() == created
        assert w.client.get(created["_links"]["self"]["href"]).json() == created


def test_revoked_secret_stops_authenticating_at_once() -> None:
    with world() as w:
        w.create()
        response = w.client.delete(f"{PATH}/{w.ids[0]}", auth=(KEY, NEW))
        assert (response.status_code, response.content) == (204, b"")
        assert w.client.get(PATH).status_code == 401
        assert w.live() == [NEW]


def test_secret_may_revoke_itself() -> None:
    with world() as w:
        w.create()
        assert w.client.delete(f"{PATH}/{w.ids[0]}").status_code == 204
        assert w.live() == [NEW]


def test_deleting_the_last_secret_is_refused() -> None:
    with world() as w:
        problem(w.client.delete(f"{PATH}/{w.ids[0]}"), 403, "Secret Deletion Forbidden")
        assert w.live() == [SECRET]


@pytest.mark.parametrize(("options", "status"), [({}, 400), ({"too_many_status": 403}, 403)])
def test_full_account_takes_no_more_secrets(options: dict[str, Any], status: int) -> None:
    with world(**options) as w:
        assert w.create().status_code == 201
        body = problem(w.create("YetAnother1"), status, "Secret Addition Forbidden")
        assert "invalid_parameters" not in body
        assert w.live() == [SECRET, NEW]


def test_max_secrets_is_an_option() -> None:
    with world(max_secrets=3) as w:
        assert [w.create(f"Secret-no-{n}").status_code for n in range(3)] == [201, 201, 400]


def test_concurrent_creates_do_not_overfill_the_account() -> None:
    with world() as w, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: w.create(f"Secret-no-{n}").status_code, range(8)))
        assert sorted(statuses) == [201] + [400] * 7
        assert len(w.live()) == 2


def test_same_value_twice_has_two_secrets() -> None:
    with world() as w:
        created = w.create(SECRET).json()
        assert created["id"] != w.ids[0]
        assert w.client.delete(f"{PATH}/{w.ids[0]}").status_code == 204
        assert w.client.get(PATH).status_code == 200


@pytest.mark.parametrize("value", ["Aa345678", "Aa34567890123456789012345", "pass Word:0", "Größe-12345"])
def test_valid_value_is_created_and_authenticates(value: str) -> None:
    with world() as w:
        assert w.create(value).status_code == 201
        assert w.client.get(PATH, headers={"Authorization": basic(f"{KEY}:{value}")}).status_code == 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "8 to 25"),
        ("Aa34567", "8 to 25"),
        ("Aa345678901234567890123456", "8 to 25"),
        ("AA345678", "lower case"),
        ("aa345678", "upper case"),
        ("Aabcdefg", "digit"),
        ("--------", "lower case character and an upper case character and a digit"),
        ("Äöabcd12", "upper case"),
    ],
)
def test_invalid_value_is_refused_with_the_reason(value: str, reason: str) -> None:
    with world() as w:
        body = problem(w.create(value), 400, "Bad Request")
        (invalid,) = body["invalid_parameters"]
        assert invalid["name"] == "secret"
        assert reason in invalid["reason"]
        assert w.live() == [SECRET]


def test_invalid_value_is_named_when_account_is_full() -> None:
    with world() as w:
        w.create()
        problem(w.create("short"), 400, "Bad Request")


def test_primary_manages_the_secrets_of_its_secondaries() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", primaries=[parse_primary(f"{KEY}=child001")]) as w:
        created = w.client.post("/accounts/child001/secrets", json={"secret": NEW})
        assert created.status_code == 201
        assert w.client.get("/accounts/child001/secrets", auth=("child001", NEW)).status_code == 200
        assert w.client.delete(f"/accounts/child001/secrets/{created.json()['id']}").status_code == 204


def test_other_accounts_cannot_see_whether_one_exists() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", "stranger:Secret99999", primaries=[]) as w:
        details = {
            name: problem(w.client.get(f"/accounts/{name}/secrets"), 404, "Invalid API Key")
            for name in ("stranger", "nobody01")
        }
        assert [body["detail"].replace(name, "") for name, body in details.items()] == ["API key '' not found"] * 2


def test_secondary_has_no_right_over_its_primary() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321", primaries=[parse_primary(f"{KEY}=child001")]) as w:
        problem(w.client.get(PATH, auth=("child001", "Secret54321")), 404, "Invalid API Key")


def test_secret_id_is_unknown_in_other_accounts() -> None:
    with world(f"{KEY}:{SECRET}", "child001:Secret54321") as w:
        (foreign,) = w.emulator.live("child001")
        for secret_id in (foreign, "no-such-id"):
            problem(w.client.get(f"{PATH}/{secret_id}"), 404, "Invalid ID")
            problem(w.client.delete(f"{PATH}/{secret_id}"), 404, "Invalid ID")
        assert list(w.emulator.live("child001")) == [foreign]


def test_new_secret_authenticates_only_after_propagation() -> None:
    clock = Clock()
    with world(propagation=timedelta(seconds=30), clock=clock) as w:
        assert w.create().json()["created_at"] == "2026-01-01T12:00:00Z"
        assert len(w.client.get(PATH).json()["_embedded"]["secrets"]) == 2
        clock.now += timedelta(seconds=29)
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 401
        assert not w.emulator.authenticates(KEY, SecretStr(NEW))
        clock.now += timedelta(seconds=1)
        assert w.client.get(PATH, auth=(KEY, NEW)).status_code == 200
        assert w.emulator.authenticates(KEY, SecretStr(NEW))


def test_manual_changes_follow_the_providers_rules() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    (first,) = emulator.live(KEY)
    with pytest.raises(LastSecretError):
        emulator.remove_secret(KEY, first)
    with pytest.raises(InvalidSecretError):
        emulator.add_secret(KEY, SecretStr("short"))
    second = emulator.add_secret(KEY, SecretStr(NEW))
    with pytest.raises(TooManySecretsError):
        emulator.add_secret(KEY, SecretStr("YetAnother1"))
    emulator.remove_secret(KEY, first)
    assert dict(emulator.live(KEY)) == {second: SecretStr(NEW)}
    with pytest.raises(UnknownSecretError):
        emulator.remove_secret(KEY, first)
    with pytest.raises(UnknownAccountError):
        emulator.add_secret("nobody01", SecretStr(NEW))


def test_force_removes_even_the_last_secret() -> None:
    emulator = Emulator([Account(KEY, SecretStr(SECRET))])
    (only,) = emulator.live(KEY)
    emulator.remove_secret(KEY, only, force=True)
    assert emulator.live(KEY) == {}
    assert not emulator.authenticates(KEY, SecretStr(SECRET))


def test_same_key_twice_has_two_secrets() -> None:
    accounts = [parse_account(f"{KEY}:{value}") for value in (SECRET, NEW)]
    emulator = Emulator(accounts)
    assert all(emulator.authenticates(KEY, SecretStr(value)) for value in (SECRET, NEW))
    with pytest.raises(ValueError, match="more than 1"):
        Emulator(accounts, max_secrets=1)


def test_account_is_split_at_the_first_colon() -> None:
    assert parse_account("abcd1234:Se:cret12345") == Account("abcd1234", SecretStr("Se:cret12345"))


@pytest.mark.parametrize("text", ["", "abcd1234", "abcd1234:", ":Secret12345", "ab cd:Secret12345", "abcd/1:Secret123"])
def test_invalid_account_is_refused_without_quoting(text: str) -> None:
    with pytest.raises(ValueError, match="is not KEY:SECRET") as caught:
        parse_account(text)
    assert "Secret12345" not in str(caught.value).replace("abcd1234:Secret12345", "")


@pytest.mark.parametrize("text", ["", "abcd1234", "abcd1234=", "=child001", "a=b=c", "abcd1234:child001"])
def test_invalid_primary_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not KEY=CHILD"):
        parse_primary(text)


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (["abcd1234=nobody01"], "no account nobody01"),
        (["nobody01=abcd1234"], "no account nobody01"),
        (["abcd1234=abcd1234"], "its own primary"),
        (["abcd1234=child001", "other001=child001"], "two primaries"),
    ],
)
def test_impossible_relations_are_refused(pairs: list[str], why: str) -> None:
    accounts = [Account(key, SecretStr(SECRET)) for key in (KEY, "child001", "other001")]
    with pytest.raises(ValueError, match=why):
        Emulator(accounts, primaries=[parse_primary(pair) for pair in pairs])


def test_account_can_be_opened_while_running() -> None:
    with world() as w:
        w.emulator.open_account(parse_account("child001:Secret54321"), primary=KEY)
        assert w.emulator.api_keys == (KEY, "child001")
        assert w.client.get("/accounts/child001/secrets").status_code == 200
        assert w.client.get("/accounts/child001/secrets", auth=("child001", "Secret54321")).status_code == 200
        with pytest.raises(ValueError, match="two primaries"):
            w.emulator.open_account(parse_account("child001:Another67890"), primary=KEY)
