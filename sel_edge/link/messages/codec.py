"""How the fields of a message lie in its bytes.

A message is a dataclass whose fields say by `number`, `fixed`, `counted` or `rest` how they are
written. Whatever does not read back to the same message is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

from sel_edge.core.errors import LinkError

HASH_BYTES = MAC_BYTES = 32
NONCE_BYTES = 16
DEVICE_ID_BYTES = 8


class Message:
    """Base of all messages: a frozen dataclass of fields made by the functions below."""

    def check(self) -> None:
        """Look at what one field alone cannot tell.

        Raises:
            ValueError: the fields contradict each other or the format.
        """

    def encode(self) -> bytes:
        """The fields as bytes.

        Raises:
            LinkError: a field has a value that the format cannot tell.
        """
        try:
            self.check()
            return b"".join(
                part.metadata["wire"].write(getattr(self, part.name), vars(self))
                for part in fields(self)  # type: ignore[arg-type]
            )
        except (ValueError, struct.error) as error:
            raise LinkError(
                f"A message ({type(self).__name__}) cannot be sent: {error}.",
                "Values within the ranges of docs/SPEC.md are expected.",
                "Use other values.",
            ) from error

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Read what `encode` wrote, and nothing else.

        Raises:
            LinkError: these bytes are no such message.
        """
        try:
            source, values = _Source(content), dict[str, Any]()
            for part in fields(cls):  # type: ignore[arg-type]
                values[part.name] = part.metadata["wire"].read(source, values)
            if source.left:
                raise ValueError(f"{source.left} bytes follow its end")
            message = cls(**values)
            message.check()
        except (ValueError, struct.error) as error:
            raise LinkError(
                f"The other side sent a message ({cls.__name__}) that cannot be right: {error}.",
                "The fields of docs/SPEC.md are expected.",
                "Check that firmware and program are of the same release.",
            ) from error
        return message


def number(layout: str, zeros: int = 0) -> Any:
    """A field with one number.

    Args:
        layout: a letter of `struct`, little-endian.
        zeros: bytes of 0 that follow it.
    """
    return field(metadata={"wire": _Number(f"<{layout}", zeros)})


def fixed(size: int) -> Any:
    """A field with exactly so many bytes."""
    return field(metadata={"wire": _Fixed(size)})


def counted(layout: str, count: str) -> Any:
    """A field with a tuple of as many numbers as an earlier field says.

    Args:
        layout: a letter of `struct`, little-endian.
        count: name of the earlier field.
    """
    return field(metadata={"wire": _Counted(layout, count)})


def rest() -> Any:
    """A field with all bytes that follow."""
    return field(metadata={"wire": _Rest()})


class _Source:
    """Bytes that are read from front to back."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._position

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("it ends too early")
        self._position += size
        return self._content[self._position - size : self._position]


class _Wire(Protocol):
    """How one field is written and read; `message` holds the values of the fields so far."""

    def write(self, value: Any, message: Mapping[str, Any]) -> bytes: ...

    def read(self, source: _Source, message: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True)
class _Number(_Wire):
    layout: str
    zeros: int

    def write(self, value: Any, message: Mapping[str, Any]) -> bytes:
        return struct.pack(self.layout, value) + bytes(self.zeros)

    def read(self, source: _Source, message: Mapping[str, Any]) -> Any:
        (value,) = struct.unpack(self.layout, source.take(struct.calcsize(self.layout)))
        if any(source.take(self.zeros)):
            raise ValueError("what is to be 0 is not")
        return value


@dataclass(frozen=True)
class _Fixed(_Wire):
    size: int

    def write(self, value: Any, message: Mapping[str, Any]) -> bytes:
        if len(value) != self.size:
            raise ValueError(f"a field has {len(value)} bytes instead of {self.size}")
        return bytes(value)

    def read(self, source: _Source, message: Mapping[str, Any]) -> Any:
        return source.take(self.size)


@dataclass(frozen=True)
class _Counted(_Wire):
    layout: str
    count: str

    def write(self, value: Any, message: Mapping[str, Any]) -> bytes:
        if len(value) != message[self.count]:
            raise ValueError(f"{len(value)} numbers are there, and {self.count} says otherwise")
        return struct.pack(f"<{len(value)}{self.layout}", *value)

    def read(self, source: _Source, message: Mapping[str, Any]) -> Any:
        layout = f"<{message[self.count]}{self.layout}"
        return struct.unpack(layout, source.take(struct.calcsize(layout)))


@dataclass(frozen=True)
class _Rest(_Wire):
    def write(self, value: Any, message: Mapping[str, Any]) -> bytes:
        return bytes(value)

    def read(self, source: _Source, message: Mapping[str, Any]) -> Any:
        return source.take(source.left)
