"""The adaptation benchmark: torch's contestants do what they claim."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tools.adapt_stage import FORWARD_FLOPS, FRAMES, SEARCH, TRUTHS, make_network, make_stage
from tools.adapt_bench.contestants import BACKWARD, CONTESTANTS, Stage
from tools.adapt_bench.torch_tuning import (
    BATCH,
    Lesson,
    Settings,
    batch_statistics,
    fine_tune,
    fine_tune_classifier,
    with_classes,
)
from tools.adapt_bench.way import WAYS
from tools.adapt_bench.yardstick import MOMENTS, Search, best_first, full, uniform_replay


@pytest.fixture
def stage() -> Stage:
    return make_stage()


@pytest.fixture
def lesson(stage: Stage) -> Lesson:
    return stage.lesson(96)


def test_a_lesson_holds_what_has_arrived_and_all_anchors(stage: Stage) -> None:
    early = stage.lesson(21)
    assert len(early.labels) == 11 + 12 and early.classes == 4
    assert early.labels[:4].tolist() == [stage.classes.index(n) for n in TRUTHS[:8:2]]
    assert torch.equal(early.inputs[11:], stage.inputs(FRAMES[:12]))


def test_fine_tuning_changes_a_copy_and_counts_its_samples(stage: Stage, lesson: Lesson) -> None:
    model = stage.subject.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuned = fine_tune(model, lesson, Settings(2, 0.01, True, False), 0)
    assert tuned.samples == 2 * 60 and not tuned.model.training
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())
    assert not (tuned.model.conv1.weight == model.conv1.weight).all()


def test_it_stops_once_enough_samples_were_drawn(lesson: Lesson) -> None:
    tuned = fine_tune(make_network(), lesson, Settings(3, 0.01, True, False), 0, samples=61)
    assert tuned.samples == 60 + BATCH


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_way_to_compute_learns_the_same(lesson: Lesson, way: Any) -> None:
    settings = Settings(1, 0.01, False, True)
    expected = fine_tune(make_network(), lesson, settings, 0).model(lesson.inputs)
    found = fine_tune(make_network(), lesson, settings, 0, way).model(lesson.inputs)
    tolerance = 1e-4 if way.precision == "fp32" else 0.1
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_only_the_classifier_is_trained_as_if_features_were_computed_again(lesson: Lesson) -> None:
    settings, model = Settings(2, 0.1, False, True), make_network()
    last = fine_tune_classifier(model, lesson, settings, 0)
    assert torch.equal(last.model.conv1.weight, model.conv1.weight)
    assert not torch.equal(last.model.fc.weight[:3], model.fc.weight)
    assert last.samples == 60
    slow = with_classes(model, 4, 0)
    for name, parameter in slow.named_parameters():
        parameter.requires_grad_(name.startswith("fc"))
    torch.testing.assert_close(
        fine_tune(slow, lesson, settings, 0).model.fc.weight, last.model.fc.weight
    )


def test_new_classes_get_rows_and_old_ones_keep_theirs() -> None:
    model = make_network()
    grown = with_classes(model, 5, 0)
    assert grown.fc.out_features == 5 and (grown.fc.weight[:3] == model.fc.weight).all()


def test_the_statistics_of_a_batch_are_those_of_the_batch(stage: Stage) -> None:
    x = stage.inputs(FRAMES[:32])
    model = batch_statistics(make_network(), x)
    with torch.no_grad():
        stem = model.conv1(x)
    assert model.bn1.running_mean is not None
    torch.testing.assert_close(model.bn1.running_mean, stem.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_whoever_takes_part_is_examined_and_its_operations_are_counted(name: str) -> None:
    stage = make_stage()
    outcome = CONTESTANTS[name].run(stage)
    forward_passes = {"none": 0, "last_layer": 36 + 60, "statistics_only": 64, "tent": 96}
    assert outcome.flops == forward_passes[name] * FORWARD_FLOPS
    assert set(outcome.exams) == {"new", "old"}
    if name == "none":
        answers = stage.subject.model(stage.inputs(FRAMES)).argmax(1).numpy()
        right = np.array(stage.classes)[answers] == np.array(TRUTHS)
        assert outcome.exams["old"] == right.mean()


def test_nobody_estimates_statistics_where_nothing_changes() -> None:
    stage = make_stage(onset=96)
    assert CONTESTANTS["statistics_only"].run(stage) == CONTESTANTS["none"].run(stage)


def test_the_grid_is_what_the_suite_asks_for() -> None:
    grid = Search().grid
    assert len(grid) == 12 and {settings.epochs for settings in grid} == {5}
    assert {settings.batch_statistics for settings in grid} == {False, True}
    assert {settings.balanced for settings in grid} == {False, True}
    assert len({settings.learning_rate for settings in grid}) == 3


def test_the_first_seed_searches_everything_and_later_ones_its_best(stage: Stage) -> None:
    first = full(SEARCH, None).run(stage)
    tried = best_first(first)
    assert set(tried) == {"48", "96"}
    longest = [settings for settings in tried["96"] if settings.epochs == 2]
    assert len(tried["96"]) == 4 and len(longest) == 1
    assert first.exams["old"] == first.notes[MOMENTS]["96"][0]["exams"]["old"]
    samples = [{1: 36, 2: 72}[tried["48"][0].epochs], {1: 60, 2: 120}[tried["96"][0].epochs]]
    assert first.flops == BACKWARD * sum(samples) * FORWARD_FLOPS

    later = full(SEARCH, first)
    assert later.settings == json.loads(json.dumps(later.settings))
    again = best_first(later.run(make_stage(seed=1)))
    assert {m: set(kept) for m, kept in again.items()} == {m: set(t[:2]) for m, t in tried.items()}


def test_trials_are_ranked_by_the_mean_of_their_exams(stage: Stage) -> None:
    both = tuple(replace(exam, after=96) for exam in stage.story.exams)
    (trials,) = full(SEARCH, None).run(make_stage(exams=both)).notes[MOMENTS].values()
    scores = [np.mean(list(trial["exams"].values())) for trial in trials]
    assert scores == sorted(scores, reverse=True) and len(trials[0]["exams"]) == 2


@pytest.mark.parametrize("steps", [0.0, 0.5, 2.5])
def test_uniform_replay_spends_what_the_device_spent(steps: float) -> None:
    stage = make_stage()
    exams = tuple(replace(exam, after=96) for exam in stage.story.exams)
    spent = steps * BATCH * BACKWARD * FORWARD_FLOPS
    outcome = uniform_replay(spent).run(make_stage(exams=exams))
    assert spent <= outcome.flops <= spent + BATCH * BACKWARD * FORWARD_FLOPS
    (tried,) = best_first(outcome).values()
    assert {(one.learning_rate, one.batch_statistics) for one in tried} == {
        (rate, mode) for rate in (0.003, 0.01, 0.03) for mode in (False, True)
    }
