"""Run everything a bundle can run on seeded inputs, and compare what two machines made of it.

    python -m tools.agree run BUNDLE --out HOST.npz [--seed 0]
    python -m tools.agree compare HOST.npz BOARD.npz [--within 1e-4]

`run` needs what the edge needs and nothing else. `compare` prints one JSON line and ends with exit
code 1 if the machines disagree. `tools/arm64.sh` does both for emulated boards.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.core.frames import Frames
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.training import TrainingStep

Outputs = dict[str, NDArray[Any]]

FRAMES = 8
"""Random frames, beside the bundle's own anchors."""
STEPS = 3
"""Training steps per rung."""
WITHIN = 1e-4
SEED, BUNDLE = "seed", "bundle"
"""Entries of a file of outputs that say what was run."""


def main() -> None:
    """Run or compare, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("bundle", type=Path)
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--out", type=Path, required=True)
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs=2)
    comparing.add_argument("--within", type=float, default=WITHIN)
    options = parser.parse_args()
    if options.command == "run":
        outputs = run(open_bundle(options.bundle), options.seed)
        np.savez(options.out, allow_pickle=False, **outputs)
        return
    ours, theirs = (read(path) for path in options.files)
    verdict = compare(ours, theirs, options.within)
    print(json.dumps(verdict))
    sys.exit(0 if verdict["agree"] else 1)


def forward(bundle: Bundle, rng: np.random.Generator) -> Outputs:
    """Features and logits of random frames and of the anchors."""
    frames = np.concatenate([noise(bundle, FRAMES, rng), bundle.anchors().frames])
    features, logits = Engine(bundle, threads=1).infer(frames)
    return {"features": features, "logits": logits}


def steps(bundle: Bundle, rng: np.random.Generator) -> Outputs:
    """Losses and rows of a few training steps of every rung, on the anchors."""
    anchors, parameters, outputs = bundle.anchors(), bundle.parameters(), Outputs()
    engine = Engine(bundle, threads=1)
    for name, rung in bundle.manifest.rungs.items():
        if "step" not in rung.graphs:
            continue
        channels = {
            layer.weight: rng.permutation(len(parameters[layer.bias]))[: layer.rows or 2]
            for layer in rung.layers
        }
        step = TrainingStep(bundle, name, parameters, channels, threads=1)
        frames, labels = anchors.frames[: rung.batch], anchors.labels[: rung.batch]
        batch = step.prepare(engine.latents(frames, name))
        for number in range(STEPS):
            loss = step.step(batch, labels, learning_rate=0.01).loss
            outputs[f"{name}/loss_{number}"] = loss
        outputs |= {f"{name}/{parameter}": rows for parameter, rows in step.rows().items()}
    return outputs


def normalization(bundle: Bundle, rng: np.random.Generator) -> Outputs:
    """Weights and biases re-estimated on random frames."""
    if "norm" not in bundle.manifest.rungs:
        return {}
    again = Renormalizer(bundle, bundle.parameters(), threads=1)
    return Outputs(again.estimate(noise(bundle, again.frames, rng), blend=0.5))


def noise(bundle: Bundle, count: int, rng: np.random.Generator) -> Frames:
    """Frames of the bundle's kind and shape: random pixels, or signals with its mean and std."""
    view = bundle.manifest.preprocessing
    size = (count, *view.frame_shape)
    if isinstance(view, ImagePreprocessing):
        return rng.integers(0, 256, size, dtype=np.uint8)
    mean, std = (np.array(value, np.float32)[:, np.newaxis] for value in (view.mean, view.std))
    return rng.standard_normal(size, dtype=np.float32) * std + mean


RUNS: dict[str, Callable[[Bundle, np.random.Generator], Outputs]] = {
    "forward": forward,
    "normalization": normalization,
    "steps": steps,
}
"""All that a bundle can run. Each draws its inputs from a generator of its own."""


def run(bundle: Bundle, seed: int) -> Outputs:
    """Every output of every run, under the name "run/output", and which bundle and seed it was."""
    outputs: Outputs = {
        BUNDLE: np.array(bundle.manifest.bundle_hash),
        SEED: np.array(seed),
    }
    for name, function in RUNS.items():
        found = function(bundle, np.random.default_rng(seed))
        outputs |= {f"{name}/{output}": value for output, value in found.items()}
    return outputs


def read(path: Path) -> Outputs:
    """A file that `run` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def compare(ours: Outputs, theirs: Outputs, within: float = WITHIN) -> dict[str, Any]:
    """How far two machines are apart.

    Args:
        ours: outputs on the machine that is the reference.
        theirs: outputs on the other machine.
        within: the largest difference that counts as agreement.

    Returns:
        `agree`, the largest difference (None where it is not a number), and that of every output.

    Raises:
        ValueError: the files hold another bundle, another seed, or other outputs.
    """
    for what in (BUNDLE, SEED):
        if ours[what] != theirs[what]:
            raise ValueError(f"the {what} differs: {ours[what]} and {theirs[what]}")
    if ours.keys() != theirs.keys():
        raise ValueError(f"one machine alone has {sorted(ours.keys() ^ theirs.keys())}")
    names = [name for name in ours if name not in (BUNDLE, SEED)]
    differences = {name: difference(ours[name], theirs[name]) for name in names}
    largest = max(differences.values())
    return {
        "agree": largest <= within,
        "largest": largest if np.isfinite(largest) else None,
        "within": within,
        "outputs": {
            name: value if np.isfinite(value) else None for name, value in differences.items()
        },
    }


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The largest |ours - theirs| / max(1, |ours|) of two arrays of numbers.

    So it is an absolute difference of small values and a relative one of large values. It is
    infinite where shape or dtype differ, or where either holds a number that is not finite.
    """
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return float("inf")
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)), initial=0.0))


if __name__ == "__main__":
    main()
