"""What a machine takes is idling, work or learning: all of it, and each of it once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.overhead import Overhead
from tests.runtime.scripted import Machine

TAKES = st.lists(
    st.tuples(st.sampled_from(["idle", "work", "learn", "tell", "draw"]), st.integers(1, 9))
)


class Watched:
    """A machine whose joules and seconds are put in by hand."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.overhead = Overhead(self.machine.board)

    def take(self, joules: float) -> None:
        """Joules, and twice as many seconds."""
        self.machine.joules += joules
        self.machine.now_s += 2 * joules


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_idling_is_drawn_and_work_is_told_and_drawn(watched: Watched) -> None:
    watched.take(1)
    with watched.overhead.working():
        watched.take(10)
        assert watched.overhead.told() == (10, 20)
        watched.take(100)
    watched.take(1000)
    with watched.overhead.working():
        assert watched.overhead.told() == (100, 200)
    assert watched.overhead.drawn() == 1111 and watched.overhead.drawn() == 0


def test_learning_is_neither_but_what_it_did_not_measure_is_work(watched: Watched) -> None:
    with watched.overhead.working():
        watched.take(1)
        lap = watched.overhead.learning()
        watched.take(10)
        assert lap.read() == (10, 20)
        watched.take(100)  # of a step that an error has cut off
        assert watched.overhead.told() == (101, 202)
    assert watched.overhead.drawn() == 101


def test_work_within_work_is_work_once(watched: Watched) -> None:
    with watched.overhead.working():
        watched.take(1)
        with watched.overhead.working():
            watched.take(10)
        watched.take(100)
        assert watched.overhead.told()[0] == 111


def test_an_error_ends_the_work_that_it_breaks_off(watched: Watched) -> None:
    with pytest.raises(OSError, match="full"), watched.overhead.working():
        watched.take(1)
        raise OSError("full")
    watched.take(10)
    with watched.overhead.working():
        assert watched.overhead.told()[0] == 1
    assert watched.overhead.drawn() == 11


@given(TAKES)
def test_nothing_is_counted_twice_and_nothing_is_left_out(takes: list[tuple[str, int]]) -> None:
    watched = Watched()
    overhead, spent = watched.overhead, dict.fromkeys(("idle", "work", "learn"), 0.0)
    told = drawn = learned = 0.0
    for kind, joules in takes:
        if kind == "draw":
            drawn += overhead.drawn()
            continue
        if kind == "idle":
            watched.take(joules)
        else:
            with overhead.working():
                if kind == "tell":
                    told += overhead.told()[0]
                    continue
                lap = overhead.learning() if kind == "learn" else None
                watched.take(joules)
                learned += lap.read()[0] if lap else 0.0
        spent[kind] += joules
    with overhead.working():
        told += overhead.told()[0]
    assert (told, learned) == (spent["work"], spent["learn"])
    assert drawn + overhead.drawn() == spent["idle"] + spent["work"]
