"""What is written in an ONNX model, as Python and numpy have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sel_edge.compile.check import described, understood
from sel_edge.compile.graph import Array
from sel_edge.compile.read import ELEMENT_TYPES, plain
from sel_edge.core.errors import BundleError

_POSITIVE = frozenset({"strides", "dilations", "kernel_shape", "group", "blocksize", "num_outputs"})


def needed_nodes(model: onnx.ModelProto) -> list[NodeProto]:
    """The operators that the outputs depend on, in order."""
    wanted = {value.name for value in model.graph.output}
    nodes = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    return nodes[::-1]


def read_constants(model: onnx.ModelProto, nodes: list[NodeProto]) -> dict[str, Array]:
    """Name -> value of the initializers and of the operators Constant that the nodes need.

    Raises:
        BundleError: a value is damaged, missing, or of a type that numpy does not have.
    """
    used = {name for node in nodes for name in node.input}
    found = {i.name: read_array(i) for i in model.graph.initializer if i.name in used}
    for node in nodes:
        if node.op_type == "Constant":
            with understood(f"The ONNX model cannot be used: {described(node)} is at fault"):
                found[node.output[0]] = _constant_value(node)
    return found


def _constant_value(node: NodeProto) -> Array:
    (attribute,) = node.attribute
    if attribute.name == "value":
        return read_array(attribute.t)
    value = read_attributes(node)[attribute.name]
    kind = np.int64 if attribute.name in ("value_int", "value_ints") else np.float32
    return np.array(value, dtype=kind)


def read_array(tensor: TensorProto) -> Array:
    """The value of a tensor.

    Raises:
        BundleError: as from `read_constants`.
    """
    if tensor.data_type not in ELEMENT_TYPES:
        kind = {number: name for name, number in TensorProto.DataType.items()}.get(
            tensor.data_type, f"of the unknown type {tensor.data_type}"
        )
        raise not_float32(f"The constant {plain(tensor.name)} of the ONNX model is {kind}.")
    with understood(f"The ONNX model is damaged at the weights {plain(tensor.name)}"):
        value = numpy_helper.to_array(tensor)
        if value.shape != tuple(tensor.dims):
            raise ValueError(f"{value.shape} is not {tuple(tensor.dims)}")
    return value


def read_attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of a node: numbers, texts, and lists of them.

    Raises:
        ValueError: an attribute is something else, or a size that is not positive.
    """
    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, (int, float)):
            value = [v.decode() if isinstance(v, bytes) else v for v in value]
            if not all(isinstance(v, (int, float, str)) for v in value):
                raise ValueError(f"its attribute {plain(attribute.name)} is no number or text")
        if attribute.name in _POSITIVE and np.min(value) < 1:
            raise ValueError(f"its {attribute.name} is not positive")
        found[attribute.name] = value
    return found


def not_float32(found: str) -> BundleError:
    """The error for anything that is computed in another type than float32."""
    return BundleError(
        found,
        "A network in float32 is expected; the compiler makes the int8 network itself.",
        "Convert the network to float32 (in torch: model.float()) and export it again.",
    )
