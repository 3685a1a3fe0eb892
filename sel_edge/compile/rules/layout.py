"""Gradients of operators that move, pick, repeat or join elements without changing them."""

from __future__ import annotations

import itertools

import numpy as np

from sel_edge.compile.rules.broadcast import (
    place,
    reduce_to_shape,
    reshape_like,
    zeros_like,
)
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule
from sel_edge.compile.rules.scalars import cast_like, constant_input


@rule("Identity")
def identity(b: Backward) -> Gradients:
    """Y = X: dX = dY."""
    return {0: b.dy}


@rule("Dropout")
def dropout(b: Backward) -> Gradients:
    """Y = X in inference: dX = dY."""
    if b.node.has(2) and constant_input(b, 2).any():
        raise MissingRule(b.node)
    return {0: b.dy}


@rule("Cast")
def cast(b: Backward) -> Gradients:
    """Y = X in another float type: dX = dY in the type of X."""
    return {0: cast_like(b.graph, b.dy, b.x)}


@rule("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(b: Backward) -> Gradients:
    """Y = X in another shape: dX = dY in the shape of X."""
    return {0: reshape_like(b.graph, b.dy, b.x)}


@rule("Expand")
def expand(b: Backward) -> Gradients:
    """Y = X repeated: dX = dY summed to the shape of X."""
    return {0: reduce_to_shape(b.graph, b.dy, b.x)}


@rule("Transpose")
def transpose(b: Backward) -> Gradients:
    """Y = X with its dimensions in the order p: dX = dY in the inverse order."""
    rank = b.graph.rank(b.x)
    order = list(b.node.get("perm", None) or reversed(range(rank)))
    return {0: b.graph.transpose(b.dy, *(order.index(axis) for axis in range(rank)))}


@rule("Concat")
def concat(b: Backward) -> Gradients:
    """Y = (A, B, ...) joined along an axis: dA, dB, ... are slices of dY."""
    g, axis = b.graph, _axis(b)
    sizes = [_size(b, tensor, axis) for tensor in b.node.inputs]
    ends = list(itertools.accumulate(sizes))
    return {
        i: g.add("Slice", b.dy, g.ints(ends[i] - sizes[i]), g.ints(ends[i]), g.ints(axis))
        for i in b.wanted
    }


@rule("Split")
def split(b: Backward) -> Gradients:
    """(Y1, Y2, ...) = X cut along an axis: dX = (dY1, dY2, ...) joined."""
    parts = [
        zeros_like(b.graph, output) if gradient is None else gradient
        for output, gradient in zip(b.node.outputs, b.gradients, strict=True)
    ]
    return {0: b.graph.add("Concat", *parts, axis=_axis(b))}


@rule("Slice")
def slice_(b: Backward) -> Gradients:
    """Y = X[start:end:step] along axes: dX = dY where it was taken from, else 0."""
    starts, ends = constant_input(b, 1), constant_input(b, 2)
    axes = constant_input(b, 3) if b.node.has(3) else np.arange(len(starts))
    steps = constant_input(b, 4) if b.node.has(4) else np.ones_like(starts)
    gradient = b.dy
    # The last axis first: moving single elements costs most, so do it while there are few.
    ranges = np.stack([starts, ends, axes % b.graph.rank(b.x), steps], axis=1).tolist()
    for start, end, axis, step in sorted(ranges, key=lambda r: -r[2]):
        size = _size(b, b.x, axis)
        gradient = place(b.graph, gradient, axis, range(size)[start:end:step], size)
    return {0: gradient}


@rule("Pad")
def pad(b: Backward) -> Gradients:
    """Y = X with constants around it: dX = dY without them, and with 0 where X was cut off."""
    if b.node.get("mode", "constant") != "constant":
        raise MissingRule(b.node)
    g = b.graph
    axes = ("", b.node.inputs[3]) if b.node.has(3) else ()
    return {0: g.add("Pad", b.dy, g.constant(-constant_input(b, 1)), *axes)}


@rule("Gather")
def gather(b: Backward) -> Gradients:
    """Y[i] = X[index[i]] along an axis: dX[j] = sum of dY[i] over the i with index[i] = j."""
    axis = _axis(b)
    indices = b.graph.value(b.node.inputs[1])
    if indices is not None:
        size = _size(b, b.x, axis)
        picked = (indices.ravel() % size).tolist()
        if len(set(picked)) == len(picked):
            return {0: place(b.graph, _flat_along(b, axis, len(picked)), axis, picked, size)}
    return {0: _scatter(b, axis)}


def _flat_along(b: Backward, axis: int, count: int) -> str:
    """dY with one dimension of size `count` in place of those of the indices."""
    g, ranks = b.graph, b.graph.rank(b.node.inputs[1])
    if ranks == 0:
        return g.add("Unsqueeze", b.dy, g.ints(axis))
    if ranks == 1:
        return b.dy
    shape = g.shape(b.dy)
    return g.reshape(b.dy, *shape[:axis], count, *shape[axis + ranks :])


def _scatter(b: Backward, axis: int) -> str:
    """dY added up at runtime indices, each repeated for all that it picked."""
    g = b.graph
    rank, ranks = g.rank(b.x), g.rank(b.node.inputs[1])
    if ranks != 1:
        return _scatter_blocks(b, axis)
    others = [a for a in range(rank) if a != axis]
    column = g.add("Unsqueeze", b.node.inputs[1], g.ints(*others)) if others else b.node.inputs[1]
    indices = g.add("Expand", column, g.add("Shape", b.dy))
    return g.add("ScatterElements", zeros_like(g, b.x), indices, b.dy, axis=axis, reduction="add")


def _scatter_blocks(b: Backward, axis: int) -> str:
    """The same for indices of another rank than 1, with the gathered axis first meanwhile."""
    g = b.graph
    rank, ranks = g.rank(b.x), g.rank(b.node.inputs[1])
    order = [axis, *(a for a in range(rank) if a != axis)]
    picked = list(range(axis, axis + ranks))
    gradient = g.transpose(b.dy, *picked, *(a for a in range(g.rank(b.dy)) if a not in picked))
    zeros = g.transpose(zeros_like(g, b.x), *order)
    indices = g.add("Unsqueeze", b.node.inputs[1], g.ints(-1))
    summed = g.add("ScatterND", zeros, indices, gradient, reduction="add")
    return g.transpose(summed, *(order.index(a) for a in range(rank)))


def _axis(b: Backward) -> int:
    """The operator's axis, not negative."""
    return int(b.node.get("axis", 0)) % b.graph.rank(b.x)


def _size(b: Backward, tensor: str, axis: int) -> int:
    """The size of a tensor along an axis along which it must be fixed."""
    size = b.graph.types[tensor].shape[axis]
    if not isinstance(size, int):
        raise MissingRule(b.node)
    return size
