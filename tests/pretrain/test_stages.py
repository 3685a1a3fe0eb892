"""Stages leave work out: what they do, what they count, and how they are interrupted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sel_edge.core.errors import GateError
from sel_edge.core.runlog import read_run
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.batches import Normalization, Resident
from sel_edge.pretrain.checkpoint import CHECKPOINT_FILE
from sel_edge.pretrain.evaluate import accuracy, predict
from sel_edge.pretrain.flops import count_flops
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.practice import Practice, epoch_work
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.progress import Position
from sel_edge.pretrain.ranks import ALONE
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.remembered import Remembered
from sel_edge.pretrain.run import resume_run, start_run
from sel_edge.pretrain.trained import load_trained
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

FP32 = Arithmetic(torch.device("cpu"), "fp32")


def staged(*stages: str) -> str:
    """The override that gives a recipe stages of all frames, with these keys."""
    tables = (f"{{name = '{i}', start = 0.0, end = 1.0, {keys}}}" for i, keys in enumerate(stages))
    return f"stages = [{', '.join(tables)}]"


LEFT_OUT = staged("epochs = 2, side = 0.5, spare = 0.5", "epochs = 2, spare = 0.5", "epochs = 1")
FROZEN = staged("epochs = 1", "epochs = 2, frozen = 3", "epochs = 3, frozen = 5, views = 2")
SETTLING = staged("epochs = 9, side = 0.5", "epochs = 1", "epochs = 1")
WAYS = {
    "left out": (LEFT_OUT,),
    "frozen": (FROZEN,),
    "skipped": (staged("epochs = 3"), "skip = 0.5", "skip_parts = 3"),
    "recalling": (staged("epochs = 3"), "recall = 1.0"),
    "in parts": (staged("epochs = 3"), "part_size = 20"),
    "settling": (SETTLING, "settled = 0.3"),
    "widening": (
        "stages = [{name = 'all', start = 0.0, end = 1.0, epochs = 1},"
        " {name = 'easy', start = 0.0, end = 0.5, epochs = 2},"
        " {name = 'all again', start = 0.0, end = 1.0, epochs = 1}]",
        "scores = 'losses'",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_run_that_leaves_work_out_resumes_to_the_same_bits(tmp_path, way):
    recipe = small_recipe("dense-strong", 1.0, "batch_size = 64", "learning_rate = 0.1", *WAYS[way])
    options = small_options(recipe)
    start_run(tmp_path / "whole", options, open_meter(), Quiet(), never)
    train_in_pieces(tmp_path / "cut", options, [14, 9, 17])
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")
    one, other = (read_run(tmp_path / name).info["totals"] for name in ("whole", "cut"))
    for name in ("images", "executed_flops", "paper_flops", "epochs"):
        assert one[name] == other[name], name


def per_epoch(run, column):
    """What every epoch added to a column of sums."""
    return np.diff([0, *(row[column] for row in run.history)])


def test_only_work_that_was_done_is_counted(tmp_path):
    run = train(tmp_path / "run", small_recipe("dense-strong", 1.0, "batch_size = 64", LEFT_OUT))
    images, flops = per_epoch(run, "images"), 1e12 * per_epoch(run, "executed_flops_T")
    every = run.info["data"]["n_train"]
    assert images[0] == images[-1] == every  # nothing is known yet, and all come in the end
    assert all(count < every for count in images[1:-1])
    each = flops / images
    assert each[0] == pytest.approx(each[1])
    assert each[1] < 0.5 * each[2]
    assert each[2:] == pytest.approx(run.info["model"]["training_flops"])


class StopsBeforeTheLast(Quiet):
    """Interrupts a run of two stages between them."""

    def stage_started(self, index, stage, images):
        if index == 1:
            raise RunInterruptedError


def test_a_stage_of_small_images_is_evaluated_on_small_images(tmp_path):
    stages = staged("epochs = 6, side = 0.5", "epochs = 1")
    changes = ("batch_size = 64", "learning_rate = 0.05", stages)
    options = small_options(small_recipe("dense-strong", 1.0, *changes))
    with pytest.raises(RunInterruptedError):
        start_run(tmp_path, options, open_meter(), StopsBeforeTheLast(), never)
    (*_, row), data = read_run(tmp_path).history, read_run(tmp_path).info["data"]
    model = build_model(4, 8, 1, "scratch", 0, "resnet18")
    saved = load_file(tmp_path / CHECKPOINT_FILE)
    model.load_state_dict({name: saved[f"model.{name}"] for name in model.state_dict()})
    exact = Arithmetic(torch.device("cpu"), "fp32")
    normalization = Normalization(tuple(data["mean"]), tuple(data["std"]))
    test = Resident(load_splits(FOUR_DIGITS).test, normalization, exact)
    small, whole = (
        accuracy(predict(model, test, exact, size=size), test.data.labels).full
        for size in ((4, 4), (8, 8))
    )
    assert row["test_full_acc"] == pytest.approx(small)
    assert small != whole


def test_frozen_parts_stay_as_they_are_and_are_not_computed_again(tmp_path):
    recipe = small_recipe("dense-strong", 1.0, FROZEN)
    with pytest.raises(RunInterruptedError):
        start_run(tmp_path / "run", small_options(recipe), open_meter(), Quiet(), after(4))
    front = ("bn1", "conv1", "layer1")
    before = load_file(tmp_path / "run" / CHECKPOINT_FILE)
    run = resume_run(tmp_path / "run", open_meter(), Quiet(), never)
    after_all = load_file(run.path / CHECKPOINT_FILE)
    for name, tensor in before.items():
        if name.startswith("model.") and not name.endswith("num_batches_tracked"):
            is_front = name.removeprefix("model.").startswith(front)
            assert torch.equal(tensor, after_all[name]) == is_front, name
    flops, count = 1e12 * per_epoch(run, "executed_flops_T"), run.info["data"]["n_train"]
    network = count_flops(load_trained(run.path).model, (1, 8, 8))
    kept = 2 * network.front(5)
    expected = [network.training()] + 2 * [network.training(3)] + 3 * [network.training(5, 5)]
    expected[3] += kept
    assert flops / count == pytest.approx(expected)


def test_skipped_gradients_are_not_counted_and_those_that_stay_stand_for_them(tmp_path):
    ways = WAYS["skipped"]
    run = train(tmp_path / "run", small_recipe("dense-strong", 1.0, "batch_size = 64", *ways))
    network = count_flops(load_trained(run.path).model, (1, 8, 8))
    each = run.info["totals"]["executed_flops"] / run.info["totals"]["images"]
    assert network.training(3) < each < network.training()
    middle = (network.training(3) + network.training()) / 2
    assert each == pytest.approx(middle, rel=0.1)


def ended(out, *changes):
    """The last checkpoint's tensors of a run with a recipe of these changes."""
    plain = ("batch_size = 64", "learning_rate = 0.05")
    run = train(out, small_recipe("dense-strong", 1.0, *plain, *changes))
    return load_file(run.path / CHECKPOINT_FILE)


def test_parts_of_a_step_are_learned_as_one_where_statistics_are_fixed(tmp_path):
    whole, *others = (
        ended(tmp_path / size, staged("epochs = 2, frozen = 9"), size)
        for size in ("part_size = 0", "part_size = 64", "part_size = 33")
    )
    for other in others:
        for name in ("model.fc.weight", "model.fc.bias"):
            torch.testing.assert_close(other[name], whole[name])


def test_statistics_are_of_parts(tmp_path):
    one, other = (
        ended(tmp_path / size, staged("epochs = 1"), size)["model.bn1.num_batches_tracked"]
        for size in ("part_size = 0", "part_size = 16")
    )
    assert 3 * one < other <= 4 * one


def test_parts_of_small_images_have_as_many_more(tmp_path):
    one, other = (
        ended(tmp_path / size, staged("epochs = 1, side = 0.5"), size)
        for size in ("part_size = 0", "part_size = 16")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_settled_stage_leaves_its_epochs_to_the_last(tmp_path):
    run = train(
        tmp_path / "run",
        small_recipe("dense-strong", 1.0, "batch_size = 64", SETTLING, "settled = 0.3"),
    )
    stages = [row["stage"] for row in run.history]
    assert len(stages) == 11 and stages == sorted(stages)
    assert 2 <= stages.count(1) < 9 and stages.count(2) == 1 and stages.count(3) > 1


def test_a_pool_widens_by_what_training_found_easy(tmp_path):
    run = train(tmp_path / "run", small_recipe("dense-strong", 1.0, *WAYS["widening"]))
    images, every = per_epoch(run, "images"), run.info["data"]["n_train"]
    assert images[0] == images[3] == every
    assert images[1] == images[2] == pytest.approx(every / 2, abs=2)
    scores = load_file(run.path / CHECKPOINT_FILE)["curriculum.scores"]
    assert len(scores) == every and scores.isfinite().all()


@pytest.mark.parametrize(("losses", "remain"), [([0, 0, 0, 10], 4), ([0, 0, 9, 10], 2)])
def test_a_pool_of_which_nothing_would_remain_is_left_whole(losses, remain):
    """A step needs two images, and one network without them."""
    setup = SimpleNamespace(recipe=load_recipe("dense"), seed=0, arithmetic=FP32)
    before = torch.tensor([losses, [torch.inf] * 4], dtype=torch.float32)
    state = SimpleNamespace(remembered=SimpleNamespace(losses=before), position=Position())
    stage = replace(setup.recipe.stages[0], spare=1 - 1e-12)
    work = epoch_work(setup, state, Practice(stage, np.arange(4), (8, 8), None), ALONE)
    assert len(work.pool) == remain
    assert work.weights.tolist() == [float(n in work.pool) for n in range(4)]


def test_labels_recalled_in_extra_epochs_weigh_no_more_than_in_the_last(tmp_path, monkeypatch):
    shares, recalled = [], Remembered.recalled

    def watched(self, chosen, share):
        shares.append(share)
        return recalled(self, chosen, share)

    monkeypatch.setattr(Remembered, "recalled", watched)
    stages = "stages = [{name = 'all', start = 0.0, end = 1.0, epochs = 1, threshold = 1.0}]"
    changes = ("recall = 1.0", "gate = 'repeat'", "extra_epochs_max = 2", "learning_rate = 1e-6")
    with pytest.raises(GateError):
        train(tmp_path / "run", small_recipe("dense", 1.0, stages, *changes))
    assert max(shares) == 1.0 and shares.count(1.0) > len(shares) / 2
