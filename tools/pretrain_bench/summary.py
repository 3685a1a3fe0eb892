"""Runs of many seeds as the numbers of a record."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sel_edge.core.runlog import HistoryRow, RunLog
from sel_edge.data.dataset import Dataset
from tools.pretrain_bench.quality import class_accuracies

BASELINE, OURS = "dense-strong", "sel"


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
        "times_s": [total["seconds"] for total in totals],
        "executed_flops": mean("executed_flops"),
        "paper_flops": mean("paper_flops"),
        "images": mean("images"),
        "energy_j": mean("joules"),
        "energy_kind": runs[0].info["energy"]["origin"],
        "evaluation_s": mean("evaluation_seconds"),
        "compile_s": mean("compile_seconds"),
        "arithmetic": sorted({f"{r.info['precision']}, {r.info['layout']}" for r in runs}),
        "epochs": mean("epochs"),
    }


def against(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, float]:
    """A row of `costs` beside that of a baseline."""
    return {
        "points": 100 * (row["accuracy_mean"] - baseline["accuracy_mean"]),
        "time_ratio": row["time_s"] / baseline["time_s"],
        "flops_ratio": row["executed_flops"] / baseline["executed_flops"],
    }


def ratios(runs: Mapping[str, Sequence[RunLog]]) -> dict[str, float | None]:
    """What ours had spent when it first was as good as the baseline in the end, seed by seed.

    None where not every seed became as good: a median of those that did would flatter.
    """
    found: dict[str, list[float]] = {"time": [], "flops": []}
    pairs = list(zip(runs.get(BASELINE, []), runs.get(OURS, []), strict=False))
    for baseline, ours in pairs:
        last = baseline.history[-1]
        row = _first_as_good(ours.history, float(last["test_full_acc"]))
        if row is not None:
            found["time"].append(float(row["time_s"]) / float(last["time_s"]))
            executed = float(row["executed_flops_T"]) / float(last["executed_flops_T"])
            found["flops"].append(executed)
    every = len(found["time"]) == len(pairs) > 0
    return {
        f"{name}_to_dense_accuracy_ratio": statistics.median(values) if every else None
        for name, values in found.items()
    } | {"seeds_as_good": len(found["time"])}


def _first_as_good(history: Sequence[HistoryRow], wanted: float) -> HistoryRow | None:
    """Of the last stage: those before may have been evaluated on small images."""
    last = [row for row in history if row.get("stage") == history[-1].get("stage")]
    return next((row for row in last if float(row["test_full_acc"]) >= wanted), None)


def class_points(runs: Mapping[str, Sequence[RunLog]], test: Dataset) -> dict[str, float] | None:
    """By how many points ours is above the baseline in every class (below 0: under it)."""
    if not runs.get(BASELINE) or not runs.get(OURS):
        return None
    means = {
        name: np.mean([class_accuracies(run, test) for run in runs[name]], axis=0)
        for name in (BASELINE, OURS)
    }
    points = 100 * (means[OURS] - means[BASELINE])
    return {name: float(value) for name, value in zip(test.classes, points, strict=True)}
