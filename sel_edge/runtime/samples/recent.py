"""The last frames, in memory only, for labels that come hundreds of frames late."""

from __future__ import annotations

from sel_edge.runtime.samples.frame import Frame, FrameId, digest


class RecentFrames:
    """A ring of the newest frames by number.

    Args:
        capacity: frames at most.
        capacity_bytes: memory that they may take; at least one frame is kept.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._frames: dict[int, Frame] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, number: int, frame: Frame) -> None:
        """Remember a copy of one frame; a number that comes again stands for its newest frame."""
        held = self._frames
        if number in held:
            self._bytes -= held.pop(number).nbytes
        held[number] = frame.copy()
        self._bytes += frame.nbytes
        while (len(held) > self._capacity or self._bytes > self._capacity_bytes) and len(held) > 1:
            self._bytes -= held.pop(next(iter(held))).nbytes

    def get(self, wanted: FrameId) -> Frame | None:
        """The frame with this id, or None if it is not remembered or its content is another."""
        frame = self._frames.get(wanted.number)
        if frame is None or wanted.digest not in (None, digest(frame)):
            return None
        return frame
