"""Gradients of the softmax, whose number of classes may be known only when the graph runs."""

from __future__ import annotations

from sel_edge.compile.rules.registry import Backward, Gradients, rule


@rule("Softmax")
def softmax(b: Backward) -> Gradients:
    """Y = e^X / sum e^X along an axis: dX = Y (dY - sum of dY Y)."""
    g = b.graph
    centred = g.add("Sub", b.dy, _total(b, g.add("Mul", b.dy, b.y)))
    return {0: g.add("Mul", b.y, centred)}


@rule("LogSoftmax")
def log_softmax(b: Backward) -> Gradients:
    """Y = X - ln sum e^X along an axis: dX = dY - e^Y (sum of dY)."""
    g = b.graph
    return {0: g.add("Sub", b.dy, g.add("Mul", g.add("Exp", b.y), _total(b, b.dy)))}


def _total(b: Backward, tensor: str) -> str:
    """The sum along the operator's axis, of size 1 there."""
    return b.graph.add("ReduceSum", tensor, b.graph.ints(int(b.node.get("axis", -1))), keepdims=1)
