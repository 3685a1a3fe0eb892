"""The ladder is climbed rung by rung, only after a gain, and after a rejection with more labels."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.climb import LEAST_LABELS, Climb, climbable
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard_layers import can_prove, judge_layers, refuse_layers
from tests.frozen.write import freeze_trainable
from tests.runtime.trainable import bundle

RUNGS = ("tail", "deep", "full")


@pytest.fixture(scope="module")
def climbing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of `tests.runtime.trainable`, as the compiler makes it by now."""
    return freeze_trainable(tmp_path_factory.mktemp("climbing"))


def test_every_rung_waits_for_the_one_below_it() -> None:
    climb = Climb(RUNGS)
    climb.kept(1, "norm")
    assert climb.rung(1) is None
    offered = []
    for rung in ("head", *RUNGS):
        climb.kept(1, rung)
        offered.append(climb.rung(1))
    assert offered == ["tail", "deep", "full", None]
    assert climb.rung(2) is None


def test_the_head_that_is_kept_again_changes_nothing() -> None:
    climb = Climb(RUNGS)
    for rung in ("head", "tail", "head"):
        climb.kept(1, rung)
    assert climb.rung(1) == "deep"


def test_a_rejected_rung_takes_twice_the_labels() -> None:
    climb = Climb(RUNGS)
    climb.kept(1, "head")
    climb.rejected(1, "head", 500)
    climb.rejected(1, "deep", 500)
    assert climb.labels(1) == LEAST_LABELS
    climb.rejected(1, "tail", 70)
    assert (climb.rung(1), climb.labels(1)) == ("tail", 140)
    climb.rejected(1, "tail", 0)  # stopped, or nothing could be judged
    assert climb.labels(1) == 280 and climb.labels(2) == LEAST_LABELS
    climb.kept(1, "tail")
    assert (climb.rung(1), climb.labels(1)) == ("deep", LEAST_LABELS)


def test_without_rungs_there_is_nothing_to_climb() -> None:
    climb = Climb(())
    climb.kept(1, "head")
    assert climb.rung(1) is None


def test_rungs_below_are_those_that_start_behind_what_is_trained() -> None:
    climb = Climb(RUNGS)
    assert climb.below("deep") == ("head", "tail") and climb.below("tail") == ("head",)


def test_only_bundles_that_tell_features_can_climb(climbing: Bundle) -> None:
    assert climbable(bundle(), RUNGS) == ()
    assert climbable(climbing, RuntimeConfig().rungs) == ()
    assert climbable(climbing, ("full", "norm", "tail")) == ("tail", "full")


@pytest.mark.parametrize(
    ("folds", "enough"),
    [([0] * 60 + [1] * 4, True), ([0] * 61 + [1] * 3, False), ([0] * 64, False), ([0, 1], False)],
)
def test_both_halves_need_labels(folds: list[int], enough: bool) -> None:
    assert can_prove(np.array(folds), 64) == enough


def test_the_guard_wants_a_gain_in_all_classes_alike() -> None:
    rng, classes = np.random.default_rng(0), np.repeat([0, 1], (60, 4))
    before = rng.normal(1.0, 0.1, 64)
    better = judge_layers(classes, before, before - 0.5)
    assert better.accepted and better.held_out == 64 and "better by at least" in better.reason
    thriving = before - np.where(classes == 0, 0.5, -0.6)  # one at the expense of the other
    refused = judge_layers(classes, before, thriving)
    assert not refused.accepted and "not proved better" in refused.reason
    useless = refuse_layers(classes, before, "not finite")
    assert not useless.accepted and useless.held_out == 0 and "not finite" in useless.reason
