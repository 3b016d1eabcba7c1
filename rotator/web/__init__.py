"""HTTP: the status page, its API, health checks and metrics."""

from rotator.web.app import create_app, serving

__all__ = [
    "create_app",
    "serving",
]
