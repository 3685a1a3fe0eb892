"""The trigger's score: right where it must be, and honest about triggers that do nothing clever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import Decision, Tick
from sel_edge.report.trigger_score import TriggerScore, score_trigger
from tests.core import ledgers

FRAMES = 20
WELL, BADLY = 18, 9
"""Right answers of a tick."""


def stream(*segments: list[int]) -> list[list[Tick]]:
    """Ticks of `FRAMES` frames from the right answers of each."""
    start, found = 0, []
    for number, rights in enumerate(segments):
        ticks = []
        for right in rights:
            scores = {"a": (FRAMES, right)}
            ticks.append(ledgers.tick(start, FRAMES, segment=f"{number}", scores=scores))
            start += FRAMES
        found.append(ticks)
    return found


def fires(*ticks: int) -> list[Decision]:
    """Firings after the ticks of these numbers."""
    return [Decision(FRAMES * (tick + 1), "fire", "why", ()) for tick in ticks]


def of(scores: tuple[TriggerScore, ...], name: str) -> TriggerScore:
    return next(score for score in scores if score.name == name)


def test_one_right_firing_in_each_worse_segment_is_perfect() -> None:
    scores = score_trigger(stream([WELL] * 10, [BADLY] * 5, [BADLY] * 5), fires(11, 17), [])
    assert of(scores, "ours") == TriggerScore("ours", 2, 2, 2, 2, 1.0)
    assert of(scores, "always") == TriggerScore("always", 20, 10, 2, 2, pytest.approx(2 / 3))
    assert of(scores, "never") == TriggerScore("never", 0, 0, 2, 0, 0.0)


def test_false_alarms_and_missed_changes_both_cost() -> None:
    scores = score_trigger(stream([WELL] * 10, [BADLY] * 5, [BADLY] * 5), fires(3, 11), [])
    assert of(scores, "ours") == TriggerScore("ours", 2, 1, 2, 1, 0.5)


def test_once_the_network_has_learned_firing_is_wrong_again() -> None:
    segments = stream([WELL] * 10, [BADLY] * 5 + [WELL] * 5)
    learned = [ledgers.update(frame=FRAMES * 15)]
    scores = score_trigger(segments, fires(14, 18), learned)
    assert of(scores, "ours") == TriggerScore("ours", 2, 1, 1, 1, pytest.approx(2 / 3))
    assert of(scores, "always").right == 5


def test_a_rollback_divides_the_stream_as_an_update_does() -> None:
    segments = stream([WELL] * 10 + [BADLY] * 5)
    assert score_trigger(segments, fires(12), []) == ()
    back = Decision(FRAMES * 10, "rollback", "why", (), "aa")
    assert of(score_trigger(segments, [back, *fires(12)], []), "ours").f1 == 1.0


def test_where_nothing_got_worse_there_is_no_f1() -> None:
    scores = score_trigger(stream([WELL] * 10, [WELL] * 10), fires(12), [])
    assert [(score.right, score.worse, score.f1) for score in scores] == [(0, 0, None)] * 3


def test_another_mix_of_classes_is_no_change_and_a_new_class_is_one() -> None:
    easy, hard = {"easy": (90, 90), "hard": (10, 2)}, {"easy": (10, 10), "hard": (90, 18)}
    new = {"easy": (50, 50), "new": (50, 0)}
    ticks = [
        ledgers.tick(100 * number, 100, segment=f"{number}", scores=scores)
        for number, scores in enumerate((easy, hard, new))
    ]
    scores = score_trigger([[tick] for tick in ticks], [Decision(300, "fire", "", ())], [])
    assert of(scores, "ours") == TriggerScore("ours", 1, 1, 1, 1, 1.0)


def test_without_known_truths_nothing_is_scored() -> None:
    unknown = [[ledgers.tick(0, 8)], [ledgers.tick(8, 8)]]
    assert score_trigger(unknown, [Decision(16, "fire", "", ())], []) == ()
    assert score_trigger([], [], []) == ()


def test_ticks_of_unknown_truth_count_for_nobody() -> None:
    segments = [*stream([WELL] * 10, [BADLY] * 5), [ledgers.tick(FRAMES * 15, FRAMES)]]
    scores = score_trigger(segments, fires(11, 15), [])
    assert of(scores, "ours") == TriggerScore("ours", 1, 1, 1, 1, 1.0)
    assert of(scores, "always").fired == 15


@given(
    st.lists(st.lists(st.integers(0, FRAMES), min_size=1, max_size=9), min_size=2, max_size=4),
    st.lists(st.integers(0, 40), max_size=9),
)
def test_every_score_stays_within_its_bounds(rights: list[list[int]], fired: list[int]) -> None:
    segments = stream(*rights)
    ours, always, never = score_trigger(segments, fires(*fired), [])
    assert always.fired == sum(map(len, rights))
    assert always.caught == always.worse == ours.worse == never.worse
    for score in (ours, always, never):
        assert 0 <= score.right <= score.fired
        assert 0 <= score.caught <= score.worse
        assert (score.f1 is None) == (score.worse == 0)
        assert score.f1 is None or 0 <= score.f1 <= 1
