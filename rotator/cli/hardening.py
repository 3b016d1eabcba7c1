"""Protection of this process's memory and environment from other processes."""

import contextlib
import resource

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Disable core dumps, and let only root read this process's memory and environment.

    Both contain secrets. If the system refuses or lacks one of the two settings, rotator continues. A service manager
    that forbids the first has usually set the limit itself, and each setting alone prevents a core dump.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ImportError, OSError, AttributeError):  # Linux alone has it
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
