"""Values that leaked: their digests stay in the journal when other requests replace the compromised ones."""

from dataclasses import replace
from hashlib import blake2b

from pydantic import SecretStr

from rotator.core.protocol.journal import Journal, Request, RequestKind, ids_of


def leak_of(request: Request | None) -> frozenset[str]:
    """Return the note that a request's value leaked; nothing if it is no compromised one, or stores no value."""
    if request is None or request.kind is not RequestKind.COMPROMISED or request.value_digest is None:
        return frozenset()
    return frozenset({f"{request.id}:{request.value_digest}"})


def leaked_requests(journal: Journal) -> frozenset[str]:
    """Return the names of the compromised requests whose values are noted."""
    return frozenset(leak.rpartition(":")[0] for leak in journal.leaked)


def is_leaked(journal: Journal, secret: SecretStr | None) -> bool:
    """Return whether an earlier compromised request was for this value."""
    return bool(_leaks(journal, secret))


def might_be_leaked(journal: Journal, secret: SecretStr | None = None) -> bool:
    """Return whether a secret can be one that leaked, and whose id rotator cannot tell. Without its value, each can."""
    if secret is not None:
        return is_leaked(journal, secret)
    request = journal.request
    is_unknown = request is not None and request.kind is RequestKind.COMPROMISED and request.of.is_unknown
    return is_unknown or bool(journal.leaked)


def without_leak(journal: Journal, secret: SecretStr | None, id_: str | None) -> Journal:
    """Return the journal without a note that this value leaked, because a person published it all the same.

    Args:
        journal: The journal.
        secret: The value.
        id_: Its id, if it is known.
    """
    journal = replace(journal, leaked=journal.leaked - _leaks(journal, secret))
    request = journal.request
    if request is None:
        return journal
    return replace(journal, request=replace(request, earlier_ids=request.earlier_ids - ids_of(id_)))


def _leaks(journal: Journal, secret: SecretStr | None) -> frozenset[str]:
    if secret is None:
        return frozenset()
    parts = {leak: leak.rpartition(":") for leak in journal.leaked}
    return frozenset(leak for leak, (id_, _, digest) in parts.items() if digest == digest_of(id_, secret))


def digest_of(request_id: str, secret: SecretStr) -> str:
    """A digest that tells whether two values are the same one.

    The request's name keys it, so that digests of two requests do not tell that they speak of one value.
    """
    key = request_id.encode()[: blake2b.MAX_KEY_SIZE]
    value = secret.get_secret_value().encode(errors="surrogatepass")  # JSON can contain half a pair
    return blake2b(value, key=key, digest_size=16).hexdigest()
