"""What a bundle learns in a few steps on its own anchors."""

from __future__ import annotations

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.training import TrainingStep

STEPS = 3
LEARNING_RATE = 0.05
CHANNELS = {
    "head": {"fc.weight": np.arange(4)},
    "tail": {"conv.weight": np.array([3, 17, 30, 47])},
    "full": {},
}
"""Rung -> weight of a layer -> which of its rows are trained, where that is to be chosen."""


def losses(bundle: Bundle, rung: str) -> list[float]:
    """Mean loss over one batch before each of `STEPS` steps, nats."""
    step = TrainingStep(bundle, rung, bundle.parameters(), CHANNELS[rung], threads=1)
    anchors, batch = bundle.anchors(), step.rung.batch
    prepared = step.prepare(Engine(bundle).latents(anchors.frames[:batch], rung))
    return [
        float(step.step(prepared, anchors.labels[:batch], learning_rate=LEARNING_RATE).loss.mean())
        for _ in range(STEPS)
    ]


def renormalized(bundle: Bundle) -> list[float]:
    """The first biases of the normalized layer, estimated anew from some anchors."""
    estimator = Renormalizer(bundle, bundle.parameters(), threads=1)
    new = estimator.estimate(bundle.anchors().frames[: estimator.frames], blend=0.5)
    return new["conv.bias"][:4].tolist()
