"""Times of novel things that somebody knows; for scoring only."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sel_edge.core.errors import DataError
from sel_edge.watch.spans import Spans

SEEN_SHARE = 0.5
"""Of an event's time; one of which less was kept is missed."""
MAX_EVENTS = 100_000


@dataclass(frozen=True)
class Event:
    """Something novel.

    Attributes:
        start_s, end_s: when, from the start of the video; start_s < end_s.
        group: of like events; "" for none.
        name: for people; "" for none.
    """

    start_s: float
    end_s: float
    group: str
    name: str


@dataclass(frozen=True)
class Missed:
    """How many events of a group were missed by each way to keep videos."""

    events: int
    novel: int
    motion: int


def read_truth(path: Path) -> list[Event]:
    """Read a CSV with the columns start_s and end_s, and maybe group and name.

    Raises:
        DataError: it cannot be read, or a row makes no sense.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(_events(path, csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unusable(path, str(error)) from error


def missed(events: list[Event], kept: Spans, moved: Spans, fps: float) -> dict[str, Missed]:
    """Count by group.

    Args:
        events: to find.
        kept: frames that were kept.
        moved: frames that a recorder of motion would have kept.
        fps: frames per second.
    """

    def lost(event: Event, spans: Spans) -> bool:
        return spans.share(event.start_s * fps, event.end_s * fps) < SEEN_SHARE

    found = {}
    for group in dict.fromkeys(event.group for event in events):
        own = [event for event in events if event.group == group]
        found[group] = Missed(
            events=len(own),
            novel=sum(lost(event, kept) for event in own),
            motion=sum(lost(event, moved) for event in own),
        )
    return found


def _events(path: Path, rows: csv.DictReader[str]) -> Iterator[Event]:
    for number, row in enumerate(rows, start=1):
        if number > MAX_EVENTS:
            raise _unusable(path, f"it has more than {MAX_EVENTS:,} rows")
        yield _event(path, number, row)


def _event(path: Path, number: int, row: Mapping[str, str | None]) -> Event:
    try:
        start_s, end_s = (float(row[name] or "") for name in ("start_s", "end_s"))
    except (KeyError, ValueError) as error:
        raise _unusable(path, f"row {number} has no times") from error
    if not (0 <= start_s < end_s < math.inf):
        raise _unusable(path, f"row {number} lasts from {start_s:g} to {end_s:g}")
    return Event(start_s, end_s, row.get("group") or "", row.get("name") or "")


def _unusable(path: Path, problem: str) -> DataError:
    return DataError(
        f"The truth {path} cannot be used: {problem}.",
        "A CSV with the columns start_s and end_s is expected, and maybe group and name.",
        "Correct it, or leave out --truth.",
    )
