"""Where a convolution reads: its geometry, and its input laid out as patches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

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

    def places(self) -> NDArray[np.int64]:
        """Where in the padded input every tap reads: [taps * outputs], by tap, then output."""
        found = np.zeros((1, 1), dtype=np.int64)
        for axis, kernel in enumerate(self.kernel):
            taps = self.dilations[axis] * np.arange(kernel)[:, None]
            own = taps + self.strides[axis] * np.arange(self.outputs[axis])
            padded = self.before[axis] + self.sizes[axis] + self.after[axis]
            both = found[:, None, :, None] * padded + own[:, None, :]
            found = both.reshape(found.shape[0] * kernel, -1)
        return found.ravel()

    @property
    def spares_innermost(self) -> bool:
        """Whether there is one tap along the last dimension, on the pixel itself."""
        one = self.kernel[-1] == self.strides[-1] == 1
        return one and not self.before[-1] and not self.after[-1]

    @property
    def outer(self) -> Geometry:
        """The same without the last dimension."""
        return Geometry(*(value[:-1] for value in astuple(self)))

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
    """The geometry of a Conv, MaxPool or AveragePool on an input of fixed height and width."""
    sizes, outputs = (
        replace(graph.types[name], shape=graph.types[name].shape[2:]).fixed
        for name in (node.inputs[0], node.outputs[0])
    )
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


def batch_last(graph: Graph, tensor: str) -> str:
    """[N, C, sizes...] as [1, C, sizes..., N]."""
    batch, *rest = graph.shape(tensor)
    moved = graph.transpose(tensor, *range(1, len(rest) + 1), 0)
    return graph.reshape(moved, 1, *rest, batch)


def patches(graph: Graph, tensor: str, where: Geometry) -> str:
    """What every tap reads for every output.

    Args:
        graph: the graph to add operators to.
        tensor: [N, C, sizes..., run]: the longer the run, the longer the copies.
        where: how the kernel slides over the sizes.

    Returns:
        [N, C * taps, outputs * run].
    """
    batch, channels, *_, run = graph.shape(tensor)
    if not where.reads_itself:
        if any(where.before) or any(where.after):
            tensor = graph.add(
                "Pad", tensor, graph.ints(0, 0, *where.before, 0, 0, 0, *where.after, 0)
            )
        padded = math.prod(graph.shape(tensor)[2:-1])
        tensor = graph.reshape(tensor, batch, channels, padded, run)
        tensor = graph.add("Gather", tensor, graph.constant(where.places()), axis=2)
    columns = math.prod(where.outputs) * run
    return graph.reshape(tensor, batch, channels * len(where.taps), columns)
