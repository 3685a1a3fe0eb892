"""New statistics are kept if labels say so, or where the stand-in does not say that they harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.standin import StandIn, uncertainty
from sel_edge.runtime.guard import MINIMUM_GAIN
from sel_edge.runtime.guard_norm import ENOUGH, judge_norm
from sel_edge.runtime.verdict import Verdict

NAMES = ("a", "b")
STANDIN = StandIn((0.0, 1.0), (0.0, 3.0))
FLAT = StandIn((0.0, 1.0), (1.0, 1.0))
STANDINS = [STANDIN, FLAT, StandIn((0.0, 0.5, 1.0), (0.0, 0.0, 9.0))]

RIGHT, UNSURE, WRONG = 12.0, 0.4, -12.0
"""By how much the logit of the frame's own class exceeds the other's."""


def logits(truth: NDArray[np.int64], margins: list[float]) -> NDArray[np.float32]:
    sign = np.where(np.array(truth) == 0, 1, -1)
    half = (sign * np.array(margins) / 2)[:, None]
    return np.concatenate([half, -half], axis=1).astype(np.float32)


def judged(
    before: list[float],
    after: list[float],
    labelled: int,
    standin: StandIn = STANDIN,
    other: str | None = None,
) -> Verdict:
    """Judge frames of two classes by turns; the first are labelled, the others named `other`."""
    truth = np.arange(len(before)) % 2
    labels = [NAMES[number] if i < labelled else other for i, number in enumerate(truth)]
    return judge_norm(NAMES, logits(truth, before), logits(truth, after), labels, standin)


COUNTS = {"labelled": st.integers(ENOUGH, 30), "others": st.integers(0, 30)}


def losses(margins: NDArray[np.float64] | list[float]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log1p(np.exp(-np.asarray(margins) / TEMPERATURE))
    return found


def exact_standin() -> StandIn:
    """Of a network that is right and knows how much: it tells the loss itself."""
    margins = np.linspace(40, 0, 4000)
    knots = uncertainty(logits(np.zeros(len(margins), np.int64), margins.tolist()))
    return StandIn(tuple(knots.tolist()), tuple(losses(margins).tolist()))


def moving(surely: float, by: float) -> tuple[list[float], list[float]]:
    """Margins of eight right answers before and after; Student's t of their gain is `surely`."""
    drops = by * (np.array([1, -1] * 4) * (7 / 8) ** 0.5 + surely / 8**0.5)
    margins = [-TEMPERATURE * np.log(np.expm1(loss)) for loss in (0.4, *(0.4 - drops))]
    return margins[:1] * 8, margins[1:]


class TestEnoughLabels:
    @given(**COUNTS, standin=st.sampled_from(STANDINS))
    def test_a_certain_gain_is_accepted_whatever_the_stand_in_says(
        self, labelled: int, others: int, standin: StandIn
    ) -> None:
        """Errors that were certain become right answers that are not: it looks like harm."""
        n = labelled + others
        verdict = judged([WRONG] * n, [UNSURE] * n, labelled, standin)
        assert verdict.accepted and verdict.exact and verdict.held_out == labelled

    @given(**COUNTS, standin=st.sampled_from(STANDINS))
    def test_harm_is_rejected_whatever_the_stand_in_says(
        self, labelled: int, others: int, standin: StandIn
    ) -> None:
        n = labelled + others
        verdict = judged([UNSURE] * n, [WRONG] * n, labelled, standin)
        assert not verdict.accepted and verdict.exact and verdict.held_out == labelled
        assert verdict.held_out_after > verdict.held_out_before

    def test_harm_need_not_be_certain(self) -> None:
        before, after = [RIGHT, RIGHT, RIGHT, WRONG, WRONG], [WRONG, WRONG, WRONG, RIGHT, RIGHT]
        before, after = before * 2 + [UNSURE] * 200, after * 2 + [RIGHT] * 200
        verdict = judged(before, after, 10)
        assert not verdict.accepted and verdict.exact
        assert judged(before, after, 0).accepted

    @given(st.integers(0, 500), st.integers(ENOUGH, 20), st.integers(0, 60))
    def test_labels_that_say_it_rises_are_never_outvoted(
        self, seed: int, labelled: int, others: int
    ) -> None:
        rng = np.random.default_rng(seed)
        drawn = [rng.normal(0, 4, labelled).tolist() for _ in range(2)]
        before, after = sorted(drawn, key=lambda margins: losses(margins).mean())
        verdict = judged(before + [UNSURE] * others, after + [RIGHT] * others, labelled)
        assert not verdict.accepted and verdict.exact

    def test_nothing_new_is_no_gain(self) -> None:
        verdict = judged([UNSURE] * 20, [UNSURE] * 20, 20)
        assert not verdict.accepted and verdict.exact
        assert verdict.held_out_after == verdict.held_out_before

    def test_the_numbers_are_the_embarrassment_on_the_labelled_frames(self) -> None:
        before, after = [WRONG] * 7 + [RIGHT] * 5, [RIGHT] * 7 + [WRONG] * 5
        verdict = judged(before, after, 7)
        truth = np.arange(7) % 2
        numbers = ((verdict.held_out_before, before), (verdict.held_out_after, after))
        for found, margins in numbers:
            exact = cross_entropy(logits(truth, margins[:7]), truth, TEMPERATURE)
            assert found == pytest.approx(exact.mean())
        assert (verdict.anchors_before, verdict.anchors_after) == (None, None)
        told = f"{verdict.held_out_before:.2f} -> {verdict.held_out_after:.2f}"
        assert f"E on 7 labels {told}" in verdict.reason

    @pytest.mark.parametrize(("surely", "accepted"), [(-0.3, False), (0.25, False), (0.35, True)])
    def test_a_gain_need_not_be_more_certain_than_60_percent(
        self, surely: float, accepted: bool
    ) -> None:
        before, after = moving(surely, by=0.25)
        assert losses(before).mean() - losses(after).mean() > MINIMUM_GAIN or surely < 0
        assert judged(before, after, 8).accepted == accepted

    def test_a_gain_for_certain_that_is_hardly_any_is_no_reason_to_change(self) -> None:
        before, after = moving(9.0, by=0.2 * MINIMUM_GAIN)
        assert 0 < losses(before).mean() - losses(after).mean() < MINIMUM_GAIN
        assert not judged(before, after, 8).accepted

    @pytest.mark.parametrize("labelled", [ENOUGH, 12, 40])
    def test_chance_is_taken_for_a_gain_in_two_of_five_trials_at_most(self, labelled: int) -> None:
        rng, accepted = np.random.default_rng(labelled), 0
        for _ in range(1500):
            before, after = rng.normal(1, 1, (2, labelled + 8)).tolist()
            accepted += judged(before, after, labelled).accepted
        assert 0.2 < accepted / 1500 < 0.43


class TestNoLabels:
    @given(st.integers(ENOUGH, 60), st.integers(0, ENOUGH - 1), st.sampled_from([WRONG, RIGHT]))
    def test_the_stand_in_may_object(self, others: int, labelled: int, certain: float) -> None:
        """Also against a few labels; it cannot tell what turns certain and wrong here."""
        n = others + labelled
        gain = judged([UNSURE] * n, [certain] * n, labelled)
        assert gain.accepted and not gain.exact and gain.held_out == others
        harm = judged([certain] * n, [UNSURE] * n, labelled)
        assert not harm.accepted and not harm.exact and harm.held_out == others

    @pytest.mark.parametrize(
        ("surely", "accepted"), [(-2.1, False), (-1.7, True), (0.0, True), (3.0, True)]
    )
    def test_it_must_be_sure_of_the_harm(self, surely: float, accepted: bool) -> None:
        before, after = moving(surely, by=0.1)
        assert judged(before, after, 0, exact_standin()).accepted == accepted

    def test_what_makes_no_difference_to_it_may_be_kept(self) -> None:
        assert judged([UNSURE] * 50, [RIGHT] * 50, 0, FLAT).accepted
        assert judged([UNSURE] * 50, [UNSURE] * 50, 0).accepted

    def test_its_numbers_are_the_stand_ins_and_say_so(self) -> None:
        verdict = judged([UNSURE] * 9, [RIGHT] * 9, 0)
        truth = np.arange(9) % 2
        numbers = ((verdict.held_out_before, UNSURE), (verdict.held_out_after, RIGHT))
        for found, margin in numbers:
            estimates = STANDIN.estimate(logits(truth, [margin] * 9))
            assert found == pytest.approx(estimates.mean())
        assert "9 frames (stand-in)" in verdict.reason

    @given(st.integers(0, ENOUGH - 1), st.integers(2, ENOUGH - 1))
    def test_a_few_frames_of_either_kind_prove_nothing(self, labelled: int, others: int) -> None:
        n = labelled + others
        assert not judged([WRONG] * n, [RIGHT] * n, labelled).accepted


@given(st.integers(0, 300), st.integers(12, 40), st.data())
def test_the_order_of_the_frames_says_nothing(seed: int, count: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(count)))
    rng = np.random.default_rng(seed)
    before, after = rng.normal(0, 2, (2, count, 2)).astype(np.float32)
    labels = [("a", "b", "z", None)[n] for n in rng.integers(0, 4, count)]
    one = judge_norm(NAMES, before, after, labels, STANDIN)
    shuffled = [labels[index] for index in order]
    other = judge_norm(NAMES, before[order], after[order], shuffled, STANDIN)
    assert (one.accepted, one.exact, one.reason) == (other.accepted, other.exact, other.reason)
    assert one.held_out == other.held_out


@given(st.integers(0, 12), st.integers(ENOUGH, 12))
def test_names_that_the_classifier_does_not_know_are_no_labels(labelled: int, others: int) -> None:
    n = labelled + others
    unknown = judged([WRONG] * n, [UNSURE] * n, labelled, other="z")
    assert unknown == judged([WRONG] * n, [UNSURE] * n, labelled)


def test_names_that_it_has_learned_are() -> None:
    before = np.tile(np.array([[4, 0, 0]], np.float32), (ENOUGH, 1))
    after = np.tile(np.array([[0, 0, 4]], np.float32), (ENOUGH, 1))
    verdict = judge_norm((*NAMES, "z"), before, after, ["z"] * ENOUGH, STANDIN)
    assert verdict.accepted and verdict.exact
