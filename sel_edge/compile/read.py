"""Reading an ONNX file that may be damaged, cut off, or reach for other files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto, helper

from sel_edge.core.errors import BundleError

MAX_BYTES = 2**31 - 1
"""A protobuf message cannot be larger; neither may a model together with its external data."""

ELEMENT_TYPES = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.INT64,
        TensorProto.INT32,
        TensorProto.INT16,
        TensorProto.INT8,
        TensorProto.UINT64,
        TensorProto.UINT32,
        TensorProto.UINT16,
        TensorProto.UINT8,
        TensorProto.BOOL,
    }
)
"""Element types that numpy has too."""


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX model, and the weights that it keeps in files beside it.

    Args:
        path: a file in ONNX's binary format.

    Returns:
        The model with all weights inside.

    Raises:
        BundleError: the file is missing, damaged or larger than 2 GB; or a file of weights is
            missing, too short, not in the model's folder, or reached through a link.
    """
    try:
        model = _parse(path)
        outside = [t for t in tensors_of(model) if t.data_location == TensorProto.EXTERNAL]
        _require_size(path, path.stat().st_size + sum(_expected_bytes(path, t) for t in outside))
        for tensor in outside:
            _attach(path, tensor)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    return model


def tensors_of(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that is written in a model without control flow."""
    yield from model.graph.initializer
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    for node in (node for body in bodies for node in body):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def plain(text: str | bytes, limit: int = 80) -> str:
    """A text from a file, fit for an error message; protobuf hands over bytes if it is no UTF-8."""
    known = text.decode(errors="replace") if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else "?" for c in known[:limit])


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise BundleError(
            f"There is no file {path}.",
            "An ONNX model is expected.",
            "Check the path.",
        )
    _require_size(path, path.stat().st_size)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # of protobuf, which has no types for mypy
        raise _unreadable(path, str(error)) from error
    if not model.HasField("graph"):
        raise _unreadable(path, "it holds no graph")
    return model


def _expected_bytes(path: Path, tensor: TensorProto) -> int:
    if tensor.data_type not in ELEMENT_TYPES:
        raise _unreadable(path, f"{plain(tensor.name)} has elements of type {tensor.data_type}")
    elements = 1
    for dim in tensor.dims:
        if dim < 0:
            raise _unreadable(path, f"{plain(tensor.name)} has a negative dimension")
        elements *= dim
    return elements * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _attach(path: Path, tensor: TensorProto) -> None:
    """Replace the reference to a file by what is written there."""
    where = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    file = _beside(path, where.get("location", ""))
    expected = _expected_bytes(path, tensor)
    try:
        offset, length = int(where.get("offset", "0")), int(where.get("length", str(expected)))
    except ValueError:
        offset, length = -1, expected
    if offset < 0 or length != expected or file.stat().st_size < offset + length:
        raise BundleError(
            f"{file} does not hold the weights {plain(tensor.name)} of {path}.",
            f"{expected} bytes at the place that the model names are expected.",
            "Copy both files again, or export the model again.",
        )
    with file.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT


def _beside(path: Path, location: str) -> Path:
    """The file of weights, confined to the model's folder."""
    relative = PurePosixPath(location)
    steps = relative.parts
    odd = not steps or relative.is_absolute() or ".." in steps or {"\\", "\0"} & set(location)
    walked = [path.parent.joinpath(*steps[: n + 1]) for n in range(0 if odd else len(steps))]
    if odd or any(step.is_symlink() for step in walked):
        raise BundleError(
            f"{path} keeps weights in {plain(location)!r}.",
            "Weights may lie in regular files of the model's own folder only, without links.",
            "Do not use this file unless you trust its source; save it again with all weights "
            "inside.",
        )
    file = walked[-1]
    if not file.is_file():
        raise BundleError(
            f"The weights of {path} are missing: there is no file {file}.",
            "A model with external data needs its files of weights beside it.",
            "Copy them too, or save the model again with all weights inside.",
        )
    return file


def _require_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise BundleError(
            f"{path} has {size} bytes with its weights.",
            f"At most {MAX_BYTES} bytes are expected of a network for small boards.",
            "Choose a smaller network.",
        )


def _unreadable(path: Path, detail: str) -> BundleError:
    return BundleError(
        f"{path} cannot be read: {detail}.",
        "An ONNX model in the binary format is expected.",
        "Copy the file again, or export the model again.",
    )
