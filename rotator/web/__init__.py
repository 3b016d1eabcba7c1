"""HTTP: the status page, its API, health checks and metrics."""

from rotator.web.answers import Request, Response, accepts_gzip
from rotator.web.app import App
from rotator.web.connection import Limits
from rotator.web.server import serving

__all__ = [
    "App",
    "Limits",
    "Request",
    "Response",
    "accepts_gzip",
    "serving",
]
