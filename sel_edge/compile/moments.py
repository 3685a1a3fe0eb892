"""Moments of the first layer's output: what the frames look like to the network's first filters.

They are computed by a graph of their own: onnxruntime always runs the whole of one, and frames are
told apart before the network answers. It reads the weights that were shipped, so that it says the
same of a frame whatever the network has learned since, and looks at a coarser grid of positions, so
that it costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sel_edge.bundle.manifest import Moments
from sel_edge.compile.forward import Forward, is_layer
from sel_edge.compile.graph import Dim, Graph, Node, needed_for

OUTPUT = "moments"
SHARE = 0.005
"""Of the forward pass that the copy may cost at most."""
MIN_POSITIONS = 16
"""Fewer say too little of a frame."""


def moments_graph(forward: Forward, forward_macs: int) -> tuple[Graph, Moments] | None:
    """A graph from `image` to `moments` float32 [n, 2, C].

    They are mean and mean square of each of the C channels of the first convolution with its folded
    normalization, before the activation, over the densest grid of positions that costs no more than
    `SHARE` of the forward pass.

    Args:
        forward: its graph grows by nodes that its outputs do not need.
        forward_macs: multiply-accumulates of one sample.

    Returns:
        The graph and what the manifest says of it; None if there is no such convolution, if what it
        reads changes with the layers before it, or if even its sparsest useful grid would cost
        more.
    """
    graph = forward.graph
    stem = next((n for n in graph.nodes if n.op == "Conv" and is_layer(graph, n)), None)
    if stem is None or _follows_a_layer(graph, stem):
        return None
    weight = graph.types[stem.inputs[1]]
    sides = _sides(graph.types[stem.outputs[0]].shape[2:])
    for stride in range(1, max(sides, default=0) + 1):
        positions = math.prod((side - 1) // stride + 1 for side in sides)
        macs = positions * weight.elements
        if positions < MIN_POSITIONS:
            break
        if macs <= SHARE * forward_macs:
            outputs = {OUTPUT: _moments(graph, stem, stride)}
            return replace(graph, outputs=outputs), Moments(weight.fixed[0], macs)
    return None


def _follows_a_layer(graph: Graph, node: Node) -> bool:
    return any(is_layer(graph, n) for n in needed_for(node.inputs[:1], graph.nodes))


def _sides(shape: Sequence[Dim]) -> tuple[int, ...]:
    """Height and width, or the length; none where one of them is known only at run time."""
    sides = tuple(side for side in shape if isinstance(side, int))
    return sides if len(sides) == len(shape) else ()


def _moments(graph: Graph, stem: Node, stride: int) -> str:
    weight = graph.shape(stem.inputs[1])
    channels, rank = weight[0], len(weight) - 2
    strides = [stride * step for step in stem.get("strides", [1] * rank)]
    values = graph.add("Conv", *stem.inputs, **{**stem.attributes, "strides": strides})
    both = [
        graph.reshape(graph.add("GlobalAveragePool", tensor), 0, 1, channels)
        for tensor in (values, graph.add("Mul", values, values))
    ]
    return graph.add("Concat", *both, axis=1)
