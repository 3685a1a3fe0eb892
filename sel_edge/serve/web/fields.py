"""What a request may bring along: each field knows its JSON schema, and reads what it describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sel_edge.serve.web.refusals import RefusalError, bad_request


class Field(Protocol):
    """One value with a name."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        ...

    def read(self, value: Any) -> Any:
        """A value of JSON, or a text from a path or query.

        Raises:
            ValueError: it is not what the schema says; the message is a noun phrase that says
                what is expected.
        """
        ...


@dataclass(frozen=True)
class Text:
    """A text.

    Attributes:
        name, about: for the document.
        pattern: of the whole text, in words that Python and ECMAScript share.
        longest: characters.
        wanted: the same for people, a noun phrase.
        or_null: whether null may stand in its place.
    """

    name: str
    about: str
    pattern: str
    longest: int
    wanted: str
    or_null: bool = False

    def schema(self) -> dict[str, Any]:
        """See `Field`."""
        kind = ["string", "null"] if self.or_null else "string"
        return {"type": kind, "pattern": f"^{self.pattern}$", "maxLength": self.longest}

    def read(self, value: Any) -> str | None:
        """See `Field`."""
        if value is None and self.or_null:
            return None
        is_text = isinstance(value, str) and len(value) <= self.longest
        if not is_text or not re.fullmatch(self.pattern, value):
            raise ValueError(self.wanted)
        return str(value)


@dataclass(frozen=True)
class Printable:
    """A text of which people can see every character, with at least one that is no space, or null.

    Attributes:
        name, about: for the document.
        longest: characters.
    """

    name: str
    about: str
    longest: int

    def schema(self) -> dict[str, Any]:
        """See `Field`; what Python calls printable, in ECMAScript's words."""
        pattern = r"^ *[^\p{C}\p{Z}]([^\p{C}\p{Z}]| )*$"
        return {"type": ["string", "null"], "pattern": pattern, "maxLength": self.longest}

    def read(self, value: Any) -> str | None:
        """See `Field`."""
        if value is None:
            return None
        is_text = isinstance(value, str) and len(value) <= self.longest
        if not is_text or not value.isprintable() or not value.strip():
            raise ValueError(f"null, or a text of at most {self.longest} printable characters")
        return str(value)


@dataclass(frozen=True)
class Whole:
    """A whole number in a query.

    Attributes:
        name, about: for the document.
        least, most: its range.
        default: if it is left out.
    """

    name: str
    about: str
    least: int
    most: int
    default: int

    def schema(self) -> dict[str, Any]:
        """See `Field`."""
        numbers = {"minimum": self.least, "maximum": self.most, "default": self.default}
        return {"type": "integer", **numbers}

    def read(self, value: Any) -> int:
        """See `Field`."""
        digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}", value)
        if not digits or not self.least <= int(value) <= self.most:
            raise ValueError(f"a whole number from {self.least} to {self.most}")
        return int(value)


def read_query(fields: Sequence[Whole], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The values of a query; those left out have their defaults.

    Raises:
        RefusalError: an unknown or repeated name, or a wrong value.
    """
    names = [name for name, _ in pairs]
    known = {field.name: field for field in fields}
    if unknown := [name for name in names if name not in known]:
        raise _unknown("query", unknown, known)
    if len(set(names)) < len(names):
        raise bad_request("A name stands twice in the query.", "Each stands once.")
    given = {name: _read(known[name], value) for name, value in pairs}
    return {field.name: field.default for field in fields} | given


def read_object(fields: Sequence[Field], body: bytes) -> dict[str, Any]:
    """The values of a body: a JSON object with exactly these fields.

    Raises:
        RefusalError: it is something else.
    """
    try:
        found = json.loads(body, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request("The body cannot be read.", "It is JSON in UTF-8.") from error
    known = {field.name: field for field in fields}
    if not isinstance(found, dict):
        raise bad_request("The body is no object.", f"It is an object with {_listed(known)}.")
    if unknown := [name for name in found if name not in known]:
        raise _unknown("body", unknown, known)
    if missing := known.keys() - found.keys():
        raise bad_request(f"The body lacks {_listed(sorted(missing))}.", "All fields are there.")
    return {name: _read(known[name], value) for name, value in found.items()}


def object_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """The JSON schema of what `read_object` reads."""
    return {
        "type": "object",
        "properties": {
            field.name: {**field.schema(), "description": field.about} for field in fields
        },
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def read_path(fields: Sequence[Text], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a path.

    Raises:
        RefusalError: one of them is wrong.
    """
    return {field.name: _read(field, values[field.name]) for field in fields}


def _read(field: Field, value: Any) -> Any:
    try:
        return field.read(value)
    except ValueError as error:
        raise bad_request(f"{field.name} is {ascii(value)[:80]}.", f"It is {error}.") from error


def _unknown(place: str, names: Sequence[str], known: Mapping[str, Field]) -> RefusalError:
    there = _listed(known) if known else "nothing"
    return bad_request(
        f"The {place} has the unknown name {ascii(names[0])[:80]}.", f"It may have {there}."
    )


def _listed(names: Mapping[str, Any] | Sequence[str]) -> str:
    return ", ".join(names)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
