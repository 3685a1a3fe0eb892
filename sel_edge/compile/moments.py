"""Moments of the first layer's output: what the frames look like to the network's first filters.

They are computed by a copy of the first convolution under names of its own, so that they say the
same of a frame whatever the network has learned since, and on a coarser grid of positions, so that
they cost next to nothing. The convolution itself keeps its fused activation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sel_edge.bundle.manifest import Moments
from sel_edge.compile.forward import Forward, is_layer
from sel_edge.compile.graph import Dim, Graph, Node, needed_for

OUTPUT = "moments"
_COPY = "moments/"
SHARE = 0.005
"""Of the forward pass that the copy may cost at most."""
MIN_POSITIONS = 16
"""Fewer say too little of a frame."""


def add_moments(forward: Forward, forward_macs: int) -> Moments | None:
    """Give the forward graph an output `moments` float32 [n, 2, C].

    It holds mean and mean square of each of the C channels of the first convolution with its folded
    normalization, before the activation, over the densest grid of positions that costs no more than
    `SHARE` of the forward pass.

    Args:
        forward: its graph grows, also by `copies` of the convolution's weight and bias.
        forward_macs: multiply-accumulates of one sample.

    Returns:
        What the manifest says of it; None if there is no such convolution, if what it reads changes
        with the layers before it, or if even its sparsest useful grid would cost more.
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
            graph.outputs[OUTPUT] = _moments(graph, stem, stride)
            return Moments(weight.fixed[0], macs)
    return None


def copies(graph: Graph) -> dict[str, str]:
    """Constant -> the parameter that it is a copy of."""
    return {n: n.removeprefix(_COPY) for n in graph.constants if n.startswith(_COPY)}


def _follows_a_layer(graph: Graph, node: Node) -> bool:
    return any(is_layer(graph, n) for n in needed_for(node.inputs[:1], graph.nodes))


def _sides(shape: Sequence[Dim]) -> tuple[int, ...]:
    """Height and width, or the length; none where one of them is known only at run time."""
    sides = tuple(side for side in shape if isinstance(side, int))
    return sides if len(sides) == len(shape) else ()


def _moments(graph: Graph, stem: Node, stride: int) -> str:
    weight, bias = (graph.constant(graph.constants[n], f"{_COPY}{n}") for n in stem.inputs[1:])
    channels, rank = graph.shape(bias)[0], graph.rank(weight) - 2
    strides = [stride * step for step in stem.get("strides", [1] * rank)]
    values = graph.add(
        "Conv", stem.inputs[0], weight, bias, **{**stem.attributes, "strides": strides}
    )
    both = [
        graph.reshape(graph.add("GlobalAveragePool", tensor), 0, 1, channels)
        for tensor in (values, graph.add("Mul", values, values))
    ]
    return graph.add("Concat", *both, axis=1)
