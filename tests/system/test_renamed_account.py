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
    assert account.live == [current]
