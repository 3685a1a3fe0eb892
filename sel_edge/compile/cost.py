"""What one run of a graph costs, read off its operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sel_edge.compile.graph import Dim, Graph, Node

_VIEWS = frozenset(("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""onnxruntime does not copy for these."""


@dataclass(frozen=True)
class Cost:
    """What one run costs.

    Attributes:
        executed_flops: of convolutions and matrix products, two per multiply-accumulate.
        moved_bytes: that operators read and write, as if no cache held any of it.
        peak_bytes: of tensors alive at once, inputs and constants included.
    """

    executed_flops: int
    moved_bytes: int
    peak_bytes: int


def cost(graph: Graph, sizes: Mapping[str, int]) -> Cost:
    """The cost of one run.

    Args:
        graph: what its outputs do not need is not counted.
        sizes: value of each named dimension.
    """
    nodes = graph.needed_nodes()
    shapes = _Shapes(graph, sizes)
    return Cost(
        sum(_flops(node, shapes) for node in nodes),
        sum(shapes.bytes(t) for n in nodes if n.op not in _VIEWS for t in _tensors(n)),
        _peak(graph, nodes, shapes),
    )


@dataclass(frozen=True)
class _Shapes:
    graph: Graph
    sizes: Mapping[str, int]

    def of(self, tensor: str) -> tuple[int, ...]:
        return tuple(self._size(dim) for dim in self.graph.types[tensor].shape)

    def bytes(self, tensor: str) -> int:
        width = np.dtype(self.graph.types[tensor].dtype).itemsize
        return math.prod(self.of(tensor)) * width

    def _size(self, dim: Dim) -> int:
        """Dimensions that lost their name belong to tensors as long as the longest that has one."""
        if isinstance(dim, int):
            return dim
        return self.sizes.get(dim, max(self.sizes.values(), default=1))


def _tensors(node: Node) -> list[str]:
    return [name for name in (*node.inputs, *node.outputs) if name]


def _flops(node: Node, shapes: _Shapes) -> int:
    if node.op == "Conv":
        return 2 * math.prod(shapes.of(node.outputs[0])) * math.prod(shapes.of(node.inputs[1])[1:])
    if node.op == "ConvTranspose":
        return 2 * math.prod(shapes.of(node.inputs[0])) * math.prod(shapes.of(node.inputs[1])[1:])
    if node.op in ("MatMul", "Gemm"):
        left = shapes.of(node.inputs[0])
        inner = left[0] if node.get("transA", 0) else left[-1]
        return 2 * math.prod(shapes.of(node.outputs[0])) * inner
    return 0


def _peak(graph: Graph, nodes: list[Node], shapes: _Shapes) -> int:
    """Tensors live from where they are made to where they are last read; views share storage."""
    storage: dict[str, str] = {}
    for node in nodes:
        for output in node.outputs:
            is_view = node.op in _VIEWS
            storage[output] = storage.get(node.inputs[0], node.inputs[0]) if is_view else output
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in _tensors(node):
            last[storage.get(name, name)] = index
    lasting = {name for name in last if name in graph.inputs or name in graph.constants}
    outputs = {storage.get(tensor, tensor) for tensor in graph.outputs.values()}
    alive = sum(shapes.bytes(name) for name in lasting)
    peak = alive
    for index, node in enumerate(nodes):
        made = {storage[o] for o in node.outputs if o} - lasting
        alive += sum(shapes.bytes(name) for name in made if node.op not in _VIEWS)
        peak = max(peak, alive)
        read = {storage.get(name, name) for name in _tensors(node)}
        gone = {name for name in read if last[name] == index} - lasting - outputs
        alive -= sum(shapes.bytes(name) for name in gone)
    return peak
