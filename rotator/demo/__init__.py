"""A local OpenBao and Account API to try rotator on."""

from rotator.demo.demo import run
from rotator.demo.openbao import OpenBao, free_port, running_openbao, serving

__all__ = [
    "OpenBao",
    "free_port",
    "run",
    "running_openbao",
    "serving",
]
