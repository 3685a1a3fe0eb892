"""Gradients of normalizations: by stored statistics, or by the input's own."""

from __future__ import annotations

from collections.abc import Sequence

from sel_edge.compile.rules.broadcast import reduce_to_shape
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule
from sel_edge.compile.rules.scalars import plus


@rule("BatchNormalization")
def batch_normalization(b: Backward) -> Gradients:
    """Y = s Z + c with Z = (X - m) / sqrt(v + eps), per channel and with stored m and v.

    dX = dY s / sqrt(v + eps), ds = sum of dY Z, dc = sum of dY. Statistics get no gradient.
    """
    if b.node.get("training_mode", 0):
        raise MissingRule(b.node)
    g = b.graph
    scale, _, mean, variance = b.node.inputs[1:5]
    found: Gradients = {}
    if 0 in b.wanted:
        slope = g.add("Mul", scale, _inverse_root(b, variance))
        found[0] = g.add("Mul", b.dy, _column(b, slope))
    if 1 in b.wanted:
        centred = g.add("Sub", b.x, _column(b, mean))
        sums = _channel_sums(b, g.add("Mul", b.dy, centred))
        found[1] = g.add("Mul", sums, _inverse_root(b, variance))
    if 2 in b.wanted:
        found[2] = _channel_sums(b, b.dy)
    return found


@rule("LayerNormalization")
def layer_normalization(b: Backward) -> Gradients:
    """Y = s Z + c with Z = (X - mean) / sqrt(variance + eps) over the last axes.

    dX as in `_input_gradient` with H = dY s, ds = sum of dY Z, dc = sum of dY.
    """
    if any(gradient is not None for gradient in b.gradients[1:]):
        raise MissingRule(b.node)
    g, scale = b.graph, b.node.inputs[1]
    rank = g.rank(b.x)
    axes = range(int(b.node.get("axis", -1)) % rank, rank)
    found: Gradients = {}
    if 0 in b.wanted:
        found[0] = _input_gradient(b, g.add("Mul", b.dy, scale), axes)
    if 1 in b.wanted:
        z, _ = _normalized(b, axes)
        found[1] = reduce_to_shape(g, g.add("Mul", b.dy, z), scale)
    if 2 in b.wanted:
        found[2] = reduce_to_shape(g, b.dy, b.node.inputs[2])
    return found


@rule("InstanceNormalization")
def instance_normalization(b: Backward) -> Gradients:
    """Y = s Z + c with Z = (X - mean) / sqrt(variance + eps) over the pixels of a channel.

    dX as in `_input_gradient` with H = dY s, ds = sum of dY Z, dc = sum of dY.
    """
    g, scale = b.graph, b.node.inputs[1]
    axes = range(2, g.rank(b.x))
    found: Gradients = {}
    if 0 in b.wanted:
        found[0] = _input_gradient(b, g.add("Mul", b.dy, _column(b, scale)), axes)
    if 1 in b.wanted:
        z, _ = _normalized(b, axes)
        found[1] = _channel_sums(b, g.add("Mul", b.dy, z))
    if 2 in b.wanted:
        found[2] = _channel_sums(b, b.dy)
    return found


def _input_gradient(b: Backward, h: str, axes: Sequence[int]) -> str:
    """(H - mean of H - Z (mean of H Z)) / sqrt(variance + eps), means over `axes`."""
    g = b.graph
    z, inverse = _normalized(b, axes)
    along = g.add("Mul", z, _mean(b, g.add("Mul", h, z), axes))
    rest = g.add("Sub", g.add("Sub", h, _mean(b, h, axes)), along)
    return g.add("Mul", rest, inverse)


def _normalized(b: Backward, axes: Sequence[int]) -> tuple[str, str]:
    """Z = (X - mean) / sqrt(variance + eps) over `axes`, and 1 / sqrt(variance + eps)."""
    g = b.graph
    centred = g.add("Sub", b.x, _mean(b, b.x, axes))
    inverse = _inverse_root(b, _mean(b, g.add("Mul", centred, centred), axes))
    return g.add("Mul", centred, inverse), inverse


def _mean(b: Backward, tensor: str, axes: Sequence[int]) -> str:
    return b.graph.add("ReduceMean", tensor, b.graph.ints(*axes), keepdims=1)


def _inverse_root(b: Backward, variance: str) -> str:
    """1 / sqrt(variance + eps)."""
    g = b.graph
    shifted = plus(g, variance, float(b.node.get("epsilon", 1e-5)))
    return g.add("Reciprocal", g.add("Sqrt", shifted))


def _column(b: Backward, tensor: str) -> str:
    """A tensor [C] in the shape that broadcasts over X [N, C, ...]."""
    g = b.graph
    return g.reshape(tensor, *g.shape(tensor), *[1] * (g.rank(b.x) - 2))


def _channel_sums(b: Backward, tensor: str) -> str:
    """The sums [C] of a tensor [N, C, ...]."""
    g = b.graph
    return g.add("ReduceSum", tensor, g.ints(0, *range(2, g.rank(tensor))), keepdims=0)
