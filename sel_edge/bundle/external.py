"""Which files an ONNX graph reads its tensors from, told without the onnx package.

A graph may place tensors in other files, by any path. Before onnxruntime sees a graph that came
from elsewhere, the protobuf wire format is walked down every path that leads from a model to a
tensor, so that a bundle cannot make the device read a file outside it.

Readers of protobuf disagree on odd encodings (some cut a tag to 32 bits), so tags and lengths that
no writer produces are refused, lest this walk and onnxruntime see two different graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def external_locations(model: bytes) -> set[str]:
    """The `location` of every external tensor of a serialized ModelProto.

    Raises:
        BundleError: the bytes are no protobuf message, or none as a writer would encode it.
    """
    try:
        return set(_locations(memoryview(model), "ModelProto", 0))
    except (IndexError, ValueError) as error:
        raise BundleError(
            f"The graph of the bundle cannot be read: {error}.",
            "An ONNX model is expected.",
            "Copy the bundle again or export it again.",
        ) from error


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    if kind == "StringStringEntryProto":
        entry = {number: bytes(value) for number, value in _length_delimited(message)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode()
        return
    for number, value in _length_delimited(message):
        if (inner := TENSOR_PATHS[kind].get(number)) is not None:
            yield from _locations(value, inner, depth + 1)


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
