"""New statistics are kept if labels prove them, or the stand-in where labels cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.standin import StandIn
from sel_edge.runtime.guard import MINIMUM_GAIN
from sel_edge.runtime.guard_norm import ENOUGH_LABELS, NormVerdict, judge_norm
from sel_edge.runtime.head import Head

NAMES = ("a", "b")
HEAD = Head(4 * np.eye(2, dtype=np.float32), np.zeros(2, np.float32), NAMES)
STANDIN = StandIn((0.0, 1.0), (0.0, 3.0))
STANDINS = [STANDIN, StandIn((0.0, 1.0), (1.0, 1.0)), StandIn((0.0, 0.5, 1.0), (0.0, 0.0, 9.0))]

RIGHT, UNSURE, WRONG = 3.0, 0.1, -3.0
"""By how much the feature of the frame's own class exceeds the other's."""


def features(truth: NDArray[np.int64], margins: list[float]) -> NDArray[np.float32]:
    sign = np.where(np.array(truth) == 0, 1, -1)
    half = (sign * np.array(margins) / 2)[:, None]
    return np.concatenate([half, -half], axis=1).astype(np.float32)


def judged(
    before: list[float],
    after: list[float],
    labelled: int,
    standin: StandIn = STANDIN,
    other: str | None = None,
) -> NormVerdict:
    """Judge frames of two classes by turns; the first are labelled, the others named `other`."""
    truth = np.arange(len(before)) % 2
    labels = [NAMES[number] if i < labelled else other for i, number in enumerate(truth)]
    return judge_norm(HEAD, features(truth, before), features(truth, after), labels, standin)


COUNTS = {"labelled": st.integers(ENOUGH_LABELS, 30), "others": st.integers(0, 30)}


class TestEnoughLabels:
    @given(**COUNTS, standin=st.sampled_from(STANDINS))
    def test_a_certain_gain_is_accepted_whatever_the_stand_in_says(
        self, labelled: int, others: int, standin: StandIn
    ) -> None:
        """Errors that were certain become right answers that are not: it looks like harm."""
        n = labelled + others
        verdict = judged([WRONG] * n, [UNSURE] * n, labelled, standin)
        assert verdict.accepted and verdict.exact and verdict.frames == labelled

    @given(**COUNTS, standin=st.sampled_from(STANDINS))
    def test_harm_is_rejected_whatever_the_stand_in_says(
        self, labelled: int, others: int, standin: StandIn
    ) -> None:
        n = labelled + others
        verdict = judged([UNSURE] * n, [WRONG] * n, labelled, standin)
        assert not verdict.accepted and verdict.exact and verdict.frames == labelled
        assert verdict.after > verdict.before

    def test_harm_need_not_be_certain(self) -> None:
        before, after = [RIGHT, RIGHT, RIGHT, WRONG, WRONG], [WRONG, WRONG, WRONG, RIGHT, RIGHT]
        before, after = before * 2 + [UNSURE] * 20, after * 2 + [RIGHT] * 20
        verdict = judged(before, after, 10)
        assert not verdict.accepted and verdict.exact

    def test_nothing_new_is_no_gain(self) -> None:
        verdict = judged([UNSURE] * 20, [UNSURE] * 20, 20)
        assert not verdict.accepted and verdict.exact and verdict.after == verdict.before

    def test_the_numbers_are_the_embarrassment_on_the_labelled_frames(self) -> None:
        before, after = [WRONG] * 7 + [RIGHT] * 5, [RIGHT] * 7 + [WRONG] * 5
        verdict = judged(before, after, 7)
        truth = np.arange(7) % 2
        for found, margins in ((verdict.before, before), (verdict.after, after)):
            logits = HEAD.logits(features(truth, margins[:7]))
            assert found == pytest.approx(cross_entropy(logits, truth, TEMPERATURE).mean())
        assert f"E on 7 labels {verdict.before:.2f} -> {verdict.after:.2f}" == verdict.reason


class TestOpenLabels:
    """Four of six answers become right and two wrong: better, though not for certain."""

    BEFORE, AFTER = [WRONG] * 4 + [RIGHT] * 2, [RIGHT] * 4 + [WRONG] * 2

    def test_they_leave_it_to_a_stand_in_that_falls(self) -> None:
        verdict = judged(self.BEFORE + [UNSURE] * 20, self.AFTER + [RIGHT] * 20, 6)
        assert verdict.accepted and not verdict.exact and verdict.frames == 26

    def test_they_leave_it_to_a_stand_in_that_rises(self) -> None:
        verdict = judged(self.BEFORE + [RIGHT] * 20, self.AFTER + [UNSURE] * 20, 6)
        assert not verdict.accepted and not verdict.exact and verdict.after > verdict.before

    def test_neither_is_certain(self) -> None:
        verdict = judged(self.BEFORE, self.AFTER, 6)
        assert not verdict.accepted and not verdict.exact


class TestNoLabels:
    @given(st.integers(2, 60), st.integers(0, ENOUGH_LABELS - 1))
    def test_the_stand_in_decides(self, n: int, labelled: int) -> None:
        """Also against a few labels: the frames that turn certain here turn wrong."""
        gain = judged([UNSURE] * n, [WRONG] * n, labelled)
        assert gain.accepted and not gain.exact and gain.frames == n
        harm = judged([WRONG] * n, [UNSURE] * n, labelled)
        assert not harm.accepted and not harm.exact and harm.frames == n

    def test_its_numbers_are_the_stand_ins_and_say_so(self) -> None:
        verdict = judged([UNSURE] * 9, [RIGHT] * 9, 0)
        truth = np.arange(9) % 2
        for found, margin in ((verdict.before, UNSURE), (verdict.after, RIGHT)):
            logits = HEAD.logits(features(truth, [margin] * 9))
            assert found == pytest.approx(STANDIN.estimate(logits).mean())
        assert "9 frames (stand-in)" in verdict.reason

    def test_a_gain_too_small_is_not_accepted(self) -> None:
        flat = StandIn((0.0, 1.0), (1.0, 1.0 + MINIMUM_GAIN / 2))
        verdict = judged([UNSURE] * 50, [RIGHT] * 50, 0, flat)
        assert not verdict.accepted and verdict.after < verdict.before


@given(st.integers(0, 12), st.integers(1, 12))
def test_names_that_the_classifier_does_not_know_are_no_labels(labelled: int, others: int) -> None:
    n = labelled + others + 1
    unknown = judged([WRONG] * n, [UNSURE] * n, labelled, other="z")
    assert unknown == judged([WRONG] * n, [UNSURE] * n, labelled)


def test_names_that_it_has_learned_are() -> None:
    grown = Head(4 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32), (*NAMES, "z"))
    before = np.tile(np.array([[1, 0, 0]], np.float32), (ENOUGH_LABELS, 1))
    after = np.tile(np.array([[0, 0, 1]], np.float32), (ENOUGH_LABELS, 1))
    verdict = judge_norm(grown, before, after, ["z"] * ENOUGH_LABELS, STANDIN)
    assert verdict.accepted and verdict.exact
