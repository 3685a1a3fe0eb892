"""Arithmetic rules against torch, over every kind of broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import MissingRule
from tests.compile.gradients import Array, check, distinct, normal, operator


@st.composite
def broadcastable(draw: st.DrawFn) -> tuple[Array, Array]:
    """Two tensors of up to four dimensions that numpy broadcasts."""
    shape = draw(st.lists(st.integers(1, 4), min_size=0, max_size=4))

    def part(seed: int) -> Array:
        dropped = draw(st.integers(0, len(shape)))
        sizes = [draw(st.sampled_from([1, size])) for size in shape[dropped:]]
        return normal(*sizes, seed=seed)

    return part(1), part(2)


def _apart_from_zero(values: Array) -> Array:
    return np.where(values < 0, values - 0.5, values + 0.5).astype(np.float32)


@settings(max_examples=25)
@given(pair=broadcastable(), op=st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"]))
def test_two_operands(pair: tuple[Array, Array], op: str) -> None:
    functions = {
        "Add": torch.add,
        "Sub": torch.sub,
        "Mul": torch.mul,
        "Max": torch.maximum,
        "Min": torch.minimum,
    }
    check(operator(op), functions[op], {"a": pair[0], "b": pair[1]})


@settings(max_examples=25)
@given(pair=broadcastable())
def test_division(pair: tuple[Array, Array]) -> None:
    check(operator("Div"), torch.div, {"a": pair[0], "b": _apart_from_zero(pair[1])})


@settings(max_examples=25)
@given(pair=broadcastable(), seed=st.integers(0, 99))
def test_choice_by_condition(pair: tuple[Array, Array], seed: int) -> None:
    shape = np.broadcast_shapes(pair[0].shape, pair[1].shape)
    condition = normal(*shape, seed=seed) > 0

    def build(g: Graph, a: str, b: str) -> str:
        return g.add("Where", g.constant(condition), a, b)

    check(
        build,
        lambda a, b: torch.where(torch.tensor(condition), a, b),
        {"a": pair[0], "b": pair[1]},
    )


def test_a_condition_ends_the_way() -> None:
    # As torch has it: nothing flows through a comparison.
    def build(g: Graph, x: str) -> str:
        positive = g.add("Greater", x, g.scalar(0.0, x))
        return g.add("Mul", x, g.add("Cast", positive, to=1))

    check(build, lambda x: x * (x > 0), {"x": normal(3, 4)})


@pytest.mark.parametrize("count", [1, 2, 4])
def test_sum_of_any_number(count: int) -> None:
    shapes = [(2, 3, 4), (3, 1), (1,), (2, 1, 4)]
    arrays = {f"x{i}": normal(*shapes[i], seed=i) for i in range(count)}
    check(operator("Sum"), lambda *xs: sum(xs[1:], xs[0]), arrays)


@pytest.mark.parametrize("op", ["Mul", "Div", "Sub", "Add"])
def test_both_operands_the_same(op: str) -> None:
    def build(g: Graph, x: str) -> str:
        return g.add(op, x, g.add("Mul", x, x))

    functions = {"Mul": torch.mul, "Div": torch.div, "Sub": torch.sub, "Add": torch.add}
    check(build, lambda x: functions[op](x, x * x), {"x": _apart_from_zero(normal(3, 5))})


def test_a_squared_operand_counts_twice() -> None:
    check(lambda g, x: g.add("Mul", x, x), torch.square, {"x": normal(3, 5)})


@pytest.mark.parametrize(
    ("op", "function", "values"),
    [
        ("Neg", torch.neg, distinct(3, 5)),
        ("Abs", torch.abs, np.array([-2, -1, 0, 1, 2], dtype=np.float32)),
        ("Exp", torch.exp, normal(3, 5)),
        ("Log", torch.log, np.abs(normal(3, 5)) + 0.1),
        ("Sqrt", torch.sqrt, np.abs(normal(3, 5)) + 0.1),
        ("Reciprocal", torch.reciprocal, _apart_from_zero(normal(3, 5))),
    ],
)
def test_one_operand(op: str, function: Callable[[Tensor], Tensor], values: Array) -> None:
    check(operator(op), function, {"x": values})


@settings(max_examples=25)
@given(exponent=st.sampled_from([-2.0, -1.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]))
def test_power(exponent: float) -> None:
    whole = exponent == int(exponent)
    x = _apart_from_zero(normal(3, 4)) if whole else np.abs(normal(3, 4)) + 0.1
    build = operator("Pow", np.array(exponent, dtype=np.float32))
    check(build, lambda x: torch.pow(x, exponent), {"x": x})


def test_power_of_exponents_that_broadcast() -> None:
    exponents = np.array([[1], [2], [3]], dtype=np.int64)
    check(
        operator("Pow", exponents),
        lambda x: torch.pow(x, torch.tensor(exponents)),
        {"x": _apart_from_zero(normal(4))},
    )


def test_a_logit_operand_needs_no_fixed_number_of_classes() -> None:
    check(
        lambda g, a, b: g.add("Mul", g.add("Add", a, b), a),
        lambda a, b: (a + b) * a,
        {"a": normal(4, 7), "b": normal(7, seed=1)},
        names={"a": (4, "K"), "b": ("K",)},
    )


@pytest.mark.parametrize(
    ("op", "shapes"), [("Pow", [(3,), (3,)]), ("Max", [(3,), (3,), (3,)]), ("Max", [(3,)])]
)
def test_what_has_no_rule_is_named(op: str, shapes: list[tuple[int, ...]]) -> None:
    graph = Graph()
    names = [graph.input(f"x{i}", "float32", shape) for i, shape in enumerate(shapes)]
    y = graph.add(op, *names)
    with pytest.raises(MissingRule, match=op) as caught:
        differentiate(graph, {y: graph.input("dy", "float32", (3,))}, ["x0"])
    assert caught.value.node.op == op
