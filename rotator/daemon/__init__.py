"""The daemon: one process that rotates accounts when they are due."""

from rotator.daemon.daemon import Daemon, next_visit
from rotator.daemon.systemd import Systemd

__all__ = [
    "Daemon",
    "Systemd",
    "next_visit",
]
