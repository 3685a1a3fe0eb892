"""Gradients of sums, means, norms and maxima over axes, global pools among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sel_edge.compile.rules.broadcast import spread, zeros_like
from sel_edge.compile.rules.registry import Backward, Gradients, rule
from sel_edge.compile.rules.scalars import constant_input


@rule("GlobalAveragePool")
def global_average_pool(b: Backward) -> Gradients:
    """Y = mean of X over the pixels: dX = dY / number of pixels."""
    return {0: spread(b.graph, b.dy, b.x, _pixels(b), mean=True)}


@rule("GlobalMaxPool")
def global_max_pool(b: Backward) -> Gradients:
    """Y = max of X over the pixels: dY goes to the first largest pixel."""
    return {0: _to_first_largest(b, _pixels(b))}


@rule("ReduceMean")
def reduce_mean(b: Backward) -> Gradients:
    """Y = mean of X over axes: dX = dY / number of elements."""
    axes = _axes(b)
    return {0: spread(b.graph, _kept(b, b.dy, axes), b.x, axes, mean=True)}


@rule("ReduceSum")
def reduce_sum(b: Backward) -> Gradients:
    """Y = sum of X over axes: dX = dY."""
    axes = _axes(b)
    return {0: spread(b.graph, _kept(b, b.dy, axes), b.x, axes)}


@rule("ReduceL2")
def reduce_l2(b: Backward) -> Gradients:
    """Y = sqrt(sum of X^2) over axes: dX = dY X / Y, 0 where Y is 0."""
    g = b.graph
    norm = g.add("Max", b.y, g.scalar(float(np.finfo(np.float32).tiny), b.y))
    ratio = _kept(b, g.add("Div", b.dy, norm), _axes(b))
    return {0: g.add("Mul", b.x, ratio)}


@rule("ReduceMax")
def reduce_max(b: Backward) -> Gradients:
    """Y = max of X over axes: dY goes to the first largest element."""
    return {0: _to_first_largest(b, _axes(b))}


def _pixels(b: Backward) -> list[int]:
    return list(range(2, b.graph.rank(b.x)))


def _axes(b: Backward) -> list[int]:
    """The axes of a reduction, ascending, given as an input or, before opset 18, an attribute."""
    axes = constant_input(b, 1) if b.node.has(1) else b.node.get("axes", None)
    rank = b.graph.rank(b.x)
    if axes is None or len(axes) == 0:
        return [] if b.node.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(int(axis) % rank for axis in axes)


def _kept(b: Backward, reduced: str, axes: Sequence[int]) -> str:
    """A tensor of the output's shape with the reduced axes kept, of size 1."""
    if not axes or b.node.get("keepdims", 1):
        return reduced
    return b.graph.add("Unsqueeze", reduced, b.graph.ints(*axes))


def _to_first_largest(b: Backward, axes: Sequence[int]) -> str:
    """dY where X is largest along `axes`, once per reduced group, else 0."""
    g, shape = b.graph, b.graph.shape(b.x)
    order = [axis for axis in range(len(shape)) if axis not in axes] + list(axes)
    moved = [shape[axis] for axis in order]
    groups = math.prod(moved[: len(shape) - len(axes)])
    rows = g.reshape(g.transpose(b.x, *order), groups, math.prod(moved) // groups)
    places = g.add("ArgMax", rows, axis=1, keepdims=1)
    gradient = g.reshape(b.dy, groups, 1)
    placed = g.add("ScatterElements", zeros_like(g, rows), places, gradient, axis=1)
    return g.transpose(
        g.reshape(placed, *moved), *(order.index(axis) for axis in range(len(order)))
    )
