"""Who adapts best, and at what cost: thirteen stories, torch's ways and the device's.

    python tools/bench_adapt.py --data cifar10:PATH --ten RUN --eight RUN [--quick] [--json]

RUN is the directory of a finished run of `sel-edge pretrain --holdout`. Full fine-tuning is tuned
with the exam in view, in its favour. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sel_edge.core import provenance
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits
from tools.adapt_bench.contestants import CONTESTANTS, Stage
from tools.adapt_bench.device import domains
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import NEW_CLASSES, QUICK, STORIES, Size, tell
from tools.adapt_bench.subject import Subject, make_subject

ALL = {**CONTESTANTS, "domains": domains}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="SPEC of CIFAR-10")
    parser.add_argument("--ten", type=Path, help="run trained on all ten classes")
    parser.add_argument("--eight", type=Path, help="run trained on all but cat and truck")
    parser.add_argument("--suite", choices=["core"], default="core")
    parser.add_argument("--scenarios", default=",".join(STORIES))
    parser.add_argument("--contestants", default=",".join(ALL))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="One seed, short stories.")
    parser.add_argument("--json", action="store_true", help="No progress on stderr.")
    options = parser.parse_args()
    splits = load_splits(options.data)
    size, seeds = (QUICK, 1) if options.quick else (Size(), options.seeds)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sel-edge-") as folder:
        subjects = _subjects(options, splits, Path(folder))
        for name in options.scenarios.split(","):
            row = measure(name, subjects, splits, size, seeds, options.contestants.split(","))
            rows.append(row)
            if not options.json:
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(json.dumps(_report(rows, seeds, options.data)))


def measure(
    name: str,
    subjects: Mapping[str, Subject],
    splits: Splits,
    size: Size,
    seeds: int,
    contestants: list[str],
) -> dict[str, Any]:
    """One scenario: per contestant the means over the seeds."""
    found: dict[str, list[Outcome]] = {contestant: [] for contestant in contestants}
    onset = 0
    for seed in range(seeds):
        story = tell(name, splits.test, size, seed)
        stage, onset = Stage(story, subjects[story.network], seed), story.onset
        for contestant, outcomes in found.items():
            outcomes.append(ALL[contestant](stage))
    rows = {contestant: _means(outcomes, onset) for contestant, outcomes in found.items()}
    return {"scenario": name, "contestants": rows}


def _means(outcomes: list[Outcome], onset: int) -> dict[str, Any]:
    recovery = [outcome.recovery_frames(onset) for outcome in outcomes]
    known = [frames for frames in recovery if frames is not None]
    return {
        "accuracy": {
            exam: statistics.fmean(outcome.exams[exam] for outcome in outcomes)
            for exam in outcomes[0].exams
        },
        "accuracy_of_seeds": [dict(outcome.exams) for outcome in outcomes],
        "executed_flops": statistics.fmean(outcome.flops for outcome in outcomes),
        "wall_s": statistics.fmean(outcome.wall_s for outcome in outcomes),
        "triggers": sum(outcome.triggers for outcome in outcomes),
        "recovery_frames": statistics.median(known) if known else None,
        "notes": [dict(outcome.notes) for outcome in outcomes],
    }


def _report(rows: list[dict[str, Any]], seeds: int, data: str) -> dict[str, Any]:
    return {
        "scenarios": rows,
        "seeds": seeds,
        "new_classes": list(NEW_CLASSES),
        "data": data,
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }


def _subjects(options: argparse.Namespace, splits: Splits, folder: Path) -> dict[str, Subject]:
    eight = ",".join(name for name in splits.train.classes if name not in NEW_CLASSES)
    specs = {"ten": options.data, "eight": f"{options.data}?classes={eight}"}
    subjects = {}
    for name, spec in specs.items():
        if (run := getattr(options, name)) is not None:
            data = splits if name == "ten" else load_splits(spec)
            subjects[name] = make_subject(run, spec, data, folder / name)
    return subjects


if __name__ == "__main__":
    main()
