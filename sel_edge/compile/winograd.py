"""Convolution 3x3 with stride 1 in the Winograd domain: a fraction of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308):
Y = A^T [(G w G^T) * (B^T x B)] A on tiles of m x m outputs, m + 2 points per dimension. All three
transforms are linear: each is a matrix product here, a border of zeros is part of its matrix, and
the gradients of the whole follow from those of its parts.

The points are those that lose least in float32 by Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution for deep neural networks", 2018 (arXiv 1803.10986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from sel_edge.compile.graph import Array, Graph

_TAPS = 3
_POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)),
}
_AT_ONE = 1
"""Index of the point 1, which counts alike in every output of a tile."""


@dataclass(frozen=True)
class Line:
    """The algorithm along one dimension of an image.

    Attributes:
        tile: m, outputs per tile: 2 or 4.
        size: of the image; a tile that juts out is cut.
    """

    tile: int
    size: int

    @property
    def points(self) -> int:
        """Points per tile."""
        return self.tile + _TAPS - 1

    @property
    def tiles(self) -> int:
        """Tiles along the dimension."""
        return -(-self.size // self.tile)

    @property
    def multiplications(self) -> int:
        """Per pair of an input and an output channel and line; direct, it is 3 per pixel."""
        return self.points * self.tiles

    @property
    def weights(self) -> Array:
        """G [points, 3], float64."""
        return _matrices(self.tile)[1]

    def into(self) -> Array:
        """[points, tiles, size]: from the image, with zeros outside of it, to the points."""
        matrix = np.zeros((self.points, self.tiles, self.size))
        for tile in range(self.tiles):
            for k in range(self.points):
                if 0 <= (pixel := self.tile * tile + k - 1) < self.size:
                    matrix[:, tile, pixel] = _matrices(self.tile)[0][:, k]
        return matrix.astype(np.float32)

    def out(self) -> Array:
        """[size, points, tiles]: from the points to the image."""
        matrix = np.zeros((self.tile * self.tiles, self.points, self.tiles))
        for tile in range(self.tiles):
            matrix[self.tile * tile : self.tile * (tile + 1), :, tile] = _matrices(self.tile)[2]
        return matrix[: self.size].astype(np.float32)


@dataclass(frozen=True)
class Stripes:
    """The algorithm along the height; along the width, each point has a convolution of its own.

    It saves half of the multiplications and moves images little: everything stays in the layout
    [height, channels, width, batch], where the height is transformed by one matrix product.
    """

    line: Line

    def convolve(self, graph: Graph, weight: str, bias: str | None, tensor: str) -> str:
        """[N, C, H, W], to be padded by one pixel, with [O, C, 3, 3] and [O] to [N, O, H, W]."""
        batch, channels, height, width = graph.shape(tensor)
        outputs, points, tiles = graph.shape(weight)[0], self.line.points, self.line.tiles
        into = self.line.into().swapaxes(0, 1).reshape(tiles * points, height)
        rows = graph.transpose(tensor, 2, 1, 3, 0)
        rows = graph.reshape(rows, height, channels * width * batch)
        rows = graph.add("MatMul", graph.constant(into), rows)
        rows = graph.reshape(rows, tiles, points * channels, width, batch)
        kernels = self._transform_weight(graph, weight)
        biases = [] if bias is None else [self._transform_bias(graph, bias)]
        attributes = {"kernel_shape": [_TAPS, 1], "pads": [1, 0, 1, 0], "group": points}
        rows = graph.add("Conv", rows, kernels, *biases, **attributes)
        rows = graph.reshape(rows, tiles * points, outputs * width * batch)
        out = self.line.out().swapaxes(1, 2).reshape(height, tiles * points)
        rows = graph.add("MatMul", graph.constant(out), rows)
        rows = graph.reshape(rows, height, outputs, width, batch)
        return graph.transpose(rows, 3, 1, 0, 2)

    def _transform_weight(self, graph: Graph, weight: str) -> str:
        """[O, C, 3, 3] as [points * O, C, 3, 1]."""
        outputs, inputs = graph.shape(weight)[:2]
        taps = graph.transpose(weight, 2, 0, 1, 3)
        taps = graph.reshape(taps, _TAPS, outputs * inputs * _TAPS)
        matrix = self.line.weights.astype(np.float32)
        taps = graph.add("MatMul", graph.constant(matrix), taps)
        return graph.reshape(taps, self.line.points * outputs, inputs, _TAPS, 1)

    def _transform_bias(self, graph: Graph, bias: str) -> str:
        """[O] as [points * O], zeros but at one point."""
        (outputs,) = graph.shape(bias)
        column = np.eye(self.line.points, 1, -_AT_ONE, dtype=np.float32)
        spread = graph.add("MatMul", graph.constant(column), graph.reshape(bias, 1, outputs))
        return graph.reshape(spread, self.line.points * outputs)


@dataclass(frozen=True)
class Winograd:
    """The algorithm along both dimensions."""

    rows: Line
    columns: Line

    @property
    def _points(self) -> int:
        return self.rows.points * self.columns.points

    @property
    def _tiles(self) -> int:
        return self.rows.tiles * self.columns.tiles

    def convolve(self, graph: Graph, weight: str, bias: str | None, tensor: str) -> str:
        """[N, C, H, W], to be padded by one pixel, with [O, C, 3, 3] and [O] to [N, O, H, W]."""
        images = self._transform_input(graph, tensor)
        products = graph.add("MatMul", self._transform_weight(graph, weight), images)
        found = self._transform_output(graph, products, graph.shape(tensor)[0])
        if bias is None:
            return found
        return graph.add("Add", found, graph.add("Unsqueeze", bias, graph.ints(1, 2)))

    def _transform_input(self, graph: Graph, tensor: str) -> str:
        """Images [N, C, H, W] as [points, C, tiles * N]."""
        batch, channels, height, width = graph.shape(tensor)
        rows, columns = self.rows, self.columns
        inner = graph.transpose(tensor, 2, 3, 1, 0)
        inner = graph.reshape(inner, height, width * channels * batch)
        into = rows.into().reshape(rows.points * rows.tiles, height)
        inner = graph.add("MatMul", graph.constant(into), inner)
        inner = graph.reshape(inner, rows.points * rows.tiles, width, channels * batch)
        into = columns.into().reshape(columns.points * columns.tiles, width)
        inner = graph.add("MatMul", graph.constant(into), inner)
        if self._tiles > 1:
            shape = (rows.points, rows.tiles, columns.points, columns.tiles, channels, batch)
            inner = graph.transpose(graph.reshape(inner, *shape), 0, 2, 4, 1, 3, 5)
        return graph.reshape(inner, self._points, channels, self._tiles * batch)

    def _transform_weight(self, graph: Graph, weight: str) -> str:
        """Weights [O, C, 3, 3] as [points, O, C]."""
        outputs, inputs = graph.shape(weight)[:2]
        taps = graph.transpose(graph.reshape(weight, outputs * inputs, _TAPS**2), 1, 0)
        matrix = np.kron(self.rows.weights, self.columns.weights).astype(np.float32)
        points = graph.add("MatMul", graph.constant(matrix), taps)
        return graph.reshape(points, self._points, outputs, inputs)

    def _transform_output(self, graph: Graph, products: str, batch: int) -> str:
        """Products [points, O, tiles * N] as images [N, O, H, W]."""
        channels, rows, columns = graph.shape(products)[1], self.rows, self.columns
        tall, wide = rows.points * rows.tiles, columns.points * columns.tiles
        inner = products
        if self._tiles > 1:
            shape = (rows.points, columns.points, channels, rows.tiles, columns.tiles, batch)
            inner = graph.transpose(graph.reshape(inner, *shape), 0, 3, 1, 4, 2, 5)
        inner = graph.reshape(inner, tall, wide, channels * batch)
        out = columns.out().reshape(columns.size, wide)
        inner = graph.add("MatMul", graph.constant(out), inner)
        inner = graph.reshape(inner, tall, columns.size * channels * batch)
        out = rows.out().reshape(rows.size, tall)
        inner = graph.add("MatMul", graph.constant(out), inner)
        inner = graph.reshape(inner, rows.size, columns.size, channels, batch)
        return graph.transpose(inner, 3, 2, 0, 1)


def best_line(size: int) -> Line:
    """The algorithm along one dimension with the fewest multiplications."""
    return min((Line(tile, size) for tile in _POINTS), key=lambda line: line.multiplications)


@cache
def _matrices(tile: int) -> tuple[Array, Array, Array]:
    """B^T, G and A^T of one dimension, by Cook and Toom; the last point is infinity."""
    finite, size = _POINTS[tile], tile + _TAPS - 1
    inputs, weights = np.zeros((size, size)), np.zeros((size, _TAPS))
    outputs = np.zeros((tile, size))
    for j, point in enumerate(finite):
        others = [p for p in finite if p != point]
        scale = math.prod(point - p for p in others)
        inputs[j, : size - 1] = [float(c) for c in _polynomial(others)]
        weights[j] = [float(point**i / scale) for i in range(_TAPS)]
        outputs[:, j] = [float(point**i) for i in range(tile)]
    inputs[-1] = [float(c) for c in _polynomial(finite)]
    weights[-1, -1] = outputs[-1, -1] = 1.0
    return inputs, weights, outputs


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root)."""
    found = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *found]
        found = [high - root * low for high, low in zip(raised, [*found, Fraction(0)], strict=True)]
    return found
