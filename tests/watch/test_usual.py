"""What comes for the first times is novel, and what comes again and again is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.watch.impressions import Impression, Likeness
from sel_edge.watch.usual import ABSENT_S, MAX_THINGS, STAY_S, Usual, Visit

LIKENESS = Likeness(0.7, 0.9)
SIZE = 64


def seen(appearance: np.ndarray, strangeness: float = 0.0) -> Impression:
    unit = (appearance / np.linalg.norm(appearance)).astype(np.float32)
    return Impression(unit, strangeness, 0)


def thing(number: int, strangeness: float = 0.0) -> Impression:
    return seen(np.eye(SIZE)[number], strangeness)


def visited(usual: Usual, impression: Impression, start_s: float, clear: bool = True) -> Visit:
    visit = Visit(impression, clear)
    usual.came(visit, start_s, start_s + 5)
    return visit


def some(seed: int = 0) -> Usual:
    return Usual(np.random.default_rng(seed).normal(size=100), LIKENESS)


@given(
    st.lists(st.floats(-3, 3), max_size=40),
    st.floats(1, 50),
    st.floats(1, 50),
    st.floats(-5, 5),
    st.floats(-5, 5),
)
def test_interest_falls_with_visits_and_grows_with_strangeness(
    came: list[float], times: float, other_times: float, strange: float, other_strange: float
):
    usual = some()
    for number, one in enumerate(came):
        visited(usual, thing(number, one), 100.0 * number)
    few, many = sorted((times, other_times))
    less, more = sorted((strange, other_strange))
    assert usual.interest(many, less) <= usual.interest(few, less)
    assert usual.interest(few, less) <= usual.interest(few, more)
    assert usual.interest(1, less) >= 0


def test_the_first_two_visits_are_novel_and_those_of_a_strange_thing_for_longer():
    usual = some()
    dull, strange = [], []
    for number in range(4):
        start_s = 10 * ABSENT_S * number
        dull.append(usual.worth(visited(usual, thing(0, -1.0), start_s)))
        strange.append(usual.worth(visited(usual, thing(1, 9.0), start_s)))
    assert dull[1] > 0 > dull[2]
    assert strange[2] > 0
    assert usual.things == 2


def test_first_visits_are_worth_more_than_second_ones_and_clear_sights_than_others():
    usual = some()
    once, unclear = visited(usual, thing(0), 0.0), visited(usual, thing(1), 0.0, clear=False)
    for start_s in (0.0, 10 * ABSENT_S):
        twice = visited(usual, thing(2), start_s)
    assert usual.worth(once) > usual.worth(twice) > usual.worth(unclear) > 0


def test_what_looks_a_little_like_something_usual_is_as_novel_as_anything_else():
    usual = some()
    for number in range(6):
        visited(usual, thing(0), 100.0 * number)
    alike = seen(np.eye(SIZE)[0] + 0.7 * np.eye(SIZE)[1])
    assert usual.times(Visit(alike)) == 1
    assert usual.times(Visit(alike, clear=False)) > 1


def test_earlier_visits_become_usual_too():
    usual = some()
    first = visited(usual, thing(0), 0.0)
    for number in range(1, 4):
        assert usual.worth(first) > 0 or number == 3
        visited(usual, thing(0), 10 * ABSENT_S * number)
    assert usual.worth(first) < 0


def test_what_was_hidden_for_a_moment_has_not_come_again():
    usual = some()
    first = visited(usual, thing(0), 0.0)
    visited(usual, thing(0), 6.0)
    assert usual.times(first) == 1


def test_two_usual_things_that_cross_are_not_novel():
    usual = some()
    for number in range(6):
        visited(usual, thing(0), 100.0 * number)
        visited(usual, thing(1), 100.0 * number)
    both = seen(np.eye(SIZE)[0] + 0.6 * np.eye(SIZE)[1])
    crossing = visited(usual, both, 1000.0, clear=False)
    assert usual.things == 3
    assert usual.worth(crossing) < 0 < usual.worth(visited(usual, thing(2), 1000.0))


def test_memory_is_bounded():
    usual, rng = some(), np.random.default_rng(1)
    for number in range(MAX_THINGS + 50):
        visited(usual, seen(rng.normal(size=SIZE)), 100.0 * number)
    assert usual.things <= MAX_THINGS


def test_something_new_becomes_usual_though_memory_is_full_of_things_that_come_often():
    usual, rng = some(), np.random.default_rng(1)
    for round_s in (0.0, 1e6):
        rng = np.random.default_rng(1)
        for number in range(MAX_THINGS):
            visited(usual, seen(rng.normal(size=SIZE)), round_s + 100.0 * number)
    new = np.random.default_rng(2).normal(size=SIZE)
    for number in range(4):
        last = visited(usual, seen(new), 1e7 + 100.0 * number)
    assert usual.times(last) == 4


def test_a_thing_that_is_back_at_once_has_not_come_again_while_it_is_there_either():
    usual = some()
    visited(usual, thing(0), 0.0)
    assert usual.times(Visit(thing(0), start_s=10.0)) == 1
    assert usual.times(Visit(thing(0), start_s=100.0)) == 2


def test_what_never_leaves_becomes_usual():
    usual = some()
    for number in range(4):
        visit = Visit(thing(0), start_s=STAY_S * number)
        usual.came(visit, STAY_S * number, STAY_S * (number + 1))
    assert usual.worth(visit) < 0
