"""Which operators compute a convolution: chosen per shape, by measurement.

Direct is onnxruntime's Conv. The Winograd domain needs up to four times fewer multiplications, but
its transforms move the image several times and cost more per pixel the larger it is: along both
dimensions it pays where images are small, along the height alone up to a larger size, and not at
all where there are hardly any channels.
Patches cost nothing to make when the input does not change from step to step: they are made once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.patches import Geometry, batch_last, geometry, patches
from sel_edge.compile.winograd import Stripes, Winograd, best_line

WINOGRAD_MAX_PIXELS = 256
"""Of an image that goes to the Winograd domain along both dimensions."""
STRIPES_MAX_HEIGHT = 48
"""Of a larger image that goes there along its height."""
WINOGRAD_MIN_CHANNELS = 8


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
    def winograd(self) -> Winograd | Stripes | None:
        """What pays, by the whole layer's size: every part of it is computed in the same way."""
        where = self.where
        plain = (where.kernel, where.strides, where.dilations) == ((3, 3), (1, 1), (1, 1))
        padded = (where.before, where.after) == ((1, 1), (1, 1))
        channels = min(self.source.shape(self.node.inputs[1])[:2])
        if self.group > 1 or not plain or not padded or channels < WINOGRAD_MIN_CHANNELS:
            return None
        height, width = where.sizes
        if height * width <= WINOGRAD_MAX_PIXELS:
            return Winograd(best_line(height), best_line(width))
        return Stripes(best_line(height)) if height <= STRIPES_MAX_HEIGHT else None


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
    where, winograd = layer.where, layer.winograd
    if use != "once" and winograd is not None:
        return winograd.convolve(graph, weight, bias, tensor)
    if use == "kept" and layer.group == 1:
        return _product(graph, weight, bias, tensor, where)
    return graph.add(
        "Conv",
        *(name for name in (tensor, weight, bias) if name is not None),
        kernel_shape=list(where.kernel),
        strides=list(where.strides),
        dilations=list(where.dilations),
        pads=[*where.before, *where.after],
        group=graph.shape(tensor)[1] // graph.shape(weight)[1],
    )


def _product(graph: Graph, weight: str, bias: str | None, tensor: str, where: Geometry) -> str:
    """One matrix product of the weights and patches."""
    outputs, *taps = graph.shape(weight)
    batch = graph.shape(tensor)[0]
    columns = patches(graph, batch_last(graph, tensor), where)
    columns = graph.reshape(columns, *graph.shape(columns)[1:])
    product = graph.add("MatMul", graph.reshape(weight, outputs, math.prod(taps)), columns)
    if bias is not None:
        product = graph.add("Add", product, graph.reshape(bias, outputs, 1))
    product = graph.reshape(product, outputs, *where.outputs, batch)
    rank = graph.rank(product)
    return graph.transpose(product, rank - 1, *range(rank - 1))
