"""What several tests of whole systems begin with."""

import pytest

from testkit.cluster import Cluster
from tests.system.harness import ClusterAccount


@pytest.fixture
def shop(cluster: Cluster) -> ClusterAccount:
    """An account on real servers that rotator has adopted."""
    made = ClusterAccount(cluster).open()
    made.configure()
    return made.adopted()
