"""What rules do with values that are known in advance."""

from __future__ import annotations

import numpy as np
from onnx import helper

from sel_edge.compile.graph import Array, Graph
from sel_edge.compile.rules.registry import Backward, MissingRule

STEEP = 2.0**126
"""A slope that takes every positive normal float32 beyond 1."""


def times(graph: Graph, tensor: str, factor: float) -> str:
    """`tensor` * `factor`."""
    return tensor if factor == 1.0 else graph.add("Mul", tensor, graph.scalar(factor, tensor))


def plus(graph: Graph, tensor: str, offset: float) -> str:
    """`tensor` + `offset`."""
    return graph.add("Add", tensor, graph.scalar(offset, tensor))


def one_minus(graph: Graph, tensor: str) -> str:
    """1 - `tensor`."""
    return graph.add("Sub", graph.scalar(1.0, tensor), tensor)


def cast_like(graph: Graph, tensor: str, like: str) -> str:
    """`tensor` in the element type of `like`."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(graph.types[like].dtype))
    return graph.add("Cast", tensor, to=element)


def constant_input(b: Backward, index: int) -> Array:
    """The value of an input that must be constant.

    Raises:
        MissingRule: it is computed when the graph runs.
    """
    value = b.graph.value(b.node.inputs[index])
    if value is None:
        raise MissingRule(b.node)
    return value
