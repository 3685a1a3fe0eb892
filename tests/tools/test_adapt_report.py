"""The adaptation benchmark: the report says what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.report import scenario_row, summary


def outcome(new: float, old: float, flops: float = 100.0, triggers: int = 0) -> Outcome:
    return Outcome({"new": new, "old": old}, flops, flops / 10, triggers=triggers)


def told(device: list[Outcome], replay: list[Outcome] | None = None, name: str = "fog") -> Any:
    count = len(device)
    found = {
        "none": [outcome(0.4, 0.9, 0.0)] * count,
        "full": [outcome(0.8, 0.85)] * count,
        "device": device,
        "uniform_replay": replay or [outcome(0.5, 0.8)] * count,
    }
    return scenario_row(name, found, 10)


def test_gains_and_costs_are_shares_of_full_fine_tuning() -> None:
    row = told([outcome(0.7, 0.8, 20.0), outcome(0.7, 0.84, 40.0)])
    device = row["strategies"]["device"]
    assert device["gain_share"] == pytest.approx(0.75)
    assert device["gain_points"] == pytest.approx(30.0)
    assert device["executed_flops_share"] == device["wall_share"] == pytest.approx(0.3)
    assert row["strategies"]["full"]["gain_share"] == 1.0
    assert device["energy_origin"] == "estimated"
    found = summary([row, told([outcome(0.5, 0.9)] * 2, name="blur")])
    assert found["gain_vs_full_mean"] == pytest.approx(0.5)
    assert found["gain_vs_full_min"] == pytest.approx(0.25)
    assert found["executed_flops_ratio_max"] == found["wall_ratio_max"] == 1.0
    assert found["old_accuracy_drop_max"] == pytest.approx(0.85 - 0.82)
    assert found["old_accuracy_vs_start_max"] == pytest.approx(0.9 - 0.82)


def test_a_gain_of_less_than_a_point_measures_nobody() -> None:
    found = {
        "none": [outcome(0.5, 0.5)],
        "full": [outcome(0.505, 0.5)],
        "device": [outcome(0.51, 0.5)],
    }
    said = summary([scenario_row("two_classes", found, 10)])
    (undefined,) = said["gain_undefined"]
    assert undefined == {
        "scenario": "two_classes",
        "full_points": pytest.approx(0.5),
        "device_points": pytest.approx(1.0),
    }
    assert said["gain_vs_full_mean"] is None and said["worse_than_uniform_replay"] is None


def test_stillness_has_no_gain_and_its_triggers_are_false() -> None:
    still = {
        who: [Outcome({"old": 0.9}, 1.0, 1.0, triggers=2)] * 2
        for who in ("none", "full", "device", "uniform_replay")
    }
    found = summary([scenario_row("still", still, 96), told([outcome(0.6, 0.9)] * 2)])
    assert found["false_triggers"] == 4
    assert found["gain_vs_full_mean"] == pytest.approx(0.5) and not found["gain_undefined"]
    assert found["worse_than_uniform_replay"] == [] and found["wrong_labels_cost"] is None


def test_wrong_labels_cost_the_larger_loss() -> None:
    found = summary([told([outcome(0.39, 0.87)] * 2, name="wrong_labels")])
    assert found["wrong_labels_cost"] == pytest.approx(0.03)


@pytest.mark.parametrize(("leads", "is_worse"), [((0.02, 0.04), True), ((0.05, -0.03), False)])
def test_worse_than_replay_means_by_more_than_its_standard_error(
    leads: tuple[float, float], is_worse: bool
) -> None:
    row = told([outcome(0.6, 0.9)] * 2, [outcome(0.6 + lead, 0.9) for lead in leads])
    assert summary([row])["worse_than_uniform_replay"] == (["fog"] if is_worse else [])
    assert summary([told([outcome(0.6, 0.9)])])["worse_than_uniform_replay"] is None
