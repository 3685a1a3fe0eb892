"""How well frames of no class, shifted frames and the domains of frames are told without labels.

Exports a finished run of fewer classes than its data have; those it never saw are the near novelty,
drawn digits and noise the far one. Corruptions of severity 5 are the shifts.

    python tools/bench_novelty.py [DATA] [--run RUN] [--bundle BUNDLE] [--seeds N] [--quick]

DATA is a data SPEC, such as the path of cifar10-jpeg.tar.gz (default: that file in the directory
SEL_EDGE_TEST_DATA, or ../shared/data). Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge import zoo
from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.bundle.manifest import GRAPH_FILE, MOMENTS_FILE
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_source import from_run
from sel_edge.compile.ladder import LadderOptions
from sel_edge.core import provenance
from sel_edge.core.embarrassment import softmax
from sel_edge.core.rng import generator
from sel_edge.data.corruptions import corrupt
from sel_edge.data.sources import load_splits
from sel_edge.data.spec import parse_data
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import MAX_BATCH, Engine
from sel_edge.runtime.moments import (
    LIMIT_SIGMA,
    WINDOW_FRAMES,
    MomentModel,
    ShiftMonitor,
    bundle_moments,
)
from sel_edge.runtime.novelty import DEFAULT, METHODS, calibrate
from sel_edge.runtime.prior import (
    NORMAL_FRAMES,
    PriorModel,
    PriorMonitor,
    fit_prior,
)
from sel_edge.runtime.session import Session
from tools.novelty_bench import Situation, auroc, mingled, observed, ramp, routed, turns, walk

LEARNED = ("gaussian_noise", "contrast", "fog", "blur")
"""What frames are routed to, beside the bundle's own domain."""
KINDS = (*LEARNED, "brightness", "pixelate")
SEVERITY = 5
BEFORE = 100
"""Frames that a monitor has seen before a shift."""
TICK = 8
UNCHANGED_FRAMES = 20_000
WITHIN = 160
"""Frames after a shift within which it must be noticed."""
STRETCHES = 30
"""How often another domain takes its turn."""
STRETCH = 160
"""Frames of a turn."""
SWITCH = 16
"""The first of them, which are hardest to route."""
MIXTURE = 640
"""Frames whose domains change at random."""
ARCHIVE = "cifar10-jpeg.tar.gz"
RUN = Path(zoo.__file__).parent / "cifar10-8-dense"


def main() -> None:
    """Measure and print."""
    folder = Path(os.environ.get("SEL_EDGE_TEST_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?", default=str(folder / ARCHIVE))
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--bundle", type=Path, help="an exported one in place of a run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    seeds = 1 if options.quick else options.seeds
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        if options.bundle is None:
            bundle = export(options.run, options.data, Path(temporary) / "bundle")
        else:
            bundle = open_bundle(options.bundle)
        print(json.dumps(measure(bundle, options.data, seeds, options.quick)))


def export(run: Path, data: str, out: Path) -> Bundle:
    """The run as a bundle without steps, on those classes of the data that it was trained on."""
    classes = json.loads((run / "run.json").read_text())["data"]["classes"]
    source = from_run(run, str(replace(parse_data(data), classes=tuple(classes))))
    return make_bundle(source, out, LadderOptions(rungs=("norm",)), with_int8=False).bundle


def measure(bundle: Bundle, data: str, seeds: int, quick: bool) -> dict[str, Any]:
    """Everything, with as many streams of each kind as there are seeds."""
    engine = Engine(bundle, threads=1)
    test = load_splits(data).test
    size = 1500 if quick else len(test.frames)
    chosen = generator(0, "bench_novelty").permutation(len(test.frames))[:size]
    frames = test.frames[np.sort(chosen)]
    names = [test.classes[label] for label in test.labels[np.sort(chosen)]]
    places = {name: index for index, name in enumerate(bundle.manifest.classes)}
    labels = np.array([places.get(name, -1) for name in names])
    model = bundle_moments(bundle)
    clean = observed(engine, model, frames, labels)
    known = frames[labels >= 0][: 400 if quick else 2000]
    of_known = labels[labels >= 0][: len(known)]
    shifted = {
        kind: observed(
            engine, model, corrupt(known, kind, SEVERITY, generator(0, "corrupt", kind)), of_known
        )
        for kind in KINDS
    }
    unchanged = UNCHANGED_FRAMES // 10 if quick else UNCHANGED_FRAMES
    return {
        "network": f"{bundle.manifest.model.name} width {bundle.manifest.model.width}, "
        f"{len(places)} of {len(test.classes)} classes",
        "novelty": novelty(bundle, engine, model, clean, shifted),
        "default": DEFAULT,
        "shift": shift(model, clean, shifted, seeds, unchanged),
        "domains": domains(model, clean, shifted, seeds),
        "prior": prior(bundle, clean, seeds, unchanged),
        "moments": moments_cost(bundle, engine, MAX_BATCH, rounds=20 if quick else 200),
        "seeds": seeds,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def novelty(
    bundle: Bundle,
    engine: Engine,
    model: MomentModel,
    clean: Situation,
    shifted: Mapping[str, Situation],
) -> dict[str, Any]:
    """Area under the ROC curve, rates at the calibrated threshold, and cost of every method."""
    shape = bundle.manifest.preprocessing.frame_shape
    mode = "rgb" if shape[-1] == 3 else "gray"
    digits = load_splits(f"digits?size={shape[0]}&mode={mode}").test
    speckle = generator(0, "speckle").integers(0, 256, (500, *shape), dtype=np.uint8)
    unseen = {
        "near": clean.only(clean.labels < 0),
        "digits": observed(engine, model, digits.frames, digits.labels),
        "speckle": observed(engine, model, speckle, np.full(len(speckle), -1)),
        **shifted,
    }
    seen = clean.only(clean.labels >= 0)
    weight, bias = bundle.head()
    found: dict[str, Any] = {}
    few = seen.only(np.arange(len(seen.labels)) < MAX_BATCH)
    for method in METHODS:
        detector = calibrate(method, bundle.anchors().features, weight, bias)
        score = detector.novelty.score
        usual = score(seen.features, seen.logits)
        timed = {"score": partial(score, few.features, few.logits)}
        found[method] = {
            "auroc": {
                name: auroc(usual, score(other.features, other.logits))
                for name, other in unseen.items()
            },
            "strange_of_known": float(detector.strange(seen.features, seen.logits).mean()),
            "strange_of_near": float(
                detector.strange(unseen["near"].features, unseen["near"].logits).mean()
            ),
            "flops_per_frame": detector.novelty.flops(1),
            "share_of_forward": detector.novelty.flops(1) / engine.forward_flops,
            "us_per_frame": 1e6 * seconds(timed, 50)["score"] / MAX_BATCH,
        }
    return found


def shift(
    model: MomentModel,
    clean: Situation,
    shifted: Mapping[str, Situation],
    seeds: int,
    unchanged: int,
) -> dict[str, Any]:
    """Frames from a shift to its notice, and the most that is seen where nothing shifts."""
    seen = clean.only(clean.labels >= 0)
    delays: dict[str, list[int | None]] = {kind: [] for kind in shifted}
    gradual: dict[str, list[int | None]] = {kind: [] for kind in shifted}
    quiet: dict[str, list[float]] = {"random": [], "sorted": [], "unseen classes": []}
    for seed in range(seeds):
        rng = generator(seed, "shift")
        for kind, other in shifted.items():
            monitor = ShiftMonitor(model)
            monitor.add(seen.drawn(rng, BEFORE).displacements)
            delays[kind].append(noticed(monitor, other.drawn(rng, WITHIN)))
            monitor = ShiftMonitor(model)
            monitor.add(seen.drawn(rng, BEFORE).displacements)
            gradual[kind].append(noticed(monitor, ramp(seen, other, 400, rng)))
        quiet["random"].append(most(model, seen.drawn(rng, unchanged)))
        order = np.argsort(clean.labels + rng.random(len(clean.labels)))
        by_class = clean.take(order)
        quiet["sorted"].append(most(model, by_class.only(by_class.labels >= 0)))
        quiet["unseen classes"].append(most(model, by_class.only(by_class.labels < 0)))
    return {
        "delay_frames": delays,
        "gradual_delay_frames": gradual,
        "unchanged_frames": unchanged,
        "most_sigma": {name: max(values) for name, values in quiet.items()},
        "limit_sigma": LIMIT_SIGMA,
        "false_alarms": sum(v >= LIMIT_SIGMA for values in quiet.values() for v in values),
        "flops_per_frame": model.flops(TICK) / TICK,
    }


def noticed(monitor: ShiftMonitor, frames: Situation) -> int | None:
    """Frames until a shift is noticed; None if it is not."""
    return next(
        (n for n, shifted in walk(monitor, frames, TICK, each=lambda: monitor.shifted) if shifted),
        None,
    )


def most(model: MomentModel, frames: Situation) -> float:
    """The largest sigma over a stream."""
    monitor = ShiftMonitor(model)
    return max((s for _, s in walk(monitor, frames, TICK, each=lambda: monitor.sigma)), default=0.0)


def domains(
    model: MomentModel, clean: Situation, shifted: Mapping[str, Situation], seeds: int
) -> dict[str, Any]:
    """Share of frames routed to the right domain, each learned from frames that do not return."""
    names = ("own", *LEARNED)
    stretches: list[NDArray[np.bool_]] = []
    mixed: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        rng = generator(seed, "domains")
        known: dict[int, Domain] = {}
        parts = [clean.only(clean.labels >= 0)]
        for number, kind in enumerate(LEARNED, start=OWN + 1):
            few, rest = shifted[kind].divided(rng, WINDOW_FRAMES)
            place = few.displacements.mean(axis=0).astype(np.float32)
            known[number] = Domain(place, WINDOW_FRAMES)
            parts.append(rest)

        truth = np.repeat(turns(len(parts), STRETCHES, rng), STRETCH)
        told = routed(Router(model), mingled(parts, truth, rng), known, TICK)
        stretches.append((told == truth).reshape(STRETCHES, STRETCH))

        truth = rng.permutation(np.arange(MIXTURE) % len(parts))
        told = routed(Router(model), mingled(parts, truth, rng), known, TICK)
        for number, name in enumerate(names):
            mixed[name].append(float((told == truth)[truth == number].mean()))
    return {
        "stretches_right": float(np.mean(stretches)),
        "stretches_right_after_switch": float(np.mean([s[1:, :SWITCH] for s in stretches])),
        "mixture_right": float(np.mean(list(mixed.values()))),
        "mixture_right_of": {name: statistics.mean(shares) for name, shares in mixed.items()},
        "flops_per_frame": Router(model).flops(TICK, len(LEARNED)) / TICK,
    }


def prior(bundle: Bundle, clean: Situation, seeds: int, unchanged: int) -> dict[str, Any]:
    """The most that is seen while every class comes alike, and after one class has taken over."""
    seen, anchors = clean.only(clean.labels >= 0), bundle.anchors()
    weight, bias = bundle.head()
    model = fit_prior(softmax(anchors.features @ weight.T + bias), anchors.labels)
    quiet, rising = [], {share: list[float]() for share in (0.25, 0.4, 0.6)}
    for seed in range(seeds):
        rng = generator(seed, "prior")
        quiet.append(max(_sigmas(model, bundle, seen.drawn(rng, unchanged))))
        for share, values in rising.items():
            often = seen.labels == rng.integers(len(bundle.manifest.classes))
            weights = np.where(often, share / often.sum(), (1 - share) / (~often).sum())
            before, after = seen.drawn(rng, NORMAL_FRAMES), seen.drawn(rng, WINDOW_FRAMES, weights)
            values.append(_sigmas(model, bundle, before, after)[-1])
    return {"most_sigma": max(quiet), "sigma_of_one_class_at_share": rising}


def _sigmas(model: PriorModel, bundle: Bundle, *situations: Situation) -> list[float]:
    monitor = PriorMonitor(model, bundle.manifest.classes)
    found = []
    for frames in situations:
        for start in range(0, len(frames.labels), TICK):
            monitor.add(softmax(frames.logits[start : start + TICK]))
            found.append(monitor.sigma)
    return found


def moments_cost(bundle: Bundle, engine: Engine, frames: int, rounds: int) -> dict[str, float]:
    """What they take beside the forward pass, in operations and in time."""
    forward, stem = (Session(bundle.member(name), 1) for name in (GRAPH_FILE, MOMENTS_FILE))
    shape = bundle.manifest.preprocessing.input_shape
    feeds = {"image": generator(0).standard_normal((frames, *shape), dtype=np.float32)}
    times = seconds(
        {"forward": lambda: forward.run(feeds), "moments": lambda: stem.run(feeds)}, rounds
    )
    return {
        "flops_share": engine.moment_flops / engine.forward_flops,
        "time_share": times["moments"] / times["forward"],
        "forward_ms_per_frame": 1e3 * times["forward"] / frames,
    }


def seconds(timed: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of functions that take turns."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, function in timed.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
