"""One host of the provider: the connections to it, its limits, and the errors for requests without an answer."""

import itertools
import math
import re
import ssl
import threading
from collections.abc import Generator
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import structlog

from rotator import __version__
from rotator.config import AccountApiSettings, in_plain_text
from rotator.errors import ConfigError
from rotator.net.answers import is_encoded
from rotator.net.deadline import Deadline, bound
from rotator.provider.errors import STATUS_PAGE, ApiError, LostAnswer, NotSent, RateLimited
from rotator.provider.parsing import Reply, clean, request_id
from rotator.provider.rate_limiter import RateLimiter
from rotator.provider.request import Call, Credentials

# The longest that one request takes once it is being sent, in units of the configured timeout: a busy machine may be
# late with its end.
WORST_CASE = 1.5
# How long a connection is kept for the next request. A server closes an idle one when it likes, and a create that is
# sent into that moment is a lost answer: servers keep theirs for longer than this, proxies for a minute.
KEPT = timedelta(seconds=2)
# How many threads share a pool of connections: httpcore compares all of a pool's with one another, twice a request.
_POOL = 8

_MAX_BODY = 1 << 20
_log = structlog.get_logger()


class _Unshown(httpx.URL):
    """A URL with a secret in its query, which it never shows: httpx logs URLs, and its errors carry them."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None))

    def __repr__(self) -> str:
        return repr(self.copy_with(query=None))


class _InQuery(httpx.Auth):
    """Adds key and secret to the URL when everything that logs or keeps the request has seen it without them."""

    def __init__(self, auth: Credentials) -> None:
        self._auth = auth

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        auth = {"api_key": self._auth.api_key, "api_secret": self._auth.api_secret.get_secret_value()}
        request.url = _Unshown(request.url.copy_merge_params(auth))
        yield request


class Host:
    """One host of the provider: the connections to it, its rate limiter, and the errors for what is not answered.

    Attributes:
        setting: The configuration key of its address.
        name: Its name, or IP address.
        limiter: Pace of its requests, and holds after a 429.

    Args:
        setting: The configuration key of its address.
        url: Its address.
        settings: Time limit, way of logging in, and certificates.
        connections: Requests that can be under way at once, each in a thread.
        kept: How long an idle connection is kept.
        limiter: Pace of its requests, and holds after a 429.
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
        self.setting = setting
        self.name = httpx.URL(url).host
        self.limiter = limiter
        self._url = url
        self._timeout = settings.timeout.total_seconds()
        self._in_query = settings.rest_auth == "query"
        tls = _tls(settings)
        self._clients = tuple(_client(settings, tls, connections, kept) for _ in range(-(-connections // _POOL)))
        self._turns = itertools.count()
        self._thread = threading.local()
        if in_plain_text(url):
            _log.warning("provider.in_plain_text", host=self.name, next_step="Use https: secrets go along")
        if not settings.verify:
            _log.warning("provider.tls_verification_off", host=self.name)

    @property
    def _client(self) -> httpx.Client:
        """The one that this thread uses."""
        if not hasattr(self._thread, "client"):
            self._thread.client = self._clients[next(self._turns) % len(self._clients)]
        client: httpx.Client = self._thread.client
        return client

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.close()

    def local_refusal(self, call: Call) -> RateLimited | None:
        """The refusal of a request that must not be sent now; None if it may be sent."""
        hold = self.limiter.hold(call.auth.api_key)
        if hold is None:
            return None
        limited = "several API keys" if hold.of_host else f"API key {call.auth.api_key}"
        return RateLimited(
            f"{self.name} has limited {limited}, so rotator did not send {call}",
            status=httpx.codes.TOO_MANY_REQUESTS,
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
        deadline = Deadline(self._timeout)
        id_ = ""
        call.register()
        try:
            hidden = call.in_the_clear()
            login: httpx.Auth = httpx.BasicAuth(call.auth.api_key, call.auth.api_secret.get_secret_value())
            if self._in_query and not call.of_secrets:
                login = _InQuery(call.auth)
            with deadline:
                closed.wait(min(self.limiter.take_turn(), max(0.0, deadline.left())))
                refusal = self.local_refusal(call)  # another thread may have met a 429 during the wait
                if refusal is not None:
                    return refusal
                with self._client.stream(
                    call.method,
                    self._url + call.path,
                    auth=login,
                    json=call.body() if call.of_secrets else None,
                    data=None if call.of_secrets else call.body(),
                    headers=call.headers,
                    extensions={"trace": deadline},
                ) as response:
                    id_ = request_id(response, hidden)
                    encoded = is_encoded(response.headers.get("Content-Encoding"))
                    content = None if encoded else _read(response)
        except UnicodeEncodeError:  # its text would show the value
            return NotSent(f"{call} was not sent: a value of it, or the secret, holds characters that are not Unicode")
        except httpx.InvalidURL:
            return NotSent(f"{call} was not sent: its URL would be longer than any that is taken")
        except (httpx.RequestError, httpx.StreamError) as error:
            return self._unanswered(call, deadline, error, id_)
        if encoded:
            return LostAnswer(
                f"The answer to {call} is compressed, although rotator asked for one that is not",
                next_step=f"Switch off compression in the proxy in front of {self.name}, or look at {self.setting}",
                request_id=id_,
            )
        if content is None:
            what = f"The answer to {call} is longer than any of the Account API's"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=id_)
        return Reply.of(response, content, id_)

    def _unanswered(self, call: Call, deadline: Deadline, error: Exception, request_id: str) -> ApiError:
        """The error that no answer means, or one that was cut off after its headers."""
        if deadline.sent:
            what = f"{self.name} did not answer {call} ({type(error).__name__})"
            return LostAnswer(what, next_step=STATUS_PAGE, request_id=request_id)
        # Only the system and OpenSSL write the text of a ConnectError. Other errors repeat what a proxy sent.
        text = str(error) if isinstance(error, httpx.ConnectError) else ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            reason = re.sub(r".*certificate verify failed: | \(_ssl.*", "", text)
            return NotSent(
                f"The certificate of {self.name} cannot be verified ({clean(reason)})",
                next_step="If a proxy with a CA of its own stands between, name that CA in account_api.ca_cert",
            )
        reason = ": ".join(part for part in (type(error).__name__, clean(text)) if part)
        return NotSent(
            f"{self.name} cannot be reached ({reason})",
            next_step=f"Look at the network and at {self.setting}",
        )


def _client(settings: AccountApiSettings, tls: ssl.SSLContext, connections: int, kept: timedelta) -> httpx.Client:
    timeout = settings.timeout.total_seconds()
    try:
        client = httpx.Client(
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a small encoded body can decode to gigabytes
                "User-Agent": f"rotator/{__version__}",
            },
            verify=tls,
            # The deadline ends the whole; these leave most of the time to the answer.
            timeout=httpx.Timeout(timeout, connect=timeout * 0.2, pool=timeout * 0.1),
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=kept.total_seconds()),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )
    except (ValueError, ImportError, httpx.InvalidURL):  # their text contains the proxy's URL, and with it the password
        client = None
    if client is None:
        raise ConfigError(
            "A proxy in the environment is not the URL of an HTTP proxy",
            next_step="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the provider's hosts in NO_PROXY",
        )
    return bound(client)


def _tls(settings: AccountApiSettings) -> ssl.SSLContext:
    if settings.ca_cert is None or not settings.verify:
        return httpx.create_ssl_context(verify=settings.verify)
    try:
        return ssl.create_default_context(cafile=settings.ca_cert)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"account_api.ca_cert: {settings.ca_cert} cannot be used ({clean(str(error))})",
            next_step="Name a PEM file with the CA's certificate",
        ) from None


def _read(response: httpx.Response) -> bytes | None:
    """The whole body; None if it is too long to be any of this API's."""
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > _MAX_BODY:
            return None
    return bytes(content)
