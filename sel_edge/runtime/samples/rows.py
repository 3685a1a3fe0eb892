"""From the rows of the file to what they stand for; none of them is trusted.

Whatever no sample store holds ends in a ValueError, TypeError or LookupError.
"""

from __future__ import annotations

import math
import sqlite3

import numpy as np

from sel_edge.runtime.samples.frame import Form, Frame, parse_id
from sel_edge.runtime.samples.records import Labelled, Source, Waiting
from sel_edge.runtime.samples.waiting import Candidate

SOURCES: tuple[Source, ...] = ("stream", "person", "file")


def waiting_from_row(row: sqlite3.Row, form: Form | None) -> Waiting:
    """A frame that waits for a label."""
    return Waiting(
        id=str(parse_id(row["id"])),
        number=int(row["number"]),
        frame=_frame(row, form),
        predicted=str(row["predicted"]),
        score=_finite(row["score"]),
        reason=str(row["reason"]),
        seen=_finite(row["seen"]),
    )


def candidate_from_row(row: sqlite3.Row) -> Candidate:
    """The same, as the queue compares it."""
    return Candidate(
        id=str(parse_id(row["id"])),
        number=int(row["number"]),
        predicted=str(row["predicted"]),
        score=_finite(row["score"]),
        reason=str(row["reason"]),
        feature=np.frombuffer(row["feature"], "<f2").astype(np.float32),
        seen=_finite(row["seen"]),
    )


def labelled_from_row(row: sqlite3.Row, form: Form | None) -> Labelled:
    """A frame with its answer."""
    if row["source"] not in SOURCES:
        raise ValueError(f"a label has source {row['source']}")
    return Labelled(
        id=str(parse_id(row["id"])),
        number=int(row["number"]),
        frame=_frame(row, form),
        label=None if row["label"] is None else str(row["label"]),
        source=row["source"],
        held_out=None if row["held_out"] is None else bool(row["held_out"]),
        given=_finite(row["given"]),
    )


def _frame(row: sqlite3.Row, form: Form | None) -> Frame:
    if form is None:
        raise ValueError("the form of its frames is missing")
    return form.decode(row["frame"])


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} stands for a number")
    return float(value)
