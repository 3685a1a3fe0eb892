"""Weights beside the graphs that use them: one safetensors file for all graphs of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto
from safetensors.numpy import save

from sel_edge.compile.graph import Array, Graph, to_model
from sel_edge.compile.layers import is_parameter


@dataclass(frozen=True)
class Weights:
    """A safetensors file, and where each tensor lies in it.

    Attributes:
        file: name under which it will lie beside the graphs.
        content: its bytes.
        values: the tensors, float32 by name.
        places: tensor -> offset and length in bytes, from the beginning of the file.
    """

    file: str
    content: bytes
    values: Mapping[str, Array]
    places: Mapping[str, tuple[int, int]]

    def holds(self, name: str, value: Array) -> bool:
        """Whether a constant of a graph is the tensor of that name."""
        known = self.values.get(name)
        return known is not None and value.dtype == known.dtype and np.array_equal(value, known)


_SHAPING = frozenset((("Resize", 1), ("Resize", 2)))
"""Operator and index of inputs that shape its result: onnxruntime wants them inside."""


def pack_weights(graph: Graph, file: str) -> Weights:
    """The parameters of a graph that its outputs need."""
    found: dict[str, Array] = {
        name: graph.constants[name]
        for node in graph.needed_nodes()
        for index, name in enumerate(node.inputs)
        if name in graph.constants
        and is_parameter(graph.constants[name])
        and (node.op, index) not in _SHAPING
    }
    content = save(found)
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    places = {}
    for name in found:
        first, last = header[name]["data_offsets"]
        places[name] = (8 + header_bytes + first, last - first)
    return Weights(file, content, found, places)


def attach(graph: Graph, weights: Weights) -> onnx.ModelProto:
    """The graph as a model that reads the constants it has in common with `weights` from there."""
    needed = {name for node in graph.needed_nodes() for name in node.inputs}
    shared = [
        name
        for name, value in graph.constants.items()
        if name in needed and weights.holds(name, value)
    ]
    proto = to_model(graph, external=shared)
    for name in shared:
        initializer = proto.graph.initializer.add(
            name=name, data_type=TensorProto.FLOAT, dims=graph.types[name].fixed
        )
        initializer.data_location = TensorProto.EXTERNAL
        offset, length = weights.places[name]
        for key, value in (("location", weights.file), ("offset", offset), ("length", length)):
            initializer.external_data.add(key=key, value=str(value))
    return proto
