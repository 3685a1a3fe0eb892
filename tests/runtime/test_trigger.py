"""The trigger: hysteresis, patience, cool-down, and ever rarer attempts at what does not help."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.trigger import Signal, Trigger


def signal(score: float, samples: int = 10, subject: str = "cat") -> Signal:
    return Signal(subject, score, samples, 0, (subject,), "why")


def frames_fired(trigger: Trigger, scores: list[float], samples: int = 10) -> list[int]:
    return [
        frame for frame, score in enumerate(scores) if trigger.fire(frame, [signal(score, samples)])
    ]


def test_it_fires_once_and_again_only_after_the_score_fell_under_off() -> None:
    scores = [25, 25, 15, 25, 25, 4, 25, 25]
    assert frames_fired(Trigger(20, 5, 1, 0), scores) == [0, 6]


def test_a_score_between_off_and_on_neither_fires_nor_arms() -> None:
    assert frames_fired(Trigger(20, 5, 1, 0), [19.9, 20, 5.0, 30, 19, 30]) == [1]


def test_patience_counts_ticks_in_a_row() -> None:
    assert frames_fired(Trigger(20, 5, 3, 0), [25, 25, 0, 25, 25, 25]) == [5]


def test_nothing_fires_while_it_cools_down_but_nothing_is_forgotten() -> None:
    trigger = Trigger(20, 5, 1, 3)
    assert [s.subject for s in trigger.fire(0, [signal(25), signal(0, subject="dog")])] == ["cat"]
    for frame in (1, 2):
        assert trigger.fire(frame, [signal(25), signal(25, subject="dog")]) == []
    assert [s.subject for s in trigger.fire(3, [signal(25), signal(25, subject="dog")])] == ["dog"]


def test_what_stays_bad_is_tried_again_when_the_evidence_has_doubled() -> None:
    trigger = Trigger(20, 5, 1, 0)
    fired = [n for n in range(10, 200) if trigger.fire(n, [signal(30, samples=n)])]
    assert fired == [10, 20, 40, 80, 160]


def test_a_subject_that_is_gone_begins_anew() -> None:
    trigger = Trigger(20, 5, 1, 0)
    assert trigger.fire(0, [signal(25)])
    assert not trigger.fire(1, [])
    assert trigger.fire(2, [signal(25)])


@given(st.lists(st.floats(0, 19.99), max_size=50))
def test_it_never_fires_below_on(scores: list[float]) -> None:
    assert frames_fired(Trigger(20, 5, 1, 0), scores) == []


@given(st.lists(st.floats(0, 40), max_size=80), st.integers(0, 9))
def test_firings_are_at_least_a_cool_down_apart(scores: list[float], cool_down: int) -> None:
    fired = frames_fired(Trigger(20, 5, 1, cool_down), scores)
    assert all(b - a >= max(cool_down, 1) for a, b in pairwise(fired))
