"""What becomes of a device, in lines for a log."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Protocol

from sel_edge.serve.snapshot import Event, Snapshot

_SECONDS = re.compile(r"[0-9]+ s\b")
"""How long a source has been silent, or until it is tried again: no news by itself."""


class Observed(Protocol):
    """What is told of."""

    @property
    def source_state(self) -> str: ...

    def snapshot(self) -> Snapshot: ...


class News:
    """Decisions, errors, and how the source is, each told once.

    Args:
        device: that is told of.
    """

    def __init__(self, device: Observed) -> None:
        self._device = device
        self._newest: Event | None = None
        self._source = "running"

    def lines(self) -> list[str]:
        """What has happened since the last call; at first, since the start of the service."""
        events = self._device.snapshot().events
        fresh = list(takewhile(lambda event: event is not self._newest, reversed(events)))
        self._newest = events[-1] if events else None
        told = [
            f"{event.kind}: {event.reason}"
            for event in reversed(fresh)
            if event.utc_s is not None and event.kind != "restart"
        ]
        return told + self._of_source()

    def _of_source(self) -> list[str]:
        state = self._device.source_state
        source = _SECONDS.sub("", state)
        if source in ("starting", self._source):
            return []
        self._source = source
        return [f"source: {state}"]
