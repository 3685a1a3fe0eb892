"""Reverse-mode differentiation: what it computes, what it leaves out, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sel_edge.compile.differentiate import dependents, differentiate
from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import MissingRule
from tests.compile.gradients import check, normal, relative_error, run, superfluous

OPERATORS = {
    "Add": torch.add,
    "Mul": torch.mul,
    "Sub": torch.sub,
    "Max": torch.maximum,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Neg": torch.neg,
}
UNARY = ("Sigmoid", "Tanh", "Neg")


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Operators on two inputs and on what came before, so that tensors are used several times."""
    steps = draw(st.integers(1, 8))
    return [
        (
            draw(st.sampled_from(sorted(OPERATORS))),
            draw(st.integers(0, index + 1)),
            draw(st.integers(0, index + 1)),
        )
        for index in range(steps)
    ]


def _graph_of(program: list[tuple[str, int, int]], g: Graph, *inputs: str) -> str:
    tensors = list(inputs)
    for op, first, second in program:
        operands = [tensors[first]] if op in UNARY else [tensors[first], tensors[second]]
        tensors.append(g.add(op, *operands))
    return g.add("Sum", *tensors)


def _torch_of(program: list[tuple[str, int, int]], *inputs: Tensor) -> Tensor:
    tensors = list(inputs)
    for op, first, second in program:
        operands = [tensors[first]] if op in UNARY else [tensors[first], tensors[second]]
        tensors.append(OPERATORS[op](*operands))
    return torch.stack(tensors).sum(0)


@settings(max_examples=60)
@given(program=programs())
def test_tensors_used_on_several_paths_get_the_sum(program: list[tuple[str, int, int]]) -> None:
    check(
        lambda g, *inputs: _graph_of(program, g, *inputs),
        lambda *inputs: _torch_of(program, *inputs),
        {"a": normal(2, 3) / 2, "b": normal(2, 3, seed=1) / 2},
    )


@settings(max_examples=30)
@given(program=programs(), wrt=st.sampled_from([["a"], ["b"], ["a", "b"]]))
def test_nothing_is_computed_that_no_gradient_needs(
    program: list[tuple[str, int, int]], wrt: list[str]
) -> None:
    arrays = {"a": normal(2, 3), "b": normal(2, 3, seed=1)}
    assert superfluous(lambda g, *i: _graph_of(program, g, *i), arrays, wrt) == []


def _two_layers() -> tuple[Graph, str]:
    """logits = relu(x w1) w2."""
    graph = Graph()
    x = graph.input("x", "float32", (4, 3))
    hidden = graph.add("MatMul", x, graph.input("w1", "float32", (3, 5)))
    rectified = graph.add("Relu", hidden)
    logits = graph.add("MatMul", rectified, graph.input("w2", "float32", (5, 2)))
    graph.input("seed", "float32", (4, 2))
    return graph, logits


def test_the_backward_pass_ends_at_the_deepest_parameter() -> None:
    graph, logits = _two_layers()
    forward = len(graph.nodes)
    gradients = differentiate(graph, {logits: "seed"}, ["w2"])
    added = graph.nodes[forward:]
    assert set(gradients) == {"w2"}
    # One product with the transposed input; nothing through the activation or towards w1.
    assert sorted(node.op for node in added) == ["MatMul", "Transpose"]


def test_operators_before_every_parameter_need_no_rule() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (4, 3))
    unknown = graph.add("Ceil", x)
    y = graph.add("MatMul", unknown, graph.input("w", "float32", (3, 2)))
    found = differentiate(graph, {y: graph.input("seed", "float32", (4, 2))}, ["w"])
    assert set(found) == {"w"}


def test_operators_beside_the_way_need_no_rule() -> None:
    graph = Graph()
    w = graph.input("w", "float32", (3,))
    graph.outputs["other"] = graph.add("Ceil", w)
    y = graph.add("Neg", w)
    found = differentiate(graph, {y: graph.input("seed", "float32", (3,))}, [w])
    assert set(found) == {w}


def test_a_missing_rule_names_the_node() -> None:
    graph = Graph()
    w = graph.input("w", "float32", (3,))
    (y,) = graph.add_node("Ceil", [w], {}, name="block3/ceil")
    seed = graph.input("seed", "float32", (3,))
    with pytest.raises(MissingRule, match="Ceil block3/ceil") as caught:
        differentiate(graph, {y: seed}, [w])
    assert caught.value.node.name == "block3/ceil"


def test_a_parameter_that_the_loss_does_not_depend_on_has_no_gradient() -> None:
    graph, logits = _two_layers()
    apart = graph.input("apart", "float32", (3,))
    assert set(differentiate(graph, {logits: "seed"}, ["w2", apart])) == {"w2"}


def test_the_gradient_of_an_intermediate_tensor() -> None:
    # A step that starts from a cached latent wants gradients no further than this.
    graph, logits = _two_layers()
    hidden = graph.nodes[0].outputs[0]
    found = differentiate(graph, {logits: "seed"}, [hidden, "w2"])
    assert set(found) == {hidden, "w2"}
    graph.outputs["dh"] = found[hidden]
    feeds = {
        "x": normal(4, 3),
        "w1": normal(3, 5, seed=1),
        "w2": normal(5, 2, seed=2),
        "seed": normal(4, 2, seed=3),
    }
    expected = (feeds["seed"] @ feeds["w2"].T) * (feeds["x"] @ feeds["w1"] > 0)
    assert relative_error(run(graph, feeds)["dh"], expected) < 1e-6


def test_the_gradient_of_an_intermediate_tensor_and_of_what_it_is_made_of() -> None:
    graph, logits = _two_layers()
    hidden = graph.nodes[0].outputs[0]
    found = differentiate(graph, {logits: "seed"}, ["w1", hidden])
    alone, logits = _two_layers()
    assert set(found) == {"w1", hidden}
    graph.outputs["dw"] = found["w1"]
    alone.outputs["dw"] = differentiate(alone, {logits: "seed"}, ["w1"])["w1"]
    feeds = {
        "x": normal(4, 3),
        "w1": normal(3, 5, seed=1),
        "w2": normal(5, 2, seed=2),
        "seed": normal(4, 2, seed=3),
    }
    np.testing.assert_array_equal(run(graph, feeds)["dw"], run(alone, feeds)["dw"])


def test_seeds_at_several_tensors_add_up() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (3,))
    middle = graph.add("Mul", x, x)
    end = graph.add("Neg", middle)
    seeds = {
        middle: graph.input("s1", "float32", (3,)),
        end: graph.input("s2", "float32", (3,)),
    }
    graph.outputs["dx"] = differentiate(graph, seeds, [x])[x]
    feeds = {"x": normal(3), "s1": normal(3, seed=1), "s2": normal(3, seed=2)}
    expected = 2 * feeds["x"] * (feeds["s1"] - feeds["s2"])
    np.testing.assert_allclose(run(graph, feeds)["dx"], expected, rtol=1e-6)


def test_whole_numbers_end_the_way() -> None:
    def build(g: Graph, x: str) -> str:
        largest = g.add("ArgMax", x, axis=1, keepdims=0)
        flat = g.reshape(x, 12)
        return g.add("Gather", flat, largest)

    check(build, lambda x: x.ravel()[x.argmax(1)], {"x": normal(3, 4)})


def test_dependents_are_what_is_computed_from_a_tensor() -> None:
    graph, logits = _two_layers()
    hidden, rectified = (graph.nodes[i].outputs[0] for i in (0, 1))
    assert dependents(graph, ["w1"]) == {"w1", hidden, rectified, logits}
    assert dependents(graph, ["w2"]) == {"w2", logits}
