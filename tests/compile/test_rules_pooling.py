"""Rules of pools against torch, over random windows, and of resizing against onnxruntime's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import MissingRule
from tests.compile.gradients import Array, check, distinct, normal, operator, run


@dataclass(frozen=True)
class Window:
    """A pool over one or two dimensions, as ONNX describes it."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def attributes(self, *without: str) -> dict[str, Any]:
        found = {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": [*self.before, *self.after],
        }
        return {key: value for key, value in found.items() if key not in without}

    def padded(self, x: Tensor, value: float) -> Tensor:
        """With the padding written out, as torch wants it: last dimension first."""
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return functional.pad(x, [p for pair in pairs for p in pair], value=value)


@st.composite
def windows(
    draw: st.DrawFn, *, dilated: bool = True, symmetric: bool = False, rank: int | None = None
) -> Window:
    rank = rank or draw(st.sampled_from([1, 2]))

    def several(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides = several(1, 3), several(1, 3)
    dilations = several(1, 2) if dilated else (1,) * rank
    # torch allows half a kernel of padding, onnxruntime less than a kernel.
    before = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    after = before if symmetric else tuple(draw(st.integers(0, k - 1)) for k in kernel)
    sizes = several(3, 8)
    for size, k, d, p, q in zip(sizes, kernel, dilations, before, after, strict=True):
        assume(size + p + q >= (k - 1) * d + 1)
    return Window(sizes, kernel, strides, dilations, before, after)


def _pool(kind: str, rank: int) -> Any:
    return getattr(functional, f"{kind}_pool{rank}d")


@settings(max_examples=40)
@given(window=windows(), seed=st.integers(0, 99))
def test_max_pool(window: Window, seed: int) -> None:
    def reference(x: Tensor) -> Tensor:
        return _pool("max", len(window.sizes))(
            window.padded(x, float("-inf")),
            window.kernel,
            window.strides,
            dilation=window.dilations,
        )

    x = distinct(2, 3, *window.sizes, seed=seed)
    check(operator("MaxPool", **window.attributes()), reference, {"x": x})


def _assume_no_late_window(window: Window) -> None:
    """ONNX counts windows that start beyond the image, onnxruntime does not compute them; the
    loader rewrites such pools, so that no rule ever sees one."""
    for size, k, stride, dilation, pad in zip(
        window.sizes, window.kernel, window.strides, window.dilations, window.before, strict=True
    ):
        outputs = -(-(size + 2 * pad - (k - 1) * dilation - 1) // stride) + 1
        assume((outputs - 1) * stride < size + pad)


@settings(max_examples=40)
@given(window=windows(symmetric=True), seed=st.integers(0, 99))
def test_max_pool_in_ceil_mode(window: Window, seed: int) -> None:
    _assume_no_late_window(window)

    def reference(x: Tensor) -> Tensor:
        return _pool("max", len(window.sizes))(
            x, window.kernel, window.strides, window.before, window.dilations, ceil_mode=True
        )

    x = distinct(2, 3, *window.sizes, seed=seed)
    check(operator("MaxPool", ceil_mode=1, **window.attributes()), reference, {"x": x})


@settings(max_examples=20)
@given(window=windows(symmetric=True, dilated=False, rank=2), levels=st.integers(1, 3))
def test_ties_go_to_the_element_that_torch_takes(window: Window, levels: int) -> None:
    x = np.random.default_rng(levels).integers(0, levels, (2, 2, *window.sizes))
    check(
        operator("MaxPool", **window.attributes()),
        lambda x: functional.max_pool2d(x, window.kernel, window.strides, window.before),
        {"x": x.astype(np.float32)},
    )


@settings(max_examples=20)
@given(
    op=st.sampled_from(["MaxPool", "AveragePool"]),
    auto=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    size=st.integers(4, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_padding_chosen_by_the_operator(
    op: str, auto: str, size: int, kernel: int, stride: int
) -> None:
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size) if auto != "VALID" else 0
    small, large = total // 2, total - total // 2
    pads = (small, large) if auto == "SAME_UPPER" else (large, small)
    # With a kernel smaller than the stride onnxruntime's pools start too late, against ONNX.
    assume(auto == "VALID" or kernel >= stride)

    def reference(x: Tensor) -> Tensor:
        if op == "MaxPool":
            padded = functional.pad(x, pads, value=float("-inf"))
            return functional.max_pool1d(padded, kernel, stride)
        sums, ones = (
            functional.avg_pool1d(functional.pad(t, pads), kernel, stride)
            for t in (x, torch.ones_like(x))
        )
        return sums / ones

    attributes = {"kernel_shape": [kernel], "strides": [stride], "auto_pad": auto}
    check(operator(op, **attributes), reference, {"x": distinct(2, 3, size)})


@settings(max_examples=40)
@given(window=windows(dilated=False), include=st.booleans(), seed=st.integers(0, 99))
def test_average_pool(window: Window, include: bool, seed: int) -> None:
    def means(x: Tensor) -> Tensor:
        pool = _pool("avg", len(window.sizes))
        return pool(window.padded(x, 0.0), window.kernel, window.strides)

    check(
        operator("AveragePool", count_include_pad=int(include), **window.attributes("dilations")),
        means if include else lambda x: means(x) / means(torch.ones_like(x)),
        {"x": normal(2, 3, *window.sizes, seed=seed)},
    )


@settings(max_examples=40)
@given(window=windows(dilated=False, symmetric=True))
def test_average_pool_in_ceil_mode(window: Window) -> None:
    _assume_no_late_window(window)
    check(
        operator("AveragePool", ceil_mode=1, **window.attributes("dilations")),
        lambda x: _pool("avg", len(window.sizes))(
            x, window.kernel, window.strides, window.before, True, False
        ),
        {"x": normal(2, 3, *window.sizes)},
    )


def test_ceil_mode_and_counted_padding_where_neither_matters() -> None:
    attributes = {"kernel_shape": [2], "strides": [2], "ceil_mode": 1, "count_include_pad": 1}
    check(
        operator("AveragePool", **attributes),
        lambda x: functional.avg_pool1d(x, 2, 2),
        {"x": normal(2, 3, 6)},
    )


@pytest.mark.parametrize(("size", "pads"), [(5, [0, 0]), (6, [1, 1])])
def test_ceil_mode_with_counted_padding_has_no_rule(size: int, pads: list[int]) -> None:
    attributes = {"kernel_shape": [2], "strides": [2], "ceil_mode": 1, "count_include_pad": 1}
    _has_no_rule("AveragePool", (1, 2, size), pads=pads, **attributes)


def test_average_pool_with_dilation() -> None:
    weights = torch.tensor([[[0.5, 0.0, 0.5]]], dtype=torch.float64)
    check(
        operator("AveragePool", kernel_shape=[2], strides=[2], dilations=[2]),
        lambda x: functional.conv1d(x.reshape(6, 1, 9), weights, stride=2).reshape(2, 3, 4),
        {"x": normal(2, 3, 9)},
        opset=19,
    )


def test_the_forward_pool_keeps_its_single_output() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (1, 1, 4, 4))
    y = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    differentiate(graph, {y: graph.input("dy", "float32", (1, 1, 2, 2))}, [x])
    assert len(graph.nodes[0].outputs) == 1


RESIZINGS = [
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
]


def _taken(attributes: dict[str, Any], size: int, scale: float) -> list[int]:
    """Where onnxruntime takes each element from when it resizes `size` elements."""
    graph = Graph()
    x = graph.input("x", "float32", (1, 1, size))
    scales = np.array([1, 1, scale], dtype=np.float32)
    graph.outputs["y"] = operator("Resize", None, scales, **attributes)(graph, x)
    indices = np.arange(size, dtype=np.float32).reshape(1, 1, size)
    return [int(i) for i in run(graph, {"x": indices})["y"].ravel()]


@settings(max_examples=40)
@given(
    mode=st.sampled_from(RESIZINGS),
    factors=st.tuples(*[st.sampled_from([1 / 3, 1 / 2, 1, 2, 3, 4])] * 2),
    by_sizes=st.booleans(),
)
def test_resize_by_whole_factors(
    mode: tuple[str, str], factors: tuple[float, float], by_sizes: bool
) -> None:
    attributes = {"coordinate_transformation_mode": mode[0], "nearest_mode": mode[1]}
    sizes = [round(2 / factor) if factor < 1 else 3 for factor in factors]
    rows, columns = (
        _taken(attributes, size, factor) for size, factor in zip(sizes, factors, strict=True)
    )
    if by_sizes:
        given_sizes = np.array([2, 3, len(rows), len(columns)], dtype=np.int64)
        build = operator("Resize", None, None, given_sizes, **attributes)
    else:
        scales = np.array([1, 1, *factors], dtype=np.float32)
        build = operator("Resize", None, scales, **attributes)
    check(build, lambda x: x[:, :, rows][:, :, :, columns], {"x": normal(2, 3, *sizes)})


def test_resize_of_channels() -> None:
    check(
        operator(
            "Resize",
            None,
            np.array([1, 2, 1], dtype=np.float32),
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        lambda x: x.repeat_interleave(2, dim=1),
        {"x": normal(2, 3, 4)},
    )


def test_resize_to_the_same_size() -> None:
    check(
        operator("Resize", None, np.ones(3, dtype=np.float32)),
        lambda x: x * 1,
        {"x": normal(2, 3, 4)},
    )


def test_resize_of_some_axes_only() -> None:
    sizes = np.array([4, 6], dtype=np.int64)
    check(
        operator(
            "Resize",
            None,
            None,
            sizes,
            axes=[2, 3],
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        lambda x: functional.interpolate(x, scale_factor=2),
        {"x": normal(1, 2, 2, 3)},
    )


@pytest.mark.parametrize(
    ("attributes", "scales"),
    [
        ({"mode": "linear"}, [1, 1, 2]),
        ({"coordinate_transformation_mode": "align_corners"}, [1, 1, 2]),
        ({}, [1, 1, 1.5]),
        ({}, [1, 1, 2.1]),
        ({"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 2]),
    ],
)
def test_other_resizings_have_no_rule(attributes: dict[str, Any], scales: Sequence[float]) -> None:
    _has_no_rule("Resize", (1, 2, 4), None, np.array(scales, dtype=np.float32), **attributes)


def _has_no_rule(
    op: str, shape: Sequence[int], *constants: Array | None, **attributes: Any
) -> None:
    graph = Graph()
    x = graph.input("x", "float32", shape)
    y = str(operator(op, *constants, **attributes)(graph, x))
    with pytest.raises(MissingRule, match=op):
        differentiate(graph, {y: graph.input("dy", "float32", graph.shape(y))}, [x])
