"""An account that got another name in its grace period, recovered as its runbook says."""

from testkit.cluster import Cluster
from tests.cli.harness import opened


def test_renamed_account_is_recovered_as_the_runbook_says(cluster: Cluster) -> None:
    """The published secret stays, and the previous one retires as if the account had its old name."""
    account = opened(cluster)
    cluster.configure([account.entry(grace="1h")])
    assert cluster.run("rotate-now", account.name).code == 0
    previous, current = account.live
    cluster.configure([account.entry(grace="1h") | {"name": "shop"}])
    assert cluster.run("rotate-now", "shop", "--due").code == 1

    value = cluster.document(account.path)["api_secret"]
    options = ["--secret-stdin", "--secret-id", current, "--retire", previous]
    adopted = cluster.run("adopt", "shop", *options, text=f"{value}\n")
    assert adopted.code == 0, adopted.out

    assert cluster.run("rotate-now", "shop", "--due").code == 0
    assert [entry["id"] for entry in cluster.journal("shop")["retiring"]] == [previous]
    assert account.live == [previous, current]
    account.assert_works()
    cluster.end_grace("shop")
    assert cluster.run("rotate-now", "shop", "--due").code == 0
    assert account.live == [previous, current], "a create of the lost journal's run might be under way"
    cluster.change_journal("shop", create_until=None, lost_journal_until=None)  # a grace period lasts longer
    assert cluster.run("rotate-now", "shop", "--due").code == 0
    assert account.live == [current]


def test_renamed_account_is_adopted_after_a_request(cluster: Cluster) -> None:
    """A rotate-now of the new name leaves a request for which the account has no room. The adoption is no less done."""
    account = opened(cluster)
    cluster.configure([account.entry(grace="1h")])
    assert cluster.run("rotate-now", account.name).code == 0
    previous, current = account.live
    cluster.configure([account.entry(grace="1h") | {"name": "shop"}])
    assert cluster.run("rotate-now", "shop").code == 1

    adopted = cluster.run("adopt", "shop", "--secret-id", current, "--retire", previous)
    assert adopted.code == 0, adopted.out
    assert "adopted, version 3 published" in adopted.out
    assert (
        f"shop: the earlier request to rotate is withdrawn: the account is full until {previous} is revoked; "
        "--force does not wait for that. To continue: rotator rotate-now shop --force."
    ) in adopted.out
    assert cluster.journal("shop")["request"] is None
    assert cluster.run("adopt", "shop", "--secret-id", current).code == 0
    assert cluster.run("status", "shop", "--json").json["accounts"][0]["state"] == "grace_period"
