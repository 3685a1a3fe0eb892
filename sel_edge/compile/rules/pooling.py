"""Gradients of pools over windows, of one to three spatial dimensions."""

from __future__ import annotations

import functools
import math

import numpy as np

from sel_edge.compile.graph import Array
from sel_edge.compile.patches import Geometry, geometry
from sel_edge.compile.rules.broadcast import zeros_like
from sel_edge.compile.rules.registry import Backward, Gradients, MissingRule, rule


@rule("MaxPool")
def max_pool(b: Backward) -> Gradients:
    """Y[o] = max of X over window o: dY[o] goes to the first largest element of the window.

    The pool runs a second time, with the places of the largest elements as its second output: the
    forward pass keeps the faster kernel without it.
    """
    g, node = b.graph, b.node
    attributes = {key: v for key, v in node.attributes.items() if key != "storage_order"}
    _, places = g.add_node("MaxPool", node.inputs, attributes, outputs=2)
    where = geometry(g, node)
    reach = [(k - 1) * d + 1 for k, d in zip(where.kernel, where.dilations, strict=True)]
    overlapping = any(r > s for r, s in zip(reach, where.strides, strict=True))
    zeros, flat, gradient = (
        g.add("Reshape", tensor, g.ints(-1)) for tensor in (zeros_like(g, b.x), places, b.dy)
    )
    reduction = "add" if overlapping else "none"
    summed = g.add("ScatterElements", zeros, flat, gradient, axis=0, reduction=reduction)
    return {0: g.reshape(summed, *g.shape(b.x))}


@rule("AveragePool")
def average_pool(b: Backward) -> Gradients:
    """Y[o] = sum of X over window o / n[o]: dX[i] = sum of dY[o] / n[o] over the windows with i.

    That is a ConvTranspose of dY / n with a kernel of ones, every channel on its own.
    """
    g = b.graph
    shape, where = g.shape(b.x), geometry(g, b.node)
    shares = g.add("Mul", b.dy, g.constant(_shares(b, where)))
    reach = [
        (out - 1) * s + (k - 1) * d + 1
        for out, s, k, d in zip(
            where.outputs, where.strides, where.kernel, where.dilations, strict=True
        )
    ]
    surplus = [r - p - n for r, p, n in zip(reach, where.before, where.sizes, strict=True)]
    summed = g.add(
        "ConvTranspose",
        g.reshape(shares, math.prod(shape[:2]), 1, *where.outputs),
        g.constant(np.ones((1, 1, *where.kernel), dtype=np.float32)),
        kernel_shape=list(where.kernel),
        strides=list(where.strides),
        dilations=list(where.dilations),
        pads=[*where.before, *(max(s, 0) for s in surplus)],
        output_padding=[max(-s, 0) for s in surplus],
    )
    return {0: g.reshape(summed, *shape)}


def _shares(b: Backward, where: Geometry) -> Array:
    """1 / n[o] for every window, float32 [outputs...]."""
    inside = functools.reduce(
        np.multiply.outer, (_inside(where, a) for a in range(len(where.sizes)))
    )
    full = math.prod(where.kernel)
    counts: Array = np.asarray(inside)
    if b.node.get("count_include_pad", 0):
        if b.node.get("ceil_mode", 0) and counts.min() < full:
            # Versions of onnxruntime disagree on what such windows divide by.
            raise MissingRule(b.node)
        counts = np.full_like(counts, full)
    return (1 / counts).astype(np.float32)


def _inside(where: Geometry, axis: int) -> Array:
    """How many elements of the input each window covers along one axis."""
    starts = np.arange(where.outputs[axis]) * where.strides[axis] - where.before[axis]
    taps = starts[:, None] + np.arange(where.kernel[axis]) * where.dilations[axis]
    counts: Array = np.count_nonzero((taps >= 0) & (taps < where.sizes[axis]), axis=1)
    return counts
