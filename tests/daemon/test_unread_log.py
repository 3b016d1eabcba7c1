"""A daemon whose log nobody reads, as behind a log collector that is stuck or a terminal that was stopped."""

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from testkit.cluster import PATIENCE, Cluster, Process, Running, eventually
from tests.daemon.test_daemon import QUICK, creates, open_accounts, works

DEBUG = {"ROTATOR_LOG__LEVEL": "debug"}


@contextmanager
def started_unread(cluster: Cluster) -> Iterator[Process]:
    """A daemon that works, although its standard error is full after a page and nobody reads it."""
    cluster.configure(open_accounts(cluster, "a"), defaults=QUICK)
    process = cluster.start("run", env=DEBUG)
    with process.popen:
        try:
            assert process.popen.stderr is not None
            fcntl.fcntl(process.popen.stderr, fcntl.F_SETPIPE_SZ, 4096)
            eventually(lambda: creates(cluster, "a") >= 1)
            yield process
        finally:
            process.popen.kill()
    assert works(cluster, "a")


def test_daemon_ends_when_nobody_reads_its_log(cluster: Cluster) -> None:
    with started_unread(cluster) as process:
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0


def test_daemon_says_how_many_lines_were_lost(cluster: Cluster) -> None:
    with started_unread(cluster) as process:
        daemon = Running(process)
        assert daemon.wait_for("log.lost")["line_count"] > 0
        assert daemon.end() == 0
