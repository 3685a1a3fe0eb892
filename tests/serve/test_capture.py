"""The thread of a source: it ends when it is told to, and a source that hangs is seen to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sel_edge.serve import capture as capturing
from sel_edge.serve.capture import Capture
from sel_edge.serve.mailbox import Arrival, Mailbox
from sel_edge.serve.sources.interface import Rest
from tests.serve.devices import WAIT_S

FRAME = Arrival(np.zeros((1, 1, 1), np.uint8), 0.0)


class Scripted:
    """A source that does what a test says."""

    name, signal_shape = "scripted", None

    def __init__(self, play: Callable[[Rest], Iterator[Arrival | None]], is_patient: bool) -> None:
        self.arrivals, self.is_patient = play, is_patient


def until(is_so: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + WAIT_S
    while not is_so() and time.monotonic() < end_s:
        time.sleep(0.01)
    return is_so()


def test_a_source_that_hangs_is_seen_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "SILENT_S", 0.05)
    free = threading.Event()

    def hang(_: Rest) -> Iterator[Arrival | None]:
        yield FRAME
        free.wait(WAIT_S)
        yield None

    found = Capture(Scripted(hang, is_patient=False), Mailbox(1))
    found.start()
    assert until(lambda: found.state.startswith("silent for"))
    free.set()
    assert found.stop(WAIT_S)


def test_one_that_rests_or_waits_for_room_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "SILENT_S", 0.2)
    monkeypatch.setattr(capturing, "ROOM_S", 0.01)
    steps: list[str] = []

    def rest_and_wait(rest: Rest) -> Iterator[Arrival | None]:
        yield None
        steps.append("rests")
        rest(0.5)
        steps.append("brings more than there is room for")
        yield FRAME
        yield FRAME

    mailbox, states = Mailbox(1), set()
    found = Capture(Scripted(rest_and_wait, is_patient=True), mailbox)
    found.start()

    def watched() -> bool:
        states.add(found.state)
        return len(steps) == 2

    assert until(watched)
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        states.add(found.state)
        time.sleep(0.01)
    assert states <= {"starting", "running"}
    assert found.stop(WAIT_S) and len(mailbox.close()) == 1
