"""Which operators compute a convolution: chosen per shape, by measurement.

Direct is onnxruntime's Conv. The Winograd domain needs up to four times fewer multiplications, but
its transforms move the image several times: it pays where images are small and channels many.
Patches cost nothing to make when the input does not change from step to step: they are made once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.patches import Geometry, geometry, patches
from sel_edge.compile.winograd import best_tile

WINOGRAD_MAX_PIXELS = 64
WINOGRAD_MIN_CHANNELS = 32


Use: TypeAlias = Literal["once", "kept", "changing"]
"""What changes from step to step. Nothing: only the result is kept, and the direct form takes least
memory. The weights alone: the transformed image is kept. Or everything."""


@dataclass(frozen=True)
class Layer:
    """A Conv in the graph that says its shapes."""

    source: Graph
    node: Node

    @property
    def where(self) -> Geometry:
        """How it slides over its input."""
        return geometry(self.source, self.node)

    @property
    def group(self) -> int:
        """In how many groups its channels are apart."""
        return int(self.node.get("group", 1))

    @property
    def winograd_pays(self) -> bool:
        """By the whole layer's size, so that every part of it is computed in the same way."""
        where = self.where
        plain = (where.kernel, where.strides, where.dilations) == ((3, 3), (1, 1), (1, 1))
        padded = (where.before, where.after) == ((1, 1), (1, 1))
        small = math.prod(where.sizes) <= WINOGRAD_MAX_PIXELS
        channels = min(self.source.shape(self.node.inputs[1])[:2])
        return self.group == 1 and plain and padded and small and channels >= WINOGRAD_MIN_CHANNELS


def convolve(
    graph: Graph, weight: str, bias: str | None, tensor: str, layer: Layer, use: Use
) -> str:
    """A convolution, or a part of it.

    Args:
        graph: the graph to add operators to.
        weight: [O, C / group, kernel...]; O and C may be fewer than the layer has.
        bias: [O], if there is one.
        tensor: [N, C, sizes...].
        layer: the convolution that is computed.
        use: what of it changes from step to step.

    Returns:
        [N, O, outputs...].
    """
    where = layer.where
    if use != "once" and layer.winograd_pays:
        product = _winograd(graph, weight, tensor, where)
    elif use == "kept" and layer.group == 1:
        product = _product(graph, weight, tensor, where)
    else:
        inputs = [tensor, weight] if bias is None else [tensor, weight, bias]
        return graph.add(
            "Conv",
            *inputs,
            kernel_shape=list(where.kernel),
            strides=list(where.strides),
            dilations=list(where.dilations),
            pads=[*where.before, *where.after],
            group=graph.shape(tensor)[1] // graph.shape(weight)[1],
        )
    if bias is None:
        return product
    axes = graph.ints(*range(1, len(where.kernel) + 1))
    return graph.add("Add", product, graph.add("Unsqueeze", bias, axes))


def _winograd(graph: Graph, weight: str, tensor: str, where: Geometry) -> str:
    algorithm = best_tile(*where.sizes)
    images = algorithm.transform_input(graph, tensor)
    products = graph.add("MatMul", algorithm.transform_weight(graph, weight), images)
    return algorithm.transform_output(graph, products, graph.shape(tensor)[0])


def _product(graph: Graph, weight: str, tensor: str, where: Geometry) -> str:
    outputs, inputs = graph.shape(weight)[:2]
    taps, batch = len(where.taps), graph.shape(tensor)[0]
    rows = graph.transpose(graph.reshape(weight, outputs, inputs, taps), 0, 2, 1)
    rows = graph.reshape(rows, outputs, taps * inputs)
    product = graph.add("MatMul", rows, patches(graph, tensor, where))
    product = graph.reshape(product, outputs, *where.outputs, batch)
    rank = graph.rank(product)
    return graph.transpose(product, rank - 1, *range(rank - 1))
