"""The tests' own cluster writes configurations that load."""

from datetime import timedelta

import pytest

from rotator.config import (
    load,
)
from testkit.cluster import Cluster


def test_configure_writes_a_configuration_that_loads(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.SomeToken01")
    cluster.configure([{"name": "a", "api_key": "k", "path": "p", "grace": timedelta(hours=1)}])
    assert load(cluster.config).account("a").grace == timedelta(hours=1)
