"""The published document: rotator's fields of it."""

from typing import Any

import pytest

from rotator.config import AccountSettings
from rotator.documents.published import parse_published
from rotator.vault import Document


@pytest.mark.parametrize(
    ("data", "lacks_value"),
    [
        (None, False),
        ({}, True),
        ({"api_key": "key1"}, True),
        ({"api_secret": ""}, True),
        ({"api_secret": 7}, True),
        ({"api_secret": "FirstSecret001"}, False),
    ],
    ids=["deleted", "empty", "other field", "empty value", "wrong type", "value"],
)
def test_document_without_value_is_not_deleted(data: dict[str, Any] | None, lacks_value: bool) -> None:
    account = AccountSettings(name="shop", api_key="shopkey1", path="apps/shop")
    published = parse_published(Document(version=2, data=data), account)
    assert published.path == "apps/shop"
    assert published.lacks_value == lacks_value
    assert (published.secret is None) == (lacks_value or data is None)
    assert published.has_fields == bool(data)


def test_document_names_fields_that_a_publish_overwrites() -> None:
    account = AccountSettings(name="shop", api_key="shopkey1", path="apps/shop")
    data = {"role_id": "role", "secret_id": {"of": "others"}, "api_key": 7, "rotated_at": None}
    assert parse_published(Document(version=1, data=data), account).overwritten == ("api_key", "secret_id")
    assert parse_published(Document(version=1, data={"api_secret": "FirstSecret001"}), account).overwritten == ()
    no_text = {"api_secret": {"of": "others"}}
    assert parse_published(Document(version=1, data=no_text), account).overwritten == ("api_secret",)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "yesterday"])
def test_unusable_date_of_document_is_none(text: str) -> None:
    account = AccountSettings(name="shop", api_key="shopkey1", path="apps/shop")
    document = Document(version=2, data={"api_secret": "FirstSecret001", "rotated_at": text})
    assert parse_published(document, account).rotated_at is None
