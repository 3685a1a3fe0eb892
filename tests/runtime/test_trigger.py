"""The trigger: hysteresis, patience, cool-down, and ever rarer attempts at what does not help."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.trigger import FORGET_FRAMES, Signal, Trigger


def signal(score: float, samples: int = 10, subject: str = "cat", onset: int = 0) -> Signal:
    return Signal(subject, score, samples, onset, (subject,), 0.5, "why")


def frames_fired(trigger: Trigger, scores: list[float]) -> list[int]:
    return [frame for frame, score in enumerate(scores) if trigger.fire(frame, [signal(score)])]


def test_it_fires_once_until_the_situation_is_over() -> None:
    trigger = Trigger(20, 1, 0)
    onsets = [0, 0, 0, 0, 4, 4, 4]
    scores = [25, 25, 3, 25, 15, 25, 25]
    fired = [
        frame
        for frame, (score, onset) in enumerate(zip(scores, onsets, strict=True))
        if trigger.fire(frame, [signal(score, onset=onset)])
    ]
    assert fired == [0, 5]


def test_patience_counts_ticks_in_a_row() -> None:
    assert frames_fired(Trigger(20, 3, 0), [25, 25, 0, 25, 25, 25]) == [5]


def test_patience_with_a_subject_that_is_gone_begins_anew() -> None:
    trigger = Trigger(20, 2, 0)
    assert not trigger.fire(0, [signal(25)])
    assert not trigger.fire(1, [])
    assert not trigger.fire(2, [signal(25)])
    assert trigger.fire(3, [signal(25)])


def test_nothing_fires_while_it_cools_down_but_nothing_is_forgotten() -> None:
    trigger = Trigger(20, 1, 3)
    assert [s.subject for s in trigger.fire(0, [signal(25), signal(0, subject="dog")])] == ["cat"]
    for frame in (1, 2):
        assert trigger.fire(frame, [signal(25), signal(25, subject="dog")]) == []
    assert [s.subject for s in trigger.fire(3, [signal(25), signal(25, subject="dog")])] == ["dog"]


def test_what_stays_bad_is_tried_again_when_the_evidence_has_doubled() -> None:
    trigger = Trigger(20, 1, 0)
    fired = [n for n in range(10, 200) if trigger.fire(n, [signal(30, samples=n)])]
    assert fired == [10, 20, 40, 80, 160]


def test_labels_told_newest_first_are_of_one_situation() -> None:
    """Each makes it begin earlier: neither patience nor what was tried begins anew."""
    trigger = Trigger(20, 2, 0)
    fired = [n for n in range(10, 100) if trigger.fire(n, [signal(30, n, onset=200 - n)])]
    assert fired == [11, 22, 44, 88]
    assert not trigger.fire(100, [signal(30, 20, onset=150)])
    assert trigger.fire(101, [signal(30, 20, onset=150)])  # another one


def test_attempts_are_remembered_while_a_subject_is_away() -> None:
    trigger = Trigger(20, 1, 0)
    assert trigger.fire(0, [signal(25)])
    assert not trigger.fire(1, [])
    assert not trigger.fire(2, [signal(25, samples=19)])
    assert trigger.fire(3, [signal(25, samples=20)])
    assert not trigger.fire(FORGET_FRAMES + 4, [])
    assert trigger.fire(FORGET_FRAMES + 5, [signal(25, samples=21)])


def test_what_is_learned_along_with_another_counts_as_attempted() -> None:
    trigger = Trigger(20, 1, 0)
    both = Signal("all", 25, 30, 0, ("cat", "dog"), 0.5, "why")
    assert trigger.fire(0, [both, signal(10), signal(10, subject="cow")]) == [both]
    assert trigger.fire(1, [signal(25)]) == []
    assert trigger.fire(2, [signal(25, subject="cow")])


def test_who_may_not_fire_stays_ready_and_uses_nothing_up() -> None:
    trigger = Trigger(20, 2, 9)
    both = [signal(25), signal(25, subject="dog")]
    assert not trigger.fire(0, both)
    assert not trigger.fire(1, both, may_fire=lambda _: False)
    assert [s.subject for s in trigger.fire(2, both, may_fire=lambda s: s.subject == "dog")] == [
        "dog"
    ]
    assert not trigger.fire(10, both)
    assert [s.subject for s in trigger.fire(11, both)] == ["cat"]


@given(st.lists(st.floats(0, 19.99), max_size=50))
def test_it_never_fires_below_on(scores: list[float]) -> None:
    assert frames_fired(Trigger(20, 1, 0), scores) == []


@given(st.lists(st.floats(0, 40), max_size=80), st.integers(0, 9))
def test_firings_are_at_least_a_cool_down_apart(scores: list[float], cool_down: int) -> None:
    trigger = Trigger(20, 1, cool_down)
    fired = [
        frame
        for frame, score in enumerate(scores)
        if trigger.fire(frame, [signal(score, samples=2**frame)])
    ]
    assert all(b - a >= max(cool_down, 1) for a, b in pairwise(fired))
