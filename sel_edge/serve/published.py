"""The newest snapshot, for any number of readers that wait for it."""

from __future__ import annotations

import threading
from dataclasses import replace

from sel_edge.serve.snapshot import Snapshot


class Published:
    """One writer gives, every reader takes; none of them keeps another waiting.

    Args:
        first: before anything has happened.
    """

    def __init__(self, first: Snapshot) -> None:
        self._changed = threading.Condition()
        self._newest = first

    @property
    def newest(self) -> Snapshot:
        """As it is."""
        return self._newest

    def publish(self, snapshot: Snapshot) -> None:
        """Give a snapshot, under the next version."""
        with self._changed:
            self._newest = replace(snapshot, version=self._newest.version + 1)
            self._changed.notify_all()

    def newer(self, version: int, timeout_s: float) -> Snapshot:
        """The newest, once it is newer than `version` or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest.version > version, timeout_s)
            return self._newest
