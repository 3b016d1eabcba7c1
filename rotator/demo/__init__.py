"""A local OpenBao and Account API to try rotator on."""

from rotator.demo.demo import GRACE, DemoResult, Scene, Stage, play, running_stage
from rotator.demo.openbao import OpenBao, free_port, running_openbao, serving

__all__ = [
    "GRACE",
    "DemoResult",
    "OpenBao",
    "Scene",
    "Stage",
    "free_port",
    "play",
    "running_openbao",
    "running_stage",
    "serving",
]
