"""What one answer does to the store: the last one wins, and nothing is done twice.

Every function here is called inside a transaction.

A person who answers contradicts whatever was said before. A file is read again and again, and what
it said already is no news: otherwise a stale file would undo a person's correction at every
reading. So the store keeps, for each frame, what each origin said last.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sel_edge.runtime.samples.database import SampleFile
from sel_edge.runtime.samples.frame import Frame, FrameId, encode
from sel_edge.runtime.samples.records import LABELLED_LIMIT, Effect, Outcome, Source

ANSWERS_KEPT = 65_536
"""Answers whose origin is remembered, so that files of so many are read again without effect."""


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        id: of the frame.
        label: class name, None for not useful.
        source: who gives it.
        origin: which file or folder; "" for a person or the stream.
        given: seconds since 1970.
        frame: its content, where the answer brings it along.
    """

    id: FrameId
    label: str | None
    source: Source
    origin: str
    given: float
    frame: Frame | None = None


def complete(file: SampleFile, wanted: FrameId) -> FrameId:
    """The full id of a frame of which only the number is known; the newest where there are two.

    Returns:
        `wanted` itself, if it is complete or the store has never heard of the frame.
    """
    if wanted.digest is not None:
        return wanted
    for table in ("waiting", "labelled", "answers"):
        query = f"SELECT id FROM {table} WHERE number = ? ORDER BY rowid DESC"  # noqa: S608
        for row in file.rows(query, wanted.number):
            _, _, digest = str(row["id"]).partition("-")
            if digest:
                return FrameId(wanted.number, digest)
    return wanted


def apply(file: SampleFile, answer: Answer) -> Outcome:
    """Take in one answer."""
    identity = complete(file, answer.id)
    name = str(identity)
    said = file.row("SELECT label FROM answers WHERE id = ? AND origin = ?", name, answer.origin)
    current = _current(file, name)
    repeats = said is not None and said["label"] == answer.label
    agrees = current is not None and current["label"] == answer.label
    if repeats and (agrees or answer.source == "file"):
        return Outcome(name, answer.label, "same")
    file.change(
        "INSERT OR REPLACE INTO answers (id, number, origin, source, label, given) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        *(name, identity.number, answer.origin, answer.source, answer.label, answer.given),
    )
    held = _label(file, name, answer)
    if current is None:
        return Outcome(name, answer.label, "new" if held else "deferred")
    if not agrees:
        file.count("conflicts", 1)
    effect: Effect = "same" if agrees else "changed"
    return Outcome(name, answer.label, effect, None if agrees else current["label"])


def move_to_labelled(
    file: SampleFile, name: str, label: str | None, source: str, given: float
) -> bool:
    """Turn a waiting frame into a labelled one; False if it does not wait."""
    moved = file.change(
        "INSERT OR REPLACE INTO labelled "
        "SELECT id, number, ?, ?, NULL, ?, frame FROM waiting WHERE id = ?",
        *(label, source, given, name),
    )
    if moved:
        file.change("DELETE FROM waiting WHERE id = ?", name)
    return moved > 0


def forget_oldest(file: SampleFile) -> None:
    """Keep the table of answers within its bound."""
    file.change(
        "DELETE FROM answers WHERE seq <= "
        "(SELECT seq FROM answers ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        ANSWERS_KEPT,
    )


def _label(file: SampleFile, name: str, answer: Answer) -> bool:
    """Put the answer on the frame; False if the store does not hold it."""
    if file.change(
        "UPDATE labelled SET label = ?, source = ?, given = ? WHERE id = ?",
        *(answer.label, answer.source, answer.given, name),
    ):
        return True
    if move_to_labelled(file, name, answer.label, answer.source, answer.given):
        return True
    if answer.frame is None:
        return False
    held = file.row("SELECT COUNT(*) AS held FROM labelled")
    if held is None or held["held"] >= LABELLED_LIMIT:
        return False
    file.change(
        "INSERT INTO labelled VALUES (?, ?, ?, ?, NULL, ?, ?)",
        *(name, answer.id.number, answer.label, answer.source, answer.given),
        encode(answer.frame),
    )
    return True


def _current(file: SampleFile, name: str) -> sqlite3.Row | None:
    """The answer that holds: that of the labelled frame, else the latest one given."""
    return file.row("SELECT label FROM labelled WHERE id = ?", name) or file.row(
        "SELECT label FROM answers WHERE id = ? ORDER BY seq DESC LIMIT 1", name
    )
