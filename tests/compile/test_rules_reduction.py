"""Rules of reductions and softmax against torch, over random axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import Graph
from tests.compile.gradients import check, distinct, normal, operator


@st.composite
def reductions(draw: st.DrawFn) -> tuple[list[int], list[int], bool]:
    """A shape, some of its axes, negative ones too, and whether they are kept."""
    rank = draw(st.integers(1, 4))
    shape = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    signed = [axis - rank * draw(st.integers(0, 1)) for axis in axes]
    return shape, signed, draw(st.booleans())


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceL2": torch.linalg.vector_norm,
    "ReduceMax": torch.amax,
}


@settings(max_examples=60)
@given(op=st.sampled_from(sorted(REDUCTIONS)), reduction=reductions())
def test_reductions(op: str, reduction: tuple[list[int], list[int], bool]) -> None:
    shape, axes, keepdims = reduction
    check(
        operator(op, np.array(axes, dtype=np.int64), keepdims=int(keepdims)),
        lambda x: REDUCTIONS[op](x, dim=axes, keepdim=keepdims),
        {"x": distinct(*shape) + np.float32(0.01)},
    )


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("axes", [None, np.array([], dtype=np.int64)])
def test_without_axes_everything_is_reduced(op: str, axes: Any) -> None:
    constants = [] if axes is None else [axes]
    check(
        operator(op, *constants, keepdims=0),
        lambda x: REDUCTIONS[op](x),
        {"x": normal(2, 3, 4)},
    )


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
def test_without_axes_nothing_is_reduced_if_the_operator_says_so(op: str) -> None:
    # Not run: onnxruntime 1.22 reduces all the same.
    graph = Graph()
    x = graph.input("x", "float32", (2, 3))
    y = graph.add(op, x, noop_with_empty_axes=1, keepdims=0)
    dy = graph.input("dy", "float32", (2, 3))
    assert differentiate(graph, {y: dy}, [x]) == {x: dy}


def test_axes_as_an_attribute() -> None:
    check(
        operator("ReduceMean", axes=[2, 3], keepdims=0),
        lambda x: x.mean((2, 3)),
        {"x": normal(2, 3, 4, 5)},
        opset=17,
    )


def test_a_large_reduction_stores_no_pattern() -> None:
    build = operator("ReduceMean", np.array([0, 1], dtype=np.int64))
    check(build, lambda x: x.mean((0, 1), keepdim=True), {"x": normal(300, 300)})
    graph = Graph()
    x = graph.input("x", "float32", (300, 300))
    y = str(build(graph, x))
    differentiate(graph, {y: graph.input("dy", "float32", (1, 1))}, [x])
    assert max(value.size for value in graph.constants.values()) <= 2


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_number_of_classes_may_be_a_name(op: str, keepdims: int) -> None:
    check(
        operator(op, np.array([1], dtype=np.int64), keepdims=keepdims),
        lambda x: REDUCTIONS[op](x, dim=1, keepdim=bool(keepdims)),
        {"x": normal(4, 7)},
        names={"x": (4, "K")},
    )


def test_the_norm_of_zeros_has_no_slope() -> None:
    check(
        operator("ReduceL2", np.array([1], dtype=np.int64)),
        lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
        {"x": np.zeros((2, 3), dtype=np.float32)},
    )


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=2), ties=st.booleans())
def test_global_pools(sizes: list[int], ties: bool) -> None:
    x = np.zeros((2, 3, *sizes), dtype=np.float32) if ties else distinct(2, 3, *sizes)
    average = getattr(functional, f"adaptive_avg_pool{len(sizes)}d")
    largest = getattr(functional, f"adaptive_max_pool{len(sizes)}d")
    check(operator("GlobalAveragePool"), lambda x: average(x, 1), {"x": x})
    check(operator("GlobalMaxPool"), lambda x: largest(x, 1), {"x": x})


@settings(max_examples=20)
@given(
    op=st.sampled_from(["Softmax", "LogSoftmax"]),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_softmax_over_any_axis(op: str, shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    function = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}[op]
    check(operator(op, axis=axis), lambda x: function(x, axis), {"x": 2 * normal(*shape)})


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_over_a_named_number_of_classes(op: str) -> None:
    function = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}[op]
    check(operator(op), lambda x: function(x, -1), {"x": normal(4, 7)}, names={"x": (4, "K")})
