"""Gradients of a convolution of any rank, stride, padding, dilation and grouping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sel_edge.compile.graph import Graph
from sel_edge.compile.patches import Geometry, batch_last, geometry, patches, shifted
from sel_edge.compile.rules.registry import Backward, Gradients, rule


@rule("Conv")
def conv(b: Backward) -> Gradients:
    """Y = W * X + b: dX = W^T * dY, dW = dY P^T with P the patches of X, db = sum of dY."""
    g, node = b.graph, b.node
    where, group = geometry(g, node), int(node.get("group", 1))
    found: Gradients = {}
    if 0 in b.wanted:
        found[0] = _input_gradient(b, where, group)
    if 1 in b.wanted:
        found[1] = _weight_gradient(b, where, group)
    if 2 in b.wanted:
        found[2] = g.add("ReduceSum", b.dy, g.ints(0, *range(2, g.rank(b.dy))), keepdims=0)
    return found


def _input_gradient(b: Backward, where: Geometry, group: int) -> str:
    """dX[c, i] = sum over o and taps of W[o, c, tap] dY[o, (i + before - tap) / stride].

    With stride 1 that is a convolution with the flipped weights, which onnxruntime runs faster than
    its ConvTranspose. Otherwise ConvTranspose gives the gradient of the padded input, as far as the
    kernel reached; Pad cuts the border off and appends zeros for pixels that no tap read.
    """
    g, weight = b.graph, b.node.inputs[1]
    reach = [(k - 1) * d for k, d in zip(where.kernel, where.dilations, strict=True)]
    pads = [r - p for r, p in zip(reach * 2, where.before + where.after, strict=True)]
    attributes: dict[str, Any] = {
        "kernel_shape": list(where.kernel),
        "dilations": list(where.dilations),
        "group": group,
    }
    if all(s == 1 for s in where.strides) and min(pads) >= 0:
        return g.add("Conv", b.dy, _flip(g, weight, group), pads=pads, **attributes)
    strides = list(where.strides)
    padded = g.add("ConvTranspose", b.dy, weight, strides=strides, **attributes)
    missing = [
        size + before - reached
        for size, before, reached in zip(
            where.sizes, where.before, g.shape(padded)[2:], strict=True
        )
    ]
    if not any(where.before) and not any(missing):
        return padded
    return g.add("Pad", padded, g.ints(0, 0, *(-p for p in where.before), 0, 0, *missing))


def _flip(g: Graph, weight: str, group: int) -> str:
    """W [O, C / group, taps] as [C, O / group, taps], each kernel reversed."""
    outputs, inputs, *kernel = g.shape(weight)
    taps = math.prod(kernel)
    parts = g.reshape(weight, group, outputs // group, inputs, taps)
    parts = g.transpose(parts, 0, 2, 1, 3)
    if taps > 1:
        parts = g.add("Gather", parts, g.constant(np.arange(taps)[::-1].copy()), axis=3)
    return g.reshape(parts, group * inputs, outputs // group, *kernel)


def _weight_gradient(b: Backward, where: Geometry, group: int) -> str:
    """dW[o, c, tap] = sum over samples and pixels of dY[o, i] X[c, stride i + tap]."""
    g, weight = b.graph, b.node.inputs[1]
    shape = g.shape(weight)
    outputs, inputs = shape[:2]
    taps, pixels = len(where.taps), math.prod(where.outputs) * g.shape(b.x)[0]
    if inputs == 1 and outputs == group:
        return _depthwise_gradient(b, where)
    if group == 1 and _separable(where):
        return _separable_gradient(b, where)
    gradient = g.reshape(batch_last(g, b.dy), outputs, pixels)
    if group == 1:
        product = g.add("Gemm", gradient, patches(g, b.x, where), transB=1)
    else:
        columns = g.reshape(patches(g, b.x, where), taps, group, inputs, pixels)
        columns = g.reshape(g.transpose(columns, 1, 3, 0, 2), group, pixels, taps * inputs)
        rows = g.reshape(gradient, group, outputs // group, pixels)
        product = g.add("MatMul", rows, columns)
    product = g.reshape(product, outputs, taps, inputs)
    return g.reshape(g.transpose(product, 0, 2, 1), *shape)


def _depthwise_gradient(b: Backward, where: Geometry) -> str:
    """One weight per channel and tap: dW[c, tap] = sum of dY[c] * what the tap reads of X[c]."""
    g = b.graph
    dy = batch_last(g, b.dy)
    axes = g.ints(*range(1, g.rank(dy)))
    found = [
        g.add("ReduceSum", g.add("Mul", dy, piece), axes, keepdims=0)
        for piece in shifted(g, batch_last(g, b.x), where)
    ]
    columns = [g.add("Unsqueeze", column, g.ints(1)) for column in found]
    joined = g.add("Concat", *columns, axis=1)
    return g.reshape(joined, *g.shape(b.node.inputs[1]))


def _separable(where: Geometry) -> bool:
    """3x3, stride 1, a border of one pixel: both shifts can be zero-filled within the image.

    A shift by one leaves nothing of a single pixel, and onnxruntime 1.22 then pads with garbage.
    """
    plain = (where.kernel, where.strides, where.dilations, where.before, where.after) == (
        (3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
        (1, 1),
    )
    return plain and min(where.sizes) > 1


def _separable_gradient(b: Backward, where: Geometry) -> str:
    """dW[(i, o), (j, c)] with dY shifted by i along the height and X by j along the width.

    One product of [3 O, pixels] and [pixels, 3 C] needs 3 + 3 copies instead of 9 + 1.
    """
    g = b.graph
    outputs, inputs = g.shape(b.node.inputs[1])[:2]
    pixels = math.prod(where.outputs) * g.shape(b.x)[0]
    dy, x = batch_last(g, b.dy), batch_last(g, b.x)
    up = g.add("Pad", dy, g.ints(0, -1, 0, 0, 0, 1, 0, 0))
    down = g.add("Pad", dy, g.ints(0, 1, 0, 0, 0, -1, 0, 0))
    right = g.add("Pad", x, g.ints(0, 0, 1, 0, 0, 0, -1, 0))
    left = g.add("Pad", x, g.ints(0, 0, -1, 0, 0, 0, 1, 0))
    rows = g.reshape(g.add("Concat", up, dy, down, axis=0), 3 * outputs, pixels)
    columns = g.reshape(g.add("Concat", right, x, left, axis=0), 3 * inputs, pixels)
    product = g.add("Gemm", rows, columns, transB=1)
    product = g.reshape(product, 3, outputs, 3, inputs)
    return g.transpose(product, 1, 3, 0, 2)
