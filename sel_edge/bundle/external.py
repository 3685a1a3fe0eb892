"""Which bytes an ONNX graph reads its tensors from, told without the onnx package.

A graph may place tensors in other files, by any path. Before onnxruntime sees a graph that came
from elsewhere, the protobuf wire format is walked down every path that leads from a model to a
tensor, so that a bundle cannot make the device read a file outside it.

Readers of protobuf disagree on odd encodings (some cut a tag to 32 bits), so tags and lengths that
no writer produces are refused, lest this walk and onnxruntime see two different graphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from sel_edge.core.errors import BundleError

# Message -> field number -> message: every field of ONNX's schema that can lead to a tensor.
TENSOR_PATHS = MappingProxyType(
    {
        "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
        "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
        "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
        "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
        "NodeProto": {5: "AttributeProto"},
        "AttributeProto": {
            5: "TensorProto",
            6: "GraphProto",
            10: "TensorProto",
            11: "GraphProto",
            22: "SparseTensorProto",
            23: "SparseTensorProto",
        },
        "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
        "TensorProto": {13: "StringStringEntryProto"},
    }
)
MAX_DEPTH = 64
MAX_KEY = 2**32 - 1
PLACE_KEYS = frozenset((b"location", b"offset", b"length"))
DECIMAL = re.compile(rb"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Place:
    """Where an external tensor lies: a file's name and the bytes from `offset` up to `end`.

    A length of 0 is onnxruntime's "as long as the tensor's shape says", which it holds against the
    size of the file itself.
    """

    location: str
    offset: int
    end: int


def external_places(model: bytes) -> set[Place]:
    """Where the external tensors of a serialized ModelProto lie.

    Raises:
        BundleError: the bytes are no protobuf message, or none as a writer would encode it; or an
            external tensor does not say exactly its location, offset and length.
    """
    try:
        return set(_places(memoryview(model), "ModelProto", 0))
    except (IndexError, ValueError) as error:
        raise BundleError(
            f"A graph of the bundle cannot be read: {error}.",
            "An ONNX model is expected.",
            "Copy the bundle again or export it again.",
        ) from error


def _places(message: memoryview, kind: str, depth: int) -> Iterator[Place]:
    if depth > MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    fields = [field for field in _length_delimited(message) if field[0] in TENSOR_PATHS[kind]]
    if kind == "TensorProto":
        if fields:
            yield _place(content for _, content in fields)
        return
    for number, content in fields:
        yield from _places(content, TENSOR_PATHS[kind][number], depth + 1)


def _place(entries: Iterable[memoryview]) -> Place:
    """The place that StringStringEntryProtos, of key and value, describe."""
    pairs = [dict(_length_delimited(entry)) for entry in entries]
    found = {bytes(pair.get(1, b"")): bytes(pair.get(2, b"")) for pair in pairs}
    if len(pairs) != len(PLACE_KEYS) or found.keys() != PLACE_KEYS:
        raise ValueError("a tensor does not say its location, offset and length, once each")
    numbers = found[b"offset"], found[b"length"]
    if not all(DECIMAL.fullmatch(number) for number in numbers):
        raise ValueError("the offset or length of a tensor is no whole number")
    offset, length = (int(number) for number in numbers)
    return Place(found[b"location"].decode(), offset, offset + length)


def _length_delimited(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Field number and content of every length-delimited field; others are skipped."""
    position = 0
    while position < len(message):
        key, position = _minimal_varint(message, position)
        if not 8 <= key <= MAX_KEY:
            raise ValueError(f"{key} is no tag of a field")
        wire_type = key & 7
        if wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type == 1:
            position += 8
        elif wire_type == 5:
            position += 4
        elif wire_type == 2:
            length, position = _minimal_varint(message, position)
            if position + length > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire_type} is not in use")
    if position != len(message):
        raise ValueError("its last field is cut off")


def _minimal_varint(message: memoryview, position: int) -> tuple[int, int]:
    value, end = _varint(message, position)
    if end - position > 1 and message[end - 1] == 0:
        raise ValueError("a number is longer than it need be")
    return value, end


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
