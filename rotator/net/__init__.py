"""The HTTP transport of both clients: bounded and repeated requests, proxies, certificates, checks of an answer."""

from rotator.net.addresses import Origin
from rotator.net.answers import (
    JSON,
    PROBLEM,
    XML,
    check_structure,
    described,
    is_encoded,
    media_type,
    parse_any_date,
    parse_date,
    parse_json,
)
from rotator.net.proxies import Proxy, find_proxy
from rotator.net.repeat import repeat
from rotator.net.stream import Deadline
from rotator.net.tls import Tls
from rotator.net.transport import Response, TooLong, Transport, Unanswered

__all__ = [
    "JSON",
    "PROBLEM",
    "XML",
    "Deadline",
    "Origin",
    "Proxy",
    "Response",
    "Tls",
    "TooLong",
    "Transport",
    "Unanswered",
    "check_structure",
    "described",
    "find_proxy",
    "is_encoded",
    "media_type",
    "parse_any_date",
    "parse_date",
    "parse_json",
    "repeat",
]
