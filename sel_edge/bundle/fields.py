"""Reading a JSON object strictly: every key is known, present, and of its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sel_edge.core.errors import BundleError

T = TypeVar("T")

LARGEST = 1e300
"""No number of a manifest is larger; whole numbers in JSON may exceed what a float can hold."""


class Fields:
    """The fields of one JSON object, each to be read once.

    Args:
        where: the object's name in errors, e.g. "manifest.model".
        value: the object.

    Raises:
        BundleError: from every method, when a field is missing, of another type or out of range.
    """

    def __init__(self, where: str, value: Mapping[str, Any]) -> None:
        self._where, self._value = where, value
        self._unread = set(value)

    def names(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._value)

    def object(self, name: str) -> Fields:
        """A nested object, to be read strictly as well."""
        return Fields(f"{self._where}.{name}", self.mapping(name))

    def objects(self, name: str) -> list[Fields]:
        """A list of nested objects, each to be read strictly as well."""
        values = self._list(name)
        self.require(all(isinstance(value, dict) for value in values), name, "a list of objects")
        return [Fields(f"{self._where}.{name}[{i}]", value) for i, value in enumerate(values)]

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """None where the field is null, else what `read`, a method of this object, makes of it."""
        return None if self._read(name) is None else read(name)

    def mapping(self, name: str) -> dict[str, Any]:
        """A nested object as it is."""
        value = self._read(name)
        self.require(isinstance(value, dict), name, "an object")
        return dict(value)

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self._read(name)
        self.require(isinstance(value, str) and value != "", name, "a text that is not empty")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts that are not empty."""
        values = self._list(name)
        good = all(isinstance(value, str) and value for value in values)
        self.require(good, name, "a list of texts")
        return tuple(values)

    def choice(self, name: str, options: Sequence[str]) -> str:
        """One of some texts."""
        value = self._read(name)
        known = isinstance(value, str) and value in options
        self.require(known, name, f"one of {', '.join(map(repr, options))}")
        return str(value)

    def boolean(self, name: str) -> bool:
        """true or false."""
        value = self._read(name)
        self.require(isinstance(value, bool), name, "true or false")
        return bool(value)

    def integer(self, name: str, at_least: int, at_most: int = 2**53) -> int:
        """A whole number within a range."""
        value = self._read(name)
        good = _is_integer(value, at_least, at_most)
        self.require(good, name, f"a whole number from {at_least} to {at_most}")
        return int(value)

    def integers(self, name: str, at_least: int, at_most: int) -> tuple[int, ...]:
        """A list of whole numbers within a range."""
        values = self._list(name)
        good = all(_is_integer(value, at_least, at_most) for value in values)
        self.require(good, name, f"a list of whole numbers from {at_least} to {at_most}")
        return tuple(values)

    def number(
        self,
        name: str,
        at_least: float = -LARGEST,
        at_most: float = LARGEST,
    ) -> float:
        """A number within a range."""
        value = self._read(name)
        self.require(_is_number(value, at_least, at_most), name, "a number in its range")
        return float(value)

    def numbers(
        self, name: str, at_least: float = -LARGEST, at_most: float = LARGEST
    ) -> tuple[float, ...]:
        """A list of numbers within a range."""
        values = self._list(name)
        good = all(_is_number(value, at_least, at_most) for value in values)
        self.require(good, name, f"a list of numbers from {at_least:g} to {at_most:g}")
        return tuple(float(value) for value in values)

    def require(self, condition: bool, name: str, expected: str) -> None:
        """Refuse the object unless `condition` holds for the field `name`."""
        if not condition:
            raise BundleError(
                f"The bundle's {self._where}.{name} has a value that cannot be used.",
                f"It should be {expected}.",
                "Export the bundle again.",
            )

    def finish(self) -> None:
        """Refuse keys that nothing has read."""
        if self._unread:
            raise BundleError(
                f"The bundle's {self._where} has unknown keys: {', '.join(sorted(self._unread))}.",
                "Only the keys of this schema version are allowed.",
                "Export the bundle again with this version of sel-edge.",
            )

    def finished(self, result: T) -> T:
        """`finish`, then hand `result` through."""
        self.finish()
        return result

    def _read(self, name: str) -> Any:
        if name not in self._value:
            raise BundleError(
                f"The bundle's {self._where} lacks the key {name}.",
                "Every key of this schema version is required.",
                "Export the bundle again with this version of sel-edge.",
            )
        self._unread.discard(name)
        return self._value[name]

    def _list(self, name: str) -> list[Any]:
        value = self._read(name)
        self.require(isinstance(value, list), name, "a list")
        return list(value)


def _is_integer(value: Any, at_least: int, at_most: int) -> bool:
    return type(value) is int and at_least <= value <= at_most


def _is_number(value: Any, at_least: float, at_most: float) -> bool:
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_numeric and at_least <= value <= at_most
