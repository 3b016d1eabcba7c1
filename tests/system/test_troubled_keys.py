"""A key in trouble does not keep the workers from healthy accounts. `make bench BENCH=troubled_keys` measures it."""

from datetime import timedelta
from functools import partial

import pytest

from rotator.emulator import Operation
from testkit.cluster import Cluster, Running
from tests.system.harness import ENOUGH, ClusterAccount, Gate, assert_ok

pytestmark = pytest.mark.timeout(280)

LONG_AGO = timedelta(days=60)


@pytest.fixture
def shops(cluster: Cluster) -> list[ClusterAccount]:
    """Two accounts whose new secrets never verify, then two healthy ones, for two workers; all adopted."""
    names = ("never0", "never1", "well0", "well1")
    made = [ClusterAccount(cluster, api_key=f"key{name}", path=f"apps/{name}", name=name).open() for name in names]
    configure(made, verify_timeout="5m")
    for shop in made:
        shop.adopted()
    cluster.emulator.faults.add(*(f"create:unverified:*@key={shop.api_key}" for shop in made[:2]))
    return made


def configure(shops: list[ClusterAccount], verify_timeout: str) -> None:
    first, *others = shops
    entries = [{"name": shop.name, "api_key": shop.api_key, "path": shop.path} for shop in others]
    sections = {
        "account_api": {"timeout": "1m"},
        "daemon": {"lease": "10m"},
        "defaults": {"verify_timeout": verify_timeout},
    }
    first.configure(*entries, sections=sections)


def looks_before_create(troubled: ClusterAccount, healthy: ClusterAccount) -> int:
    """Count the refused looks at a candidate until the healthy account's secret was created."""
    requests = [(entry.operation, entry.api_key, entry.status) for entry in troubled.cluster.emulator.requests]
    until = requests.index((Operation.CREATE, healthy.api_key, 201))
    return requests[:until].count((Operation.LIST, troubled.api_key, 401))


def knows_age(daemon: Running, shop: ClusterAccount) -> bool:
    """Whether the daemon has read the journal as it is now, and planned the account."""
    return str(daemon.status(shop.name)["rotated_at"])[:19] == str(shop.journal["rotated_at"])[:19]


def test_daemon_rotates_healthy_accounts_beside_unverified_candidates(
    cluster: Cluster, shops: list[ClusterAccount]
) -> None:
    """C4: both workers waited for candidates, looking often, while healthy accounts were due."""
    never, well = shops[:2], shops[2:]
    creates = {f"provider POST /accounts/{shop.api_key}/secrets" for shop in never}
    gate = Gate(hold=lambda call: call in creates)
    for shop in never:
        cluster.age(shop.name, LONG_AGO)
    with gate.before(cluster) as environment, cluster.daemon(env=environment) as daemon:
        daemon.eventually(lambda: creates <= set(gate.calls))  # both workers are busy
        for shop in well:
            cluster.age(shop.name, LONG_AGO)
            daemon.eventually(partial(knows_age, daemon, shop))
        gate.open()
        for shop in well:
            daemon.wait_for("rotation.published", account=shop.name, timeout=ENOUGH)
    assert [looks_before_create(troubled, healthy) for troubled in never for healthy in well] == [1] * 4


def test_rotate_now_rotates_healthy_accounts_beside_unverified_candidates(shops: list[ClusterAccount]) -> None:
    never, well = shops[:2], shops[2:]
    configure(shops, verify_timeout="1s")
    assert never[0].run("rotate-now", "--all").code == 1
    assert [shop.journal["failure"] for shop in shops] == ["unverified", "unverified", None, None]
    assert max(looks_before_create(troubled, healthy) for troubled in never for healthy in well) == 1
    assert_ok(well[0].run("rotate-now", *(shop.name for shop in well), "--force"))
