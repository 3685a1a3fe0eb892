"""The comparison of recipes: what it changes, and what it sums up."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.cli.training_meter import own_meter
from sel_edge.core.errors import ConfigError, RunDirectoryError
from sel_edge.core.runlog import RunLog, write_info
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.recipe import load_recipe, recipe_from_dict
from sel_edge.pretrain.run import start_run
from tools.bench_mcu import silent
from tools.bench_pretrain import measure, some_classes, unseen_classes
from tools.pretrain_bench.contestants import ABLATIONS, CHANGES, contestant, work
from tools.pretrain_bench.runs import Nobody, trained
from tools.pretrain_bench.summary import ratios

DATA = "digits?classes=0,1,2&size=16"


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_a_recipe_of_its_own_that_can_be_used(name: str) -> None:
    ours, changed = load_recipe("sel"), contestant(name, [], 1.0)
    assert changed.name == name
    assert replace(changed, name=ours.name) != ours
    assert recipe_from_dict(changed.as_dict()) == changed
    assert work(changed) == pytest.approx(work(ours), rel=0.1)


def test_half_is_half_of_the_epochs() -> None:
    assert contestant("dense-strong:half", [], 1.0).epochs == load_recipe("dense-strong").epochs / 2


def test_an_unknown_change_is_an_error() -> None:
    with pytest.raises(KeyError):
        contestant("sel:nothing", [], 1.0)
    assert "nothing" not in CHANGES


CLASSES = [str(number) for number in range(10)]


@pytest.mark.parametrize(
    ("asked", "unseen"), [(None, ["4", "9"]), ("", []), ("0,3", ["0", "3"]), ("9", ["9"])]
)
def test_classes_that_a_run_never_sees(asked: str | None, unseen: list[str]) -> None:
    assert unseen_classes(asked, CLASSES) == unseen


def test_a_class_that_is_not_there_cannot_be_unseen() -> None:
    with pytest.raises(ConfigError, match="--unseen names cat"):
        unseen_classes("3,cat", CLASSES)


@pytest.mark.parametrize(
    ("data", "kept"),
    [("digits?size=16", ("0", "1", "2")), ("digits?classes=3,4,5", ("3", "4"))],
)
def test_the_quick_comparison_has_a_third_of_the_classes(data: str, kept: tuple[str, ...]) -> None:
    assert load_splits(some_classes(data)).test.classes == kept


def run(*epochs: tuple[float, float, float]) -> RunLog:
    """A log of epochs: accuracy, seconds, TFLOP."""
    keys = ("test_full_acc", "time_s", "executed_flops_T")
    return RunLog(Path(), {}, [dict(zip(keys, epoch, strict=True)) for epoch in epochs])


def test_a_ratio_is_of_the_first_epoch_that_is_as_good() -> None:
    dense = run((0.5, 10, 4), (0.8, 20, 8))
    ours = run((0.5, 4, 1), (0.8, 8, 2), (0.9, 12, 3))
    assert ratios({"dense-strong": [dense], "sel": [ours]}) == {
        "time_to_dense_accuracy_ratio": 0.4,
        "flops_to_dense_accuracy_ratio": 0.25,
    }


def test_what_an_earlier_stage_reached_on_small_images_does_not_count() -> None:
    dense, ours = run((0.8, 20, 8)), run((0.9, 2, 1), (0.8, 8, 2))
    for number, row in enumerate(ours.history):
        row["stage"] = number
    found = ratios({"dense-strong": [dense], "sel": [ours]})
    assert found["time_to_dense_accuracy_ratio"] == 0.4


@pytest.mark.parametrize(("other", "ratio"), [(0.9, 0.5), (0.699, 0.5), (0.69, None)])
def test_what_counts_is_the_mean_of_all_seeds(other: float, ratio: float | None) -> None:
    """Within 0.1 points."""
    dense, good, bad = run((0.8, 20, 8)), run((0.9, 8, 2)), run((other, 12, 2))
    found = ratios({"dense-strong": [dense, dense], "sel": [good, bad]})
    assert found["time_to_dense_accuracy_ratio"] == ratio


def test_nothing_to_compare_with_leaves_no_ratio() -> None:
    assert set(ratios({"sel": [run((0.8, 8, 2))]}).values()) == {None}


def test_recipes_are_trained_and_compared(tmp_path: Path) -> None:
    options = argparse.Namespace(
        data=DATA,
        recipes="dense-strong,sel",
        ablations=False,
        overrides=[
            "crop_padding = 1",
            "flip = false",
            "batch_size = 32",
            "learning_rate = 0.05",
            "steps_min = 0",
        ],
        epochs_scale=0.3,
        width=8,
        seeds=2,
        device="cpu",
        precision="fp32",
        unseen="2",
        runs=tmp_path,
    )
    found = measure(options, load_splits(DATA), silent)
    dense, ours = (found["recipes"][name] for name in ("dense-strong", "sel"))
    assert len(ours["accuracies"]) == 2 and ours["accuracy_std"] is not None
    assert 0 < ours["int8_accuracy"] <= 1 and 0 <= ours["ood_auroc_near"] <= 1
    same = {"points": 0.0, "time_ratio": 1.0, "flops_ratio": 1.0}
    assert dense["against"] == {"dense-strong": same}
    beside = ours["against"]["dense-strong"]
    assert beside["flops_ratio"] < 1
    assert beside["flops_ratio"] == pytest.approx(ours["executed_flops"] / dense["executed_flops"])
    assert ours["energy_kind"] in ("measured", "estimated")
    assert set(found["class_points"]) == set(found["class_points_error"]) == {"0", "1", "2"}
    # What is there is not trained again, and the comparison is the same.
    begun = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model.safetensors")}
    assert len(begun) == 6
    assert measure(options, load_splits(DATA), silent) == found
    assert begun == {path: path.stat().st_mtime_ns for path in begun}


def asked(seed: int) -> RunOptions:
    recipe = load_recipe("dense", ["flip = false"]).scaled(0.01)
    return RunOptions(data=DATA, recipe=recipe, width=8, precision="fp32", seed=seed)


def test_a_run_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    stops = iter([False, True])
    meter = own_meter("cpu")
    with pytest.raises(RunInterruptedError):
        start_run(tmp_path / "cut", asked(0), meter, Nobody(), lambda: next(stops))
    cut, whole = (trained(asked(0), tmp_path / name) for name in ("cut", "whole"))
    assert cut.history[-1]["train_loss"] == whole.history[-1]["train_loss"]


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    trained(asked(0), tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="other options"):
        trained(asked(1), tmp_path / "run")


def test_a_run_of_another_machine_is_not_gone_on_with(tmp_path: Path) -> None:
    info = trained(asked(0), tmp_path / "run").info
    write_info(tmp_path / "run", info | {"machine": info["machine"] | {"cores": 1000}})
    with pytest.raises(RunDirectoryError, match="another machine"):
        trained(asked(0), tmp_path / "run")


def test_a_run_on_another_device_is_not_gone_on_with(tmp_path: Path) -> None:
    info = trained(asked(0), tmp_path / "run").info
    write_info(tmp_path / "run", info | {"device": "cuda"})
    with pytest.raises(RunDirectoryError, match="device"):
        trained(asked(0), tmp_path / "run")
