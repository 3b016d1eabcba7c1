"""Parts of messages: what was lost, and which command names ids."""

import pytest

from rotator.core.protocol import Command, Journal, Published
from rotator.core.protocol.wording import count_of, loss, names_of, naming
from tests.core.protocol.situations import AT_REST, OLD, published


@pytest.mark.parametrize(("possible", "others"), [("a", 0), ("ab", 1), ("abc", 2), ("abcdefgh", 5)])
def test_command_names_each_other_id(possible: str, others: int) -> None:
    named = ("--secret-id", "ID", *("--retire", "OTHER_ID") * others)
    assert naming("shop", set(possible), ("--replace",)) == Command.of("adopt", "shop", "--replace", *named)


@pytest.mark.parametrize(
    ("journal", "document", "finding"),
    [
        (Journal(), Published(), None),
        (AT_REST, published(secret=OLD), None),
        (Journal(), published(secret=None), "the newest version of the published document is destroyed"),
        (AT_REST, Published(), "the published document was deleted with all its versions"),
        (
            Journal(published_version=1, published_path="old"),
            Published(path="new"),
            "nothing is published at new, and the last published secret is at old",
        ),
        (
            Journal(published_version=1, published_path="old"),
            Published(),
            "the published document was deleted with all its versions",
        ),
        (
            Journal(published_version=1),
            Published(path="new"),
            "the published document was deleted with all its versions",
        ),
        (
            Journal(published_version=1, published_path="same"),
            Published(path="same"),
            "the published document was deleted with all its versions",
        ),
    ],
    ids=["new", "published", "destroyed", "vanished", "moved", "path not known", "journal of before", "same path"],
)
def test_loss_states_the_cause(journal: Journal, document: Published, finding: str | None) -> None:
    found = loss(journal, document)
    assert (found.finding if found is not None else None) == finding


def test_ids_are_shown_sorted_and_counted() -> None:
    assert names_of({"b", "a"}) == "a, b"
    assert count_of({"a"}) == "a secret"
    assert count_of({"a", "b"}) == "2 secrets"
