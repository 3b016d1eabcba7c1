"""Fixtures: one real OpenBao a test process, an emulator and an empty folder a test."""

import logging
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from rotator.demo import OpenBao, running_openbao
from rotator.emulator import Emulator, running
from testkit.cluster import Cluster

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Assertions of this module tell the values that they compare, as those of a test do.
pytest.register_assert_rewrite("tests.rotation.worlds")

_MOUNTS = count(1)
BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]

# The machines that run this are shared: how long an example takes says nothing.
settings.register_profile("rotator", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: for comparing what the tests say of one protocol and of another.
settings.register_profile(
    "mutants",
    settings.get_profile("rotator"),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a failure is enough; nothing is made of its smallest example
)
# Few examples: for a first look while one writes code.
settings.register_profile(
    "fast", settings.get_profile("rotator"), max_examples=10, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("rotator")

# Whoever starts the tests in the background leaves them, and every process they start, deaf to SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SET_LEVELS = ("", "apscheduler", "httpx", "httpcore", "urllib3", "uvicorn")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command run in the test's own process sets up logging; the next test gets what it was before."""
    handlers = logging.root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in _SET_LEVELS}
    yield
    logging.root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def bao() -> Iterator[OpenBao]:
    with running_openbao() as server:
        yield server


@pytest.fixture
def cluster(bao: OpenBao, tmp_path: Path) -> Iterator[Cluster]:
    """A KV mount and an emulator of its own; at the end, whatever was printed is searched for secrets."""
    emulator = Emulator([])
    with running(emulator) as url:
        made = Cluster(bao, emulator, url, tmp_path, mount=f"kv{next(_MOUNTS)}")
        made.vault("POST", f"sys/mounts/{made.mount}", {"type": "kv", "options": {"version": "2"}})
        made.await_mount()
        yield made
        if made.outputs:
            made.assert_nothing_leaked()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One for all tests of a module; no longer, as its loop would be in the way of other modules' loops."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "Chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield opened
        opened.close()
