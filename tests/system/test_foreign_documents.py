"""A document or a journal that names another account is left alone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from testkit.cluster import Cluster
from tests.system.harness import ClusterAccount, assert_ok, new_secret

pytestmark = pytest.mark.timeout(280)

FOREIGN = "otherky1"


@pytest.fixture
def shop(cluster: Cluster) -> ClusterAccount:
    made = ClusterAccount(cluster).open()
    made.configure()
    return made


@pytest.fixture
def foreign(shop: ClusterAccount) -> Mapping[str, Any]:
    """Another account's document at the path of the shop."""
    other = ClusterAccount(shop.cluster, api_key=FOREIGN).open()
    document = {"api_key": FOREIGN, "api_secret": other.first, "owner": "team b"}
    shop.cluster.put(shop.path, document)
    return document


def assert_untouched(shop: ClusterAccount, foreign: Mapping[str, Any], *, journal: bool = False) -> None:
    assert shop.cluster.document(shop.path) == foreign
    assert bool(shop.journal) == journal


def test_adopt_leaves_a_foreign_document_unchanged(shop: ClusterAccount, foreign: Mapping[str, Any]) -> None:
    """B6: the foreign value was tried with the own key, so that it "does not work", and was overwritten."""
    for options in (["--replace"], ["--replace-foreign", shop.api_key]):
        refused = shop.adopt(shop.first, "--secret-id", shop.id_of(shop.first), *options)
        assert refused.code == 1, refused
        assert FOREIGN in refused.err, refused
        assert_untouched(shop, foreign)


@pytest.mark.parametrize("command", ["rotate-now main --compromised", "rotate-now --due"])
def test_run_leaves_a_foreign_document_unchanged(
    shop: ClusterAccount, foreign: Mapping[str, Any], command: str
) -> None:
    failed = shop.run(*command.split(), "--json")
    assert failed.code == 1, failed
    assert failed.json["accounts"][0]["reason"] == "foreign_document"
    assert_untouched(shop, foreign)
    assert not shop.requests()


def test_check_plan_and_status_name_a_foreign_document(shop: ClusterAccount, foreign: Mapping[str, Any]) -> None:
    for command in ("check", "plan", "status"):
        said = shop.run(command)
        assert FOREIGN in said.out + said.err, said
        if command != "status":
            assert said.code == 1, said
    assert_untouched(shop, foreign)


def test_replace_foreign_replaces_a_foreign_document(shop: ClusterAccount, foreign: Mapping[str, Any]) -> None:
    adopted = shop.adopt(shop.first, "--secret-id", shop.id_of(shop.first), "--replace-foreign", FOREIGN)
    assert_ok(adopted)
    document = shop.cluster.document(shop.path)
    assert (document["api_key"], document["api_secret"]) == (shop.api_key, shop.first)
    with shop.consumer():
        assert_ok(shop.rotate())


def test_secondary_rescues_nothing_over_a_foreign_document(cluster: Cluster) -> None:
    """B6: the value was refused, so a rescue created another one through the primary."""
    parent = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
    other = ClusterAccount(cluster, api_key=FOREIGN).open()
    child = ClusterAccount(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
    parents = {"name": parent.name, "api_key": parent.api_key, "path": parent.path}
    child.configure(parents, primary=parent.name)
    foreign = {"api_key": FOREIGN, "api_secret": other.first}
    cluster.put(child.path, foreign)
    cluster.put(parent.path, {"api_key": parent.api_key, "api_secret": parent.first})
    for options in (("--due",), ("--compromised",)):
        assert child.rotate(*options).code == 1
    assert cluster.document(child.path) == foreign
    assert list(child.live.values()) == [child.first]


def test_foreign_primary_document_is_no_credential(cluster: Cluster) -> None:
    parent = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
    other = ClusterAccount(cluster, api_key=FOREIGN).open()
    child = ClusterAccount(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
    child.configure({"name": parent.name, "api_key": parent.api_key, "path": parent.path}, primary=parent.name)
    cluster.put(parent.path, {"api_key": FOREIGN, "api_secret": other.first})
    failed = child.rotate()
    assert failed.code == 1, failed
    assert FOREIGN in failed.out
    assert child.published is None
    assert list(child.live.values()) == [child.first]
    assert not [entry for entry in cluster.emulator.requests if entry.authenticated_as == FOREIGN]


def test_absent_api_key_is_not_foreign(shop: ClusterAccount) -> None:
    shop.cluster.put(shop.path, {"api_secret": shop.first})
    with shop.consumer():
        assert_ok(shop.rotate("--due"))
        assert_ok(shop.rotate("--wait", "20s"))
    assert shop.published != shop.first


# --- documents that name no account ------------------------------------------------------------------------------


@pytest.fixture
def child(cluster: Cluster) -> ClusterAccount:
    """A new secondary account, whose primary account is published."""
    parent = ClusterAccount(cluster, api_key="parentk1", path="apps/parent", name="parent").open()
    made = ClusterAccount(cluster, api_key="childky1", path="apps/child", name="child").open(primary=parent.api_key)
    made.configure({"name": parent.name, "api_key": parent.api_key, "path": parent.path}, primary=parent.name)
    parent.put(parent.first)
    return made


@pytest.fixture(params=["no key", "a key in another field", "two versions", "no value"])
def unnamed(child: ClusterAccount, request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Another account's document at the path of the child. It names no account in the field of the configuration."""
    other = ClusterAccount(child.cluster, api_key=FOREIGN).open()
    document = {"api_secret": other.first, "owner": "team b"}
    if request.param == "a key in another field":
        document["key"] = FOREIGN
    if request.param == "two versions":
        child.cluster.put(child.path, {"api_secret": new_secret()})
    if request.param == "no value":
        document = {"username": "team-b", "password": "password-of-others"}
    child.cluster.put(child.path, document)
    return document


WORDS = "nothing shows that apps/child is the document of child"


def test_rescue_replaces_no_secret_of_unknown_owner(child: ClusterAccount, unnamed: Mapping[str, Any]) -> None:
    """A new secret was created through the primary account, and published over another team's."""
    for options in ((), ("--due",), ("--compromised",)):
        failed = child.rotate(*options, "--json")
        assert failed.code == 1, failed
        row = failed.json["accounts"][0]
        assert row["reason"] == "unconfirmed_document"
        assert WORDS in row["error"]
        assert "accounts.path" in row["error"]
        assert row["next_command"] == ["adopt", "child", "--replace"]
    refused = child.adopt(child.first)
    assert refused.code == 1, refused
    assert WORDS in refused.err
    assert child.cluster.document(child.path) == unnamed
    assert list(child.live.values()) == [child.first]


def test_check_and_plan_name_document_of_unknown_owner(child: ClusterAccount, unnamed: Mapping[str, Any]) -> None:
    for command in ("check", "plan"):
        said = child.run(command, "child")
        assert said.code == 1, said
        assert WORDS in " ".join(said.out.split()), said
    assert (WORDS in " ".join(child.run("status").out.split())) == ("api_secret" not in unnamed)
    assert child.cluster.document(child.path) == unnamed
    assert not child.journal


def test_advice_for_document_of_unknown_owner_works(child: ClusterAccount, unnamed: Mapping[str, Any]) -> None:
    child.follow(child.rotate("--json"), {"VALUE": child.first}, limit=1)
    document = child.cluster.document(child.path)
    assert (document["api_key"], document["api_secret"]) == (child.api_key, child.first)
    assert unnamed.keys() <= document.keys()
    with child.consumer():
        assert_ok(child.rotate("--wait", "20s"))
    assert child.published != child.first


def test_document_with_its_key_is_rescued(child: ClusterAccount, unnamed: Mapping[str, Any]) -> None:
    """The message says so: a person who has no secret of the account lets the primary account create one."""
    assert f"add the key {child.api_key}" in child.rotate().out
    child.cluster.put(child.path, {**unnamed, "api_key": child.api_key})
    child.rotate("--due")
    with child.consumer():
        assert child.published in child.live.values()


def test_recorded_secret_is_rescued_without_a_key(child: ClusterAccount) -> None:
    """A person edits an adopted value, and mistypes it."""
    child.cluster.put(child.path, {"api_secret": child.first})
    assert_ok(child.rotate("--due"))
    child.cluster.put(child.path, {"api_secret": f"{child.first}x"})
    child.rotate("--due")
    assert child.published in child.live.values()


def test_secondary_without_document_is_bootstrapped(child: ClusterAccount) -> None:
    child.rotate("--due")
    assert child.published in child.live.values()
    assert child.published != child.first


# --- journals ----------------------------------------------------------------------------------------------------


def two_deployments(shop: ClusterAccount) -> ClusterAccount:
    """Another account of the same name, in a deployment with the same journal prefix and another path."""
    assert_ok(shop.adopted().rotate())
    other = ClusterAccount(shop.cluster, api_key=FOREIGN, path="apps/other", name=shop.name).open()
    other.put(other.first)
    other.configure()
    return other


def test_deployments_with_one_prefix_change_nothing(shop: ClusterAccount) -> None:
    """B6: a journal of another key is loud, and its ids are never revoked."""
    other = two_deployments(shop)
    journal, document = shop.journal, shop.cluster.document(shop.path)
    live = shop.live
    with other.consumer(), shop.consumer():
        for command in ("rotate-now main --compromised", "plan", "check"):
            failed = other.run(*command.split())
            assert failed.code == 1, failed
            assert shop.api_key in failed.out + failed.err, failed
            assert "journal_prefix" in failed.out + failed.err, failed
        status = other.run("status")
        assert shop.api_key in status.out + status.err, status
        refused = other.adopt(other.first, "--secret-id", other.id_of(other.first))
        assert refused.code == 1, refused
    assert shop.journal == journal
    assert shop.cluster.document(shop.path) == document
    assert shop.live == live
    assert list(other.live.values()) == [other.first]


def test_replace_foreign_replaces_a_journal_at_rest_only(shop: ClusterAccount) -> None:
    """Not while the other account's rotation is unfinished: its candidate would be lost."""
    other = two_deployments(shop)
    path = f"rotator/journal/{shop.name}"
    journal = shop.journal
    options = ("--secret-id", other.id_of(other.first), "--replace-foreign", shop.api_key)
    lease = {"holder": "elsewhere/1/0000", "lease_until": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()}
    candidate = new_secret()
    shop.cluster.remember(candidate)
    for unfinished in ({"candidate": candidate, "rotation_id": "0123456789abcdef"}, lease):
        shop.cluster.put(path, journal | unfinished)
        refused = other.adopt(other.first, *options)
        assert refused.code == 1, refused
        assert shop.journal == journal | unfinished
    shop.cluster.put(path, journal)
    with shop.consumer():
        other.adopt(other.first, *options)
        assert other.journal["api_key"] == FOREIGN
        assert other.journal["retiring"] == []
    assert len(shop.live) == 2, "an id of the replaced journal was revoked"


def test_foreign_document_of_a_primary_has_its_code(shop: ClusterAccount, foreign: Mapping[str, Any]) -> None:
    child = ClusterAccount(shop.cluster, api_key="childky1", path="apps/child", name="child").open(primary=shop.api_key)
    shop.configure({"name": child.name, "api_key": child.api_key, "path": child.path, "primary": shop.name})
    failed = child.rotate("--json")
    assert failed.json["accounts"][0]["reason"] == "foreign_document", failed
    assert_untouched(shop, foreign)
