"""Exit codes: one case for each, and the help text that lists them."""

import signal
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli import exit_codes
from rotator.core.protocol import Outcome, Result
from testkit.cluster import Cluster
from tests.cli.harness import Here, Payments, opened


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([Result.OK], 0),
        ([Result.OK, Result.DEFERRED], 3),
        ([Result.OK, Result.DEFERRED, Result.FAILED], 1),
    ],
    ids=["no account", "done", "deferred", "failed"],
)
def test_exit_code_is_that_of_worst_outcome(results: list[Result], code: int) -> None:
    assert exit_codes.of_outcomes(Outcome("shop", result) for result in results) == code


def test_done_command_exits_0(payments: Payments, here: Here) -> None:
    assert here("rotate-now", payments.name).code == exit_codes.DONE == 0


def test_command_exits_1_when_an_account_fails(cluster: Cluster, here: Here) -> None:
    unpublished = opened(cluster, published=False)
    cluster.configure([unpublished.entry()])
    assert here("rotate-now", unpublished.name).code == exit_codes.FAILED == 1


@pytest.mark.parametrize("args", ["rotate-now nobody", "rotate-now --no-such-option"])
def test_command_exits_2_when_input_is_wrong(payments: Payments, here: Here, args: str) -> None:
    assert here(*args.split()).code == exit_codes.USAGE == 2


def test_command_exits_3_when_an_account_is_deferred(payments: Payments, here: Here) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    leased = {"current_id": payments.live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    payments.cluster.put("rotator/journal/payments", leased)
    assert here("rotate-now", payments.name, "--wait", "0").code == exit_codes.DEFERRED == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_has_the_code_of_shells(number: signal.Signals, code: int) -> None:
    """tests/cli/test_signals.py sends them to commands."""
    assert exit_codes.of_signal(number) == code


def test_help_names_the_exit_codes(here: Here) -> None:
    finished = here("--help")
    codes = (
        "0 done, 1 an account failed, 2 usage or configuration, 3 an account is deferred, "
        "130 ended by Ctrl-C, 143 by SIGTERM."
    )
    assert f"Exit codes: {codes}" in " ".join(finished.out.split())
