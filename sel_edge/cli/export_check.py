"""Whether every graph of a new bundle computes what the network does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import STEP
from sel_edge.core.errors import BundleError
from sel_edge.core.frames import Frames
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.importance import Importance
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.step_inputs import Parameters
from sel_edge.runtime.training import TrainingStep

Floats = NDArray[np.float32]


def check(
    bundle: Bundle,
    frames: Frames,
    expected: Floats,
    last_function: str,
    tolerance: float,
) -> float:
    """Run every graph of a bundle once.

    Args:
        bundle: not used yet.
        frames: of the anchors.
        expected: the network's own answers, float32 [n, K].
        last_function: what it makes of its logits to answer with, as a `Source` says it.
        tolerance: largest difference allowed, as a share of the largest number that is expected,
            or of 1 if that is more.

    Returns:
        Largest difference between the forward graph's answers and the network's.

    Raises:
        BundleError: onnxruntime cannot run a graph, or it computes something else.
    """
    engine, parameters = Engine(bundle), bundle.parameters()
    logits = engine.infer(frames)[1]
    answers = _answers(logits, last_function)
    difference = _require_close(answers, expected, tolerance, "exported graph")
    for name, rung in bundle.manifest.rungs.items():
        if STEP in rung.graphs:
            _check_step(bundle, name, engine.latents(frames[: rung.batch], name), logits, tolerance)
        else:
            enough = frames.take(range(rung.batch), axis=0, mode="wrap")
            unchanged = Renormalizer(bundle, parameters).estimate(enough, blend=0.0)
            for weight, value in unchanged.items():
                _require_close(value, parameters[weight], tolerance, f"rung {name}")
    return difference


def _check_step(
    bundle: Bundle, name: str, latents: Floats, logits: Floats, tolerance: float
) -> None:
    """The logits that a training step sees are those of the forward graph."""
    parameters: Parameters = bundle.parameters()
    rung = bundle.manifest.rungs[name]
    channels = {layer.weight: np.arange(layer.rows or 1) for layer in rung.layers}
    step = TrainingStep(bundle, name, parameters, channels)
    labels = np.zeros(len(latents), np.int64)
    seen = step.step(step.prepare(latents), labels, learning_rate=0.0).logits
    _require_close(seen, logits[: len(latents)], tolerance, f"training step of the rung {name}")
    if "importance" in rung.graphs:
        Importance(bundle, name, parameters).of(latents, labels)


def _require_close(found: Floats, expected: Floats, tolerance: float, what: str) -> float:
    difference = float(np.abs(found - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise BundleError(
            f"The {what} differs from the network by {difference:.2e} on the anchors.",
            f"At most {allowed:.0e} is allowed; no bundle was left behind.",
            "If no frame's answer depends on the other frames of its batch, run `sel-edge doctor` "
            "and report the versions it prints.",
        )
    return difference


def _answers(logits: Floats, last_function: str) -> Floats:
    """What the network itself answers where these are its logits."""
    if not last_function:
        return logits
    shifted: Floats = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted if last_function == "LogSoftmax" else np.exp(shifted)
