"""The length of a lease: its default, and the shortest one."""

from datetime import timedelta

from rotator.core.protocol import LEASE
from tests.config.config_file import GOOD, ConfigFile

TIMEOUT = '[account_api]\ntimeout = "5s"\n'


def test_load_takes_the_default_lease(config_file: ConfigFile) -> None:
    assert config_file.load(GOOD).daemon.lease == LEASE


def test_load_accepts_a_lease_of_three_timeouts(config_file: ConfigFile) -> None:
    assert config_file.load(GOOD + TIMEOUT + '[daemon]\nlease = "15s"\n').daemon.lease == timedelta(seconds=15)


def test_load_refuses_a_lease_below_three_timeouts(config_file: ConfigFile) -> None:
    refusal = config_file.refusal(GOOD + TIMEOUT + '[daemon]\nlease = "14s"\n')
    assert (
        refusal == "daemon.lease (14s) has to be at least three times account_api.timeout (5s): work has to fit in it."
    )
