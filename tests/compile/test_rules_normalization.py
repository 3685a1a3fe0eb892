"""Rules of normalizations against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import MissingRule
from tests.compile.gradients import check, normal, superfluous

SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=2).map(lambda sizes: (3, 4, *sizes))


@settings(max_examples=20)
@given(shape=SHAPES, epsilon=st.sampled_from([None, 1e-3]), constant=st.booleans())
def test_batch_normalization(shape: tuple[int, ...], epsilon: float | None, constant: bool) -> None:
    mean, variance = normal(4, seed=3), np.abs(normal(4, seed=4)) + 0.1
    scale, bias = normal(4, seed=1), normal(4, seed=2)
    attributes = {} if epsilon is None else {"epsilon": epsilon}

    def build(g: Graph, x: str, *parameters: str) -> str:
        own = parameters or (g.constant(scale), g.constant(bias))
        stored = (g.constant(mean), g.constant(variance))
        return g.add("BatchNormalization", x, *own, *stored, **attributes)

    def reference(x: Tensor, *parameters: Tensor) -> Tensor:
        own = parameters or (torch.tensor(scale).double(), torch.tensor(bias).double())
        stored = (torch.tensor(mean).double(), torch.tensor(variance).double())
        return functional.batch_norm(x, *stored, *own, eps=epsilon or 1e-5)

    learned = {} if constant else {"scale": scale, "bias": bias}
    check(build, reference, {"x": normal(*shape), **learned})


def test_stored_statistics_of_a_frozen_layer_cost_one_product() -> None:
    constants = [normal(4), normal(4), normal(4), np.abs(normal(4))]

    def build(g: Graph, x: str) -> str:
        return g.add("BatchNormalization", x, *(g.constant(c) for c in constants))

    graph = Graph()
    x = graph.input("x", "float32", (2, 4, 3, 3))
    y = build(graph, x)
    differentiate(graph, {y: graph.input("dy", "float32", (2, 4, 3, 3))}, [x])
    assert [node.op for node in graph.nodes] == ["BatchNormalization", "Mul"]
    assert superfluous(build, {"x": normal(2, 4, 3, 3)}, ["x"]) == []


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 5), min_size=2, max_size=4), data=st.data())
def test_layer_normalization(shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape) + 1, -1))
    inner = shape[axis:]
    # Of two values the normalized ones are -1 and 1 whatever they are, and the gradient nearly 0.
    shape[-1] = inner[-1] = max(3, shape[-1])
    with_bias = data.draw(st.booleans())
    parameters = {"scale": normal(*inner, seed=1)}
    if with_bias:
        parameters["bias"] = normal(*inner, seed=2)

    def build(g: Graph, x: str, *rest: str) -> str:
        return g.add("LayerNormalization", x, *rest, axis=axis, epsilon=1e-3)

    check(
        build,
        lambda x, *rest: functional.layer_norm(x, inner, *rest, eps=1e-3),
        {"x": normal(*shape), **parameters},
    )


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(2, 5), min_size=1, max_size=2))
def test_instance_normalization(sizes: list[int]) -> None:
    check(
        lambda g, *inputs: g.add("InstanceNormalization", *inputs, epsilon=1e-3),
        lambda x, scale, bias: functional.instance_norm(x, weight=scale, bias=bias, eps=1e-3),
        {"x": normal(2, 3, *sizes), "scale": normal(3, seed=1), "bias": normal(3, seed=2)},
    )


def test_group_normalization_as_exported() -> None:
    def build(g: Graph, x: str, scale: str, bias: str) -> str:
        ones, zeros = (g.constant(np.full(2, value, np.float32)) for value in (1, 0))
        grouped = g.reshape(x, 2, 2, 6 * 5)
        normalized = g.add("InstanceNormalization", grouped, ones, zeros, epsilon=1e-3)
        product = g.add("Mul", g.reshape(normalized, 2, 4, 3, 5), scale)
        return g.add("Add", product, bias)

    check(
        build,
        lambda x, s, c: functional.group_norm(x, 2, s.ravel(), c.ravel(), eps=1e-3),
        {"x": normal(2, 4, 3, 5), "s": normal(4, 1, 1, seed=1), "c": normal(4, 1, 1, seed=2)},
    )


def test_batch_normalization_in_training_has_no_rule() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 4, 3))
    ones = graph.constant(np.ones(4, np.float32))
    inputs, attributes = [x, ones, ones, ones, ones], {"training_mode": 1}
    y, *_ = graph.add_node("BatchNormalization", inputs, attributes, 3)
    with pytest.raises(MissingRule, match="BatchNormalization"):
        differentiate(graph, {y: graph.input("dy", "float32", (2, 4, 3))}, [x])


def test_statistics_as_further_outputs_have_no_rule() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 4))
    scale = graph.constant(np.ones(4, np.float32))
    y, mean, _ = graph.add_node("LayerNormalization", [x, scale], {}, 3)
    seeds = {
        y: graph.input("dy", "float32", (2, 4)),
        mean: graph.input("dm", "float32", (2, 1)),
    }
    with pytest.raises(MissingRule, match="LayerNormalization"):
        differentiate(graph, seeds, [x])
