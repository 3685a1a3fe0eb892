"""Which frames a recorder keeps that adds a little before and after each."""

from __future__ import annotations


class Spans:
    """Runs of frames.

    Args:
        before, after: frames that are kept with each.

    Attributes:
        runs: first and last frame of each run, in order.
    """

    def __init__(self, before: int = 0, after: int = 0) -> None:
        self._before, self._after = before, after
        self.runs: list[tuple[int, int]] = []

    def add(self, first: int, last: int | None = None) -> None:
        """Keep the frames `first` to `last`, or just one; `first` is no earlier than before."""
        begin = max(0, first - self._before)
        end = (first if last is None else last) + self._after
        if self.runs and begin <= self.runs[-1][1] + 1:
            begin, old_end = self.runs.pop()[0], end
            end = max(end, old_end)
        self.runs.append((begin, end))

    def frames(self, count: int) -> int:
        """How many of the first `count` frames are kept."""
        return sum(max(0, min(last, count - 1) - first + 1) for first, last in self.runs)

    def share(self, start: float, end: float) -> float:
        """Share of the frames from `start` to `end`, start < end, that is kept, 0 to 1."""
        kept = sum(max(0.0, min(last + 1, end) - max(first, start)) for first, last in self.runs)
        return kept / (end - start)
