"""A version of the published document."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the published document, and where a secret's value is in it.

    Attributes:
        number: The KV version.
        written_at: When Vault stored it. No other version with this number has the same time.
        path: Path of the document.
        value_field: Name of the field for the value.
        unknown_fields: Fields of a newer version of rotator, as JSON text; stored again as they are.
    """

    number: int
    written_at: datetime
    path: str
    value_field: str
    unknown_fields: str = field(default="", repr=False)
