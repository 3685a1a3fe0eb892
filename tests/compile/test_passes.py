"""Passes over graphs change what runs when and in which layout, never a result."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.compile.graph import Graph
from sel_edge.compile.hoist import hoist
from sel_edge.compile.layout import sink_transposes, split_transposes
from tests.compile.gradients import Array, normal
from tests.compile.test_rungs import run

SHAPE = (2, 3, 4, 5)
FEEDS: dict[str, Array] = {"x": normal(*SHAPE), "y": normal(*SHAPE, seed=1)}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random chain of operators on two inputs of the same shape, any of them transposed."""
    g = Graph()
    tensors = [g.input(name, "float32", SHAPE) for name in FEEDS]
    for _ in range(draw(st.integers(1, 8))):
        tensor = draw(st.sampled_from(tensors))
        kind = draw(st.sampled_from(["unary", "transpose", "binary", "reduce", "column", "expand"]))
        if kind == "unary":
            tensors.append(g.add(draw(st.sampled_from(["Relu", "Neg", "Tanh"])), tensor))
        elif kind == "transpose":
            tensors.append(g.transpose(tensor, *draw(st.permutations(range(g.rank(tensor))))))
        elif kind == "binary":
            same = [t for t in tensors if g.shape(t) == g.shape(tensor)]
            op = draw(st.sampled_from(["Add", "Mul", "Sub"]))
            tensors.append(g.add(op, tensor, draw(st.sampled_from(same))))
        elif kind == "reduce":
            axes = draw(st.lists(st.integers(0, g.rank(tensor) - 1), min_size=1, unique=True))
            keepdims = draw(st.integers(0, 1)) if len(axes) < g.rank(tensor) else 1
            reduced = g.add("ReduceSum", tensor, g.ints(*axes), keepdims=keepdims)
            tensors.append(reduced)
        elif kind == "column":
            size = g.shape(tensor)[-1]
            tensors.append(g.add("Mul", tensor, g.constant(normal(size, seed=size))))
        else:
            axis = draw(st.integers(0, g.rank(tensor) - 1))
            thin = g.add("ReduceSum", tensor, g.ints(axis), keepdims=1)
            wide = g.add("Expand", thin, g.ints(*g.shape(tensor)))
            tensors.append(g.add("Mul", wide, tensor))
    g.outputs = {f"out{i}": name for i, name in enumerate(tensors[2:])}
    return g


@given(graphs())
def test_sinking_transpositions_changes_no_result(graph: Graph) -> None:
    expected, found = run(graph, FEEDS), run(sink_transposes(graph), FEEDS)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-4)


@given(st.permutations(range(4)).filter(lambda perm: perm != [0, 1, 2, 3]))
def test_a_split_transposition_moves_one_dimension_or_leaves_the_innermost(perm: list[int]) -> None:
    g = Graph()
    g.outputs["out"] = g.transpose(g.input("x", "float32", SHAPE), *perm)
    split = split_transposes(g)
    np.testing.assert_array_equal(run(split, FEEDS)["out"], FEEDS["x"].transpose(perm))
    for node in split.needed_nodes():
        if node.op == "Transpose":
            order = list(node.attributes["perm"])
            rest = [[p for p in order if p != moved] for moved in order]
            assert order[-1] == len(order) - 1 or any(r == sorted(r) for r in rest)


@given(graphs())
def test_splitting_transpositions_changes_no_result(graph: Graph) -> None:
    expected, found = run(graph, FEEDS), run(split_transposes(graph), FEEDS)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_transpositions_of_unknown_sizes_stay_whole() -> None:
    g = Graph()
    g.outputs["out"] = g.transpose(g.input("x", "float32", ("rows", 2, 3)), 2, 1, 0)
    (node,) = split_transposes(g).needed_nodes()
    assert node.op == "Transpose"


def test_transpositions_between_elementwise_operators_vanish() -> None:
    g = Graph()
    inner = g.transpose(g.input("x", "float32", SHAPE), 1, 2, 3, 0)
    inner = g.add("Relu", g.add("Add", inner, g.scalar(1.0, inner)))
    g.outputs["out"] = g.transpose(inner, 3, 0, 1, 2)
    assert all(node.op != "Transpose" for node in sink_transposes(g).needed_nodes())


@given(graphs())
def test_a_hoisted_graph_in_two_parts_computes_the_same(graph: Graph) -> None:
    early, late = hoist(graph, ["y"])
    found = run(early, FEEDS) if early.outputs else {}
    found |= run(late, {**FEEDS, **found}) if late.outputs else {}
    for name, value in run(graph, FEEDS).items():
        np.testing.assert_array_equal(found[name], value)


@given(graphs())
def test_nothing_hoisted_depends_on_what_changes(graph: Graph) -> None:
    early, _ = hoist(graph, ["y"])
    assert all("y" not in node.inputs for node in early.needed_nodes())


def test_what_crosses_over_is_kept_once() -> None:
    """A transposed copy of a cached tensor is made at each step rather than cached as well."""
    g = Graph()
    x, y = g.input("x", "float32", (4, 5)), g.input("y", "float32", (5, 4))
    cached = g.add("Tanh", x)
    product = g.add("MatMul", y, cached)
    g.outputs["out"] = g.add("MatMul", product, g.transpose(cached, 1, 0))
    early, _ = hoist(g, ["y"])
    assert list(early.outputs) == [cached]
