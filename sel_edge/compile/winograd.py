"""Convolution 3x3 with stride 1 in the Winograd domain: a fraction of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308):
Y = A^T [(G w G^T) * (B^T x B)] A on tiles of m x m outputs, m + 2 points per dimension. All three
transforms are linear: each is a matrix product here, a border of zeros is part of its matrix, and
the gradients of the whole follow from the gradient of MatMul.

The points are those that lose least in float32 by Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution for deep neural networks", 2018 (arXiv 1803.10986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from sel_edge.compile.graph import Array, Graph

_TAPS = 3
_POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)),
}


@dataclass(frozen=True)
class Winograd:
    """The algorithm for one size of image.

    Attributes:
        tile: m, outputs per tile and dimension: 2 or 4.
        height, width: of the image; tiles that jut out are cut.
    """

    tile: int
    height: int
    width: int

    @property
    def points(self) -> int:
        """Points per dimension."""
        return self.tile + _TAPS - 1

    @property
    def rows(self) -> int:
        """Tiles along the height."""
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        """Tiles along the width."""
        return -(-self.width // self.tile)

    @property
    def multiplications(self) -> int:
        """Per pair of an input and an output channel and image; direct, it is 9 per pixel."""
        return self.points**2 * self.rows * self.columns

    def transform_input(self, graph: Graph, tensor: str) -> str:
        """Images [N, C, H, W], to be padded by one pixel, as [points^2, C, tiles * N]."""
        batch, channels = graph.shape(tensor)[:2]
        height, width, points = self.height, self.width, self.points
        inner = graph.transpose(tensor, 2, 3, 1, 0)
        inner = graph.reshape(inner, height, width * channels * batch)
        inner = graph.add("MatMul", graph.constant(self._input_matrix(height)), inner)
        inner = graph.reshape(inner, points * self.rows, width, channels * batch)
        inner = graph.add("MatMul", graph.constant(self._input_matrix(width)), inner)
        if self.rows * self.columns > 1:
            shape = (points, self.rows, points, self.columns, channels, batch)
            inner = graph.transpose(graph.reshape(inner, *shape), 0, 2, 4, 1, 3, 5)
        return graph.reshape(inner, points**2, channels, self.rows * self.columns * batch)

    def transform_weight(self, graph: Graph, weight: str) -> str:
        """Weights [O, C, 3, 3] as [points^2, O, C]."""
        outputs, inputs = graph.shape(weight)[:2]
        taps = graph.transpose(graph.reshape(weight, outputs * inputs, _TAPS**2), 1, 0)
        matrix = np.kron(self._matrices[1], self._matrices[1]).astype(np.float32)
        points = graph.add("MatMul", graph.constant(matrix), taps)
        return graph.reshape(points, self.points**2, outputs, inputs)

    def transform_output(self, graph: Graph, products: str, batch: int) -> str:
        """Products [points^2, O, tiles * N] as images [N, O, H, W]."""
        channels = graph.shape(products)[1]
        points, tall, wide = self.points, self.points * self.rows, self.points * self.columns
        inner = products
        if self.rows * self.columns > 1:
            shape = (points, points, channels, self.rows, self.columns, batch)
            inner = graph.transpose(graph.reshape(inner, *shape), 0, 3, 1, 4, 2, 5)
        inner = graph.reshape(inner, tall, wide, channels * batch)
        inner = graph.add("MatMul", graph.constant(self._output_matrix(self.width)), inner)
        inner = graph.reshape(inner, tall, self.width * channels * batch)
        inner = graph.add("MatMul", graph.constant(self._output_matrix(self.height)), inner)
        inner = graph.reshape(inner, self.height, self.width, channels, batch)
        return graph.transpose(inner, 3, 2, 0, 1)

    @cached_property
    def _matrices(self) -> tuple[Array, Array, Array]:
        """B^T, G and A^T of one dimension, by Cook and Toom; the last point is infinity."""
        finite = _POINTS[self.tile]
        size = self.points
        inputs, weights = np.zeros((size, size)), np.zeros((size, _TAPS))
        outputs = np.zeros((self.tile, size))
        for j, point in enumerate(finite):
            others = [p for p in finite if p != point]
            scale = math.prod(point - p for p in others)
            inputs[j, : size - 1] = [float(c) for c in _polynomial(others)]
            weights[j] = [float(point**i / scale) for i in range(_TAPS)]
            outputs[:, j] = [float(point**i) for i in range(self.tile)]
        inputs[-1] = [float(c) for c in _polynomial(finite)]
        weights[-1, -1] = outputs[-1, -1] = 1.0
        return inputs, weights, outputs

    def _input_matrix(self, size: int) -> Array:
        """From one dimension of the image to (point, tile), zeros outside the image included."""
        tiles = -(-size // self.tile)
        matrix = np.zeros((self.points, tiles, size))
        for tile in range(tiles):
            for k in range(self.points):
                if 0 <= (pixel := self.tile * tile + k - 1) < size:
                    matrix[:, tile, pixel] += self._matrices[0][:, k]
        return matrix.reshape(self.points * tiles, size).astype(np.float32)

    def _output_matrix(self, size: int) -> Array:
        """From (point, tile) to one dimension of the image; a tile that juts out is cut."""
        tiles = -(-size // self.tile)
        matrix = np.zeros((self.tile * tiles, self.points, tiles))
        for tile in range(tiles):
            matrix[self.tile * tile : self.tile * (tile + 1), :, tile] = self._matrices[2]
        return matrix[:size].reshape(size, self.points * tiles).astype(np.float32)


def best_tile(height: int, width: int) -> Winograd:
    """The algorithm with the fewest multiplications."""
    candidates = [Winograd(tile, height, width) for tile in _POINTS]
    return min(candidates, key=lambda winograd: winograd.multiplications)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root)."""
    found = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *found]
        found = [high - root * low for high, low in zip(raised, [*found, Fraction(0)], strict=True)]
    return found
