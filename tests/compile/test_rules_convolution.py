"""The rule of convolution against torch, over random geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sel_edge.compile.graph import Graph
from tests.compile.gradients import check, normal


@dataclass(frozen=True)
class Case:
    """A convolution of one or two dimensions, as ONNX describes it."""

    batch: int
    inputs: int
    outputs: int
    group: int
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": [*self.before, *self.after],
            "group": self.group,
        }

    def reference(self, x: Tensor, *parameters: Tensor) -> Tensor:
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        padded = functional.pad(x, [p for pair in pairs for p in pair])
        convolution = functional.conv1d if len(self.sizes) == 1 else functional.conv2d
        return convolution(
            padded,
            *parameters,
            stride=self.strides,
            dilation=self.dilations,
            groups=self.group,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.sampled_from([1, 2]))

    def several(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides, dilations = several(1, 4), several(1, 3), several(1, 2)
    before, after = several(0, 3), several(0, 3)
    sizes = several(1, 8)
    for size, k, s, d, p, q in zip(sizes, kernel, strides, dilations, before, after, strict=True):
        reach = (k - 1) * d + 1
        assume(size + p + q >= reach)
        # Windows that see nothing but padding make onnxruntime 1.22 fill dX with garbage.
        assume((size + p + q - reach) // s * s + reach > p)
    group = draw(st.integers(1, 3))
    # One output channel per group is a depthwise convolution when there is one input channel too.
    inputs, outputs = group * draw(st.integers(1, 3)), group * draw(st.integers(1, 3))
    batch = draw(st.integers(1, 3))
    return Case(batch, inputs, outputs, group, sizes, kernel, strides, dilations, before, after)


@settings(max_examples=150)
@given(case=cases(), bias=st.booleans(), seed=st.integers(0, 99))
def test_convolution(case: Case, bias: bool, seed: int) -> None:
    arrays = {
        "x": normal(case.batch, case.inputs, *case.sizes, seed=seed),
        "w": normal(case.outputs, case.inputs // case.group, *case.kernel, seed=seed + 1),
    }
    if bias:
        arrays["b"] = normal(case.outputs, seed=seed + 2)

    def build(g: Graph, *inputs: str) -> str:
        return g.add("Conv", *inputs, **case.attributes)

    check(build, case.reference, arrays)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_convolutions_of_residual_networks(kernel: int, size: int, stride: int) -> None:
    check(
        lambda g, *i: g.add("Conv", *i, strides=[stride] * 2, pads=[kernel // 2] * 4),
        lambda x, w: functional.conv2d(x, w, stride=stride, padding=kernel // 2),
        {"x": normal(3, 4, size, size), "w": normal(5, 4, kernel, kernel, seed=1)},
    )


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("width", [1, 20])
def test_kernels_along_the_height_alone(width: int, group: int) -> None:
    """Weights are fewer than a sample's numbers, or more."""
    check(
        lambda g, *i: g.add("Conv", *i, pads=[1, 0, 1, 0], group=group),
        lambda x, w: functional.conv2d(x, w, padding=(1, 0), groups=group),
        {"x": normal(3, 4, 3, width), "w": normal(8, 4 // group, 3, 1, seed=1)},
    )


@settings(max_examples=30)
@given(
    auto=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    size=st.integers(4, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_padding_chosen_by_the_operator(auto: str, size: int, kernel: int, stride: int) -> None:
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size) if auto != "VALID" else 0
    small, large = total // 2, total - total // 2
    pads = (small, large) if auto == "SAME_UPPER" else (large, small)
    check(
        lambda g, *i: g.add("Conv", *i, strides=[stride], auto_pad=auto),
        lambda x, w: torch.conv1d(functional.pad(x, pads), w, stride=stride),
        {"x": normal(2, 3, size), "w": normal(4, 3, kernel, seed=1)},
    )
