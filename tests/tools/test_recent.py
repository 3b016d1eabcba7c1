"""What the search remembers."""

from functools import partial

from tools.explore.recent import Recent


def test_recent_results_are_not_computed_again() -> None:
    recent: Recent[int] = Recent(3)
    computed: list[int] = []

    def square(number: int) -> int:
        computed.append(number)
        return number**2

    def wanted(*numbers: int) -> list[int]:
        return [recent.get(number, partial(square, number)) for number in numbers]

    assert wanted(1, 2, 1, 2, 3, 1) == [1, 4, 1, 4, 9, 1]
    assert computed == [1, 2, 3]
    assert wanted(4, 1, 3, 4) == [16, 1, 9, 16]
    assert computed == [1, 2, 3, 4], "each is among the last three"


def test_unused_results_are_dropped() -> None:
    recent: Recent[list[int]] = Recent(2)
    first = recent.get(0, list)
    for number in range(1, 5):
        recent.get(number, list)
    assert recent.get(0, list) is not first
