"""Gradients of arithmetic, element by element, with numpy's broadcasting.

Where an operand was broadcast, its gradient is summed to its shape.
"""

from __future__ import annotations

import numpy as np

from sel_edge.compile.rules.broadcast import reduce_to_shape
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule
from sel_edge.compile.rules.scalars import constant_input, times


@rule("Add", "Sum")
def add(b: Backward) -> Gradients:
    """Y = A + B + ...: the gradient of every operand is dY."""
    return {i: reduce_to_shape(b.graph, b.dy, b.node.inputs[i]) for i in b.wanted}


@rule("Sub")
def sub(b: Backward) -> Gradients:
    """Y = A - B: dA = dY, dB = -dY."""
    found = add(b)
    if 1 in found:
        found[1] = b.graph.add("Neg", found[1])
    return found


@rule("Mul")
def mul(b: Backward) -> Gradients:
    """Y = A B: dA = dY B, dB = dY A."""
    g, operands = b.graph, b.node.inputs
    return {
        i: reduce_to_shape(g, g.add("Mul", b.dy, operands[1 - i]), operands[i]) for i in b.wanted
    }


@rule("Div")
def div(b: Backward) -> Gradients:
    """Y = A / B: dA = dY / B, dB = -dY Y / B."""
    g, (numerator, divisor) = b.graph, b.node.inputs
    found: Gradients = {}
    if 0 in b.wanted:
        found[0] = reduce_to_shape(g, g.add("Div", b.dy, divisor), numerator)
    if 1 in b.wanted:
        # The divisor is the same for all that is summed, so the sum is divided.
        total = reduce_to_shape(g, g.add("Mul", b.dy, b.y), divisor)
        found[1] = g.add("Neg", g.add("Div", total, divisor))
    return found


@rule("Pow")
def power(b: Backward) -> Gradients:
    """Y = X^n with a constant n: dX = dY n X^(n - 1)."""
    g = b.graph
    n = constant_input(b, 1).astype(g.types[b.x].dtype)
    lower = b.x if np.all(n == 2) else g.add("Pow", b.x, g.constant(n - 1))
    slope = g.add("Mul", lower, g.constant(n))
    return {0: reduce_to_shape(g, g.add("Mul", b.dy, slope), b.x)}


@rule("Max", "Min")
def extremum(b: Backward) -> Gradients:
    """Y = max(A, B) or min(A, B): dY goes to the operand that was taken, to A if they are equal."""
    if len(b.node.inputs) != 2:
        raise MissingRule(b.node)
    comparison = "GreaterOrEqual" if b.node.op == "Max" else "LessOrEqual"
    return _choice(b, b.graph.add(comparison, *b.node.inputs), first=0)


@rule("Where")
def where(b: Backward) -> Gradients:
    """Y = A where C, else B: dA = dY where C, else 0; dB = 0 where C, else dY."""
    return _choice(b, b.node.inputs[0], first=1)


def _choice(b: Backward, taken: str, first: int) -> Gradients:
    """dY to input `first` where the condition `taken` holds, elsewhere to the next input."""
    g, zero = b.graph, b.graph.scalar(0.0, b.dy)
    found: Gradients = {}
    if first in b.wanted:
        found[first] = g.add("Where", taken, b.dy, zero)
    if first + 1 in b.wanted:
        found[first + 1] = g.add("Where", taken, zero, b.dy)
    return {i: reduce_to_shape(g, part, b.node.inputs[i]) for i, part in found.items()}


@rule("Neg")
def neg(b: Backward) -> Gradients:
    """Y = -X: dX = -dY."""
    return {0: b.graph.add("Neg", b.dy)}


@rule("Abs")
def absolute(b: Backward) -> Gradients:
    """Y = |X|: dX = dY sign(X), 0 at X = 0."""
    return {0: b.graph.add("Mul", b.dy, b.graph.add("Sign", b.x))}


@rule("Sqrt")
def sqrt(b: Backward) -> Gradients:
    """Y = sqrt(X): dX = dY / (2 Y)."""
    return {0: times(b.graph, b.graph.add("Div", b.dy, b.y), 0.5)}


@rule("Reciprocal")
def reciprocal(b: Backward) -> Gradients:
    """Y = 1 / X: dX = -dY Y^2."""
    g = b.graph
    return {0: g.add("Neg", g.add("Mul", b.dy, g.add("Mul", b.y, b.y)))}


@rule("Exp")
def exp(b: Backward) -> Gradients:
    """Y = e^X: dX = dY Y."""
    return {0: b.graph.add("Mul", b.dy, b.y)}


@rule("Log")
def log(b: Backward) -> Gradients:
    """Y = ln X: dX = dY / X."""
    return {0: b.graph.add("Div", b.dy, b.x)}
