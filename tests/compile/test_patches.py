"""Patches against a loop over taps and outputs."""

from __future__ import annotations

import itertools
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sel_edge.compile.graph import Graph
from sel_edge.compile.patches import Geometry, batch_last, geometry, patches
from tests.compile.gradients import Array, normal, run


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """A convolution over one or two dimensions with at least one output."""
    rank = draw(st.integers(1, 2))

    def several(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(rank)]

    kernel, strides, dilations = several(1, 3), several(1, 3), several(1, 2)
    before, after, sizes = several(0, 2), several(0, 2), several(1, 6)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padded = [b + s + a for b, s, a in zip(before, sizes, after, strict=True)]
    assume(all(p >= r for p, r in zip(padded, reach, strict=True)))
    g = Graph()
    g.input("x", "float32", (1, 1, *sizes))
    g.input("w", "float32", (1, 1, *kernel))
    g.add("Conv", "x", "w", strides=strides, dilations=dilations, pads=[*before, *after])
    return geometry(g, g.nodes[-1])


def read(x: Array, where: Geometry) -> Array:
    """Patches of [N, C, sizes..., run], one number at a time."""
    around = [(0, 0), (0, 0), *zip(where.before, where.after, strict=True), (0, 0)]
    padded = np.pad(x, around)
    columns = []
    for tap in where.taps:
        for output in itertools.product(*map(range, where.outputs)):
            steps = zip(tap, where.dilations, output, where.strides, strict=True)
            columns.append(padded[:, :, *(t * d + o * s for t, d, o, s in steps)])
    found = np.stack(columns, axis=2)
    return found.reshape(len(x), x.shape[1] * len(where.taps), -1)


@given(geometries(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_are_what_every_tap_reads(
    where: Geometry, batch: int, channels: int, length: int
) -> None:
    x = normal(batch, channels, *where.sizes, length)
    g = Graph()
    g.outputs["patches"] = patches(g, g.input("x", "float32", x.shape), where)
    np.testing.assert_array_equal(run(g, {"x": x})["patches"], read(x, where))


@given(geometries(), st.integers(1, 6))
def test_a_dimension_that_the_kernel_spares_can_be_left_out(where: Geometry, size: int) -> None:
    ends = Geometry((1,), (1,), (1,), (0,), (0,), (size,), (size,))
    both = Geometry(*(a + b for a, b in zip(astuple(where), astuple(ends), strict=True)))
    assert both.spares_innermost
    assert both.outer == where


@pytest.mark.parametrize("change", [{"kernel": 2}, {"strides": 2}, {"before": 1}, {"after": 1}])
def test_a_kernel_that_reads_elsewhere_spares_nothing(change: dict[str, int]) -> None:
    ends = Geometry((1,), (1,), (1,), (0,), (0,), (5,), (5,))
    assert not replace(ends, **{name: (value,) for name, value in change.items()}).spares_innermost


def test_batch_last_moves_the_samples_behind_the_pixels() -> None:
    x = normal(5, 2, 3, 4)
    g = Graph()
    g.outputs["out"] = batch_last(g, g.input("x", "float32", x.shape))
    np.testing.assert_array_equal(run(g, {"x": x})["out"], np.moveaxis(x, 0, -1)[None])
