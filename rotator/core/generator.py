"""Random secrets that comply with the provider's rules.

The rules are the Account API's: 8 to 25 characters, at least one lower-case letter, one upper-case letter and
one digit (operation createAPISecret of its specification).
"""

import math
import secrets
import string
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations

from pydantic import SecretStr

MIN_LENGTH = 8
MAX_LENGTH = 25
REQUIRED = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
DEFAULT_ALPHABET = string.ascii_letters + string.digits

# Any other character needs an escape in a shell, a .env file, a URL or a header.
_ALLOWED = frozenset(string.ascii_letters + string.digits + string.punctuation)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The form of new secrets.

    Attributes:
        length: Number of characters, 8 to 25.
        alphabet: The characters to draw from: printable ASCII without white space, each once.

    Raises:
        ValueError: If no secret, or not every secret of this kind, could comply with the provider's rules.
    """

    length: int = MAX_LENGTH
    alphabet: str = DEFAULT_ALPHABET

    def __post_init__(self) -> None:
        if not MIN_LENGTH <= self.length <= MAX_LENGTH:
            raise ValueError(f"secret_length has to be {MIN_LENGTH} to {MAX_LENGTH}, not {self.length}")
        if not _ALLOWED.issuperset(self.alphabet):
            raise ValueError("secret_alphabet may hold only printable ASCII characters and no white space")
        if len(set(self.alphabet)) < len(self.alphabet):
            raise ValueError("secret_alphabet holds a character twice, which would make it likelier than the others")
        for kind in REQUIRED:
            if not set(kind) & set(self.alphabet):
                raise ValueError(
                    "secret_alphabet needs at least one lower-case letter, one upper-case letter and one digit"
                )

    @property
    def entropy(self) -> float:
        """How hard a secret of this kind is to guess, in bits: by how many there are, all equally likely."""
        return math.log2(_compliant(self.length, self.alphabet))


@lru_cache
def _compliant(length: int, alphabet: str) -> int:
    """The number of secrets of this kind that comply with the provider's rules."""
    kinds = [set(kind) & set(alphabet) for kind in REQUIRED]
    without = chain.from_iterable(combinations(kinds, count) for count in range(len(kinds) + 1))
    return sum((-1) ** len(missing) * (len(alphabet) - sum(map(len, missing))) ** length for missing in without)


def generate(recipe: Recipe) -> SecretStr:
    """A new secret, each compliant one of the recipe's as likely as any other.

    Strings are drawn uniformly from all of the alphabet's and those that do not comply are thrown away, which
    leaves the rest uniform. (Putting one character of each kind in by hand does not: it favours strings with few
    of a kind.) With the default recipe one draw in 60 is thrown away; with the worst legal one (8 characters, one
    letter of each case, one digit, 32 punctuation marks) some 160 draws are needed, a millisecond.
    """
    while True:
        secret = _draw(recipe.alphabet, recipe.length)
        if is_compliant(secret):
            return secret


def _draw(alphabet: str, length: int) -> SecretStr:
    """Return a string, each of this length as likely as any other.

    Its characters are the digits of one random number. A number for each of them would take 25 system calls, and a
    thread can lose its turn at each.
    """
    base = len(alphabet)
    number = secrets.randbelow(base**length)
    return SecretStr("".join(alphabet[number // base**place % base] for place in range(length)))


def is_compliant(secret: SecretStr) -> bool:
    """Whether the provider's rules allow this value."""
    value = secret.get_secret_value()
    return MIN_LENGTH <= len(value) <= MAX_LENGTH and all(set(kind) & set(value) for kind in REQUIRED)
