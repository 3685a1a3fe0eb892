"""Gradients of a convolution of any rank, stride, padding, dilation and grouping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sel_edge.compile.graph import Graph
from sel_edge.compile.patches import Geometry, batch_last, geometry, patches
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
    its ConvTranspose. The latter gives as much as the kernel reached, less the padding; pixels
    behind, which no tap read, are zeros.
    """
    g, weight = b.graph, b.node.inputs[1]
    reach = [(k - 1) * d for k, d in zip(where.kernel, where.dilations, strict=True)]
    attributes: dict[str, Any] = {
        "kernel_shape": list(where.kernel),
        "dilations": list(where.dilations),
        "group": group,
    }
    pads = [r - p for r, p in zip(reach * 2, where.before + where.after, strict=True)]
    if all(s == 1 for s in where.strides) and min(pads) >= 0:
        return g.add("Conv", b.dy, _flip(g, weight, group), pads=pads, **attributes)
    ends = [
        (out - 1) * stride + r + 1 - before - size
        for out, stride, r, before, size in zip(
            where.outputs, where.strides, reach, where.before, where.sizes, strict=True
        )
    ]
    return g.add(
        "ConvTranspose",
        b.dy,
        weight,
        strides=list(where.strides),
        pads=[*where.before, *(max(0, end) for end in ends)],
        output_padding=[max(0, -end) for end in ends],
        **attributes,
    )


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
    """dW[o, c, tap] = sum over samples and pixels of dY[o, i] X[c, stride i + tap].

    One product per group, over all samples and pixels at once. Where the kernel spares the
    innermost dimension there can be one per sample instead, and the images stay as they lie: that
    pays as long as the weights are fewer than a sample's numbers.
    """
    g, weight = b.graph, b.node.inputs[1]
    x, dy, shape = b.x, b.dy, g.shape(weight)
    batch, *image = g.shape(x)
    if where.spares_innermost and math.prod(shape) <= math.prod(image):
        where = where.outer
    else:
        x, dy, batch = batch_last(g, x), batch_last(g, dy), 1
    columns = patches(g, x, where)
    pixels = g.shape(columns)[-1]
    rows = g.reshape(dy, batch, group, shape[0] // group, pixels)
    columns = g.reshape(columns, batch, group, math.prod(shape[1:]), pixels)
    # onnxruntime repacks the second factor: let it be the one without taps.
    product = g.add("MatMul", columns, g.transpose(rows, 0, 1, 3, 2))
    if batch > 1:
        product = g.add("ReduceSum", product, g.ints(0), keepdims=1)
    return g.reshape(g.transpose(product, 0, 1, 3, 2), *shape)
