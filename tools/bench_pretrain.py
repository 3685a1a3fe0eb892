"""Recipes trained side by side: accuracy, time, and the work that was really executed.

    python -m tools.bench_pretrain --data PATH [--device auto] [--width 16] [--seeds 3]
        [--recipes dense,dense-strong,sel-paper,sel] [--epochs-scale 1] [--unseen cat,truck]
        [--quick] [--json] [--out FILE]

PATH is a data SPEC, or the path of cifar10-jpeg.tar.gz. Every seed trains each recipe in turn, in
this process, so that a machine that drifts hurts all alike. `time_to_dense_accuracy_ratio` and
`flops_to_dense_accuracy_ratio` say what `sel` had spent when an epoch of it first reached the final
accuracy of `dense-strong`, as a share of what that spent in all; null where no seed reached it.
`ood_auroc_near` is of one more run of each recipe, which never saw the classes --unseen. Prints one
JSON object as its last line, and nothing else with --json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.cli.training_meter import training_meter
from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.quantize import quantize
from sel_edge.core import provenance
from sel_edge.core.files import write_atomic
from sel_edge.core.frames import channels_first
from sel_edge.core.runlog import HistoryRow, RunLog, frame_shape
from sel_edge.data.dataset import Dataset
from sel_edge.data.sources import load_splits
from sel_edge.data.spec import parse_data
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.evaluate import accuracy
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.run import start_run
from sel_edge.pretrain.trained import load_trained
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.novelty import DEFAULT, calibrate
from tools.bench_adapt import without_folders
from tools.bench_int8 import calibration_images, logits, open_session, preprocess
from tools.bench_mcu import progress, silent
from tools.bench_novelty import export
from tools.mcu_bench.network import Say
from tools.novelty_bench import auroc

RECIPES = ("dense", "dense-strong", "sel-paper", "sel")
BASELINE, OURS = "dense-strong", "sel"
CALIBRATION_IMAGES = 256
INT8_THREADS = 2
QUICK_SCALE = 0.17
"""Of the epochs, so that four recipes at width 16 need less than ten minutes on two cores."""


def main() -> None:
    """Train, and print."""
    options = _options()
    say = silent if options.json else progress
    found = measure(options, say)
    if options.out:
        write_atomic(options.out, json.dumps(found, indent=1).encode() + b"\n")
    print(json.dumps(found))


def measure(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Train every recipe with every seed, and compare."""
    commit, recipes = provenance.commit(), options.recipes.split(",")
    runs: dict[str, list[RunLog]] = {name: [] for name in recipes}
    rows: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        folder = Path(temporary)
        for seed in range(options.seeds):
            for name in recipes:
                say(f"{name}, seed {seed}")
                out = folder / f"{name}-{seed}"
                runs[name].append(trained(options, options.data, name, seed, out))
        for name in recipes:
            say(f"{name}, int8 and novelty")
            rows[name] = {
                **costs(runs[name]),
                "int8_accuracy": int8_accuracy(runs[name][0].path, options.data),
                "ood_auroc_near": near_auroc(options, name, folder / f"{name}-near"),
            }
        worst = worst_class_points(runs, options.data)
    return {
        "recipes": rows,
        **ratios(runs),
        "worst_class_points": worst,
        "width": options.width,
        "seeds": options.seeds,
        "epochs_scale": options.epochs_scale,
        "device": next(iter(runs.values()))[0].info["device"],
        "data": without_folders(options.data),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
    }


def trained(options: argparse.Namespace, data: str, name: str, seed: int, out: Path) -> RunLog:
    """One run of a recipe."""
    recipe = load_recipe(name, options.overrides).scaled(options.epochs_scale)
    asked = RunOptions(
        data=data,
        recipe=recipe,
        width=options.width,
        device=options.device,
        precision=options.precision,
        seed=seed,
    )
    return start_run(out, asked, training_meter(options.device), _Nobody(), lambda: False)


def costs(runs: Sequence[RunLog]) -> dict[str, Any]:
    """What the runs of one recipe reached and spent, on average."""
    totals = [run.info["totals"] for run in runs]
    reached = [total["test_full_acc"] for total in totals]

    def mean(name: str) -> float:
        return statistics.fmean(total[name] for total in totals)

    return {
        "accuracy_mean": statistics.fmean(reached),
        "accuracy_std": statistics.stdev(reached) if len(reached) > 1 else None,
        "accuracies": reached,
        "time_s": mean("seconds"),
        "executed_flops": mean("executed_flops"),
        "paper_flops": mean("paper_flops"),
        "images": mean("images"),
        "energy_j": mean("joules"),
        "energy_kind": runs[0].info["energy"]["origin"],
        "precision": runs[0].info["precision"],
    }


def ratios(runs: dict[str, list[RunLog]]) -> dict[str, float | None]:
    """What ours had spent when it first was as good as the baseline in the end, seed by seed."""
    found: dict[str, list[float]] = {"time": [], "flops": []}
    for baseline, ours in zip(runs.get(BASELINE, []), runs.get(OURS, []), strict=False):
        last = baseline.history[-1]
        row = _first_as_good(ours.history, float(last["test_full_acc"]))
        if row is not None:
            found["time"].append(float(row["time_s"]) / float(last["time_s"]))
            executed = float(row["executed_flops_T"]) / float(last["executed_flops_T"])
            found["flops"].append(executed)
    return {
        f"{name}_to_dense_accuracy_ratio": statistics.median(values) if values else None
        for name, values in found.items()
    } | {"seeds_as_good": len(found["time"])}


def _first_as_good(history: Sequence[HistoryRow], wanted: float) -> HistoryRow | None:
    return next((row for row in history if float(row["test_full_acc"]) >= wanted), None)


def worst_class_points(runs: dict[str, list[RunLog]], data: str) -> dict[str, float] | None:
    """By how many points ours is above the baseline in its worst class (below 0: under it)."""
    if not runs.get(BASELINE) or not runs.get(OURS):
        return None
    test = load_splits(data).test
    means = {
        name: np.mean([class_accuracies(run, test) for run in runs[name]], axis=0)
        for name in (BASELINE, OURS)
    }
    points = 100 * (means[OURS] - means[BASELINE])
    return {test.classes[int(points.argmin())]: float(points.min())}


def class_accuracies(run: RunLog, test: Dataset) -> NDArray[np.float64]:
    """Share of each class's test images that a run gets right, float64 [K]."""
    _, answers = load_trained(run.path).predict(test.frames)
    right = answers.argmax(axis=1) == test.labels
    return np.array([right[test.labels == label].mean() for label in range(len(test.classes))])


def int8_accuracy(run: Path, data: str) -> float:
    """Of the int8 graph on the whole test split."""
    network, splits = load_trained(run), load_splits(data)
    shape = channels_first(frame_shape(network.run.info))
    graph = fold(load_graph(torch_model(network.model, shape), "n")).graph
    images = calibration_images(network, splits.train, CALIBRATION_IMAGES, 0)
    session = open_session(quantize(to_model(graph).SerializeToString(), images), INT8_THREADS)
    found = logits(session, preprocess(network, splits.test))
    return accuracy(found, splits.test.labels).full


def near_auroc(options: argparse.Namespace, name: str, folder: Path) -> float | None:
    """How well the classes that a run never saw are told from those that it knows."""
    unseen = options.unseen.split(",") if options.unseen else []
    test = load_splits(options.data).test
    known = [label for label in test.classes if label not in unseen]
    if len(known) == len(test.classes) or len(known) < 2:
        return None
    data = f"{parse_data(options.data)}?classes={','.join(known)}"
    trained(options, data, name, 0, folder / "run")
    bundle = export(folder / "run", options.data, folder / "bundle")
    engine = Engine(bundle, INT8_THREADS)
    features, answers = engine.infer(test.frames)
    detector = calibrate(DEFAULT, bundle.anchors().features, *bundle.head()).novelty
    scores = detector.score(features, answers)
    is_known = np.isin(np.array(test.classes)[test.labels], known)
    return auroc(scores[is_known], scores[~is_known])


class _Nobody:
    """Is told of progress and says nothing of it."""

    def stage_started(self, *_: Any) -> None: ...

    def step_done(self, *_: Any) -> None: ...

    def epoch_done(self, *_: Any) -> None: ...

    def gate_checked(self, *_: Any) -> None: ...


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--epochs-scale", type=float, default=1.0)
    parser.add_argument("--unseen", default="", help="classes that one more run never sees")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--quick", action="store_true", help="width 16, one seed, few epochs")
    parser.add_argument("--json", action="store_true", help="nothing but the result")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    options = parser.parse_args()
    if options.quick:
        options.width, options.seeds, options.epochs_scale = 16, 1, QUICK_SCALE
    return options


if __name__ == "__main__":
    main()
