"""The permissions that rotator needs, compared with those of its token: each missing stanza is named."""

from contextlib import ExitStack

from rotator.fleet import examine
from testkit.cluster import Cluster
from tests.cli.harness import STANZA, Payments, everything, said, token_with
from tests.fleet.shop import top_up_service


def test_incomplete_policy_names_the_missing_stanza(payments: Payments) -> None:
    cluster = payments.cluster
    journals = f'path "{cluster.mount}/data/rotator/journal/*" {{ capabilities = ["create", "read", "update"] }}'
    token = token_with(cluster, f"some-{cluster.mount}", journals)
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    (stanza,) = STANZA.findall(said(finished))
    assert f'"{cluster.mount}/data/{payments.path}"' in stanza
    assert "Nothing was written anywhere" in said(finished)
    assert everything(cluster) == before
    assert not cluster.emulator.requests
    cluster.vault("PUT", f"sys/policies/acl/some-{cluster.mount}", {"policy": f"{journals}\n{stanza}"})
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 0, finished
    payments.assert_works()


def test_empty_policy_names_every_stanza(payments: Payments) -> None:
    """The commonest beginning of all: a new token, and nobody wrote a policy yet."""
    cluster = payments.cluster
    token = token_with(cluster, f"none-{cluster.mount}")
    before = everything(cluster)
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    stanzas = STANZA.findall(said(finished))
    assert len(stanzas) == 2, "one for the document, one for its journal"
    assert everything(cluster) == before
    cluster.vault("PUT", f"sys/policies/acl/none-{cluster.mount}", {"policy": "\n".join(stanzas)})
    finished = cluster.run("rotate-now", "payments", env={"VAULT_TOKEN": token})
    assert finished.code == 0, finished
    payments.assert_works()


def test_check_names_the_stanza_that_the_policy_lacks(payments: Payments) -> None:
    cluster = payments.cluster
    document = f'path "{cluster.mount}/data/{payments.path}" {{ capabilities = ["create", "read", "update"] }}'
    token = token_with(cluster, f"check-{cluster.mount}", document)
    before = everything(cluster)
    finished = cluster.run("check", env={"VAULT_TOKEN": token})
    assert finished.code == 2, finished
    failed, total = [line for line in finished.out.splitlines() if not line.startswith("ok   ")]
    assert total.endswith("1 failed")
    assert failed.startswith("FAIL  the policy lacks: ")
    (stanza,) = STANZA.findall(failed)
    assert stanza.startswith(f'path "{cluster.mount}/data/rotator/journal/payments"')
    assert everything(cluster) == before
    cluster.vault("PUT", f"sys/policies/acl/check-{cluster.mount}", {"policy": f"{document}\n{stanza}"})
    assert cluster.run("check", env={"VAULT_TOKEN": token}).code == 0


def test_check_names_permissions_that_top_ups_need(shop: Cluster, stack: ExitStack) -> None:
    fleet = top_up_service(shop, stack).fleet
    findings = [finding.what for finding in examine(fleet, fleet.settings.accounts)]
    assert f"policy for {shop.mount}/data/rotator/journal/shop/top-ups" in findings
    assert f"policy for {shop.mount}/data/money/shop" in findings
    assert not [need for need in fleet.permissions.needs(fleet.settings.accounts) if "top-ups" in need.path]
