"""What the benchmark says: scenario by scenario, and the device against full fine-tuning.

Accuracies, gains and costs are shares of 1, but for those whose name ends in `_points`: these are
hundredths. A strategy's gain is its accuracy on the changed situation less that without adaptation;
its share is that of full fine-tuning's gain. Where full fine-tuning itself gains less than a
point, and where nothing changes, the share means nothing and is left out of all means.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.adapt_bench.outcome import Outcome

NOTHING, YARDSTICK, DEVICE, REPLAY = "none", "full", "device", "uniform_replay"
STILL, WRONG = "still", "wrong_labels"
SMALLEST_GAIN = 0.01
"""Of full fine-tuning, for others to be measured by."""
ENERGY_ORIGIN = "estimated"

Row = dict[str, Any]
"""One scenario: "scenario", and "strategies" by name."""


def scenario_row(name: str, found: Mapping[str, Sequence[Outcome]], onset: int) -> Row:
    """All about one scenario.

    Args:
        name: of the scenario.
        found: per strategy the outcomes by seed.
        onset: frame at which the change begins.
    """
    strategies = {strategy: _means(outcomes, onset) for strategy, outcomes in found.items()}
    start, best = strategies.get(NOTHING), strategies.get(YARDSTICK)
    for strategy in strategies.values():
        if start:
            strategy |= _gain(strategy, start, best)
        if best:
            strategy["executed_flops_share"] = _share(strategy, best, "executed_flops")
            strategy["wall_share"] = _share(strategy, best, "wall_s")
    return {"scenario": name, "strategies": strategies}


def _means(outcomes: Sequence[Outcome], onset: int) -> dict[str, Any]:
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
        "energy_j": statistics.fmean(outcome.energy_j for outcome in outcomes),
        "energy_origin": ENERGY_ORIGIN,
        "delta_bytes": statistics.fmean(outcome.delta_bytes for outcome in outcomes),
        "triggers": sum(outcome.triggers for outcome in outcomes),
        "recovery_frames": statistics.median(known) if known else None,
        "notes": [dict(outcome.notes) for outcome in outcomes],
    }


def _gain(
    strategy: Mapping[str, Any], start: Mapping[str, Any], best: Mapping[str, Any] | None
) -> dict[str, float | None]:
    if "new" not in start["accuracy"]:
        return {"gain_points": None, "gain_share": None}
    unadapted = start["accuracy"]["new"]
    gain, possible = strategy["accuracy"]["new"] - unadapted, 0.0
    if best:
        possible = best["accuracy"]["new"] - unadapted
    share = gain / possible if possible >= SMALLEST_GAIN else None
    return {"gain_points": 100 * gain, "gain_share": share}


def _share(strategy: Mapping[str, Any], best: Mapping[str, Any], key: str) -> float | None:
    return strategy[key] / best[key] if best[key] > 0 else None


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """The device against everybody else, over all scenarios; None where somebody is missing."""
    told = {row["scenario"]: row["strategies"] for row in rows}
    device = {name: found[DEVICE] for name, found in told.items() if DEVICE in found}
    ours = list(device.values())
    shares = [one["gain_share"] for one in ours if one.get("gain_share") is not None]
    return {
        "gain_vs_full_mean": statistics.fmean(shares) if shares else None,
        "gain_vs_full_min": min(shares, default=None),
        "gain_undefined": _undefined(told),
        "executed_flops_ratio_max": _most(one.get("executed_flops_share") for one in ours),
        "wall_ratio_max": _most(one.get("wall_share") for one in ours),
        "old_accuracy_drop_max": _most(_loss(found, YARDSTICK, "old") for found in told.values()),
        "old_accuracy_vs_start_max": _most(_loss(found, NOTHING, "old") for found in told.values()),
        "false_triggers": device[STILL]["triggers"] if STILL in device else None,
        "wrong_labels_cost": _most(
            _loss(told.get(WRONG, {}), NOTHING, exam) for exam in ("new", "old")
        ),
        "worse_than_uniform_replay": _worse_than_replay(told),
    }


def _undefined(told: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where full fine-tuning changes something, but less than a point."""
    return [
        {
            "scenario": name,
            "full_points": found[YARDSTICK]["gain_points"],
            "device_points": found[DEVICE]["gain_points"],
        }
        for name, found in told.items()
        if {NOTHING, YARDSTICK, DEVICE} <= set(found)
        and found[DEVICE]["gain_points"] is not None
        and found[DEVICE]["gain_share"] is None
    ]


def _loss(found: Mapping[str, Any], other: str, exam: str) -> float | None:
    """By how much the device is worse than somebody else at an exam."""
    if DEVICE not in found or other not in found or exam not in found[DEVICE]["accuracy"]:
        return None
    loss: float = found[other]["accuracy"][exam] - found[DEVICE]["accuracy"][exam]
    return loss


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _worse_than_replay(told: Mapping[str, Mapping[str, Any]]) -> list[str] | None:
    """Where replay at equal cost is better by more than one standard error of the difference.

    None with fewer than two seeds, or if one of the two did not take part.
    """
    if not told or not all({DEVICE, REPLAY} <= set(found) for found in told.values()):
        return None
    worse = []
    for name, found in told.items():
        pairs = zip(*(found[who]["accuracy_of_seeds"] for who in (REPLAY, DEVICE)), strict=True)
        lead = [replay["new"] - ours["new"] for replay, ours in pairs if "new" in ours]
        if len(lead) == 1:
            return None
        if lead and statistics.fmean(lead) > statistics.stdev(lead) / len(lead) ** 0.5:
            worse.append(name)
    return worse
