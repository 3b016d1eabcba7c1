"""Refusals of the provider, as exceptions that become the body of an answer.

The operations on secrets answer with RFC 7807 documents. The operations on the account itself answer with a code and a
label in revision 1.0.0, and with RFC 7807 documents in 1.0.4.

ProblemError
├── MalformedCredentialsError  401, no key and secret, or none that can be read
├── BadCredentialsError        401, a key and a secret that do not belong together
├── UnprovisionedError         401, a fault: the key has no access to the product
├── ForbiddenError             403, a fault: forbidden by permissions
├── BadRequestError            400, a fault
├── ServerError                500, a fault: the provider's own failure
├── UnknownAccountError        404, no such key, or one that the caller has no right over
├── UnknownSecretError         404, no such id in the account
├── ValidationError            400, a body that is not what the operation needs
│   └── InvalidSecretError     400, a value that breaks the rules
├── TooManySecretsError        400 or 403, the account is full
├── LastSecretError            403, an account keeps at least one
├── AutoReloadDisabledError    401, no top-up without auto-reload
├── MissingTransactionError    401, no top-up without saying of which payment
├── InvalidCallbackError       420, a callback that is no URL or does not answer
├── RateLimitedError           429, a fault, or more calls than the account may make
├── UnknownPathError           404, nothing of the API is there
└── UnknownMethodError         405, something is, but not for this method
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from rotator.emulator.revisions import Revision
from rotator.errors import RotatorError

_ERRORS = "https://developer.nexmo.com/api-errors"
_SECRET_ERRORS = f"{_ERRORS}/account/secret-management"


class ProblemError(RotatorError):
    """The provider would refuse this; nothing was changed.

    Attributes:
        status: The status of the answer.
        title: The kind of problem, in the provider's words.
        detail: The problem in one sentence; "" if it differs from case to case.
        reference: Where the provider explains it; the document's `type`.
        invalid: The offending parameters: name, and what is wrong with it.
        headers: Headers of the answer that describe it.
    """

    status: int
    title: ClassVar[str]
    detail: ClassVar[str] = ""
    reference: ClassVar[str] = f"{_ERRORS}/account"
    invalid: tuple[tuple[str, str], ...] = ()

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.detail)

    @property
    def label(self) -> str:
        """The kind of problem in the words of the older dialect."""
        return self.title.lower()

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    def reference_in(self, revision: Revision) -> str:  # noqa: ARG002 - the other revision has another one for some
        """The document's `type`."""
        return self.reference

    def document(self, trace_id: str, revision: Revision) -> dict[str, Any]:
        """The body of the answer to the request of that id."""
        body: dict[str, Any] = {
            "type": self.reference_in(revision),
            "title": self.title,
            "detail": self.what,
            "instance": trace_id,
        }
        if self.invalid:
            body["invalid_parameters"] = [{"name": name, "reason": reason} for name, reason in self.invalid]
        return body

    def code_and_label(self) -> dict[str, str]:
        """The body of the answer in the older dialect."""
        return {"error-code": str(self.status), "error-code-label": self.label}


class _CredentialsError(ProblemError):
    status = 401
    title = "Unauthorized"
    reference = f"{_ERRORS}#unauthorized"

    @property
    def label(self) -> str:
        return "authentication failed"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Basic"}

    def reference_in(self, revision: Revision) -> str:
        # The misspelling is the provider's.
        return f"{_ERRORS}/#unathorized" if revision == Revision.V1_0_4 else self.reference


class MalformedCredentialsError(_CredentialsError):
    """No credentials, or not in a form that holds a key and a secret."""

    detail = 'Invalid credentials format. Expected: "Authorization: Basic (Base64(UTF-8(apiKey:secret)))"'


class BadCredentialsError(_CredentialsError):
    """An unknown key, or another secret than the key's; the answer does not distinguish them."""

    detail = "The API key and the API secret do not belong together"


class UnprovisionedError(_CredentialsError):
    """The credentials are right, but the key has no access to the product. Revision 1.0.0 has one kind of 401 only."""

    title = "Unprovisioned"
    detail = "You do not have access to the requested product. Check that your API key is whitelisted"

    def reference_in(self, revision: Revision) -> str:  # noqa: ARG002
        return f"{_ERRORS}/#unprovisioned"


class ForbiddenError(ProblemError):
    """The caller's permissions do not suffice."""

    status = 403
    title = "Forbidden"
    reference = f"{_ERRORS}#forbidden"
    detail = "The permissions of this API key do not allow this operation"


class BadRequestError(ProblemError):
    """The provider does not understand the request."""

    status = 400
    title = "Bad Request"
    reference = f"{_ERRORS}#bad-request"
    detail = "The request cannot be processed"


class ServerError(ProblemError):
    """The provider itself fails."""

    status = 500
    title = "Internal Error"
    reference = f"{_ERRORS}#internal-error"
    detail = "An error occurred on the server"


class UnknownAccountError(ProblemError):
    """No such key. A key that the caller has no right to looks the same, so that keys cannot be probed for."""

    status = 404
    title = "Invalid API Key"
    reference = f"{_ERRORS}#invalid-api-key"

    def __init__(self, api_key: str) -> None:
        super().__init__(f"API key '{api_key}' not found")


class UnknownSecretError(ProblemError):
    """No secret of this id in the account."""

    status = 404
    title = "Invalid ID"
    reference = f"{_ERRORS}#invalid-id"

    def __init__(self, secret_id: str) -> None:
        super().__init__(f"ID '{secret_id}' could not be found")


class ValidationError(ProblemError):
    """The body is not what the operation needs."""

    status = 400
    title = "Bad Request"
    reference = f"{_SECRET_ERRORS}#validation"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Parameter '{name}' is invalid")
        self.invalid = ((name, reason),)

    @property
    def label(self) -> str:
        ((name, reason),) = self.invalid
        return f"{name}: {reason[:1].lower()}{reason[1:]}"


class InvalidSecretError(ValidationError):
    """The value breaks a rule for secrets; the reason never quotes it."""

    def __init__(self, reason: str) -> None:
        super().__init__("secret", reason)


class TooManySecretsError(ProblemError):
    """The account is full."""

    title = "Secret Addition Forbidden"
    reference = f"{_SECRET_ERRORS}#add-excess-secret"

    def __init__(self, max_secrets: int, status: int) -> None:
        super().__init__(f"The account has as many secrets as it may have, which is {max_secrets}")
        self.status = status


class LastSecretError(ProblemError):
    """An account without a secret could never be used again."""

    status = 403
    title = "Secret Deletion Forbidden"
    reference = f"{_SECRET_ERRORS}#delete-last-secret"
    detail = "The account's only secret cannot be revoked"


class AutoReloadDisabledError(ProblemError):
    """There is no payment that a top-up could repeat."""

    status = 401
    title = "Not Auto-Reload Enabled"
    detail = "Auto-reload is not enabled for this account"


class MissingTransactionError(ProblemError):
    """Which payment a top-up is to repeat was not said. 401 is the only refusal of a top-up that is documented."""

    status = 401
    title = "TRX Is Required"
    detail = "The reference of the transaction is required"


class InvalidCallbackError(ProblemError):
    """A callback that is no URL, or does not answer."""

    status = 420
    title = "Invalid Callback URL"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")

    @property
    def label(self) -> str:
        return self.what


class RateLimitedError(ProblemError):
    """Too many requests; the headers of the answer may say when to come back."""

    status = 429
    title = "Rate Limit Hit"
    reference = f"{_ERRORS}#throttled"

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("Too many requests, retry later")
        self._headers = headers

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers


class UnknownPathError(ProblemError):
    """Nothing of the API is at this path."""

    status = 404
    title = "Not Found"
    reference = f"{_ERRORS}#not-found"
    detail = "There is nothing at this path"


class UnknownMethodError(ProblemError):
    """The path exists, but not for this method."""

    status = 405
    title = "Method Not Allowed"
    reference = f"{_ERRORS}#method-not-allowed"
    detail = "This path does not take this method"
