"""The clips that are kept, within a cap: what has become usual goes, then the most boring."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sel_edge.core.errors import StorageError
from sel_edge.core.files import write_atomic
from sel_edge.watch.usual import Usual, Visit

INDEX_FILE = "index.json"
RESERVE_BYTES = 32_000_000
"""Of the disk, that stays free."""
LEVEL_NATS = 0.25
"""Clips that differ by less are about as boring: of those the oldest goes."""
UNDECIDED_TIMES = 2
"""The cap, that clips may have together before the end: all that comes first is new, and most of it
goes when it comes again."""


@dataclass(frozen=True)
class Segment:
    """A clip.

    Attributes:
        path: its file.
        first: number of its first frame.
        frames: how many it has.
        bytes: size of the file.
        visits: of the novel things in it, at least one.
    """

    path: Path
    first: int
    frames: int
    bytes: int
    visits: tuple[Visit, ...]


class Shelf:
    """Holds clips.

    What a thing is worth changes as it comes again, so all clips are judged anew at every change.

    Args:
        folder: for the index.
        fps: frames per second.
        cap: bytes that all clips together may have in the end.
        usual: knows what a visit is worth by now.
        classes: of the network.

    Attributes:
        segments: by time.
        settled: how many clips were let go because what is in them has become usual.
        crowded_out: how many novel ones were let go for others under the cap.
    """

    def __init__(
        self,
        folder: Path,
        fps: float,
        cap: int,
        usual: Usual,
        classes: tuple[str, ...],
    ) -> None:
        self._folder, self._fps = folder, fps
        self._cap, self._room = cap, UNDECIDED_TIMES * cap
        self._usual, self._classes = usual, classes
        self.segments: list[Segment] = []
        self.settled = self.crowded_out = 0

    @property
    def bytes(self) -> int:
        """Of all clips."""
        return sum(segment.bytes for segment in self.segments)

    def worth(self, segment: Segment) -> float:
        """Nats that the most interesting thing in a clip is worth."""
        return max(self._usual.worth(visit) for visit in segment.visits)

    def add(self, segment: Segment) -> None:
        """Keep one more clip, if it is worth it."""
        self.segments.append(segment)
        self.tidy()

    def tidy(self) -> None:
        """Let go what is usual by now, then the most boring until there is room.

        Raises:
            StorageError: see `make_room`.
        """
        self._settle()
        try:
            self.make_room()
        finally:
            self._write_index()

    def end(self) -> None:
        """No more clips will come: hold the cap."""
        self._room = self._cap
        self._settle()
        self._hold_cap()
        self._write_index()

    def make_room(self) -> None:
        """Let the most boring go, the oldest first, until there is room for all and on the disk.

        Raises:
            StorageError: the disk is full, and not of these clips; none of them goes then.
        """
        self._hold_cap()
        missing = -self._free()
        if missing > self.bytes:
            raise StorageError(
                f"The disk of {self._folder} is full.",
                f"{RESERVE_BYTES:,} bytes are to stay free.",
                "Free some space, then run the command again with another --out.",
            )
        while self.segments and self._free() < 0:
            self._crowd_out(min(self.segments, key=self._rank))

    def _settle(self) -> None:
        for segment in [one for one in self.segments if self.worth(one) <= 0]:
            self._drop(segment)
            self.settled += 1

    def _hold_cap(self) -> None:
        """What has no room even alone goes first: other clips would go for nothing."""
        for segment in [one for one in self.segments if one.bytes > self._cap]:
            self._crowd_out(segment)
        over = self.bytes - self._room
        for segment in sorted(self.segments, key=self._rank):
            if over <= 0:
                return
            over -= segment.bytes
            self._crowd_out(segment)

    def _crowd_out(self, segment: Segment) -> None:
        self._drop(segment)
        self.crowded_out += 1

    def _rank(self, segment: Segment) -> tuple[int, int]:
        """The lowest goes first."""
        return round(self.worth(segment) / LEVEL_NATS), segment.first

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free - RESERVE_BYTES

    def _drop(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)
        self.segments.remove(segment)

    def _write_index(self) -> None:
        rows = [self._row(segment) for segment in self.segments]
        write_atomic(self._folder / INDEX_FILE, json.dumps(rows, indent=1).encode() + b"\n")

    def _row(self, segment: Segment) -> dict[str, Any]:
        best = max(segment.visits, key=self._usual.worth)
        return {
            "file": segment.path.name,
            "start_s": round(segment.first / self._fps, 3),
            "seconds": round(segment.frames / self._fps, 3),
            "bytes": segment.bytes,
            "interest_nats": round(self.worth(segment), 3),
            "things": len(segment.visits),
            "came": round(self._usual.times(best), 1),
            "looks_like": self._classes[best.seen.answer],
        }
