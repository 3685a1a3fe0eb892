"""Where a convolution reads: its geometry, and its input laid out as patches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sel_edge.compile.graph import Graph, Node


@dataclass(frozen=True)
class Geometry:
    """How a convolution or a pool slides over its input, per spatial dimension.

    Attributes:
        kernel, strides, dilations: at least 1 each.
        before, after: padding at either end.
        sizes: of the input.
        outputs: of the output.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def taps(self) -> list[tuple[int, ...]]:
        """Every position of the kernel, the last dimension fastest."""
        return list(itertools.product(*(range(k) for k in self.kernel)))

    def covering(self) -> tuple[int, ...]:
        """The padding at the end with which the last tap of the last output still reads."""
        return tuple(
            max(0, (out - 1) * stride + (k - 1) * d + 1 - size - pad)
            for out, stride, k, d, size, pad in zip(
                self.outputs,
                self.strides,
                self.kernel,
                self.dilations,
                self.sizes,
                self.before,
                strict=True,
            )
        )

    @property
    def reads_itself(self) -> bool:
        """Whether there is one tap, on the pixel itself."""
        plain = all(k == s == 1 for k, s in zip(self.kernel, self.strides, strict=True))
        return plain and not any(self.before) and not any(self.after)


def geometry(graph: Graph, node: Node) -> Geometry:
    """The geometry of a Conv, MaxPool or AveragePool on an input of fixed shape."""
    sizes = graph.shape(node.inputs[0])[2:]
    outputs = graph.shape(node.outputs[0])[2:]
    rank = len(sizes)
    kernel = tuple(node.get("kernel_shape", None) or graph.shape(node.inputs[1])[2:])
    strides = tuple(node.get("strides", None) or (1,) * rank)
    dilations = tuple(node.get("dilations", None) or (1,) * rank)
    before, after = _padding(node, kernel, strides, dilations, sizes, outputs)
    return Geometry(kernel, strides, dilations, before, after, sizes, outputs)


def _padding(
    node: Node,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    sizes: Sequence[int],
    outputs: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank, auto = len(sizes), node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = tuple(node.get("pads", None) or (0,) * 2 * rank)
        return (pads[:rank], pads[rank:]) if auto == "NOTSET" else ((0,) * rank, (0,) * rank)
    before, after = [], []
    for k, s, d, size, out in zip(kernel, strides, dilations, sizes, outputs, strict=True):
        total = max(0, (out - 1) * s + (k - 1) * d + 1 - size)
        small, large = total // 2, total - total // 2
        before.append(small if auto == "SAME_UPPER" else large)
        after.append(large if auto == "SAME_UPPER" else small)
    return tuple(before), tuple(after)


def shifted(graph: Graph, batch_last: str, where: Geometry) -> list[str]:
    """What each tap reads.

    Args:
        graph: the graph to add operators to.
        batch_last: input [C, sizes..., N]. With the batch innermost a shift copies long runs.
        where: the geometry.

    Returns:
        One tensor [C, outputs..., N] per tap.
    """
    if where.reads_itself:
        return [batch_last]
    rank = len(where.sizes)
    padded = batch_last
    if any(where.before) or any(where.after):
        pads = graph.ints(0, *where.before, 0, 0, *where.after, 0)
        padded = graph.add("Pad", batch_last, pads)
    axes = graph.ints(*range(1, rank + 1))
    steps = graph.ints(*where.strides)
    found = []
    for tap in where.taps:
        starts = [t * d for t, d in zip(tap, where.dilations, strict=True)]
        ends = [
            start + (out - 1) * stride + 1
            for start, out, stride in zip(starts, where.outputs, where.strides, strict=True)
        ]
        found.append(
            graph.add("Slice", padded, graph.ints(*starts), graph.ints(*ends), axes, steps)
        )
    return found


def batch_last(graph: Graph, tensor: str) -> str:
    """[N, C, ...] as [C, ..., N]."""
    return graph.transpose(tensor, *range(1, graph.rank(tensor)), 0)


def patches(graph: Graph, tensor: str, where: Geometry) -> str:
    """Patches [taps * C, outputs * N] of a tensor [N, C, sizes...]; rows by tap, then channel."""
    pieces = shifted(graph, batch_last(graph, tensor), where)
    joined = pieces[0] if len(pieces) == 1 else graph.add("Concat", *pieces, axis=0)
    batch, channels = graph.shape(tensor)[:2]
    return graph.reshape(joined, len(pieces) * channels, math.prod(where.outputs) * batch)
