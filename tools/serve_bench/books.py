"""Whether every frame is in the books once: what clients were told, against what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.ledger import LEDGER_FILE, Tick, read_ledger
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from tools.serve_bench.marked import number_of

KEPT = 256
"""Frames of the sample store that are looked at."""


def ticks_of(state: Path) -> list[Tick]:
    """The ledger's, in order."""
    return read_ledger(state / LEDGER_FILE).ticks


def gaps(ticks: list[Tick]) -> int:
    """Ticks that do not begin where the one before ended: frames recorded twice, or not at all."""
    starts, ends = [tick.start for tick in ticks], [tick.start + tick.n for tick in ticks]
    return sum(start != end for start, end in zip(starts, [0, *ends], strict=False))


def compare(state: Path, answers: NDArray[np.int64]) -> dict[str, Any]:
    """Compare what marked frames were answered with what is recorded, after the daemon has ended.

    Args:
        state: directory of the runtime.
        answers: int64 [n, 2], mark and frame number of every answer that a client got.

    Returns:
        `recorded`, `answered`: frames; `twice`: frames recorded or numbered more often than
        answered; `mixed_up`: kept frames that are not those that were answered under their number.
    """
    ticks = ticks_of(state)
    recorded, numbers = sum(tick.n for tick in ticks), np.unique(answers[:, 1])
    mark_of = {int(number): int(mark) for mark, number in answers}
    with LabelDesk(state / SAMPLES_FILE) as desk:
        kept = {one.number: desk.frame(one.id) for one in desk.queue(KEPT)}
    marks = {
        number: number_of(frame.astype(np.uint8, copy=False))
        for number, frame in kept.items()
        if frame is not None
    }
    return {
        "recorded": recorded,
        "answered": len(answers),
        "twice": recorded - len(numbers) + len(answers) - len(numbers) + gaps(ticks),
        "kept": len(marks),
        "mixed_up": sum(mark_of.get(number) != mark for number, mark in marks.items()),
    }
