"""Runs of many seeds as the numbers of a record."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.runlog import HistoryRow, RunLog
from sel_edge.data.dataset import Dataset
from tools.pretrain_bench.quality import class_accuracies

BASELINE, OURS = "dense-strong", "sel"
BASELINES = ("dense", BASELINE)
"""The published one, and the one that is hard to beat."""
AS_GOOD = 0.001
"""Of accuracy: so far under another is as good."""
SPENT = {"time": "time_s", "flops": "executed_flops_T"}


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


def against(
    row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """A row of `costs` beside that of each baseline among the rows."""
    return {
        name: {
            "points": 100 * (row["accuracy_mean"] - rows[name]["accuracy_mean"]),
            "time_ratio": row["time_s"] / rows[name]["time_s"],
            "flops_ratio": row["executed_flops"] / rows[name]["executed_flops"],
        }
        for name in BASELINES
        if name in rows
    }


def ratios(runs: Mapping[str, Sequence[RunLog]]) -> dict[str, float | None]:
    """What ours had spent when it first was as good as the baseline in the end, means of all seeds.

    None where it never was.
    """
    baselines = [run.history[-1] for run in runs.get(BASELINE, [])]
    last = [_last_stage(run.history) for run in runs.get(OURS, [])]
    found: dict[str, float | None] = dict.fromkeys(SPENT)
    if baselines:
        wanted = _mean(baselines, "test_full_acc") - AS_GOOD
        for rows in zip(*last, strict=False):
            if _mean(rows, "test_full_acc") >= wanted:
                found = {n: _mean(rows, key) / _mean(baselines, key) for n, key in SPENT.items()}
                break
    return {f"{name}_to_dense_accuracy_ratio": ratio for name, ratio in found.items()}


def _mean(rows: Sequence[HistoryRow], name: str) -> float:
    return statistics.fmean(float(row[name]) for row in rows)


def _last_stage(history: Sequence[HistoryRow]) -> list[HistoryRow]:
    """Those before may have been evaluated on small images."""
    return [row for row in history if row.get("stage") == history[-1].get("stage")]


def class_points(
    runs: Mapping[str, Sequence[RunLog]], test: Dataset
) -> dict[str, dict[str, float] | None]:
    """By how many points ours is above the baseline in every class (below 0: under it).

    `class_points_error` is the standard error of each, if there are two seeds or more.
    """
    baseline, ours = (
        np.array([class_accuracies(run, test) for run in runs.get(name, [])])
        for name in (BASELINE, OURS)
    )
    points = error = None
    if len(baseline) and len(ours):
        points = _named(test.classes, ours.mean(axis=0) - baseline.mean(axis=0))
    if min(len(baseline), len(ours)) > 1:
        error = _named(test.classes, np.sqrt(_variance(ours) + _variance(baseline)))
    return {"class_points": points, "class_points_error": error}


def _variance(accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the mean of all seeds."""
    return np.asarray(accuracies.var(axis=0, ddof=1) / len(accuracies))


def _named(classes: Sequence[str], shares: NDArray[np.float64]) -> dict[str, float]:
    """In points."""
    return {name: 100 * float(value) for name, value in zip(classes, shares, strict=True)}
