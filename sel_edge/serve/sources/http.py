"""Frames by HTTP as a source: whoever sends them puts them into the mailbox themselves."""

from __future__ import annotations

from collections.abc import Iterator

from sel_edge.serve.sources.interface import HTTP, Rest


class HttpSource:
    """Gives nothing itself."""

    name = HTTP
    signal_shape: tuple[int, ...] | None = None
    is_patient = False

    def arrivals(self, rest: Rest) -> Iterator[None]:
        """See `Source`."""
        yield None
        while not rest(1.0):
            yield None
