"""The mutants of the core that survive, and why."""

from tools.mutants import every_mutant, explained_mutants


def test_explained_mutants_exist() -> None:
    """A renamed function leaves explanations of nothing behind. `make mutants` is too long to be run each time."""
    assert explained_mutants() - {mutant.name for mutant in every_mutant()} == set()
