"""The HTTP transport of both clients: requests in bounded time, proxies, certificates, and checks of an answer."""

from rotator.net.addresses import Origin
from rotator.net.proxies import Proxy, find_proxy
from rotator.net.retries import retry_context
from rotator.net.tls import Tls
from rotator.net.transport import Deadline, Response, TooLong, Transport, Unanswered

__all__ = [
    "Deadline",
    "Origin",
    "Proxy",
    "Response",
    "Tls",
    "TooLong",
    "Transport",
    "Unanswered",
    "find_proxy",
    "retry_context",
]
