"""The runtime's side of the comparison; imports neither torch nor onnx."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.frames import Frames
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.training import Prepared, StepResult, TrainingStep

LEARNING_RATE, MOMENTUM = 1e-4, 0.9
TRAINING = ("head", "tail", "deep", "full")


def samples(bundle: Bundle, count: int) -> tuple[Frames, NDArray[np.int64]]:
    """The first frames and labels int64 [count] of the anchors."""
    anchors = bundle.anchors()
    return anchors.frames[:count], anchors.labels[:count]


def chosen_channels(bundle: Bundle, rung: str) -> dict[str, NDArray[np.int64]]:
    """A fixed draw of the rows that a rung trains; all rows of the classifier."""
    manifest, rng = bundle.manifest, np.random.default_rng(0)
    if rung == "head":
        return {manifest.head_weight: np.arange(len(manifest.classes), dtype=np.int64)}
    found = {}
    for layer in manifest.rungs[rung].layers:
        if layer.rows is not None and layer.follows == layer.weight:
            drawn = rng.permutation(len(bundle.parameter(layer.bias)))[: layer.rows]
            found[layer.weight] = np.sort(drawn).astype(np.int64)
    return found


class Training:
    """One rung, trained again and again on one batch.

    Args:
        bundle: an open bundle.
        rung: its name.
        engine: of the same bundle.
        threads: of onnxruntime.

    Attributes:
        latents: float32 [batch, ...] at which the step starts.
        labels: int64 [batch].
    """

    def __init__(self, bundle: Bundle, rung: str, engine: Engine, threads: int) -> None:
        images, self.labels = samples(bundle, bundle.manifest.rungs[rung].batch)
        self.latents = engine.latents(images, rung)
        channels = chosen_channels(bundle, rung)
        self._step = TrainingStep(bundle, rung, bundle.parameters(), channels, threads)
        self._batch = self.prepare()

    def prepare(self) -> Prepared:
        """Make the batch ready again."""
        return self._step.prepare(self.latents)

    def step(self) -> StepResult:
        """One step on the batch, with its caches warm."""
        return self._step.step(self._batch, self.labels, learning_rate=LEARNING_RATE)
