"""HTTP: the status page, its API, health checks and metrics."""

from rotator.web.app import create_app
from rotator.web.rendering import accepts_gzip
from rotator.web.server import Limits, serving

__all__ = [
    "Limits",
    "accepts_gzip",
    "create_app",
    "serving",
]
