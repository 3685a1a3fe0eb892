"""Convolutions and linear layers, in the several ways in which exporters write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.compile.graph import Array, Graph, Node


@dataclass(frozen=True)
class Layer:
    """A layer with constant weights.

    Attributes:
        node: Conv, Gemm, or MatMul of a matrix with a constant one.
        bias: name of the constant that is added to its result; None if there is none.
        parts: outputs of the operators that the layer consists of.
    """

    node: Node
    bias: str | None
    parts: tuple[str, ...]

    @property
    def weight(self) -> str:
        """The name of the constant that the node multiplies by."""
        return self.node.inputs[1]

    @property
    def is_linear(self) -> bool:
        """Whether it maps a matrix [N, F] to a matrix [N, K]."""
        return self.node.op != "Conv"

    def weights(self, graph: Graph) -> NDArray[np.float64]:
        """Float64 [C_out, C_in / group, kernel...] of a convolution, [K, F] of a linear layer."""
        value = graph.constants[self.weight].astype(np.float64)
        if not self.is_linear:
            return value
        value *= self.node.get("alpha", 1.0)
        return value if self.node.get("transB", 0) else value.T

    def biases(self, graph: Graph) -> NDArray[np.float64] | None:
        """Float64, one per output channel."""
        if self.bias is None:
            return None
        value = graph.constants[self.bias].astype(np.float64)
        inside = self.node.op == "Gemm" and self.node.has(2)
        flat = value.reshape(-1) * (self.node.get("beta", 1.0) if inside else 1.0)
        return np.broadcast_to(flat, (len(self.weights(graph)),))


def find_layers(graph: Graph) -> dict[str, Layer]:
    """Output tensor -> layer, for every layer of a graph that has no dead operators.

    A matrix product and the bias that is added to it alone are one layer, and so are a convolution
    and its bias.
    """
    uses = count_uses(graph)
    layers: dict[str, Layer] = {}
    for node in graph.nodes:
        if node.op == "Add":
            _join_bias(graph, node, layers, uses)
        elif _is_layer(graph, node):
            bias = node.inputs[2] if node.has(2) else None
            layers[node.outputs[0]] = Layer(node, bias, (node.outputs[0],))
    return layers


def is_parameter(value: Array) -> bool:
    """Whether a constant is something a network learns: it keeps its name and is never shared."""
    return value.dtype == np.float32 and value.ndim > 0


def count_uses(graph: Graph) -> Mapping[str, int]:
    """Tensor -> how many operators and outputs of the graph read it."""
    uses = Counter(graph.outputs.values())
    for node in graph.nodes:
        uses.update(node.inputs)
    return uses


def is_per_channel(graph: Graph, constant: str, like: str) -> bool:
    """Whether a constant differs at most along the second dimension of the tensor `like`."""
    value = graph.constants.get(constant)
    shape = graph.types[like].shape
    if value is None or value.ndim > len(shape):
        return False
    full = (1,) * (len(shape) - value.ndim) + value.shape
    return full[1] in (1, shape[1]) and full[:1] + full[2:] == (1,) * (len(shape) - 1)


def _is_layer(graph: Graph, node: Node) -> bool:
    if node.op not in ("Conv", "Gemm", "MatMul") or node.inputs[1] not in graph.constants:
        return False
    if node.op == "MatMul":
        return graph.rank(node.inputs[0]) == graph.rank(node.inputs[1]) == 2
    if node.op == "Conv":
        return not node.has(2) or node.inputs[2] in graph.constants
    if node.get("transA", 0):
        return False
    return not node.has(2) or is_per_channel(graph, node.inputs[2], node.outputs[0])


def _join_bias(graph: Graph, node: Node, layers: dict[str, Layer], uses: Mapping[str, int]) -> None:
    """Make one layer of a layer without bias and the sum of its output and a constant."""
    for before, constant in (node.inputs, node.inputs[::-1]):
        layer = layers.get(before)
        if layer is None or layer.bias is not None or uses[before] > 1:
            continue
        if is_per_channel(graph, constant, before):
            output = node.outputs[0]
            layers[output] = replace(layer, bias=constant, parts=(*layer.parts, output))
            del layers[before]
            return
