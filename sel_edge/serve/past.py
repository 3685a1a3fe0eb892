"""What the ledger still tells of earlier sessions: the newest rows of it, however long it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from sel_edge.core.ledger import ClassEmbarrassment, Ledger, read_ledger
from sel_edge.core.sqlite_file import write_ahead_log
from sel_edge.serve.history import History, events_of, values_of
from sel_edge.serve.snapshot import Point

ROWS = 2_000
"""Of each table, that are read."""


def recall(path: Path, history: History) -> None:
    """Let a history begin with what happened before the service started.

    The ledger says when sessions began and how much there was in the wallet at a time; the moments
    between are taken to be evenly spread over the frames.

    Args:
        path: the ledger; nothing is known if it is not there. Nobody has it open.
        history: a new one.

    Raises:
        RunDirectoryError: it is damaged, no ledger, or from another schema.
    """
    if not path.is_file():
        return
    files = [file for file in (path, write_ahead_log(path)) if file.is_file()]
    ended_s = max(file.stat().st_mtime for file in files)
    ledger = read_ledger(path, newest=ROWS)
    for point in _points(ledger, ended_s):
        history.curve.add(point)
    for event in events_of(ledger.decisions, ledger.updates, None):
        history.tell(event)


def _points(ledger: Ledger, ended_s: float) -> list[Point]:
    begun = {
        one.frame: datetime.fromisoformat(one.started_utc).timestamp() for one in ledger.sessions
    }
    known = begun | {one.frame: one.utc_s for one in ledger.balances}
    if ledger.ticks:
        known |= {ledger.ticks[-1].start + ledger.ticks[-1].n: ended_s}
    frames = sorted(known)
    moments = np.maximum.accumulate([known[frame] for frame in frames])
    windows: dict[str, ClassEmbarrassment] = {}
    points = []
    for tick in ledger.ticks:
        if tick.start in begun:
            windows = {}
        windows |= dict(tick.embarrassment)
        if tick.n:
            frame = tick.start + tick.n
            moment = float(np.interp(frame, frames, moments))
            points.append(Point(moment, frame, values_of(windows)))
    return points
