"""One host of the provider: the connections to it, its limits, and the errors for requests without an answer.

httpx makes the requests and reads the responses. The transport of `net`, which has one deadline for a whole request,
carries them.
"""

import re
import threading
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import structlog

from rotator.config import AccountApiSettings
from rotator.net import Deadline, Origin, Tls, TooLong, Transport, Unanswered, is_encoded
from rotator.provider.errors import STATUS_PAGE, ApiError, LostAnswer, NotSent, RateLimited
from rotator.provider.parsing import Reply, clean
from rotator.provider.rate_limiter import RateLimiter
from rotator.provider.request import Call

# The longest that one request takes once it is being sent, in units of the configured timeout: a busy machine may be
# late with its end.
WORST_CASE = 1.5
# How long a connection is kept for the next request. A server closes an idle one when it likes, and a create that is
# sent into that moment is a lost answer: servers keep theirs for longer than this, proxies for a minute.
KEPT = timedelta(seconds=2)

_MAX_TARGET = 1 << 16
# The transport sends its own, by the address and the body.
_OF_TRANSPORT = (b"host", b"content-length")
# Given as a stream, it needs no headers, so httpx does not make any.
_NO_BODY = httpx.ByteStream(b"")
_log = structlog.get_logger()


class Host:
    """One host of the provider.

    Attributes:
        name: Its host name or IP address, and its port.
        limiter: Pace of its requests, and holds after a 429.

    Args:
        url: Its address.
        settings: Time limit, way of logging in, and certificates.
        connections: Number of idle connections to keep.
        kept: How long to keep an idle connection.
        limiter: Pace of its requests, and holds after a 429.

    Raises:
        ConfigError: If a certificate file, or a proxy in the environment, cannot be used.
    """

    def __init__(
        self,
        url: str,
        settings: AccountApiSettings,
        *,
        connections: int,
        kept: timedelta,
        limiter: RateLimiter,
    ) -> None:
        origin = Origin.of(url)
        self.name = origin.location
        self.limiter = limiter
        self._url = httpx.URL(str(origin))
        self._path = urlsplit(url).path
        self._timeout = settings.timeout.total_seconds()
        self._in_query = settings.rest_auth == "query"
        transport = Transport(origin, _tls(settings, origin), kept=connections, keep_for=kept)
        self._forwarder = transport.forwarder
        self._transport = _HttpxTransport(transport)
        if origin.in_plain_text:
            _log.warning("provider.in_plain_text", host=self.name, next_step="Use https: secrets go along")
        if not settings.verify:
            _log.warning("provider.tls_verification_off", host=self.name)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def local_refusal(self, call: Call) -> RateLimited | None:
        """The refusal of a request that must not be sent now; None if it may be sent."""
        hold = self.limiter.hold(call.auth.api_key)
        if hold is None:
            return None
        limited = "several API keys" if hold.of_host else f"API key {call.auth.api_key}"
        return RateLimited(
            f"{self.name} has limited {limited}, so rotator did not send {call}",
            status=HTTPStatus.TOO_MANY_REQUESTS,
            retry_after=hold.left,
            local=True,
        )

    def exchange(self, call: Call, closed: threading.Event) -> Reply | ApiError:
        """Send a request when its turn has come.

        Args:
            call: The request.
            closed: Ends the wait for the turn.

        Returns:
            The answer, of any status, or the error if there is none that can be used.
        """
        deadline = Deadline.after(self._timeout)
        call.register()
        try:
            request = self._request(call, deadline)
        except UnicodeEncodeError:  # its text would show the value
            return NotSent(f"{call} was not sent: a value of it, or the secret, holds characters that are not Unicode")
        if len(request.extensions["target"]) > _MAX_TARGET:
            return NotSent(f"{call} was not sent: its URL would be longer than any that is taken")
        closed.wait(min(self.limiter.take_turn(), deadline.left()))
        refusal = self.local_refusal(call)  # another thread may have met a 429 during the wait
        if refusal is not None:
            return refusal
        try:
            response = self._transport.handle_request(request)
        except Unanswered as error:
            return self._unanswered(call, error, Reply.of(0, error.headers, b"", call.in_the_clear).request_id)
        headers = dict(response.headers.items())
        content = b"".join(response.iter_raw())
        reply = Reply.of(response.status_code, headers, content, call.in_the_clear, self._forwarder)
        if is_encoded(headers.get("content-encoding")):
            return LostAnswer(
                f"The answer to {call} is compressed, although rotator asked for one that is not",
                next_step=f"Switch off compression in the proxy in front of {self.name}, or look at {call.setting}",
                request_id=reply.request_id,
            )
        return reply

    def _request(self, call: Call, deadline: Deadline) -> httpx.Request:
        """The request. httpx sees the host's address only: its logs and errors contain the URL.

        Raises:
            UnicodeEncodeError: If a value is no Unicode text; its text shows it.
        """
        in_query = self._in_query and not call.of_secrets
        target = self._path + call.target(in_query=in_query)
        fields = call.body() or None
        return httpx.Request(
            call.method,
            self._url,
            headers=call.headers(in_query=in_query),
            json=fields if call.of_secrets else None,
            data=None if call.of_secrets else fields,
            stream=None if fields else _NO_BODY,
            extensions={"deadline": deadline, "target": target},
        )

    def _unanswered(self, call: Call, error: Unanswered, request_id: str) -> ApiError:
        """The error that no answer means, or one that was cut off after its headers."""
        if isinstance(error, TooLong):
            what = f"The answer to {call} is longer than any of the Account API's"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=request_id)
        if error.refusal is not None:
            proxy, status = error.refusal
            what = f"On the way to {self.name}, {proxy} answers with HTTP {status}"
            return NotSent(what, next_step=proxy.advice(status))
        if error.tls_failure is not None:
            return NotSent(error.tls_failure.problem, next_step=error.tls_failure.next_step)
        if error.sent:
            what = f"{self.name} did not answer {call} ({error.kind})"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=request_id)
        if "CERTIFICATE_VERIFY_FAILED" in error.reason:
            reason = re.sub(r".*certificate verify failed: | \(_ssl.*", "", error.reason)
            return NotSent(
                f"The certificate of {self.name} cannot be verified ({clean(reason)})",
                next_step="If a proxy with a CA of its own stands between, name that CA in account_api.ca_cert",
            )
        reason = ": ".join(part for part in (error.kind, clean(error.reason)) if part)
        return NotSent(
            f"{self.name} cannot be reached ({reason})",
            next_step=f"Look at the network and at {call.setting}",
        )


class _HttpxTransport(httpx.BaseTransport):
    """Carries requests of httpx.

    Their extensions are `deadline` and `target`: path and query as they are sent.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            Unanswered: If there is no complete response.
        """
        # As they were spelled: `items` would give the names in lower case.
        headers = {
            name.decode("ascii"): value.decode("ascii")
            for name, value in request.headers.raw
            if name.lower() not in _OF_TRANSPORT
        }
        response = self._transport.send(
            request.method, request.extensions["target"], request.extensions["deadline"], headers, request.read()
        )
        # Bytes, as they came: httpx would encode texts in ASCII.
        received = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        return httpx.Response(response.status, headers=received, stream=httpx.ByteStream(response.content))

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


def _tls(settings: AccountApiSettings, origin: Origin) -> Tls | None:
    if origin.scheme == "http" and settings.ca_cert is None:
        return None
    return Tls(section="account_api", verify=settings.verify, ca_file=settings.ca_cert)
