"""What other processes of the machine may learn of this one."""

import contextlib
import resource

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Leave no core dump, and let no other process look into this one's memory or environment but root's.

    Both hold secrets. What the system does not allow, or does not know, is left as it is: a service manager that
    forbids the first has usually done it itself, and each of the two prevents a dump alone.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ImportError, OSError, AttributeError):  # Linux alone has it
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
