"""One host of the provider: the connections to it, its limits, and the errors for requests without an answer."""

import math
import re
import threading
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog

from rotator.config import AccountApiSettings
from rotator.errors import ConfigError
from rotator.net import Deadline, Origin, Tls, Transport, Unanswered
from rotator.net.answers import is_encoded
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

_MAX_BODY = 1 << 20
_MAX_TARGET = 1 << 16
_log = structlog.get_logger()


class Host:
    """One host of the provider.

    Attributes:
        setting: The configuration key of its address.
        name: Its host name or IP address, and its port.
        limiter: Pace of its requests, and holds after a 429.

    Args:
        setting: The configuration key of its address.
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
        setting: str,
        url: str,
        settings: AccountApiSettings,
        *,
        connections: int,
        kept: timedelta,
        limiter: RateLimiter,
    ) -> None:
        origin = Origin.of(url)
        self.setting = setting
        self.name = origin.location
        self.limiter = limiter
        self._path = urlsplit(url).path
        self._timeout = settings.timeout.total_seconds()
        self._in_query = settings.rest_auth == "query"
        self._transport = Transport(
            origin, _tls(settings, origin), kept=connections, keep_for=kept, max_content=_MAX_BODY
        )
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
            next_step=f"Wait {math.ceil(hold.left.total_seconds())} s",
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
            hidden, content = call.in_the_clear(), call.content()
            in_query = self._in_query and not call.of_secrets
            target, headers = self._path + call.target(in_query=in_query), call.headers(in_query=in_query)
        except UnicodeEncodeError:  # its text would show the value
            return NotSent(f"{call} was not sent: a value of it, or the secret, holds characters that are not Unicode")
        if len(target) > _MAX_TARGET:
            return NotSent(f"{call} was not sent: its URL would be longer than any that is taken")
        closed.wait(min(self.limiter.take_turn(), deadline.left()))
        refusal = self.local_refusal(call)  # another thread may have met a 429 during the wait
        if refusal is not None:
            return refusal
        try:
            response = self._transport.send(call.method, target, deadline, headers, content)
        except Unanswered as error:
            return self._unanswered(call, error, Reply.of(0, error.headers, b"", hidden).request_id)
        reply = Reply.of(response.status, response.headers, response.content or b"", hidden)
        if is_encoded(response.headers.get("content-encoding")):
            return LostAnswer(
                f"The answer to {call} is compressed, although rotator asked for one that is not",
                next_step=f"Switch off compression in the proxy in front of {self.name}, or look at {self.setting}",
                request_id=reply.request_id,
            )
        if response.content is None:
            what = f"The answer to {call} is longer than any of the Account API's"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=reply.request_id)
        return reply

    def _unanswered(self, call: Call, error: Unanswered, request_id: str) -> ApiError:
        """The error that no answer means, or one that was cut off after its headers."""
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
            next_step=f"Look at the network and at {self.setting}",
        )


def _tls(settings: AccountApiSettings, origin: Origin) -> Tls | None:
    if origin.scheme == "http" and settings.ca_cert is None:
        return None
    tls = Tls(verify=settings.verify, ca_file=settings.ca_cert)
    try:
        tls.context()
    except OSError as error:  # an SSLError is one
        source = "The CA store that SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE names"
        if settings.ca_cert is not None:
            source = f"account_api.ca_cert: {settings.ca_cert}"
        raise ConfigError(
            f"{source} cannot be used ({clean(str(error))})",
            next_step="Name a PEM file with the CA's certificate",
        ) from None
    return tls
