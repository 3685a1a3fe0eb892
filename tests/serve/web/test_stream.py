"""Server-sent events: the newest state, and every decision once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.serve.snapshot import Event
from sel_edge.serve.web.feed import new_events
from sel_edge.serve.web.settings import Limits
from tests.serve.web.visit import TOKEN, Visit, until, visit

QUICK = Limits(status_s=0.02, heartbeat_s=0.1, streams=3)


class Listener:
    """One stream, event by event."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.heartbeats = 0

    def next(self) -> tuple[str, dict]:
        name = ""
        for line in self._lines:
            self.heartbeats += line.startswith(":")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        raise EOFError

    def until(self, name: str) -> dict:
        while (found := self.next())[0] != name:
            pass
        return found[1]


@contextmanager
def listening(found: Visit, client: httpx.Client | None = None) -> Iterator[Listener]:
    with (client or found.client).stream("GET", "/api/v1/stream") as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Listener(answer.iter_lines())


@pytest.fixture
def quick():
    with visit(limits=QUICK) as found:
        yield found


def test_a_listener_has_the_state_at_once_and_every_change_of_it(quick):
    with listening(quick) as stream:
        name, status = stream.next()
        assert (name, status) == ("status", quick.client.get("/api/v1/status").json())
        for _ in range(3):
            quick.stage.step()
            newest = quick.stage.snapshot()
            while (status := stream.until("status"))["version"] < newest.version:
                pass
            assert status["flow"]["seen"] == newest.flow.seen


def test_every_decision_is_told_once_and_in_order_to_everybody(quick):
    with listening(quick) as first, listening(quick) as second:
        before = len(quick.stage.snapshot().events)
        for _ in range(5):
            quick.client.post("/api/v1/adapt")
        expected = quick.stage.snapshot().events[before:]
        for stream in (first, second):
            told = [stream.until("decision") for _ in expected]
            assert [each["kind"] for each in told] == [each.kind for each in expected]
            assert [each["reason"] for each in told] == [each.reason for each in expected]


def test_states_come_no_faster_than_people_look():
    with visit(limits=Limits(status_s=0.2)) as found, listening(found) as stream:
        stream.until("status")
        first = found.stage.snapshot().version
        with found.stage.running(500.0):
            versions = [stream.until("status")["version"] for _ in range(3)]
    assert versions[-1] - first > 5 * len(versions)


def test_a_quiet_device_shows_that_it_is_there(quick):
    with listening(quick) as stream:
        stream.until("status")
        assert until(lambda: bool(quick.server.connections))
        quick_lines = stream._lines
        assert any(line.startswith(":") for line in quick_lines)


def test_streams_end_with_the_server():
    with visit(limits=QUICK) as found, listening(found) as stream:
        stream.until("status")
        found.server.stop()
        with pytest.raises(EOFError):
            while True:
                stream.next()
        assert not found.server.connections


def test_only_so_many_listen_and_a_place_is_free_when_one_has_gone(quick):
    with listening(quick), listening(quick):
        with listening(quick):
            assert quick.client.get("/api/v1/stream").status_code == 503
            assert quick.client.get("/api/v1/status").status_code == 200

        def place() -> bool:
            with quick.client.stream("GET", "/api/v1/stream") as answer:
                return answer.status_code == 200

        assert until(place)


def test_a_stream_ends_when_its_session_does():
    with visit(token=TOKEN, limits=QUICK) as found, found.stranger() as browser:
        browser.post("/api/v1/session", json={"token": TOKEN})
        with listening(found, browser) as stream:
            stream.until("status")
            browser.delete("/api/v1/session")
            with pytest.raises(EOFError):
                while True:
                    stream.next()


EVENTS = st.lists(st.integers(0, 3), max_size=12).map(
    lambda kinds: tuple(Event(None, frame, str(kind), "", ()) for frame, kind in enumerate(kinds))
)


@given(EVENTS, st.integers(1, 6), st.data())
def test_what_is_new_is_what_the_window_has_gained(events, window, data):
    first = data.draw(st.integers(0, len(events)))
    last = data.draw(st.integers(first, len(events)))
    before, after = events[:first][-window:], events[:last][-window:]
    assert new_events(before, after) == events[first:last][-window:]
