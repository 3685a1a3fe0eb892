"""Server-sent events: the state of the device as it changes, and every decision."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sel_edge.serve.device import Device
from sel_edge.serve.snapshot import Event, Snapshot
from sel_edge.serve.web.messages import status_of
from sel_edge.serve.web.refusals import busy
from sel_edge.serve.web.settings import Limits
from sel_edge.serve.web.wire import json_bytes

RETRY_MS = 2000
"""After which a browser that was cut off comes back."""
_POLL_S = 0.5


class Feed:
    """Asks the device in a thread of its own, and wakes every stream.

    Args:
        device: to be asked.
        limits: of the server.
    """

    def __init__(self, device: Device, limits: Limits) -> None:
        self._device, self._limits = device, limits
        self.newest = device.snapshot()
        self._told: tuple[int, bytes] = (-1, b"")
        self._streams = 0
        self._loop = asyncio.get_running_loop()
        self._woken = self._loop.create_future()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="sel-edge-feed", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the server stops."""
        return self._over.is_set()

    @property
    def streams(self) -> int:
        """How many listen."""
        return self._streams

    def stream(self, may_go_on: Callable[[], bool]) -> EventStream:
        """Everything from now on.

        Args:
            may_go_on: whether the client still may listen.

        Raises:
            RefusalError: 503, too many listen.
        """
        if self._streams >= self._limits.streams:
            raise busy("Too many pages listen.")
        return EventStream(self, may_go_on, self._limits.heartbeat_s)

    def status(self, snapshot: Snapshot) -> bytes:
        """A snapshot as JSON; made once for all who ask."""
        if self._told[0] != snapshot.version:
            self._told = (snapshot.version, json_bytes(status_of(snapshot)))
        return self._told[1]

    async def news(self, gone: asyncio.Future[None], seconds: float) -> None:
        """Wait for a newer snapshot, the end of the feed or of the client, or some time."""
        await asyncio.wait(
            (self._woken, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )

    def count(self, change: int) -> None:
        """One listens more, or fewer."""
        self._streams += change

    def close(self) -> None:
        """End all streams."""
        self._over.set()
        self._wake()

    def _listen(self) -> None:
        version = self.newest.version
        while not self._over.wait(self._limits.status_s):
            snapshot = self._device.newer(version, _POLL_S)
            if snapshot.version > version:
                version = snapshot.version
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    self._loop.call_soon_threadsafe(self._tell, snapshot)

    def _tell(self, snapshot: Snapshot) -> None:
        self.newest = snapshot
        self._wake()

    def _wake(self) -> None:
        woken, self._woken = self._woken, self._loop.create_future()
        woken.set_result(None)


class EventStream(Response):
    """One client's stream.

    Args:
        feed: it listens to.
        may_go_on: whether it still may.
        heartbeat_s: see `Limits`.
    """

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, may_go_on: Callable[[], bool], heartbeat_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # A stream has no length.
        del self.headers["Content-Length"]
        self._feed, self._may_go_on, self._heartbeat_s = feed, may_go_on, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client or the server has had enough."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        if scope["method"] != "HEAD":
            gone = asyncio.ensure_future(_gone(receive))
            self._feed.count(1)
            try:
                async for message in self._messages(gone):
                    await send({"type": "http.response.body", "body": message, "more_body": True})
            finally:
                self._feed.count(-1)
                gone.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _messages(self, gone: asyncio.Future[None]) -> AsyncIterator[bytes]:
        feed, seen = self._feed, self._feed.newest
        yield b"retry: %d\n\n" % RETRY_MS + _message("status", feed.status(seen))
        while True:
            if feed.newest.version == seen.version:
                await feed.news(gone, self._heartbeat_s)
            if gone.done() or feed.is_over or not self._may_go_on():
                return
            newest = feed.newest
            if newest.version == seen.version:
                yield b": still here\n\n"
                continue
            for event in new_events(seen.events, newest.events):
                yield _message("decision", json_bytes(event))
            yield _message("status", feed.status(newest))
            seen = newest


def new_events(before: tuple[Event, ...], after: tuple[Event, ...]) -> tuple[Event, ...]:
    """Those of `after` that follow all of `before`; both are the newest of one long list."""
    for kept in range(min(len(before), len(after)), 0, -1):
        if before[-kept:] == after[:kept]:
            return after[kept:]
    return after


def _message(name: str, data: bytes) -> bytes:
    """One event; JSON of `json_bytes` is a single line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
