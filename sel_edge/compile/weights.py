"""Weights beside the graphs that use them: one safetensors file for all graphs of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto
from safetensors.numpy import save

from sel_edge.compile.graph import Array, Graph, to_model


@dataclass(frozen=True)
class Weights:
    """A safetensors file, and where each tensor lies in it.

    Attributes:
        file: name under which it will lie beside the graphs.
        content: its bytes.
        places: tensor -> offset and length in bytes, from the beginning of the file.
    """

    file: str
    content: bytes
    places: Mapping[str, tuple[int, int]]


def pack_weights(graph: Graph, file: str) -> Weights:
    """The float32 constants of a graph that its outputs need."""
    found: dict[str, Array] = {
        name: graph.constants[name]
        for node in graph.needed_nodes()
        for name in node.inputs
        if name in graph.constants and graph.types[name].dtype == "float32"
    }
    content = save(found)
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    places = {}
    for name in found:
        first, last = header[name]["data_offsets"]
        places[name] = (8 + header_bytes + first, last - first)
    return Weights(file, content, places)


def attach(graph: Graph, weights: Weights) -> onnx.ModelProto:
    """The graph as a model that reads the constants it has in common with `weights` from there."""
    shared = [n for n in graph.constants if n in weights.places]
    proto = to_model(graph, external=shared)
    needed = {name for node in proto.graph.node for name in node.input}
    for name in shared:
        if name not in needed:
            continue
        initializer = proto.graph.initializer.add(
            name=name, data_type=TensorProto.FLOAT, dims=graph.types[name].fixed
        )
        initializer.data_location = TensorProto.EXTERNAL
        offset, length = weights.places[name]
        for key, value in (("location", weights.file), ("offset", offset), ("length", length)):
            initializer.external_data.add(key=key, value=str(value))
    return proto
