"""Streams as a source: frames of data sets, with the labels that the SPEC gives them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sel_edge.core.frames import noun
from sel_edge.data.stream import open_stream
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.sources.interface import Rest
from sel_edge.serve.sources.pace import Pace

BATCH = 16


class StreamSource:
    """A stream SPEC.

    Args:
        name: as the user named it.
        spec: of the stream.
        fps: frames per second; 0 as fast as they are answered.
        is_endless: whether it begins again at its end.

    Raises:
        DataError: the SPEC or a data set cannot be used.
    """

    def __init__(self, name: str, spec: str, fps: float, is_endless: bool) -> None:
        self.name, self._fps, self._is_endless = name, fps, is_endless
        self._stream = open_stream(spec)
        self.is_patient = not fps

    @property
    def signal_shape(self) -> tuple[int, ...] | None:
        """See `Source`."""
        shape = self._stream.frame_shape
        return shape if noun(shape) == "signal" else None

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        """See `Source`."""
        pace = Pace(self._fps, rest)
        while True:
            for batch in self._stream.batches(BATCH):
                for frame, label, truth in zip(
                    batch.frames, batch.labels, batch.truths, strict=True
                ):
                    if pace.wait():
                        return
                    yield Arrival(frame, time.time(), label, truth, batch.segment)
            if not self._is_endless:
                return
