"""Values that leaked: their digests stay in the journal when other requests replace the compromised ones."""

from hashlib import blake2b

from pydantic import SecretStr

from rotator.core.copies import replace
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


def might_be_leaked(journal: Journal, secret: SecretStr | None = None, *, answered_id: str | None = None) -> bool:
    """Return whether a secret can be one that leaked, and whose id rotator cannot tell. Without its value, each can.

    Args:
        journal: The journal.
        secret: Its value, if it is known.
        answered_id: Its id, if the provider answered it to a create. After the leak, it belongs to another value.
    """
    if secret is not None:
        return is_leaked(journal, secret)
    if answered_id is not None and answered_id == journal.later_id:
        return False
    return bool(journal.leaked) or _is_of_unknown(journal.request)


def with_leak(journal: Journal, leak: frozenset[str]) -> Journal:
    """Return the journal that notes a leak. It can be that of any value which was created before."""
    if leak <= journal.leaked:
        return journal
    return replace(journal, leaked=journal.leaked | leak, later_id=None)


def later_id_after(journal: Journal, created: SecretStr | None, answered_id: str | None) -> str | None:
    """Return the id of a secret that was created, if a leak is noted, and its value is another one; otherwise None.

    A request without a value can be for a deleted version that contained this very secret.
    """
    request = journal.request
    is_unread = request is not None and request.of.is_unknown and request.value_digest is None
    is_other = might_be_leaked(journal) and not is_unread and not is_leaked(journal, created)
    return answered_id if is_other else None


def _is_of_unknown(request: Request | None) -> bool:
    """Whether a compromised request is for a secret that rotator cannot tell any more."""
    return request is not None and request.kind is RequestKind.COMPROMISED and request.of.is_unknown


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
