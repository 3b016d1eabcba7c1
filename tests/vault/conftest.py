"""Fixtures: a KV mount, a proxy that can lose what a server would never lose, a server with TLS."""

from collections.abc import Iterator

import pytest

from rotator.demo import OpenBao
from testkit.openbao import Admin, TlsOpenBao, running_tls_openbao
from testkit.proxy import FaultProxy
from tests.vault.kv_mount import NUMBERS, KvMount


@pytest.fixture
def place(bao: OpenBao) -> KvMount:
    admin = Admin(bao.address, bao.root_token)
    mount = f"vault{next(NUMBERS)}"
    admin("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    return KvMount(bao, admin, mount)


@pytest.fixture
def proxy(bao: OpenBao) -> Iterator[FaultProxy]:
    with FaultProxy(bao.address).running() as running:
        yield running


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsOpenBao]:
    with running_tls_openbao(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def second(bao: OpenBao) -> Iterator[FaultProxy]:
    with FaultProxy(bao.address).running() as running:
        yield running
