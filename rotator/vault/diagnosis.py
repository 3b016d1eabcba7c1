"""Meaning of Vault's answers: pure, and alone in reading the server's status codes and words.

Both servers describe an error in `{"errors": [...]}`, in words that differ between versions: tests/vault/answers.py
lists them with their sources. An answer of any other form comes from another program, usually a proxy. Its text is not
repeated.
"""

import re
from collections.abc import Sequence

from rotator.vault.connection import redirected, unanswered
from rotator.vault.errors import (
    Forbidden,
    MountReplaced,
    TokenUseLimited,
    VaultDenied,
    VaultError,
    VaultRateLimited,
    VaultSealed,
    VaultUnauthorized,
    VaultUnreachable,
    WrongMount,
)
from rotator.vault.http import RedirectRefused, Unanswered
from rotator.vault.reply import ErrorReply, Reply

_BAD_REQUEST = 400
_FORBIDDEN = 403
_NOT_FOUND = 404
_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
# The server that answers has not yet seen what the client has seen: Vault's "required index state not present".
_BEHIND = 412
_UNAVAILABLE = 503

# The servers' words, in lower case. tests/vault/answers.py names a source for each.
_UNKNOWN_TOKEN = "invalid token"  # noqa: S105 - words  # nosec B105
_NO_TOKEN = "missing client token"  # noqa: S105 - words  # nosec B105
# A list of one error comes from the evaluation of a policy. Vault refuses an invalid token before that, without a list
# or, since 1.17.0, with a list of two.
_POLICY_EVALUATED = re.compile(r"\b1 error(\(s\))? occurred")
_CONFLICT = "check-and-set parameter"
_HIDDEN_MOUNT = "preflight capability check"
_NO_NAMESPACES = "namespaces feature not enabled"
_SEALED = "sealed"
# The mount was made a moment ago.
_UPGRADING = "non-versioned to versioned"
# A standby that knows of no leader to forward the request to.
_NO_LEADER = "active cluster node not found"
_TLS_EXPECTED = b"HTTP request to an HTTPS server"


def is_rate_limit(reply: Reply) -> bool:
    """Whether a quota refused the request.

    A standby answers sys/health with the same status, and so does a proxy that has a limit of its own.
    """
    return reply.status == _TOO_MANY_REQUESTS and reply.errors is not None and not is_health(reply)


def is_health(reply: Reply) -> bool:
    """Whether it describes the server, as sys/health does at any status."""
    return "sealed" in reply.body


def is_conflict(reply: Reply) -> bool:
    """Whether a check-and-set write was refused, because the document is at another version."""
    return reply.status == _BAD_REQUEST and _CONFLICT in reply.words


def is_hidden_mount(reply: Reply) -> bool:
    """Whether the mount does not exist, or the policy shows nothing of it: the server does not say which."""
    return reply.status == _FORBIDDEN and _HIDDEN_MOUNT in reply.words


def is_never_written(reply: Reply) -> bool:
    """Whether the document does not exist, in a mount and a namespace that do."""
    return reply.status == _NOT_FOUND and reply.errors == ()


def is_version_without_data(reply: Reply) -> bool:
    """Whether a version was deleted or destroyed; the answer contains its metadata."""
    return reply.status == _NOT_FOUND and bool(reply.body.get("data"))


def diagnose(request: str, address: str, failure: ErrorReply | Unanswered | RedirectRefused) -> VaultError:
    """Return the error that a request ended with.

    Args:
        request: Its purpose, as an infinitive: "read secret/data/x".
    """
    if isinstance(failure, Unanswered):
        return unanswered(address, failure)
    if isinstance(failure, RedirectRefused):
        return redirected(address, failure)
    reply = failure.reply
    if is_rate_limit(reply):
        return rate_limited(request)
    if reply.errors is None:
        return _foreign_answer(request, address, reply)
    if reply.status == _NOT_FOUND or _NO_NAMESPACES in reply.words:
        return wrong_mount(f"Vault finds nothing to {request}: {reply.text}")
    if reply.status == _FORBIDDEN or _NO_TOKEN in reply.words:
        by_policy = bool(_POLICY_EVALUATED.search(reply.words)) and _UNKNOWN_TOKEN not in reply.words
        return Forbidden(reply.text, by_policy=by_policy)
    if reply.status == _UNAVAILABLE and _SEALED in reply.words:
        return sealed(address)
    temporary = _UPGRADING in reply.words or _NO_LEADER in reply.words or reply.status == _BEHIND
    if _BAD_REQUEST <= reply.status < 500 and not temporary:  # noqa: PLR2004
        return VaultError(f"Vault refuses to {request}: {reply.text}", unchanged="Nothing was written there")
    return VaultUnreachable(
        f"Vault at {address} answers with an error: {reply.text}",
        maybe_done=not temporary,
        next_step="Examine the server",
    )


def together(failures: Sequence[VaultUnreachable]) -> VaultUnreachable:
    """Return one error for all the servers that were tried."""
    if len(failures) == 1:
        return failures[0]
    kinds = {type(failure) for failure in failures}
    kind = kinds.pop() if len(kinds) == 1 else VaultUnreachable
    return kind(
        "; ".join(failure.what for failure in failures),
        maybe_done=any(failure.maybe_done for failure in failures),
        next_step=failures[-1].next_step,
    )


# --- errors of an operation -----------------------------------------------------------------------------------


def rate_limited(request: str) -> VaultRateLimited:
    """Return the error of an operation that would have to wait too long because of Vault's rate limit."""
    return VaultRateLimited(
        f"Vault limits the rate of requests, and rotator would have to wait too long to {request}",
        unchanged="Nothing was written there",
        next_step="Lower daemon.concurrency, or raise the quota: vault list sys/quotas/rate-limit",
    )


def sealed(address: str) -> VaultSealed:
    """Return the error of a sealed server."""
    return VaultSealed(f"Vault at {address} is sealed", maybe_done=False, next_step="Unseal it: vault operator unseal")


def disaster_secondary(address: str) -> VaultUnreachable:
    """Return the error of a server that only replicates another cluster."""
    return VaultUnreachable(
        f"Vault at {address} is a disaster recovery secondary, which serves no requests",
        maybe_done=False,
        next_step="Set vault.address to the primary cluster",
    )


def restricted(operation: str, api_path: str) -> VaultDenied:
    """Return the error of a request that Vault refuses although the policy has the capability for it."""
    return VaultDenied(
        f"Vault refuses to let rotator {operation} {api_path}, although its policy has the capability",
        unchanged="Nothing was written there",
        next_step="Remove min_wrapping_ttl, max_wrapping_ttl, control_group, required_parameters, allowed_parameters "
        "and denied_parameters for this path from the policies of rotator's token",
    )


def policy_denied(operation: str, api_path: str) -> VaultDenied:
    """Return the error of a request that the token's policy does not allow.

    Args:
        operation: "read", "update" or "write".
    """
    needed = ["create", "update"] if operation == "write" else [operation]
    capabilities = ", ".join(f'"{capability}"' for capability in needed)
    return VaultDenied(
        f"Vault's policy does not let rotator {operation} {api_path}",
        unchanged="Nothing was written there",
        next_step=f'Add to its policy: path "{api_path}" {{ capabilities = [{capabilities}] }}',
    )


def token_refused(advice: str) -> VaultUnauthorized:
    """Return the error of a token that Vault does not recognize."""
    return VaultUnauthorized(
        "Vault refuses rotator's token: it has ended or was revoked",
        unchanged="Nothing was written",
        next_step=advice,
    )


def token_missing(address: str, advice: str) -> VaultUnauthorized:
    """Return the error of a request without a token, to which no agent added one."""
    return VaultUnauthorized(
        f"Vault at {address} refuses requests without a token: no agent adds one, or the agent's token has ended",
        unchanged="Nothing was written",
        next_step=advice,
    )


def token_unusable(path: str, address: str) -> VaultUnauthorized:
    """Return the error of an answer to a login that contains no token, or one that no header can carry."""
    return VaultUnauthorized(
        f"The answer to rotator's login at {path} contains no usable token",
        unchanged="Nothing was written",
        next_step=f"Make sure that {address} is Vault's address, and that no proxy in between changes its answers",
    )


def login_refused(path: str, reason: str) -> VaultUnauthorized:
    """Return the error of a login that Vault refuses."""
    return VaultUnauthorized(
        f"Vault refuses rotator's login at {path}: {reason.removeprefix(f'Vault refuses to log in at {path}: ')}",
        unchanged="Nothing was written",
        next_step="Check vault.auth, the role in Vault, that the auth method is enabled there, and whether Vault has "
        "locked the role out after failed logins: vault read sys/locked-users",
    )


def wrong_mount(what: str) -> WrongMount:
    """Return the error of a mount that does not exist or is none of KV version 2."""
    return WrongMount(
        what,
        unchanged="Nothing was written",
        next_step="Check vault.mount and vault.namespace: vault secrets list -detailed",
    )


def hidden_mount(mount: str) -> WrongMount:
    """Return the error of a mount that does not exist, or that the token's policy hides: Vault does not say which."""
    return WrongMount(
        f'Vault shows rotator no mount "{mount}": it does not exist, or the policy of rotator\'s token lacks it',
        unchanged="Nothing was written",
        next_step="Check the mount and the policy: vault secrets list -detailed, vault token lookup",
    )


def replaced_mount(mount: str, path: str) -> MountReplaced:
    """Return the error of a mount that has replaced the one that rotator knew, and lacks the documents.

    Args:
        path: A document that the former mount contained.
    """
    return MountReplaced(
        f'Vault\'s mount "{mount}" was replaced by another one, which lacks {path} and other documents of rotator',
        unchanged="Nothing was written",
        next_step="Restore the documents. To begin without them, restart rotator",
    )


def unreadable(api_path: str, address: str, *, maybe_done: bool = True) -> VaultUnreachable:
    """Return the error of a successful answer that Vault would not give."""
    return VaultUnreachable(
        f"The answer for {api_path} is not one of Vault's",
        maybe_done=maybe_done,
        next_step=f"Make sure that {address} is Vault's address, not a proxy's",
    )


def wrapped() -> VaultDenied:
    """Return the error of an answer with a token in place of the data, which does not mean that there is none."""
    return VaultDenied(
        "Vault wraps its answer to rotator (response wrapping or a control group) instead of giving it",
        unchanged="Nothing was written",
        next_step="Remove min_wrapping_ttl, max_wrapping_ttl and control_group from the policies of rotator's token",
    )


def refuse_use_limit(uses: int) -> None:
    """Refuse a token for a few requests, which would end in the middle of a rotation.

    Args:
        uses: For how many requests it is good; 0: no limit.

    Raises:
        TokenUseLimited: If it has a limit.
    """
    if uses:
        raise TokenUseLimited(
            f"rotator's token is good for {uses} requests only",
            unchanged="Nothing was written",
            next_step="Have it made without a limit: token_num_uses=0 for the role, or no -use-limit for a token",
        )


# --- answers of other programs --------------------------------------------------------------------------------


def _foreign_answer(request: str, address: str, reply: Reply) -> VaultError:
    if _TLS_EXPECTED in reply.content:
        return VaultUnreachable(
            f"The server at {address} expects TLS",
            maybe_done=False,
            next_step="Start vault.address with https://",
        )
    # A filter can withhold an answer, so that a 403 or a 5xx does not say that Vault did not get the request.
    unsent = _BAD_REQUEST <= reply.status < 500 and reply.status not in (_FORBIDDEN, _TIMEOUT)  # noqa: PLR2004
    sender = f"{reply.forwarder}, on the way to {address}," if reply.forwarder else address
    next_step = _PROXY_ADVICE.get(reply.status, "Examine the proxy in front of Vault, and vault.address")
    return VaultUnreachable(
        f"To {request}, {sender} answers with {reply.summary}, which is not one of Vault's answers",
        maybe_done=not unsent,
        next_step=reply.forwarder.advice(str(reply.status)) if reply.forwarder else next_step,
    )


_PROXY_ADVICE = {
    400: "Check that vault.address has the scheme (http or https) and the port of Vault",
    401: "Have the proxy in front of Vault let rotator's requests pass without a login of its own",
    403: "Have the proxy or firewall in front of Vault allow rotator's requests; no policy of Vault is involved",
    404: "Check that vault.address is Vault's address, with the proxy's path if it has one",
    405: "Have the proxy in front of Vault allow the methods GET and POST",
    407: "Have the proxy in front of Vault let rotator's requests pass without credentials",
    429: "Raise the rate limit of the proxy in front of Vault, or lower daemon.concurrency",
    413: "Have the proxy in front of Vault accept request bodies of at least 1 MiB",
}


# --- requests without an answer -------------------------------------------------------------------------------
