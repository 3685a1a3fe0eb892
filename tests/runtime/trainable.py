"""A small network with every rung, as the compiler made it: tests of learning need no compiler.

A stem, an inverted residual block (its depthwise convolution follows the expansion's choice of
channels) and a residual block with a projection; 8 x 8 pixels, 5 classes, batches of 8.
`tests/frozen/write.py` wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.training import StepResult, TrainingStep

FOLDER = Path(__file__).parents[1] / "frozen" / "bundle-v2-trainable"
TRAINING = ("head", "tail", "deep", "full")
SPARSE = ("head", "tail", "deep")
CLASSES, BATCH, FRAMES = 5, 8, 16
HEAD = "fc.weight"

Arrays = Mapping[str, NDArray[Any]]


@cache
def bundle() -> Bundle:
    return open_bundle(FOLDER)


@cache
def engine() -> Engine:
    """The network as it is; tests that load other weights make an engine of their own."""
    return Engine(bundle(), threads=1)


def images(count: int, start: int = 0) -> NDArray[np.uint8]:
    return bundle().anchors().frames[start : start + count]


def labels(count: int, start: int = 0) -> NDArray[np.int64]:
    return bundle().anchors().labels[start : start + count]


def latents(rung: str, count: int = BATCH, start: int = 0) -> NDArray[np.float32]:
    return engine().latents(images(count, start), rung)


def channels(rung: str, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """A choice for every layer that has one of its own."""
    rng, parameters = np.random.default_rng(seed), bundle().parameters()
    return {
        layer.weight: rng.permutation(len(parameters[layer.bias]))[: layer.rows or 2]
        for layer in bundle().manifest.rungs[rung].layers
        if rung in SPARSE and layer.follows == layer.weight
    }


def training(
    rung: str, parameters: Arrays | None = None, chosen: Arrays | None = None
) -> TrainingStep:
    return TrainingStep(
        bundle(),
        rung,
        bundle().parameters() if parameters is None else parameters,
        channels(rung) if chosen is None else chosen,
        threads=1,
    )


def same(ours: Arrays, theirs: Arrays) -> bool:
    """Whether two sets of arrays are alike bit for bit."""
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and ours[name].tobytes() == theirs[name].tobytes()
        for name in ours
    )


def run(step: TrainingStep, times: int, learning_rate: float = 0.05) -> list[StepResult]:
    """Some steps on the first batch."""
    rung = next(name for name, r in bundle().manifest.rungs.items() if r is step.rung)
    batch = step.prepare(latents(rung))
    return [step.step(batch, labels(BATCH), learning_rate=learning_rate) for _ in range(times)]


def once(step: TrainingStep, rung: str, **changed: Any) -> StepResult:
    """One step on the first batch, with other arguments where they are given."""
    batch = step.prepare(changed.pop("latents", latents(rung)))
    arguments = {"labels": labels(BATCH), "learning_rate": 0.05, **changed}
    return step.step(batch, **arguments)


def told(result: StepResult) -> dict[str, np.ndarray]:
    """What a step saw, without what its rung does not tell."""
    return {name: value for name, value in vars(result).items() if value is not None}


def copies(parameters: Arrays) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in parameters.items()}
