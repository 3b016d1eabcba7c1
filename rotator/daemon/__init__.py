"""The daemon: one process that rotates accounts when they are due."""

from rotator.daemon.daemon import Daemon
from rotator.daemon.systemd import Systemd

__all__ = [
    "Daemon",
    "Systemd",
]
