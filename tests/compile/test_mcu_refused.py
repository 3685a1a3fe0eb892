"""What microcontrollers do not compute is refused by the name of its node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.compile.fold import fold
from sel_edge.compile.load import load_graph
from sel_edge.compile.mcu import ImageSettings, compile_image
from sel_edge.compile.mcu_steps import steps_of
from sel_edge.core.errors import BundleError
from sel_edge.core.standin import StandIn
from tests.compile.models import HEAD, model, node, normal, ours, pooled

Case = tuple[list[NodeProto], Mapping[str, Any]]


def before_pool(*nodes: NodeProto, **weights: np.ndarray) -> Case:
    """Nodes from `x` to `t`, then the end of a classifier."""
    return [*nodes, *pooled("t")], {**HEAD, **weights}


FLAT = {"w": normal(4, 108), "b": normal(4)}
CASES: dict[str, tuple[Case, str]] = {
    "a gate": (before_pool(node("Sigmoid", "x", "s"), node("Mul", "x s", "t")), "Sigmoid (n_s)"),
    "a sum with a constant": (before_pool(node("Add", "x k", "t"), k=normal(1, 3, 6, 6)), "Add"),
    "a product": (before_pool(node("Mul", "x x", "t")), "Mul (n_t)"),
    "a difference": (before_pool(node("Sub", "x x", "t")), "Sub (n_t)"),
    "a normalization apart": (
        before_pool(
            node("Relu", "x", "r"),
            node("BatchNormalization", "r g o m v", "t"),
            g=normal(3),
            o=normal(3),
            m=normal(3),
            v=np.ones(3, np.float32),
        ),
        "BatchNormalization (n_t)",
    ),
    "branches": (
        before_pool(
            node("Concat", "x x", "c", axis=1), node("Conv", "c k", "t"), k=normal(3, 6, 1, 1)
        ),
        "Concat (n_c)",
    ),
    "a dilated convolution": (
        before_pool(node("Conv", "x k", "t", dilations=[2, 2]), k=normal(3, 3, 3, 3)),
        "Conv (n_t) is dilated",
    ),
    "more padding than kernel": (
        before_pool(node("Conv", "x k", "t", pads=[1, 1, 1, 1]), k=normal(3, 3, 1, 1)),
        "Conv (n_t) pads more",
    ),
    "averages at the border": (
        before_pool(node("AveragePool", "x", "t", kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
        "AveragePool (n_t) takes averages of fewer cells",
    ),
    "means of a line": (
        before_pool(node("ReduceMean", "x a", "t", keepdims=1), a=np.array([2])),
        "ReduceMean (n_t)",
    ),
    "a turned image": (
        before_pool(node("Transpose", "x", "t", perm=[0, 1, 3, 2])),
        "Transpose (n_t)",
    ),
    "channels made of cells": (
        (
            [
                node("Reshape", "x s", "t"),
                node("GlobalAveragePool", "t", "p"),
                node("Flatten", "p", "f"),
                node("Gemm", "f w b", "y", transB=1),
            ],
            {"s": np.array([0, 12, 3, 3]), "w": normal(4, 12), "b": normal(4)},
        ),
        "moves numbers between channels and cells",
    ),
    "a sum of unlike shapes": (
        before_pool(node("GlobalAveragePool", "x", "p"), node("Add", "x p", "t")),
        "Add (n_t) adds tensors of different shapes",
    ),
    "a classifier of an image": (
        (
            [
                node("Relu", "x", "r"),
                node("Flatten", "r", "f"),
                node("Gemm", "f w b", "y", transB=1),
            ],
            FLAT,
        ),
        "The classifier of the network works on [3, 6, 6]",
    ),
    "a classifier of the input": (
        ([node("Flatten", "x", "f"), node("Gemm", "f w b", "y", transB=1)], FLAT),
        "The classifier of the network works on",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_unknown_is_named(name: str):
    (nodes, weights), message = CASES[name]
    forward = fold(load_graph(model(nodes, weights), "n"))
    with pytest.raises(BundleError) as error:
        steps_of(forward)
    assert message in error.value.found
    assert error.value.expected and error.value.action


def test_gates_come_with_a_way_out():
    with pytest.raises(BundleError, match="Train with Relu"):
        steps_of(fold(load_graph(ours("branches")[2], "n")))


def test_a_signal_that_is_too_long_is_refused():
    nodes = [
        node("Conv", "x k", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f w b", "y", transB=1),
    ]
    weights = {"k": normal(3, 1, 3), **HEAD}
    forward = fold(load_graph(model(nodes, weights, (2, 1, 70_000)), "n"))
    with pytest.raises(BundleError, match="65535"):
        steps_of(forward)


def test_a_sum_that_is_always_0_is_refused():
    """No factors within 32 bits lead from its inputs to a range of nothing."""
    case = before_pool(
        node("Conv", "x k o", "c"),
        node("Add", "c x", "s"),
        node("Relu", "s", "t"),
        k=normal(3, 3, 1, 1),
        o=np.full(3, -100, np.float32),
    )
    forward = fold(load_graph(model(*case), "n"))
    view = ImagePreprocessing(6, 6, 3, (0.5,) * 3, (0.25,) * 3)
    settings = ImageSettings(tuple("abcd"), view, StandIn((0.0, 1.0), (0.0, 2.0)), "ab" * 32)
    with pytest.raises(BundleError, match=r"\(ADD\) has a range"):
        compile_image(forward, settings, normal(4, 3, 6, 6))
