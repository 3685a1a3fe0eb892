"""Giving a gradient the shape of what it belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sel_edge.compile.graph import Graph
from sel_edge.compile.rules.scalars import cast_like

_PATTERN_LIMIT = 2**16
"""Elements up to which a constant pattern is stored to repeat a gradient by multiplication."""


def reduce_to_shape(graph: Graph, gradient: str, operand: str) -> str:
    """Sum a gradient over the dimensions along which `operand` was broadcast.

    Args:
        graph: the graph to add operators to.
        gradient: of the broadcast result.
        operand: the tensor whose shape the sum is to have.
    """
    wide, narrow = graph.types[gradient].shape, graph.types[operand].shape
    missing = len(wide) - len(narrow)
    if missing:
        gradient = graph.add("ReduceSum", gradient, graph.ints(*range(missing)), keepdims=0)
    pairs = zip(wide[missing:], narrow, strict=True)
    stretched = [axis for axis, (big, small) in enumerate(pairs) if small == 1 and big != 1]
    if stretched:
        gradient = graph.add("ReduceSum", gradient, graph.ints(*stretched), keepdims=1)
    return gradient


def spread(
    graph: Graph, gradient: str, like: str, axes: Sequence[int], *, mean: bool = False
) -> str:
    """Repeat a gradient along the axes over which a tensor was summed.

    Args:
        graph: the graph to add operators to.
        gradient: of the sum, of size 1 along `axes`; returned as it is if there are none.
        like: the tensor that was summed; its sizes along `axes` may be names.
        axes: not negative.
        mean: divide by the number of elements summed.
    """
    if not axes:
        return gradient
    shape = graph.types[like].shape
    pattern = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    fixed = [size for size in pattern if isinstance(size, int)]
    count = math.prod(fixed)
    if len(fixed) == len(pattern) and count <= _PATTERN_LIMIT:
        # Multiplying by ones is one operator and, on small maps, takes a third of Expand's time.
        values = np.full(fixed, 1 / count if mean else 1.0, dtype=graph.types[like].dtype)
        return graph.add("Mul", gradient, graph.constant(values))
    if mean:
        counts = (graph.add("Size", tensor) for tensor in (gradient, like))
        few, many = (cast_like(graph, elements, like) for elements in counts)
        gradient = graph.add("Mul", gradient, graph.add("Div", few, many))
    return _typed_like(graph, graph.add("Expand", gradient, graph.add("Shape", like)), like)


def reshape_like(graph: Graph, gradient: str, like: str) -> str:
    """A gradient in the shape of `like`, whose sizes may be names."""
    shape = graph.types[like].shape
    fixed = [size for size in shape if isinstance(size, int)]
    if len(fixed) == len(shape):
        return graph.reshape(gradient, *fixed)
    if shape == graph.types[gradient].shape:
        return gradient
    return _typed_like(graph, graph.add("Reshape", gradient, graph.add("Shape", like)), like)


def zeros_like(graph: Graph, tensor: str) -> str:
    """Zeros of the type of a float tensor.

    Computed from the tensor: ConstantOfShape would be evaluated once by onnxruntime and then held
    in memory for good.
    """
    zero = graph.scalar(0.0, tensor)
    return graph.add("Clip", tensor, zero, zero)


def pad_axis(graph: Graph, tensor: str, axis: int, before: int, after: int) -> str:
    """`tensor` with zeros at the ends of one axis; a negative number cuts off."""
    if before == after == 0:
        return tensor
    pads = np.zeros((2, graph.rank(tensor)), dtype=np.int64)
    pads[:, axis] = before, after
    return graph.add("Pad", tensor, graph.constant(pads.ravel()))


def place(graph: Graph, gradient: str, axis: int, picked: Sequence[int], size: int) -> str:
    """The gradient of a tensor some of whose elements along an axis were picked.

    dX[picked[i]] = dY[i] and 0 elsewhere.

    Args:
        graph: the graph to add operators to.
        gradient: dY, of size len(picked) along `axis`.
        axis: not negative.
        picked: distinct indices in 0..size - 1.
        size: of the tensor along `axis`.
    """
    count = len(picked)
    first = picked[0] if count else 0
    if list(picked) == list(range(first, first + count)):
        return pad_axis(graph, gradient, axis, first, size - first - count)
    sources = np.full(size, count, dtype=np.int64)
    sources[list(picked)] = np.arange(count)
    padded = pad_axis(graph, gradient, axis, 0, 1)
    return graph.add("Gather", padded, graph.constant(sources), axis=axis)


def _typed_like(graph: Graph, tensor: str, like: str) -> str:
    """Say what inference cannot know: that `tensor` has the shape that `like` has at run time."""
    graph.types[tensor] = graph.types[like]
    return tensor
