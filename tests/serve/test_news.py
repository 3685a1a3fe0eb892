"""A log tells everything once, in order, and nothing of earlier sessions."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.serve.news import News
from sel_edge.serve.snapshot import Event

ROOM = 20
"""Events that a device remembers; fewer come between two looks here."""
kinds = st.sampled_from(["fire", "keep", "wants_labels", "error", "restart"])


class Told:
    """A device of which only events and the source change."""

    def __init__(self) -> None:
        self.source_state = "starting"
        self.events: deque[Event] = deque(maxlen=ROOM)

    def snapshot(self) -> SimpleNamespace:
        return SimpleNamespace(events=tuple(self.events))


def event(number: int, kind: str, utc_s: float | None = 1.0) -> Event:
    return Event(utc_s, number, kind, f"reason {number}", ())


@given(st.lists(st.lists(kinds, max_size=ROOM // 2), max_size=8))
def test_events_are_told_once_and_in_order(bursts: list[list[str]]) -> None:
    device, lines, expected = Told(), [], []
    news = News(device)
    for number, burst in enumerate(bursts):
        for place, kind in enumerate(burst):
            device.events.append(event(100 * number + place, kind))
            expected += [f"{kind}: reason {100 * number + place}"] if kind != "restart" else []
        lines += news.lines()
    assert lines == expected and news.lines() == []


def test_what_an_earlier_session_decided_is_not_told() -> None:
    device = Told()
    device.events += [event(1, "keep", None), event(2, "restart"), event(3, "fire")]
    assert News(device).lines() == ["fire: reason 3"]


def test_the_source_is_told_of_when_it_changes() -> None:
    device = Told()
    news = News(device)
    told = []
    for state in ("starting", "running", "running", "lost", "lost", "running", "ended"):
        device.source_state = state
        told += news.lines()
    assert told == ["source: lost", "source: running", "source: ended"]


def test_seconds_alone_are_no_news() -> None:
    device = Told()
    news = News(device)
    told = []
    for seconds in (1, 2, 4, 60, 60):
        device.source_state = f"The camera 0 cannot be opened. Tried again every {seconds} s."
        told += news.lines()
    device.source_state = "The camera 1 cannot be opened. Tried again every 60 s."
    assert len(told) == 1 and len(news.lines()) == 1
