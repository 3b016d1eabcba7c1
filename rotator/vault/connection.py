"""Errors of requests that never reached Vault, or that it did not answer: network, TLS, proxies, redirects."""

import re

from rotator.logs import foreign
from rotator.net import TooLong
from rotator.vault.errors import VaultUnreachable, VaultUntrusted
from rotator.vault.http import RedirectReason, RedirectRefused, Unanswered


def unanswered(address: str, failure: Unanswered) -> VaultUnreachable:
    """Return the error of a request that Vault did not answer."""
    if failure.tls_failure is not None:
        return VaultUntrusted(
            failure.tls_failure.problem,
            maybe_done=False,
            unchanged="Nothing was sent",
            next_step=failure.tls_failure.next_step,
        )
    server = failure.redirected_to or address
    if failure.refusal is not None:
        proxy, status = failure.refusal
        what = f"On the way to {server}, {proxy} answers with HTTP {status}"
        return VaultUnreachable(what, maybe_done=False, next_step=proxy.advice(status))
    untrusted = _untrusted(server, failure.reason)
    if untrusted is not None:
        return untrusted
    if isinstance(failure, TooLong):
        return VaultUnreachable(
            f"The answer of Vault at {server} is too long",
            maybe_done=failure.sent,
            next_step="Examine the server, and the proxy in front of it",
        )
    if failure.redirected_to:
        return VaultUnreachable(
            f"Vault at {address} redirects to {failure.redirected_to}, which does not answer ({failure.kind})",
            maybe_done=failure.sent,
            next_step="Make sure that rotator can reach api_addr of each Vault server",
        )
    return VaultUnreachable(
        f"Vault at {address} does not answer ({failure.kind})",
        maybe_done=failure.sent,
        next_step="Examine the server and the network",
    )


def redirected(address: str, failure: RedirectRefused) -> VaultUnreachable:
    """Return the error of a redirect that rotator does not follow."""
    reason, next_step = _REDIRECTS[failure.reason]
    target = f" to {foreign(failure.target, 200)}" if failure.target else ""
    return VaultUnreachable(
        f"Vault at {address} redirects{target} with HTTP {failure.status}, {reason}",
        maybe_done=False,
        next_step=next_step,
    )


_REDIRECTS = {
    RedirectReason.NOT_A_URL: (
        "and the Location header is not an http or https URL",
        "Correct api_addr in the configuration of the Vault server; an IPv6 address needs brackets",
    ),
    RedirectReason.PLAIN_TEXT: (
        "which would send the token in plain text",
        "Correct api_addr in the configuration of the Vault server: it has to begin with https://",
    ),
    RedirectReason.ELSEWHERE: (
        "which is not in vault.address",
        "If it belongs to this Vault, name it in vault.address. Otherwise correct api_addr, or a proxy's login page",
    ),
    RedirectReason.METHOD: (
        "which would turn a write into a read",
        "Correct vault.address, with its path, so that nothing redirects",
    ),
    RedirectReason.LOOP: (
        "again and again",
        "Check api_addr in the configuration of each Vault server, and the proxy in front of them",
    ),
}


def _untrusted(address: str, reason: str) -> VaultUntrusted | None:
    """Return the error of certificates that do not fit, if that is the reason."""
    if found := re.search(r"certificate verify failed: ([^(\"]+)", reason):
        what = f"The certificate of {address} cannot be verified ({foreign(found[1])})"
        next_step = "Name the CA that signed it in vault.ca_cert"
        if "mismatch" in found[1]:
            next_step = "Set vault.address, or vault.tls_server_name, to a name that the certificate contains"
        elif "expired" in found[1] or "not yet valid" in found[1]:
            next_step = "Renew it at the server, or correct the clock of this machine"
    elif found := re.search(r"SSL: (\w*(?:ALERT|WRONG_VERSION)\w*)", reason):
        what = f"There is no TLS connection to {address} ({found[1]})"
        next_step = "Check vault.address, vault.client_cert and vault.client_key"
    else:
        return None
    return VaultUntrusted(what, maybe_done=False, unchanged="Nothing was sent", next_step=next_step)
