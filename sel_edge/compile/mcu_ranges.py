"""How large the numbers in a network get: measured by running it on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sel_edge.compile.graph import Graph, to_model

BATCH = 32
"""Frames per run of the network."""
SMALLEST_SCALE = 1e-8
"""Of a tensor that is always 0."""


@dataclass(frozen=True)
class Quantization:
    """A value q, 0..255, stands for scale * (q - zero).

    Attributes:
        scale: a float32.
        zero: 0..255, so that 0 is exact.
    """

    scale: float
    zero: int

    def quantize(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The nearest q of some values, uint8 of the same shape."""
        steps = np.rint(values / self.scale) + self.zero
        found: NDArray[np.uint8] = np.clip(steps, 0, 255).astype(np.uint8)
        return found


def quantization_of(low: float, high: float) -> Quantization:
    """The finest one that holds all from `low` to `high`, and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255, SMALLEST_SCALE)))
    return Quantization(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def measure(
    graph: Graph, tensors: Sequence[str], frames: NDArray[np.float32]
) -> Mapping[str, Quantization]:
    """The quantization of some tensors, from the smallest to the largest value that they take.

    Args:
        graph: with the input `image`.
        tensors: of the graph, float32 with a batch in the first dimension.
        frames: float32 [m, C, H, W] or [m, C, L], preprocessed; m at least 1.
    """
    outputs = {f"tensor_{number}": name for number, name in enumerate(tensors)}
    model = to_model(replace(graph, outputs=outputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    low = np.full(len(tensors), np.inf)
    high = np.full(len(tensors), -np.inf)
    for start in range(0, len(frames), BATCH):
        found = session.run(list(outputs), {"image": frames[start : start + BATCH]})
        low = np.minimum(low, [values.min() for values in found])
        high = np.maximum(high, [values.max() for values in found])
    return {
        name: quantization_of(float(a), float(b))
        for name, a, b in zip(tensors, low, high, strict=True)
    }
