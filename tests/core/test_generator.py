"""New secrets always comply, and each compliant one is as likely as any other."""

import itertools
import math
import random
import string
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rotator.core.generator import DEFAULT_ALPHABET, MAX_LENGTH, MIN_LENGTH, Recipe, generate, is_compliant

PRINTABLE = string.ascii_letters + string.digits + string.punctuation


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    kinds = [draw(st.sampled_from(kind)) for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits)]
    more = draw(st.sets(st.sampled_from(PRINTABLE), max_size=60))
    return Recipe(draw(st.integers(MIN_LENGTH, MAX_LENGTH)), "".join(sorted(more | set(kinds))))


@pytest.mark.parametrize(("length", "compliant"), [(7, False), (8, True), (25, True), (26, False)])
def test_is_compliant_limits_the_length(length: int, compliant: bool) -> None:
    assert is_compliant(SecretStr("aB1".ljust(length, "x"))) is compliant


@given(st.text(alphabet=PRINTABLE, max_size=30))
def test_is_compliant_follows_the_rules_of_the_provider(value: str) -> None:
    expected = (
        8 <= len(value) <= 25
        and any(c in string.ascii_lowercase for c in value)
        and any(c in string.ascii_uppercase for c in value)
        and any(c in string.digits for c in value)
    )
    assert is_compliant(SecretStr(value)) is expected


@given(recipes())
def test_secret_complies_and_uses_only_the_alphabet(recipe: Recipe) -> None:
    secret = generate(recipe)
    assert is_compliant(secret)
    assert len(secret) == recipe.length
    assert set(secret.get_secret_value()) <= set(recipe.alphabet)


def test_default_recipe_has_the_longest_length() -> None:
    assert len(generate(Recipe())) == MAX_LENGTH


@pytest.mark.parametrize(
    ("length", "alphabet", "says"),
    [
        (7, DEFAULT_ALPHABET, "8 to 25"),
        (26, DEFAULT_ALPHABET, "8 to 25"),
        (25, string.ascii_letters, "one digit"),
        (25, string.ascii_lowercase + string.digits, "one upper-case"),
        (25, string.ascii_uppercase + string.digits, "one lower-case"),
        (25, "aB1a", "twice"),
        (25, "aB1 ", "white space"),
        (25, "aB1é", "ASCII"),
        (25, "aB1\n", "white space"),
        (25, "", "one digit"),
    ],
)
def test_recipe_is_refused_when_secrets_might_not_comply(length: int, alphabet: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Recipe(length, alphabet)


@pytest.mark.parametrize(
    ("recipe", "bits"),
    [(Recipe(), 148.8), (Recipe(length=22), 131.0), (Recipe(length=8), 47.2), (Recipe(8, "aA1"), 12.5)],
)
def test_entropy_of_a_recipe_is_in_bits(recipe: Recipe, bits: float) -> None:
    assert round(recipe.entropy, 1) == bits


def test_entropy_counts_only_compliant_strings() -> None:
    compliant = [s for s in itertools.product("aA1-", repeat=8) if {"a", "A", "1"} <= set(s)]
    assert Recipe(8, "aA1-").entropy == math.log2(len(compliant))


def chi_square(draw: Callable[[], str], samples: int) -> float:
    """Distance, in standard deviations, of the draws from a uniform choice among all compliant strings."""
    compliant = ["".join(s) for s in itertools.product("aB1", repeat=8) if {"a", "B", "1"} <= set(s)]
    counts = Counter(draw() for _ in range(samples))
    assert counts.keys() <= set(compliant)
    expected = samples / len(compliant)
    distance = sum((counts[s] - expected) ** 2 / expected for s in compliant)
    freedom = len(compliant) - 1
    return (distance - freedom) / math.sqrt(2 * freedom)


def test_compliant_strings_are_equally_likely() -> None:
    recipe = Recipe(8, "aB1")
    # Seven standard deviations: a uniform generator fails once in a hundred billion runs.
    assert chi_square(lambda: generate(recipe).get_secret_value(), 30_000) < 7


def test_chi_square_detects_a_biased_generator() -> None:
    rng = random.Random(1)

    def naive() -> str:
        characters = ["a", "B", "1", *(rng.choice("aB1") for _ in range(5))]
        rng.shuffle(characters)
        return "".join(characters)

    assert chi_square(naive, 30_000) > 7
