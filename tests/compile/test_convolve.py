"""Convolutions in every formulation against torch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.compile.convolve import STRIPES_MAX_HEIGHT, Layer, Use, convolve
from sel_edge.compile.graph import Graph
from sel_edge.compile.winograd import Line, Stripes, Winograd, best_line
from tests.compile.gradients import check, normal

sizes, tiles = st.integers(1, 9), st.sampled_from([2, 4])


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, object]:
    """Shapes and attributes of a convolution that has at least one output."""
    rank, group = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2, 3]))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [draw(st.integers(0, 3)) for _ in range(2 * rank)]
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return {
        "x": (
            draw(st.integers(1, 3)),
            group * draw(st.integers(1, 2)),
            *(draw(st.integers(low, low + 6)) for low in least),
        ),
        "outputs": group * draw(st.integers(1, 2)),
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "dilations": dilations,
        "pads": pads,
        "group": group,
    }


def torch_conv(case: dict, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Torch pads both ends alike, ONNX each by itself: pad first, then convolve."""
    rank = len(case["kernel_shape"])
    pads = [p for i in reversed(range(rank)) for p in (case["pads"][i], case["pads"][rank + i])]
    function = F.conv1d if rank == 1 else F.conv2d
    return function(
        F.pad(x, pads), w, b, case["strides"], 0, case["dilations"], groups=case["group"]
    )


@settings(max_examples=80)
@given(convolutions())
def test_gradient_of_any_convolution(case: dict) -> None:
    channels = case["x"][1] // case["group"]
    arrays = {
        "x": normal(*case["x"]),
        "w": normal(case["outputs"], channels, *case["kernel_shape"], seed=1),
        "b": normal(case["outputs"], seed=2),
    }
    attributes = {k: case[k] for k in ("kernel_shape", "strides", "dilations", "pads", "group")}
    check(
        lambda g, x, w, b: g.add("Conv", x, w, b, **attributes),
        lambda x, w, b: torch_conv(case, x, w, b),
        arrays,
    )


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_gradient_with_automatic_padding(auto_pad: str) -> None:
    def reference(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        pads = {"SAME_UPPER": (0, 1, 0, 1), "SAME_LOWER": (1, 0, 1, 0), "VALID": (0, 0, 0, 0)}
        return F.conv2d(F.pad(x, pads[auto_pad]), w, None, 1)

    check(
        lambda g, x, w: g.add("Conv", x, w, auto_pad=auto_pad, kernel_shape=[2, 2]),
        reference,
        {"x": normal(2, 3, 5, 6), "w": normal(4, 3, 2, 2, seed=1)},
    )


@given(
    algorithm=st.builds(
        lambda kind, tiles, height, width: (
            Winograd(Line(tiles[0], height), Line(tiles[1], width))
            if kind is Winograd
            else Stripes(Line(tiles[0], height)),
            (height, width),
        ),
        st.sampled_from([Winograd, Stripes]),
        st.tuples(tiles, tiles),
        sizes,
        sizes,
    ),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    bias=st.booleans(),
)
def test_the_winograd_domain_gives_the_convolution(
    algorithm: tuple[Winograd | Stripes, tuple[int, int]],
    batch: int,
    channels: tuple[int, int],
    bias: bool,
) -> None:
    (domain, image), (inputs, outputs) = algorithm, channels
    arrays = {
        "x": normal(batch, inputs, *image),
        "w": normal(outputs, inputs, 3, 3, seed=1),
        **({"b": normal(outputs, seed=2)} if bias else {}),
    }
    check(
        lambda g, x, w, b=None: domain.convolve(g, w, b, x),
        lambda x, w, b=None: F.conv2d(x, w, b, 1, 1),
        arrays,
    )


@given(sizes)
def test_the_best_line_never_multiplies_more_than_the_other(size: int) -> None:
    assert best_line(size).multiplications == min(
        Line(tile, size).multiplications for tile in (2, 4)
    )


def chosen(inputs: int, outputs: int, height: int, width: int, **attributes: object) -> object:
    """The kind of formulation that a layer of these shapes gets."""
    g = Graph()
    g.input("x", "float32", (2, inputs, height, width))
    g.input("w", "float32", (outputs, inputs, 3, 3))
    g.add("Conv", "x", "w", **{"pads": [1] * 4, **attributes})
    return type(Layer(g, g.nodes[-1]).winograd)


def test_the_formulation_is_chosen_by_the_size_of_the_layer() -> None:
    assert chosen(8, 8, 16, 16) is Winograd
    assert chosen(8, 8, 17, 16) is Stripes
    assert chosen(8, 8, STRIPES_MAX_HEIGHT, 200) is Stripes
    assert chosen(8, 8, STRIPES_MAX_HEIGHT + 1, 8) is type(None)
    assert chosen(3, 64, 16, 16) is type(None)
    assert chosen(8, 8, 16, 16, strides=[2, 2]) is type(None)
    assert chosen(8, 8, 16, 16, pads=[1, 1, 1, 0]) is type(None)
    assert chosen(8, 8, 16, 16, dilations=[2, 2], pads=[2] * 4) is type(None)


@pytest.mark.parametrize("use", ["once", "kept", "changing"])
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride"),
    [(9, 8, 3, 1), (8, 18, 3, 1), (4, 8, 3, 1), (5, 7, 3, 2), (6, 5, 1, 1)],
)
def test_every_formulation_is_the_convolution(
    use: Use, channels: int, size: int, kernel: int, stride: int
) -> None:
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [kernel // 2] * 4,
    }

    def build(g: Graph, x: str, w: str, b: str) -> str:
        source = Graph()
        for name in (x, w):
            source.input(name, "float32", g.shape(name))
        source.add("Conv", x, w, **attributes)
        return convolve(g, w, b, x, Layer(source, source.nodes[-1]), use)

    check(
        build,
        lambda x, w, b: F.conv2d(x, w, b, stride, kernel // 2),
        {
            "x": normal(2, channels, size, size),
            "w": normal(channels, channels, kernel, kernel, seed=1) / np.float32(channels),
            "b": normal(channels, seed=2),
        },
    )
