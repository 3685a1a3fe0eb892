"""A run in its directory: what it leaves, how it is interrupted, what it refuses."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.core import runlog
from sel_edge.core.errors import (
    ConfigError,
    DataError,
    GateError,
    RunDirectoryError,
)
from sel_edge.core.files import exclusive
from sel_edge.core.runlog import read_run, read_samples
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.energy.profile import load_profile
from sel_edge.energy.system import System
from sel_edge.pretrain import loop
from sel_edge.pretrain.checkpoint import CHECKPOINT_FILE, MODEL_FILE
from sel_edge.pretrain.describe import without_anchors
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.run import resume_run, start_run
from sel_edge.pretrain.trained import anchor_indices, load_trained
from tests.pretrain.conftest import (
    FOUR_DIGITS,
    Quiet,
    after,
    assert_same_bits,
    never,
    small_options,
    small_recipe,
    train,
    train_in_pieces,
)

PUBLISHED_STAGED = (
    "epoch,stage,stage_name,train_acc,train_loss,test_full_acc,test_100_acc,sparsity,flops_T,time_s"
)
PUBLISHED_DENSE = "epoch,train_acc,train_loss,test_full_acc,test_100_acc,flops_T,time_s"

# Times and joules differ from run to run; all else must not.
CLOCKS = ("time_s", "energy_j")


@pytest.fixture(scope="module", params=["dense", "sel-paper"])
def whole_run(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param) / "run"
    scale = 0.14 if request.param == "dense" else 0.2
    torch.set_num_threads(1)
    return train(out, small_recipe(request.param, scale))


def test_a_run_learns_and_leaves_what_the_next_rooms_read(whole_run):
    trained = load_trained(whole_run.path)
    model, run = trained.model, trained.run
    assert run.info["finished"] and not model.training
    assert run.history[-1]["test_full_acc"] > 0.5
    samples = read_samples(run.path)
    assert samples.images.dtype == np.uint8 and len(samples.labels) == 80
    np.testing.assert_allclose(samples.probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_history_begins_with_the_published_columns(whole_run):
    header = (whole_run.path / "history.csv").read_text().splitlines()[0]
    staged = whole_run.info["recipe"]["name"] == "sel-paper"
    per_class = "E_0,C_0,acc_0,E_1,C_1,acc_1" if staged else "acc_0,acc_1"
    published = PUBLISHED_STAGED if staged else PUBLISHED_DENSE
    assert header.startswith(f"{published},{per_class}")


def test_flops_are_those_of_the_formulas(whole_run):
    run = whole_run
    model, totals = run.info["model"], run.info["totals"]
    staged = run.info["recipe"]["name"] == "sel-paper"
    trained = model["training_flops"] * totals["images"]
    scoring = 2 * model["forward_macs"] * run.info["data"]["n_train"]
    gamma = model["training_flops"] * 128
    assert totals["executed_flops"] == trained + (scoring + gamma if staged else 0)
    dense = 2 * model["parameters"] * totals["images"]
    assert (
        totals["paper_flops"] == pytest.approx(dense)
        if not staged
        else (totals["paper_flops"] < dense)
    )


def test_a_masked_gradient_does_not_keep_adam_from_moving_a_weight(tmp_path):
    """The paper counts masked weights as saved; this column shows that they move all the same."""
    recipe = small_recipe("sel-paper", 0.2, "gradient_mask = {percentile = 90.0}")
    for row in train(tmp_path / "run", recipe).history[1:]:
        assert row["sparsity"] > 0.6
        assert row["changed_fraction"] > 1.1 * (1 - row["sparsity"])


def test_costs_only_grow(whole_run):
    for name in ("flops_T", "executed_flops_T", "time_s", "energy_j", "images"):
        values = [row[name] for row in whole_run.history]
        assert values == sorted(values) and values[0] > 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    torch.set_num_threads(1)
    recipe = small_recipe("sel-paper", 0.2, "gate = 'none'")
    return train(tmp_path_factory.mktemp("whole") / "run", recipe)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_an_interrupted_run_resumes_to_the_same_bits(uninterrupted, tmp_path_factory, stops):
    out = tmp_path_factory.mktemp("cut") / "run"
    options = small_options(small_recipe("sel-paper", 0.2, "gate = 'none'"))
    train_in_pieces(out, options, stops)
    assert_same_bits(uninterrupted.path, out)
    for expected, got in zip(uninterrupted.history, read_run(out).history, strict=True):
        for name in expected.keys() - set(CLOCKS):
            same = expected[name] == got[name]
            assert same or (math.isnan(expected[name]) and math.isnan(got[name])), name


def test_the_same_seed_gives_the_same_network_and_another_seed_another(tmp_path):
    recipe = small_recipe("dense", 0.04)
    first, again, other = (
        train(tmp_path / str(index), recipe, seed=seed) for index, seed in enumerate((0, 0, 1))
    )
    weights = [(run.path / MODEL_FILE).read_bytes() for run in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]


def test_held_out_anchors_are_not_trained_on(tmp_path):
    run = train(tmp_path / "run", small_recipe("dense", 0.01), holdout=7)
    everything = load_splits(FOUR_DIGITS).train
    chosen = anchor_indices(everything, run.info, 20)
    assert np.bincount(everything.labels[chosen]).tolist() == [7, 7, 7, 7]
    trained_on = without_anchors(everything, 7, run.info["seed"])
    assert run.info["data"]["n_train"] == len(trained_on) == len(everything) - 28
    images = {image.tobytes() for image in trained_on.frames}
    assert not any(everything.frames[index].tobytes() in images for index in chosen)


def test_an_interrupted_run_with_momentum_resumes_to_the_same_bits(tmp_path):
    options = small_options(small_recipe("dense-strong", 0.2))
    start_run(tmp_path / "whole", options, open_meter(), Quiet(), never)
    with pytest.raises(RunInterruptedError):
        start_run(tmp_path / "cut", options, open_meter(), Quiet(), after(4))
    resume_run(tmp_path / "cut", open_meter(), Quiet(), never)
    whole, cut = ((tmp_path / name / MODEL_FILE).read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_a_run_cut_before_its_first_checkpoint_can_be_resumed(tmp_path, uninterrupted):
    out = tmp_path / "run"
    options = small_options(small_recipe("sel-paper", 0.2, "gate = 'none'"))
    with pytest.raises(RunInterruptedError):
        start_run(out, options, open_meter(), Quiet(), after(1))
    (out / CHECKPOINT_FILE).unlink()
    resume_run(out, open_meter(), Quiet(), never)
    assert (out / MODEL_FILE).read_bytes() == (uninterrupted.path / MODEL_FILE).read_bytes()


def test_two_processes_cannot_train_in_one_directory(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(3))
    with exclusive(out), pytest.raises(RunDirectoryError, match="another process"):
        resume_run(out, open_meter(), Quiet(), never)
    assert resume_run(out, open_meter(), Quiet(), never).info["finished"]


def test_joules_of_two_meters_are_never_added_up(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(3))
    other = open_meter(load_profile("pi-4b"), System(sys=tmp_path))
    with pytest.raises(RunDirectoryError, match="pi-4b"):
        resume_run(out, other, Quiet(), never)


def test_a_run_goes_on_with_as_many_processes_as_it_began_with(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(3))
    info = read_run(out).info
    assert info["processes"] == 1
    runlog.write_info(out, info | {"processes": 2})
    with pytest.raises(RunDirectoryError, match="torchrun --nproc-per-node 2"):
        resume_run(out, open_meter(), Quiet(), never)
    runlog.write_info(out, info)
    assert resume_run(out, open_meter(), Quiet(), never).info["finished"]


def in_layout(out, options, layout, stops):
    """A run whose run.json names a layout, interrupted after so many steps of each piece."""
    with pytest.raises(RunInterruptedError):
        start_run(out, options, open_meter(), Quiet(), after(1))
    (out / CHECKPOINT_FILE).unlink()
    info = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(info | {"layout": layout}))
    for steps in stops:
        with pytest.raises(RunInterruptedError):
            resume_run(out, open_meter(), Quiet(), after(steps))
    return resume_run(out, open_meter(), Quiet(), never)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_a_run_in_channels_last_resumes_to_the_same_bits(tmp_path, optimizer):
    recipe = small_recipe("dense", 0.1, f"optimizer = '{optimizer}'", "learning_rate = 0.01")
    options = small_options(recipe, width=16)
    in_layout(tmp_path / "whole", options, "channels-last", [])
    in_layout(tmp_path / "cut", options, "channels-last", [5, 7])
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")


def test_a_stage_without_images_is_refused_before_anything_is_written(tmp_path):
    stages = "stages = [{name = 'Thin', start = 0.9999, end = 1.0, epochs = 1}]"
    with pytest.raises(DataError, match="Thin"):
        train(tmp_path / "run", small_recipe("dense", 1.0, stages))
    assert not (tmp_path / "run").exists()


def test_a_limit_of_images_per_class_holds_without_a_curriculum_too(tmp_path):
    run = train(tmp_path / "run", small_recipe("dense", 0.03, "images_per_class_max = 10"))
    assert run.info["totals"]["images"] == 4 * 10


def test_gate_report_goes_on_and_says_fail(tmp_path):
    observer = Quiet()
    train(tmp_path / "run", small_recipe("sel-paper", 0.01), observer)
    assert observer.gates[0][0] == "Stage 1 Easy"
    assert not all(passed for _, passed in observer.gates)


def test_gate_repeat_adds_epochs_and_then_names_the_stage(tmp_path):
    recipe = small_recipe(
        "sel-paper",
        1.0,
        'gate = "repeat"',
        "extra_epochs_max = 2",
        "stages = [{name = 'Impossible', start = 0.0, end = 0.5, epochs = 1, threshold = 1.0}]",
        "learning_rate = 1e-9",
    )
    with pytest.raises(GateError, match=r"Impossible.*3 epochs"):
        train(tmp_path / "run", recipe)
    assert len(read_run(tmp_path / "run").history) == 3


def test_a_directory_that_holds_a_run_is_left_alone(tmp_path):
    out = tmp_path / "run"
    train(out, small_recipe("dense", 0.01))
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        train(out, small_recipe("dense", 0.01))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_what_cannot_be_resumed_says_so(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"run\.json"):
        resume_run(tmp_path, open_meter(), Quiet(), never)
    out = tmp_path / "run"
    train(out, small_recipe("dense", 0.01))
    with pytest.raises(RunDirectoryError, match="finished"):
        resume_run(out, open_meter(), Quiet(), never)


def test_a_run_is_not_resumed_on_other_data(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(3))
    info = json.loads((out / "run.json").read_text())
    info["data"]["sha256"] = "0" * 64
    (out / "run.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="began with"):
        resume_run(out, open_meter(), Quiet(), never)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_damaged_checkpoint_is_refused(tmp_path, keep):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(3))
    path = out / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(RunDirectoryError, match=CHECKPOINT_FILE):
        resume_run(out, open_meter(), Quiet(), never)


def test_an_unfinished_run_cannot_be_exported(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(small_recipe("dense", 0.1)), open_meter(), Quiet(), after(2))
    with pytest.raises(RunDirectoryError, match="not finished"):
        load_trained(out)


def test_a_run_that_was_killed_before_its_last_write_is_not_finished(tmp_path, monkeypatch):
    """Its network is there, and run.json does not say yet what it reached."""
    out, written = tmp_path / "run", []

    def killed(folder, info):
        if written:
            raise KeyboardInterrupt
        written.append(info)
        write_info(folder, info)

    write_info = runlog.write_info
    monkeypatch.setattr(runlog, "write_info", killed)
    with pytest.raises(KeyboardInterrupt):
        train(out, small_recipe("dense", 0.01))
    monkeypatch.undo()
    assert (out / MODEL_FILE).exists()
    with pytest.raises(RunDirectoryError, match="not finished"):
        load_trained(out)
    resume_run(out, open_meter(), Quiet(), never)
    load_trained(out)


def test_a_holdout_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--holdout"):
        train(tmp_path / "run", small_recipe("dense", 0.01), holdout=5000)


class Killer(Quiet):
    """Ends the process at a step, as a kill would."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.steps: list[int] = []

    def step_done(self, position, steps, sums):
        self.steps.append(position.step)
        if len(self.steps) == self.at:
            raise KeyboardInterrupt


def test_a_kill_costs_no_more_of_a_long_epoch_than_since_the_last_checkpoint(tmp_path, monkeypatch):
    recipe = small_recipe("dense-strong", 0.1, "batch_size = 32")
    train(tmp_path / "whole", recipe)
    monkeypatch.setattr(loop, "MAX_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", recipe, Killer(at=9))
    after_kill = Killer(at=-1)
    resume_run(tmp_path / "cut", open_meter(), after_kill, never)
    assert after_kill.steps[0] == 9  # the eighth was saved, and the ninth is taken again
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("failing", range(2))
def test_what_the_last_write_lost_is_written_after_resume(tmp_path, monkeypatch, failing):
    """Whatever stops a run between its history and its checkpoint."""
    recipe, out = small_recipe("dense", 0.1), tmp_path / "cut"
    train(tmp_path / "whole", recipe)
    written = []

    def fails(folder, columns, history):
        if len(written) == failing:
            raise KeyboardInterrupt
        written.append(len(history))
        write_history(folder, columns, history)

    write_history = runlog.write_history
    monkeypatch.setattr(runlog, "write_history", fails)
    with pytest.raises(KeyboardInterrupt):
        train(out, recipe)
    monkeypatch.undo()
    resume_run(out, open_meter(), Quiet(), never)
    assert_same_bits(tmp_path / "whole", out)
    assert len(read_run(out).history) == len(read_run(tmp_path / "whole").history)
