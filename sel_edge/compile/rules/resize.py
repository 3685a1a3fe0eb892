"""Gradient of resizing to the nearest neighbour by whole factors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sel_edge.compile.graph import Array
from sel_edge.compile.rules.broadcast import place
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule
from sel_edge.compile.rules.scalars import constant_input

_COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel")
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@rule("Resize")
def resize(b: Backward) -> Gradients:
    """Y[i] = X[nearest(i)]: dX[j] = sum of dY[i] over the i with nearest(i) = j."""
    if not _is_plain(b):
        raise MissingRule(b.node)
    g = b.graph
    gradient, split, repeated = b.dy, list[int](), list[int]()
    for axis, size in enumerate(g.shape(b.x)):
        nearest = _nearest(b, axis)
        factor = len(nearest) // size
        split.append(size)
        if factor > 1 and nearest == [i // factor for i in range(size * factor)]:
            split.append(factor)
            repeated.append(len(split) - 1)
        elif size % len(nearest) == 0:
            gradient = place(g, gradient, axis, nearest, size)
        else:
            raise MissingRule(b.node)
    if repeated:
        blocks = g.reshape(gradient, *split)
        gradient = g.add("ReduceSum", blocks, g.ints(*repeated), keepdims=0)
    return {0: gradient}


def _is_plain(b: Backward) -> bool:
    """Whether the nearest element follows from the sizes alone."""
    node = b.node
    if node.get("mode", "nearest") != "nearest" or _coordinates(b) not in _COORDINATES:
        return False
    if node.has(3):
        return bool(node.get("keep_aspect_ratio_policy", "stretch") == "stretch")
    rank = b.graph.rank(b.x)
    factors = np.ones(rank)
    factors[list(node.get("axes", None) or range(rank))] = constant_input(b, 2)
    return np.allclose(factors * b.graph.shape(b.x), b.graph.shape(b.y), rtol=1e-6, atol=0)


def _coordinates(b: Backward) -> str:
    return str(b.node.get("coordinate_transformation_mode", "half_pixel"))


def _nearest(b: Backward, axis: int) -> list[int]:
    """Where each element of the output comes from along one axis."""
    size, count = b.graph.shape(b.x)[axis], b.graph.shape(b.y)[axis]
    middle = 0.0 if _coordinates(b) == "asymmetric" else 0.5
    at = (np.arange(count) + middle) * size / count - middle
    if _coordinates(b) == "pytorch_half_pixel" and count == 1:
        at = np.zeros(1)
    rounded = _ROUNDINGS[b.node.get("nearest_mode", "round_prefer_floor")](at)
    return [int(index) for index in np.clip(rounded, 0, size - 1)]
