"""The benchmark of training steps, small: that it compares the same work and tells it in full."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sel_edge.pretrain.model import ResNet18
from sel_edge.runtime.engine import Engine, peak_memory_bytes
from tools.bench_step import GOALS, measure, table
from tools.step_bench.accuracy import gradient_errors
from tools.step_bench.contestants import training_pair
from tools.step_bench.processes import peak_memory
from tools.step_bench.subject import Subject, make_subject
from tools.step_bench.timing import MAX_REPEATS, SHORT_S, WARM_UP, interleave

WIDTH, BATCH, FRAMES, SHARE, THREADS = 4, 6, 8, 0.25, 1
RUNGS = ("norm", "head", "tail", "deep", "full")


@dataclass(frozen=True)
class Astray(Subject):
    """In torch another network than in the bundle."""

    def folded(self) -> ResNet18:
        model = super().folded()
        with torch.no_grad():
            model.get_parameter("layer4.1.conv2.weight").mul_(1.5)
        return model


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(tmp_path_factory.mktemp("subject"), WIDTH, BATCH, FRAMES, SHARE)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return measure(WIDTH, BATCH, FRAMES, SHARE, THREADS, rounds=2, starts=2)


def test_every_rung_has_a_row(measured: dict[str, Any]) -> None:
    rows = {row["rung"]: row for row in measured["rows"]}
    assert set(rows) == {"forward", *RUNGS}
    for name, row in rows.items():
        assert row["n"] == 2
        assert row["ratio_same"] == row["ours_ms"] / row["torch_same_ms"]
        assert row["ratio_full"] == row["ours_ms"] / row["torch_full_ms"]
        assert 0 < row["floor_ms"] == pytest.approx(row["ours_ms"] / row["over_floor"])
        assert set(row["goals"]) >= set(GOALS.get(name, {}))
        for field, goal in row["goals"].items():
            assert goal["met"] == (row[field] <= goal["at_most"])
    for name in RUNGS:
        # A Python process with numpy and onnxruntime takes more than its tensors.
        assert rows[name]["peak_rss_mb"] > 20 + rows[name]["predicted_peak_mb"]


def test_starts_and_errors_are_told(measured: dict[str, Any]) -> None:
    ratio = measured["cold_start_s"] / measured["torch_cold_start_s"]
    assert measured["cold_start_ratio"] == pytest.approx(ratio)
    assert measured["grad_max_rel_err"] < 1e-4
    assert measured["torch_grad_max_rel_err"] > 0
    assert {"machine", "versions", "commit"} <= set(measured)


def test_the_table_has_a_line_per_rung(measured: dict[str, Any]) -> None:
    firsts = [line.split()[0] for line in table(measured).splitlines()]
    assert firsts[1:7] == ["forward", *RUNGS]


def test_another_network_in_torch_is_noticed(subject: Subject, tmp_path: Path) -> None:
    astray = Astray(subject.network, subject.bundle, subject.weights)
    with pytest.raises(RuntimeError, match="our loss differs"):
        training_pair(astray, "tail", Engine(subject.bundle, THREADS), THREADS)
    errors = gradient_errors(astray, tmp_path, THREADS)
    assert errors["grad_max_rel_err"] > 1e-2
    assert errors["torch_grad_max_rel_err"] < 1e-4


def test_peak_memory_is_not_that_of_this_process(subject: Subject) -> None:
    ballast = torch.ones(2**26)
    own = peak_memory_bytes()
    assert ballast.nbytes < own
    assert peak_memory(subject, "head", 1, THREADS).peak_rss_bytes < own - ballast.nbytes / 2


def test_functions_take_turns_in_changing_order() -> None:
    calls: list[str] = []

    def long_enough_for_a_turn(name: str) -> None:
        calls.append(name)
        time.sleep(SHORT_S)

    names = ("a", "b", "c")
    timed = {name: functools.partial(long_enough_for_a_turn, name) for name in names}
    times = interleave(timed, rounds=4)
    assert all(len(times[name].wall) == len(times[name].cpu) == 4 for name in names)
    rounds = [tuple(calls[start : start + 3]) for start in range(len(calls) - 12, len(calls), 3)]
    assert all(set(one) == set(names) for one in rounds)
    assert len(set(rounds)) > 1


def test_a_short_function_fills_its_turn() -> None:
    calls: list[int] = []
    found = interleave({"short": lambda: calls.append(0)}, rounds=2)["short"]
    assert found.repeats == MAX_REPEATS
    assert len(calls) == WARM_UP + 2 * (1 + MAX_REPEATS)
