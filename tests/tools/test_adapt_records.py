"""The adaptation benchmark: no record is stale, and seconds are those of now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sel_edge.core.runlog import read_run
from sel_edge.pretrain.checkpoint import MODEL_FILE, read_tensors
from sel_edge.pretrain.trained import load_trained
from tests.tools.adapt_stage import FORWARD_FLOPS, FRAMES, SEARCH, make_stage
from tools import bench_adapt
from tools.adapt_bench import pace
from tools.adapt_bench.contestants import BACKWARD, Contestant, Stage
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.pace import Pace, fastest
from tools.adapt_bench.records import Records, fingerprint
from tools.adapt_bench.torch_tuning import BATCH
from tools.adapt_bench.way import WAYS
from tools.make_bench_networks import command, keep


@pytest.fixture
def stage() -> Stage:
    return make_stage()


class Counted:
    """A contestant that counts how often it had to run."""

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.runs = 0
        self.contestant = Contestant(self._run, settings or {})

    def _run(self, stage: Stage) -> Outcome:
        self.runs += 1
        return Outcome({"new": 0.5}, 7.0, 0.0, right=[True], notes={"moments": {"1": [1, 2]}})


def test_a_record_is_used_again(tmp_path: Path, stage: Stage) -> None:
    counted = Counted()
    told = Records(tmp_path / "new").outcome("full", counted.contestant, stage)
    again = Records(tmp_path / "new").outcome("full", counted.contestant, make_stage())
    assert counted.runs == 1 and again == told


def other_frame(stage: Stage) -> Stage:
    frames = FRAMES.copy()
    frames[50, 0, 0, 0] ^= 1
    return make_stage(frames=frames)


def other_weights(stage: Stage) -> Stage:
    with torch.no_grad():
        stage.subject.model.fc.bias[0] += 1e-3
    return stage


def other_exam(stage: Stage) -> Stage:
    exams = stage.story.exams
    return make_stage(exams=(replace(exams[0], truths=exams[0].truths[::-1]), exams[1]))


def other_label(stage: Stage) -> Stage:
    labels = stage.story.labels
    return make_stage(labels=(replace(labels[0], name="three"), *labels[1:]))


def other_replay(stage: Stage) -> Stage:
    fewer = stage.subject.anchors.subset(np.arange(11))
    return replace(stage, subject=replace(stage.subject, anchors=fewer))


@pytest.mark.parametrize(
    "change",
    [
        *(other_frame, other_weights, other_exam, other_label, other_replay),
        lambda stage: make_stage(seed=1),
        lambda stage: make_stage(onset=11),
    ],
)
def test_a_record_of_anything_else_is_not(tmp_path: Path, change: Callable[[Stage], Stage]) -> None:
    counted, stage = Counted(), make_stage()
    Records(tmp_path).outcome("full", counted.contestant, stage)
    Records(tmp_path).outcome("full", counted.contestant, change(stage))
    assert counted.runs == 2


def test_a_record_of_other_settings_or_of_somebody_else_is_not(
    tmp_path: Path, stage: Stage
) -> None:
    records, one, other = Records(tmp_path), Counted({"rate": 1}), Counted({"rate": 2})
    records.outcome("full", one.contestant, stage)
    records.outcome("full", other.contestant, stage)
    records.outcome("tent", one.contestant, stage)
    assert (one.runs, other.runs) == (2, 1)


def test_without_a_directory_nothing_is_kept(stage: Stage) -> None:
    counted = Counted()
    for _ in range(2):
        Records(None).outcome("full", counted.contestant, stage)
    assert counted.runs == 2


def test_a_way_to_compute_changes_no_key() -> None:
    plain, other = make_stage(), replace(make_stage(), way=WAYS[-1])
    assert fingerprint(plain) == fingerprint(other)


def test_seconds_are_steps_at_the_pace_of_now(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    taken = iter([9.0, 9.0, *[2.0] * 8, 9.0, 9.0, *[4.0] * 8])
    monkeypatch.setattr(pace._Stepper, "seconds", lambda _: next(taken))
    timed = Pace(stage, True)
    timed.time()
    timed.time()
    assert timed.step_s == 3.0
    flops = 5 * BATCH * BACKWARD * FORWARD_FLOPS
    assert timed.priced(Outcome({}, flops, 0.0)).wall_s == pytest.approx(15.0)


def test_the_fastest_way_wins_but_bf16_only_clearly(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    def choose(*seconds: float) -> str:
        by_way = dict(zip(WAYS, seconds, strict=True))
        monkeypatch.setattr(pace._Stepper, "seconds", lambda stepper: by_way[stepper._way])
        return str(fastest(stage.subject)[0])

    assert choose(3.0, 2.0, 1.95, 5.0) == "fp32-channels-last"
    assert choose(3.0, 2.0, 1.5, 5.0) == "bf16"


def test_everybody_lives_through_a_story_and_a_second_run_needs_no_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def device(stage: Stage) -> Outcome:
        return Outcome({"new": 0.5, "old": 0.5}, 3.0 * FORWARD_FLOPS, 0.1, energy_j=1.0)

    stories = {"fog": lambda name, test, size, seed: make_stage(seed=seed).story}
    monkeypatch.setattr(bench_adapt, "DEVICE", {"device": device})
    monkeypatch.setattr(bench_adapt, "tell", stories["fog"])
    bench = bench_adapt.Bench(
        splits=SimpleNamespace(test=None),
        subject=lambda name: make_stage().subject,
        size=bench_adapt.QUICK,
        seeds=2,
        contestants=("none", "full", "device", "uniform_replay"),
        search=SEARCH,
        records=Records(tmp_path),
        way=WAYS[0],
    )
    row = bench.scenario("fog")
    assert len(list(tmp_path.iterdir())) == 2 * 3
    assert set(row["strategies"]) == set(bench.contestants)
    assert row["strategies"]["device"]["energy_j"] == 1.0
    yardstick = row["strategies"]["full"]
    assert yardstick["wall_s"] > 0 and yardstick["executed_flops_share"] == 1.0

    def never(*_: Any) -> Any:
        raise AssertionError("torch was asked again")

    monkeypatch.setattr("tools.adapt_bench.yardstick.fine_tune", never)
    again = bench.scenario("fog")["strategies"]
    assert again["full"]["accuracy"] == yardstick["accuracy"]
    assert again["uniform_replay"]["accuracy"] == row["strategies"]["uniform_replay"]["accuracy"]


def test_a_kept_network_loads_like_its_run_in_half_the_bytes(
    monkeypatch: pytest.MonkeyPatch, workshop: Path, tmp_path: Path
) -> None:
    # Of so few test images one answer more or less would be too many.
    monkeypatch.setattr("tools.make_bench_networks.check_rounding", lambda *_: None)
    info = keep(workshop / "dense", tmp_path / "ten")
    kept, run = load_trained(tmp_path / "ten"), load_trained(workshop / "dense")
    assert kept.run.info == info == read_run(workshop / "dense").info
    assert all(parameter.dtype == torch.float32 for parameter in kept.model.parameters())
    torch.testing.assert_close(kept.model.fc.weight, run.model.fc.weight, atol=1e-3, rtol=1e-3)
    tensors = read_tensors(tmp_path / "ten" / MODEL_FILE).tensors.values()
    assert not any(tensor.dtype == torch.float32 for tensor in tensors)
    assert "--recipe dense" in command(info) and "--holdout 10" in command(info)
