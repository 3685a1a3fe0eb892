"""JSON schemas of what `wire.plain` makes of dataclasses."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}


class Schemas:
    """Collects the schemas of dataclasses, each once, under its name.

    Attributes:
        components: name -> schema.
    """

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        self._types: dict[str, type] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type, or a reference to it.

        Raises:
            TypeError: there is no JSON for it, or another dataclass has its name.
        """
        if kind in _PLAIN:
            return _PLAIN[kind]
        if is_dataclass(kind) and isinstance(kind, type):
            return self._reference(kind)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Literal:
            return {"enum": list(parts)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(part) for part in parts]}
        if origin is Mapping:
            return {"type": "object", "additionalProperties": self.of(parts[1])}
        if origin is tuple and parts[1:] == (...,):
            return {"type": "array", "items": self.of(parts[0])}
        raise TypeError(f"there is no JSON for {kind}")

    def without(self, kind: type, names: tuple[str, ...]) -> None:
        """Take in a dataclass without some of its fields."""
        self._types[kind.__name__] = kind
        self.components[kind.__name__] = self._object(kind, names)

    def _reference(self, kind: type) -> dict[str, Any]:
        name = kind.__name__
        if self._types.setdefault(name, kind) is not kind:
            raise TypeError(f"{kind} and {self._types[name]} have one name")
        if name not in self.components:
            self.components[name] = {}  # it may refer to itself
            self.components[name] = self._object(kind, ())
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, kind: type, without: tuple[str, ...]) -> dict[str, Any]:
        hints = get_type_hints(kind)
        names = [part.name for part in fields(kind) if part.name not in without]
        return {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {name: self.of(hints[name]) for name in names},
            "required": names,
            "additionalProperties": False,
        }
