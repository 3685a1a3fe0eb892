"""Recipes trained side by side: accuracy, time, and the work that was really executed.

    python -m tools.bench_pretrain --data PATH [--device auto] [--width 16] [--seeds 3]
        [--recipes dense,dense-strong,dense-strong:half,sel-paper,sel] [--ablations]
        [--epochs-scale 1] [--unseen cat,truck] [--runs DIR] [--quick] [--json] [--out FILE]

PATH is a data SPEC, or the path of cifar10-jpeg.tar.gz. Every seed trains each recipe in turn, in
this process, so that a machine that drifts hurts all alike. A name such as sel:no-muon is a recipe
with one mechanism changed (tools/pretrain_bench/contestants.py); --ablations adds them all.
`time_to_dense_accuracy_ratio` and `flops_to_dense_accuracy_ratio` say what `sel` had spent when it
first was within 0.1 points of the final accuracy of `dense-strong`, means of all seeds, as a share
of what that spent in all; null if it never was. `against` says how every recipe ended beside each
of `dense` and `dense-strong`. `int8_accuracy` is of the first seed, `ood_auroc_near` of one more
run of each recipe, which never saw the classes --unseen: by default every fifth one; "" or --quick:
no such run. With --runs the runs are kept, and an interrupted comparison goes on with those that
are there, on the same machine, device and commit. --quick shows that all of it runs, not what is
saved: no stage has less than an epoch. Prints one JSON object as its last line, and nothing else
with --json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sel_edge.core import provenance
from sel_edge.core.errors import ConfigError
from sel_edge.core.runlog import RunLog
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits
from sel_edge.data.spec import parse_data
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.recipe import Recipe
from tools.bench_adapt import without_folders
from tools.bench_mcu import progress, silent
from tools.mcu_bench.network import Say
from tools.pretrain_bench.contestants import ABLATIONS, contestant
from tools.pretrain_bench.quality import int8_accuracy, near_auroc
from tools.pretrain_bench.runs import trained
from tools.pretrain_bench.summary import against, class_points, costs, ratios
from tools.publish import publish

RECIPES = ("dense", "dense-strong", "dense-strong:half", "sel-paper", "sel")
EVERY = 5
"""Of so many classes, one is left out by default to be told from the others."""
QUICK_SCALE, QUICK_SHARE = 0.1, 3
"""A tenth of the epochs on a third of the classes: at width 16 less than ten minutes on two cores,
even without bf16."""


def main() -> None:
    """Train, and print."""
    options = _options()
    if options.quick:
        options.data = some_classes(options.data)
    say = silent if options.json else progress
    found = measure(options, load_splits(options.data), say)
    publish(found, options.out)


def some_classes(data: str) -> str:
    """The SPEC of a third of the classes, of two at least."""
    classes = load_splits(data).test.classes
    kept = classes[: max(2, len(classes) // QUICK_SHARE)]
    return str(replace(parse_data(data), classes=tuple(kept)))


def measure(options: argparse.Namespace, splits: Splits, say: Say) -> dict[str, Any]:
    """Train every recipe with every seed, and compare."""
    commit, names = provenance.commit(), options.recipes.split(",")
    names += [name for name in ABLATIONS if options.ablations and name not in names]
    recipes = {name: contestant(name, options.overrides, options.epochs_scale) for name in names}
    unseen = unseen_classes(options.unseen, splits.test.classes)
    runs: dict[str, list[RunLog]] = {name: [] for name in names}
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        folder = options.runs or Path(temporary)
        for seed in range(options.seeds):
            for name, recipe in recipes.items():
                run = _run(options, options.data, recipe, seed, folder / f"{name}-{seed}")
                runs[name].append(run)
                say(f"{name}, seed {seed}: {run.info['totals']['test_full_acc']:.2%}")
        rows = {name: costs(runs[name]) for name in names}
        for name, row in rows.items():
            say(f"{name}, int8 and novelty")
            row["int8_accuracy"] = int8_accuracy(runs[name][0], splits)
            near = folder / f"{name}-near"
            row["ood_auroc_near"] = _near(options, recipes[name], splits, unseen, near)
            row["against"] = against(row, rows)
        points = class_points(runs, splits.test)
    info = next(iter(runs.values()))[0].info
    return {
        "recipes": rows,
        **ratios(runs),
        **points,
        "width": options.width,
        "seeds": options.seeds,
        "epochs_scale": options.epochs_scale,
        "overrides": options.overrides,
        "unseen": unseen,
        "device": info["device"],
        "gpu": info["gpu"],
        "data": without_folders(options.data),
        "note": splits.note,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
    }


def _run(options: argparse.Namespace, data: str, recipe: Recipe, seed: int, out: Path) -> RunLog:
    asked = RunOptions(
        data=data,
        recipe=recipe,
        width=options.width,
        device=options.device,
        precision=options.precision,
        seed=seed,
    )
    return trained(asked, out)


def _near(
    options: argparse.Namespace,
    recipe: Recipe,
    splits: Splits,
    unseen: Sequence[str],
    folder: Path,
) -> float | None:
    """AUROC of a run that never saw some classes; None without any."""
    known = [label for label in splits.test.classes if label not in unseen]
    if len(known) == len(splits.test.classes) or len(known) < 2:
        return None
    data = str(replace(parse_data(options.data), classes=tuple(known)))
    run = _run(options, data, recipe, 0, folder)
    with TemporaryDirectory(prefix="sel-edge-") as bundle:
        return near_auroc(run, options.data, splits.test, Path(bundle) / "bundle")


def unseen_classes(asked: str | None, classes: Sequence[str]) -> list[str]:
    """The classes that one more run never sees.

    Raises:
        ConfigError: there is no such class.
    """
    if asked is None:
        return list(classes[EVERY - 1 :: EVERY])
    unseen = [label for label in asked.split(",") if label]
    unknown = set(unseen) - set(classes)
    if unknown:
        raise ConfigError(
            f"--unseen names {', '.join(sorted(unknown))}.",
            f"Some of {', '.join(classes)} are expected.",
            "Correct it.",
        )
    return unseen


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--ablations", action="store_true", help="sel with one thing changed too")
    parser.add_argument("--epochs-scale", type=float, default=1.0)
    parser.add_argument("--unseen", help="classes that one more run never sees, or nothing")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--runs", type=Path, help="keeps the runs, and goes on with those in it")
    parser.add_argument("--quick", action="store_true", help="width 16, one seed, little of all")
    parser.add_argument("--json", action="store_true", help="nothing but the result")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    options = parser.parse_args()
    if options.quick:
        options.width, options.seeds, options.epochs_scale = 16, 1, QUICK_SCALE
        options.unseen = options.unseen or ""
    return options


if __name__ == "__main__":
    main()
