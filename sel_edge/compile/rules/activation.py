"""Gradients of activation functions.

Where it can, a rule looks at the output instead of the input, so that onnxruntime may fuse the
activation into the convolution before it.
"""

from __future__ import annotations

import math

from sel_edge.compile.rules.broadcast import reduce_to_shape
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule
from sel_edge.compile.rules.scalars import STEEP, cast_like, one_minus, plus, times


@rule("Relu")
def relu(b: Backward) -> Gradients:
    """Y = max(X, 0): dX = dY where Y > 0, else 0.

    A steep HardSigmoid, min(max(STEEP Y, 0), 1), is that condition as a float in one operator; it
    takes 2.6 ms with the product on [32, 64, 32, 32], Cast of Greater 3.2 ms and Where 4.7 ms.
    """
    g = b.graph
    return {0: g.add("Mul", b.dy, g.add("HardSigmoid", b.y, alpha=STEEP, beta=0.0))}


@rule("LeakyRelu")
def leaky_relu(b: Backward) -> Gradients:
    """Y = X where X > 0, else a X: dX = dY where X > 0, else a dY.

    The factor is a steep line through 0, clipped to [a, 1]; it falls where a > 1.
    """
    g = b.graph
    slope = float(b.node.get("alpha", 0.01))
    same_sign = b.y if slope > 0 else b.x
    line = times(g, same_sign, STEEP if slope <= 1 else -STEEP)
    low, high = (g.scalar(bound, line) for bound in sorted((slope, 1.0)))
    return {0: g.add("Mul", b.dy, g.add("Clip", line, low, high))}


@rule("PRelu")
def prelu(b: Backward) -> Gradients:
    """Y = X where X > 0, else A X: dX = dY where X > 0, else A dY; dA = dY min(X, 0)."""
    g, slope = b.graph, b.node.inputs[1]
    zero = g.scalar(0.0, b.x)
    found: Gradients = {}
    if 0 in b.wanted:
        positive = g.add("Greater", b.x, zero)
        found[0] = g.add("Where", positive, b.dy, g.add("Mul", b.dy, slope))
    if 1 in b.wanted:
        gradient = g.add("Mul", b.dy, g.add("Min", b.x, zero))
        found[1] = reduce_to_shape(g, gradient, slope)
    return found


@rule("Clip")
def clip(b: Backward) -> Gradients:
    """Y = min(max(X, low), high): dX = dY where low < Y < high, else 0, as torch has it for ReLU6.

    Either bound may be absent. Bounds get no gradient.
    """
    low, high = (b.node.inputs[i] if b.node.has(i) else None for i in (1, 2))
    if low is None and high is None:
        return {0: b.dy}
    return {0: b.graph.add("Mul", b.dy, _inside(b, low, high))}


def _inside(b: Backward, low: str | None, high: str | None) -> str:
    """1 where low < Y < high, else 0, with at least one bound."""
    g = b.graph
    conditions = [
        g.add(comparison, b.y, bound)
        for comparison, bound in (("Greater", low), ("Less", high))
        if bound is not None
    ]
    both = conditions[0] if len(conditions) == 1 else g.add("And", *conditions)
    return cast_like(g, both, b.y)


@rule("Sigmoid")
def sigmoid(b: Backward) -> Gradients:
    """Y = 1 / (1 + e^-X): dX = dY Y (1 - Y)."""
    g = b.graph
    return {0: g.add("Mul", b.dy, g.add("Mul", b.y, one_minus(g, b.y)))}


@rule("Tanh")
def tanh(b: Backward) -> Gradients:
    """Y = tanh X: dX = dY (1 - Y^2)."""
    g = b.graph
    return {0: g.add("Mul", b.dy, one_minus(g, g.add("Mul", b.y, b.y)))}


@rule("Erf")
def erf(b: Backward) -> Gradients:
    """Y = erf X: dX = dY 2 / sqrt(pi) e^(-X^2)."""
    return {0: b.graph.add("Mul", b.dy, _bell(b, 1.0, 2 / math.sqrt(math.pi)))}


def _bell(b: Backward, width: float, height: float) -> str:
    """height e^(-width X^2)."""
    g = b.graph
    return times(g, g.add("Exp", times(g, g.add("Mul", b.x, b.x), -width)), height)


@rule("HardSigmoid")
def hard_sigmoid(b: Backward) -> Gradients:
    """Y = min(max(a X + c, 0), 1): dX = a dY where 0 < Y < 1, else 0."""
    g = b.graph
    inside = _inside(b, g.scalar(0.0, b.y), g.scalar(1.0, b.y))
    slope = times(g, inside, float(b.node.get("alpha", 0.2)))
    return {0: g.add("Mul", b.dy, slope)}


@rule("HardSwish")
def hard_swish(b: Backward) -> Gradients:
    """Y = X min(max(X / 6 + 1/2, 0), 1): dX = dY D.

    D = X / 3 + 1/2 where |X| < 3, 0 below and 1 above.
    """
    g = b.graph
    middle = g.add("Less", g.add("Abs", b.x), g.scalar(3.0, b.x))
    line = plus(g, times(g, b.x, 1 / 3), 0.5)
    beyond = g.add("HardSigmoid", b.x, alpha=STEEP, beta=0.0)
    return {0: g.add("Mul", b.dy, g.add("Where", middle, line, beyond))}


@rule("Elu")
def elu(b: Backward) -> Gradients:
    """Y = X where X > 0, else a (e^X - 1): dX = dY where X > 0, else dY (Y + a)."""
    g = b.graph
    positive = g.add("Greater", b.x, g.scalar(0.0, b.x))
    below = plus(g, b.y, float(b.node.get("alpha", 1.0)))
    return {0: g.add("Mul", b.dy, g.add("Where", positive, g.scalar(1.0, b.x), below))}


@rule("Softplus")
def softplus(b: Backward) -> Gradients:
    """Y = ln(1 + e^X): dX = dY sigmoid(X)."""
    return {0: b.graph.add("Mul", b.dy, b.graph.add("Sigmoid", b.x))}


@rule("Gelu")
def gelu(b: Backward) -> Gradients:
    """Y = X Phi(X): dX = dY (Phi + X phi), with Phi the normal distribution or nearly that.

    Exact: Phi = (1 + erf(X / sqrt 2)) / 2 and its derivative phi = e^(-X^2 / 2) / sqrt(2 pi).
    Approximated: Phi = (1 + t) / 2 with t = tanh(u), u = sqrt(2 / pi) (X + 0.044715 X^3), so that
    phi = (1 - t^2) u' / 2 (Hendrycks and Gimpel, arXiv:1606.08415).
    """
    approximation = b.node.get("approximate", "none")
    if approximation not in ("none", "tanh"):
        raise MissingRule(b.node)
    sigmoidal, density = (_normal if approximation == "none" else _tanh_normal)(b)
    g = b.graph
    distribution = plus(g, times(g, sigmoidal, 0.5), 0.5)
    return {0: g.add("Mul", b.dy, g.add("Add", distribution, g.add("Mul", b.x, density)))}


def _normal(b: Backward) -> tuple[str, str]:
    """2 Phi - 1 and phi."""
    g = b.graph
    return (
        g.add("Erf", times(g, b.x, math.sqrt(0.5))),
        _bell(b, 0.5, 1 / math.sqrt(2 * math.pi)),
    )


def _tanh_normal(b: Backward) -> tuple[str, str]:
    """2 Phi - 1 and phi, by tanh."""
    g, scale = b.graph, math.sqrt(2 / math.pi)
    square = g.add("Mul", b.x, b.x)
    u = g.add("Mul", b.x, plus(g, times(g, square, scale * 0.044715), scale))
    slope = plus(g, times(g, square, scale * 3 * 0.044715), scale)
    t = g.add("Tanh", u)
    density = times(g, g.add("Mul", one_minus(g, g.add("Mul", t, t)), slope), 0.5)
    return t, density
