"""Activation rules against torch, and the patterns by which exporters write GELU and SiLU."""

from __future__ import annotations

import math
from collections.abc import Callable

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
from tests.compile.gradients import Array, check, normal, operator

# From deep saturation to zero itself, without the points where an activation has two slopes.
VALUES = np.array(
    [[-50, -7.5, -4, -2.9, -2], [-1.2, -0.6, -0.01, -1e-30, 0.003], [0.4, 1.1, 2.9, 4.2, 60]],
    dtype=np.float32,
)


def _number(value: float) -> Array:
    return np.array(value, dtype=np.float32)


@settings(max_examples=20)
@given(
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=4),
    seed=st.integers(0, 99),
    op=st.sampled_from(["Relu", "Sigmoid", "Tanh", "Erf", "Softplus"]),
)
def test_activations_of_any_shape(shape: list[int], seed: int, op: str) -> None:
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Erf": torch.erf,
        "Softplus": functional.softplus,
    }
    check(operator(op), functions[op], {"x": 3 * normal(*shape, seed=seed)})


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Relu", torch.relu),
        ("Sigmoid", torch.sigmoid),
        ("Tanh", torch.tanh),
        ("Erf", torch.erf),
        ("Softplus", functional.softplus),
        ("HardSwish", functional.hardswish),
    ],
)
def test_activations_from_saturation_to_zero(op: str, function: Callable[[Tensor], Tensor]) -> None:
    check(operator(op), function, {"x": VALUES})


@pytest.mark.parametrize(("op", "function"), [("Relu", torch.relu), ("Abs", torch.abs)])
def test_the_slope_at_zero_is_torchs(op: str, function: Callable[[Tensor], Tensor]) -> None:
    check(operator(op), function, {"x": np.zeros((2, 3), dtype=np.float32)})


@settings(max_examples=20)
@given(slope=st.sampled_from([-0.5, 0.0, 0.01, 0.2, 1.0, 1.5]), seed=st.integers(0, 99))
def test_leaky_relu_of_any_slope(slope: float, seed: int) -> None:
    check(
        operator("LeakyRelu", alpha=slope),
        lambda x: functional.leaky_relu(x, slope),
        {"x": normal(3, 7, seed=seed)},
    )


def test_leaky_relu_without_a_slope_takes_onnxs() -> None:
    check(operator("LeakyRelu"), lambda x: functional.leaky_relu(x, 0.01), {"x": VALUES})


@pytest.mark.parametrize("slopes", [(3, 1, 1), (1,), (1, 1)])
def test_prelu_learns_its_slopes(slopes: tuple[int, ...]) -> None:
    check(
        operator("PRelu"),
        lambda x, slope: torch.where(x > 0, x, slope * x),
        {"x": normal(2, 3, 4, 5), "slope": normal(*slopes, seed=1)},
    )


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, 1.0), (None, 1.0), (0.5, None)])
def test_clip_with_either_bound_absent(bounds: tuple[float | None, float | None]) -> None:
    check(
        operator("Clip", *(None if bound is None else _number(bound) for bound in bounds)),
        lambda x: torch.clamp(x, *bounds),
        {"x": VALUES},
    )


def test_clip_without_bounds() -> None:
    check(operator("Clip"), lambda x: x * 1, {"x": VALUES})


def test_relu6_has_torchs_slope_at_its_corners() -> None:
    x = np.array([-1, 0, 3, 6, 7], dtype=np.float32)
    check(operator("Clip", _number(0), _number(6)), functional.relu6, {"x": x})


@pytest.mark.parametrize("attributes", [{}, {"alpha": 1 / 6, "beta": 0.5}])
def test_hard_sigmoid(attributes: dict[str, float]) -> None:
    slope, offset = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    check(
        operator("HardSigmoid", **attributes),
        lambda x: torch.clamp(slope * x + offset, 0, 1),
        {"x": VALUES},
    )


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_elu(alpha: float) -> None:
    check(operator("Elu", alpha=alpha), lambda x: functional.elu(x, alpha), {"x": VALUES})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_opset_20(approximate: str) -> None:
    check(
        operator("Gelu", approximate=approximate),
        lambda x: functional.gelu(x, approximate=approximate),
        {"x": VALUES},
        opset=20,
    )


def test_gelu_as_exported_with_erf() -> None:
    def build(g: Graph, x: str) -> str:
        inner = g.add("Erf", g.add("Div", x, g.scalar(math.sqrt(2), x)))
        product = g.add("Mul", x, g.add("Add", inner, g.scalar(1.0, x)))
        return g.add("Mul", product, g.scalar(0.5, x))

    check(build, functional.gelu, {"x": VALUES / 10})


def test_gelu_as_exported_with_tanh() -> None:
    def build(g: Graph, x: str) -> str:
        cube = g.add("Mul", g.add("Pow", x, g.scalar(3.0, x)), g.scalar(0.044715, x))
        inner = g.add("Mul", g.add("Add", x, cube), g.scalar(math.sqrt(2 / math.pi), x))
        outer = g.add("Add", g.add("Tanh", inner), g.scalar(1.0, x))
        return g.add("Mul", g.add("Mul", x, g.scalar(0.5, x)), outer)

    check(build, lambda x: functional.gelu(x, approximate="tanh"), {"x": VALUES / 10})


def test_silu_as_exported() -> None:
    check(lambda g, x: g.add("Mul", x, g.add("Sigmoid", x)), functional.silu, {"x": VALUES})


def test_hard_swish_as_exported_from_hard_sigmoid() -> None:
    def build(g: Graph, x: str) -> str:
        return g.add("Mul", x, g.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))

    check(build, functional.hardswish, {"x": VALUES})


def test_softplus_as_exported_with_its_linear_end() -> None:
    def build(g: Graph, x: str) -> str:
        linear = g.add("Greater", x, g.scalar(20.0, x))
        return g.add("Where", linear, x, g.add("Softplus", x))

    check(build, functional.softplus, {"x": VALUES})


@pytest.mark.parametrize("op", ["Relu", "LeakyRelu", "Clip"])
def test_the_gradient_does_not_keep_the_input_alive(op: str) -> None:
    # Else onnxruntime could not fuse the activation into the convolution before it.
    graph = Graph()
    x = graph.input("x", "float32", (2, 3))
    y = operator(op, *([_number(0), _number(6)] if op == "Clip" else []))(graph, x)
    forward = len(graph.nodes)
    differentiate(graph, {str(y): graph.input("dy", "float32", (2, 3))}, [x])
    assert all(x not in node.inputs for node in graph.nodes[forward:])


def test_an_unknown_approximation_of_gelu_is_an_error() -> None:
    graph = Graph(opset=20)
    x = graph.input("x", "float32", (2, 3))
    y = graph.add("Gelu", x, approximate="sigmoid")
    with pytest.raises(MissingRule, match="Gelu"):
        differentiate(graph, {y: graph.input("dy", "float32", (2, 3))}, [x])
