"""The monitor: windows that age, and classes that are suspected for a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.monitor import ALL_CLASSES, Monitor
from sel_edge.runtime.normal import Normal, NormalLevels

NORMAL = Normal(0.2, 0.5, 0.02)
LEVELS = NormalLevels({}, NORMAL, NORMAL)


def monitor(**settings: int) -> Monitor:
    return Monitor(LEVELS, RuntimeConfig(**settings))


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 9)), max_size=60), st.integers(1, 9))
def test_a_window_is_the_mean_of_what_is_new_enough(
    steps: list[tuple[int, float]], length: int
) -> None:
    watching = monitor(window_labels=length, window_age_frames=50)
    frame, values, told = 0, [], ClassEmbarrassment(None, None, 0)
    for step, value in steps:
        frame += step
        watching.add_label("a", value, frame)
        values.append((frame, value))
        recent = [v for at, v in values[-length:] if at >= frame + 1 - 50]
        told = watching.embarrassment(frame + 1).get("a", told)
        assert told.exact == pytest.approx(np.mean(recent), abs=1e-4)
        assert told.labels == len(recent)


def test_an_old_label_does_not_hide_the_stand_in() -> None:
    watching = monitor(window_age_frames=500)
    watching.add_label("a", 0.1, 0)
    watching.add_unlabelled("a", 0.9, 400)
    assert watching.embarrassment(401) == {"a": ClassEmbarrassment(0.1, 0.9, 1)}
    assert watching.embarrassment(501) == {"a": ClassEmbarrassment(None, 0.9, 0)}
    assert watching.embarrassment(901) == {"a": ClassEmbarrassment(None, None, 0)}


def test_after_a_restart_all_windows_are_gone() -> None:
    watching = monitor()
    watching.add_label("a", 0.123456, 0)
    watching.add_unlabelled("b", 0.5, 0)
    assert (
        watching.embarrassment(1)
        == watching.embarrassment(2)
        == {
            "a": ClassEmbarrassment(0.1235, None, 1),
            "b": ClassEmbarrassment(None, 0.5, 0),
        }
    )
    watching.restart(LEVELS)
    assert watching.embarrassment(4) == {}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 99)), max_size=20))
def test_it_knows_when_a_class_was_seen_last_whatever_the_order(
    values: list[tuple[str, bool, int]],
) -> None:
    watching = monitor()
    for name, labelled, frame in values:
        (watching.add_label if labelled else watching.add_unlabelled)(name, 0.5, frame)
    for name in "abc":
        frames = [frame for other, _, frame in values if other == name]
        assert watching.seen_last(name) == max(frames, default=-1)


def test_one_noisy_label_makes_no_class_a_suspect() -> None:
    watching = monitor()
    for frame in range(12):
        watching.add_label("bad", 3.0, frame)
        watching.add_label("good", 0.1, frame)
    watching.add_label("noisy", 3.0, 12)
    (everything,) = (signal for signal in watching.signals() if signal.subject == ALL_CLASSES)
    assert everything.classes == ("bad",)


def test_a_class_that_went_wrong_is_named_with_its_level_and_a_well_one_is_silent() -> None:
    watching = monitor()
    for frame in range(12):
        watching.add_label("bad", 2.0, frame)
        watching.add_label("good", 0.1, frame)
    bad = next(signal for signal in watching.signals() if signal.subject == "bad")
    assert (bad.classes, bad.samples, bad.onset) == (("bad",), 12, 0)
    assert bad.reason == "bad: E 2.0 over 12 labels, was 0.2"
    assert "good" not in {signal.subject for signal in watching.signals()}


def test_a_signal_says_by_how_much_embarrassment_is_above_normal() -> None:
    watching = monitor()
    for frame in range(12):
        watching.add_label("bad", 2.0, frame)
        watching.add_label("worse", 3.0, frame)
    excess = {signal.subject: signal.excess for signal in watching.signals()}
    assert excess == {
        ALL_CLASSES: pytest.approx(2.5 - 0.2),
        "bad": pytest.approx(2.0 - 0.2),
        "worse": pytest.approx(3.0 - 0.2),
    }
    assert watching.unlabelled_signal().excess == 0
    for frame in range(12):
        watching.add_unlabelled("bad", 1.0, frame)
    assert watching.unlabelled_signal().excess == pytest.approx(1.0 - 0.2)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_excess_is_negative(values: list[float]) -> None:
    watching = monitor()
    for frame, value in enumerate(values):
        watching.add_label("a", value, frame)
        watching.add_unlabelled("a", value, frame)
        signals = [*watching.signals(), watching.unlabelled_signal()]
        assert all(signal.excess >= 0 for signal in signals)


def test_what_is_taken_as_normal_is_no_evidence_any_more() -> None:
    watching = monitor()
    for frame in range(40):
        watching.add_label("a", 2.0, frame)
    high = Normal(2.0, 0.5, 0.05)
    watching.settle(NormalLevels({"a": high}, high, NORMAL))
    for frame in range(40, 80):
        watching.add_label("a", 2.0, frame)
    assert watching.signals() == []
    assert watching.embarrassment(80)["a"].labels == 40
