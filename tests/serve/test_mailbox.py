"""The mailbox: bounded, the newest frames win, and no frame is taken twice."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.serve.mailbox import Arrival, Mailbox

LONG_S = 30.0
"""Nobody waits so long: it stands for "until something happens"."""


def frame(number: int, wanted: bool = False) -> Arrival:
    picture = np.full((1, 1, 1), number % 256, np.uint8)
    return Arrival(picture, float(number), wanted=Future() if wanted else None)


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["put", "offer", "take"]), st.integers(1, 6)), max_size=60),
)
def test_every_frame_is_taken_once_or_dropped(capacity: int, steps: list[tuple[str, int]]) -> None:
    mailbox, model, taken, came, dropped = Mailbox(capacity), [], [], 0, 0
    for what, count in steps:
        if what == "take":
            found = [one.utc_s for one in mailbox.take(count, 0.0, 0.0)]
            assert found == model[:count]
            model = model[count:]
            taken += found
            continue
        for _ in range(count):
            is_full = len(model) == capacity
            dropped += is_full
            if what == "put":
                mailbox.put(frame(came))
                model = [*model, float(came)][-capacity:]
            else:
                assert mailbox.offer(frame(came)) is not is_full
                model += [] if is_full else [float(came)]
            came += 1
    left = [one.utc_s for one in mailbox.close()]
    assert left == model
    assert len({*taken, *left}) == len(taken) + len(left) == came - dropped
    assert mailbox.dropped == dropped
    assert [*taken, *left] == sorted([*taken, *left])


@given(
    st.integers(1, 5),
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from(["put", "offer"]), st.integers(1, 30)), max_size=40),
)
def test_no_more_bytes_wait_than_may_unless_one_alone_is_larger(
    capacity: int, most: int, steps: list[tuple[str, int]]
) -> None:
    mailbox, sizes = Mailbox(capacity, max_bytes=most), {}
    for number, (what, size) in enumerate(steps):
        sizes[float(number)] = size
        dropped = mailbox.dropped
        arrival = Arrival(np.zeros((size, 1, 1), np.uint8), float(number))
        if what == "put":
            mailbox.put(arrival)
        else:
            assert mailbox.offer(arrival) is (mailbox.dropped == dropped)
    left = [one.utc_s for one in mailbox.close()]
    assert len(left) <= 1 or sum(sizes[one] for one in left) <= most
    assert len(left) + mailbox.dropped == len(steps) and len(left) <= capacity


def test_many_threads_lose_and_double_nothing() -> None:
    mailbox, each, writers = Mailbox(8), 500, 4
    taken: list[float] = []
    over = threading.Event()

    def write(first: int) -> None:
        for number in range(first, first + each):
            mailbox.put(frame(number))

    def read() -> None:
        while not over.is_set():
            taken.extend(one.utc_s for one in mailbox.take(3, 0.0, 0.01))

    threads = [threading.Thread(target=write, args=(each * n,)) for n in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    left = mailbox.close()
    assert len(taken) == len(set(taken))
    assert len(taken) + len(left) + mailbox.dropped == each * writers


class TestTaking:
    """`LONG_S` would make a test hang that waits for what has come already."""

    def test_a_full_batch_waits_for_nothing(self) -> None:
        mailbox = Mailbox(4)
        for number in range(4):
            mailbox.put(frame(number))
        assert len(mailbox.take(4, LONG_S, LONG_S)) == 4

    def test_nobody_waits_for_pictures_that_find_no_room(self) -> None:
        mailbox = Mailbox(4, max_bytes=2)
        for number in range(3):
            mailbox.put(frame(number))
        assert [one.utc_s for one in mailbox.take(4, LONG_S, LONG_S)] == [1.0, 2.0]
        assert mailbox.dropped == 1

    def test_whoever_waits_for_an_answer_is_not_kept_waiting(self) -> None:
        mailbox = Mailbox(4)
        assert mailbox.offer(frame(0, wanted=True))
        assert len(mailbox.take(4, LONG_S, LONG_S)) == 1

    def test_a_lone_frame_waits_for_others_only_so_long(self) -> None:
        mailbox = Mailbox(4)
        mailbox.put(frame(0))
        assert len(mailbox.take(4, 0.05, LONG_S)) == 1

    def test_waking_ends_the_wait(self) -> None:
        mailbox = Mailbox(4)
        mailbox.wake()
        assert mailbox.take(4, LONG_S, LONG_S) == []
        assert mailbox.take(4, LONG_S, 0.01) == []


class TestPatience:
    def test_a_patient_frame_takes_the_place_that_was_made(self) -> None:
        mailbox = Mailbox(1)
        mailbox.put(frame(0))
        put = threading.Thread(target=mailbox.put_patiently, args=(frame(1), LONG_S))
        put.start()
        assert [one.utc_s for one in mailbox.take(1, 0.0, LONG_S)] == [0.0]
        put.join(LONG_S)
        assert [one.utc_s for one in mailbox.take(1, 0.0, LONG_S)] == [1.0]
        assert mailbox.dropped == 0

    def test_it_waits_for_bytes_as_for_places(self) -> None:
        mailbox = Mailbox(4, max_bytes=1)
        mailbox.put(frame(0))
        assert not mailbox.put_patiently(frame(1), 0.01)
        assert [one.utc_s for one in mailbox.take(4, LONG_S, LONG_S)] == [0.0]
        assert mailbox.put_patiently(frame(2), LONG_S)

    def test_without_room_it_is_not_left(self) -> None:
        mailbox = Mailbox(1)
        mailbox.put(frame(0))
        assert not mailbox.put_patiently(frame(1), 0.01)
        assert [one.utc_s for one in mailbox.close()] == [0.0]


@pytest.mark.parametrize("leave", ["put", "offer", "put_patiently"])
def test_a_closed_mailbox_takes_nothing(leave: str) -> None:
    mailbox = Mailbox(1)
    mailbox.close()
    arguments = (LONG_S,) if leave == "put_patiently" else ()
    assert not getattr(mailbox, leave)(frame(0), *arguments)
    assert mailbox.close() == []
