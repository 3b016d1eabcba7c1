"""Where the provider's document is laxer than its own prose; schemathesis loads this by its path.

Each entry names what schemathesis says, of which answer, and why that answer is right nevertheless. Every other answer
of these operations is held against the document as it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import schemathesis


@dataclass(frozen=True, slots=True)
class Lax:
    """Failures that say something about the document and nothing about the emulator."""

    failures: tuple[str, ...]
    operation: str
    status: int
    shows: Callable[[Any], bool]
    reason: str


LAX = (
    Lax(
        ("JsonSchemaError",),
        "{secret_id}",
        404,
        lambda body: set(body) == {"type", "title", "detail", "instance"},
        "A 404 must fit exactly one of two schemas that are the same but for their descriptions: no body can.",
    ),
    Lax(
        ("RejectedPositiveData",),
        "POST /accounts/{api_key}/secrets",
        400,
        lambda body: [invalid["name"] for invalid in body["invalid_parameters"]] == ["secret"],
        "The rules for a secret's value are in the prose only; its schema allows any string.",
    ),
    Lax(
        ("RejectedPositiveData", "AcceptedNegativeData", "UndefinedStatusCode"),
        "POST /account/settings",
        420,
        lambda body: "CallBackUrl: not an http" in body["error-code-label"],
        "The prose wants valid URLs, but the schema allows any string, and no status for a refusal is documented.",
    ),
)


@schemathesis.hook  # type: ignore[untyped-decorator,unused-ignore]
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure stands."""
    return not any(
        type(failure).__name__ in lax.failures
        and case.operation.label.endswith(lax.operation)
        and response.status_code == lax.status
        and lax.shows(response.json())
        for lax in LAX
    )
