"""Changed copies of frozen dataclasses."""

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import replace
else:
    T = TypeVar("T")

    def replace(value: T, /, **changes: Any) -> T:
        """Return a copy with changes, as `dataclasses.replace` does, in half of its time.

        A rotation makes forty copies with thirty fields each. Python's function gives every field to `__init__`; that
        took 8 % of a rotation's CPU.

        Args:
            value: An instance of a frozen dataclass with slots and without `__post_init__`.
            changes: The new values, by the names of the fields.

        Raises:
            KeyError: If there is no such field.
        """
        kind = type(value)
        slots = _slots(kind)
        copy = object.__new__(kind)
        for read, write in slots.values():
            write(copy, read(value))
        for name, new in changes.items():
            slots[name][1](copy, new)
        return copy

    @cache
    def _slots(kind: type) -> dict[str, tuple[Any, Any]]:
        """Return how to read and to write each field of a class, by its name."""
        slots = {field.name: getattr(kind, field.name) for field in fields(kind)}
        return {name: (slot.__get__, slot.__set__) for name, slot in slots.items()}


__all__ = ["replace"]
