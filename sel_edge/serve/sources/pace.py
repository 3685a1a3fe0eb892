"""How fast frames come from a source that could give them at any speed."""

from __future__ import annotations

import time

from sel_edge.serve.sources.interface import Rest


class Pace:
    """Waits between frames. What comes late is not made up for by coming faster.

    Args:
        fps: frames per second; 0 for no waiting at all.
        rest: waits.
    """

    def __init__(self, fps: float, rest: Rest) -> None:
        self._period_s = 1 / fps if fps else 0.0
        self._rest, self._due_s = rest, time.monotonic()

    def wait(self) -> bool:
        """Wait for the next frame's time; whether the source is to end."""
        left_s = self._due_s - time.monotonic()
        is_over = self._rest(left_s) if left_s > 0 else False
        self._due_s = max(self._due_s, time.monotonic() - self._period_s) + self._period_s
        return is_over
