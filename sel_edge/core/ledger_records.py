"""The records of the ledger and how each becomes a row of its table.

A field that is an Energy takes two columns, `<name>_j` and `<name>_origin`; collections are stored
as canonical JSON; everything else is stored as it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from sel_edge.core.files import canonical_json
from sel_edge.core.measurement import Energy, Origin

DecisionKind = Literal["fire", "wants_labels", "keep", "reject"]

TABLES = {
    "meta": "key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL",
    "ticks": """id INTEGER PRIMARY KEY, start INTEGER NOT NULL, n INTEGER NOT NULL,
        segment TEXT NOT NULL, scores TEXT NOT NULL, embarrassment TEXT NOT NULL,
        executed_flops INTEGER NOT NULL, energy_j REAL NOT NULL, energy_origin TEXT NOT NULL,
        seconds REAL NOT NULL""",
    "decisions": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, kind TEXT NOT NULL,
        reason TEXT NOT NULL, classes TEXT NOT NULL""",
    "updates": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, classes TEXT NOT NULL,
        kept INTEGER NOT NULL, labels INTEGER NOT NULL, held_out INTEGER NOT NULL,
        held_out_before REAL NOT NULL, held_out_after REAL NOT NULL,
        anchors_before REAL NOT NULL, anchors_after REAL NOT NULL,
        executed_flops INTEGER NOT NULL, energy_j REAL NOT NULL, energy_origin TEXT NOT NULL,
        seconds REAL NOT NULL, head_before TEXT NOT NULL, head_after TEXT NOT NULL,
        delta_bytes INTEGER NOT NULL""",
    "evaluations": """id INTEGER PRIMARY KEY, name TEXT NOT NULL, subset TEXT NOT NULL,
        n INTEGER NOT NULL, correct INTEGER NOT NULL""",
    "sessions": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, started_utc TEXT NOT NULL,
        source TEXT NOT NULL, source_sha256 TEXT NOT NULL, note TEXT NOT NULL, meter TEXT NOT NULL,
        energy_origin TEXT NOT NULL, versions TEXT NOT NULL""",
    "levels": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, head TEXT NOT NULL,
        classes TEXT NOT NULL, together TEXT NOT NULL, standin TEXT NOT NULL""",
}

Level = tuple[float, float, float]
"""Embarrassment in nats: the mean, the standard deviation of single samples, and the standard
error of the mean."""


@dataclass(frozen=True)
class ClassEmbarrassment:
    """How embarrassed the network was by one class, over its sliding windows.

    Attributes:
        exact: mean cross-entropy at T = 1.5 of the labelled frames, in nats; None without labels.
        standin: the calibrated estimate over unlabelled frames taken for this class; None if none.
        labels: how many labels `exact` rests on.
    """

    exact: float | None
    standin: float | None
    labels: int


@dataclass(frozen=True)
class Tick:
    """One batch of frames.

    Attributes:
        start: number of the first frame, counted since the ledger began.
        n: frames in the batch.
        segment: which part of the stream they come from.
        scores: class -> (frames, correctly named frames), where the truth is known.
        embarrassment: class -> windows after this batch, for those classes whose windows differ
            from what was recorded last in this session; for any other class that one still holds.
        executed_flops: of the inference, the head in use included.
        energy: of the inference, the bookkeeping, and writing the previous tick of the session
            with its decisions; without any update.
        seconds: wall time of the same.
    """

    start: int
    n: int
    segment: str
    scores: Mapping[str, tuple[int, int]]
    embarrassment: Mapping[str, ClassEmbarrassment]
    executed_flops: int
    energy: Energy
    seconds: float


@dataclass(frozen=True)
class Decision:
    """What was decided after a frame, and why, in words a person can check."""

    frame: int
    kind: DecisionKind
    reason: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Update:
    """One adaptation, kept or rejected, with what it cost.

    Attributes:
        frame: frames seen when it ran.
        classes: whose classifier rows were trained.
        kept: whether the guard accepted it.
        labels: labelled frames trained on.
        held_out: labelled frames it was judged on, never trained on.
        held_out_before, held_out_after: embarrassment on those, in nats: mean of the class means.
        anchors_before, anchors_after: mean embarrassment on the guard's anchors, in nats.
        executed_flops: training and judging.
        energy: joules of the same.
        seconds: wall time of the same.
        head_before, head_after: SHA-256 of the classifier files; equal if nothing was kept.
        delta_bytes: size of the changed rows; 0 if nothing was kept.
    """

    frame: int
    classes: tuple[str, ...]
    kept: bool
    labels: int
    held_out: int
    held_out_before: float
    held_out_after: float
    anchors_before: float
    anchors_after: float
    executed_flops: int
    energy: Energy
    seconds: float
    head_before: str
    head_after: str
    delta_bytes: int


@dataclass(frozen=True)
class Evaluation:
    """Correct answers on a named set of frames at a named moment, e.g. ("before", "shifted")."""

    name: str
    subset: str
    n: int
    correct: int


@dataclass(frozen=True)
class Session:
    """One run of one stream by one process; its ticks are those from `frame` on.

    Attributes:
        frame: number of its first frame.
        started_utc: when, as ISO 8601 text.
        source: the stream's SPEC.
        source_sha256: what the stream consists of.
        note: what every record made with the source must say; "" if nothing.
        meter: what the joules are read from.
        energy_origin: whether that measures or estimates.
        versions: package -> version.
    """

    frame: int
    started_utc: str
    source: str
    source_sha256: str
    note: str
    meter: str
    energy_origin: Origin
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Levels:
    """What counts as normal for a classifier, so that a restart need not find it out again.

    Attributes:
        frame: since when.
        head: SHA-256 of the classifier.
        classes: class -> its exact embarrassment.
        together: exact embarrassment of all classes.
        standin: the label-free stand-in over all frames.
    """

    frame: int
    head: str
    classes: Mapping[str, Level]
    together: Level
    standin: Level


Record = Tick | Decision | Update | Evaluation | Session | Levels


def to_row(record: Record) -> dict[str, str | int | float]:
    """Column -> value of a record."""
    row: dict[str, str | int | float] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Energy):
            row[f"{field.name}_j"], row[f"{field.name}_origin"] = value.joules, value.origin
        elif isinstance(value, (tuple, Mapping)):
            row[field.name] = canonical_json(_plain(value)).decode()
        else:
            row[field.name] = value
    return row


def tick_from_row(row: sqlite3.Row) -> Tick:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    scores = json.loads(row["scores"])
    windows = json.loads(row["embarrassment"])
    return Tick(
        start=row["start"],
        n=row["n"],
        segment=row["segment"],
        scores={name: (int(n), int(correct)) for name, (n, correct) in scores.items()},
        embarrassment={name: ClassEmbarrassment(**value) for name, value in windows.items()},
        executed_flops=row["executed_flops"],
        energy=_energy(row),
        seconds=row["seconds"],
    )


def decision_from_row(row: sqlite3.Row) -> Decision:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    if row["kind"] not in get_args(DecisionKind):
        raise ValueError(f"decision {row['kind']!r} is unknown")
    return Decision(row["frame"], row["kind"], row["reason"], tuple(json.loads(row["classes"])))


def update_from_row(row: sqlite3.Row) -> Update:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    plain = {
        field.name: row[field.name]
        for field in fields(Update)
        if field.name not in ("classes", "kept", "energy")
    }
    return Update(
        classes=tuple(json.loads(row["classes"])),
        kept=bool(row["kept"]),
        energy=_energy(row),
        **plain,
    )


def evaluation_from_row(row: sqlite3.Row) -> Evaluation:
    """The inverse of `to_row`."""
    return Evaluation(row["name"], row["subset"], row["n"], row["correct"])


def session_from_row(row: sqlite3.Row) -> Session:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    if row["energy_origin"] not in get_args(Origin):
        raise ValueError(f"energy of origin {row['energy_origin']!r} is unknown")
    values = {field.name: row[field.name] for field in fields(Session)}
    return Session(**{**values, "versions": dict(json.loads(row["versions"]))})


def levels_from_row(row: sqlite3.Row) -> Levels:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    classes = json.loads(row["classes"])
    return Levels(
        frame=row["frame"],
        head=row["head"],
        classes={name: _level(values) for name, values in classes.items()},
        together=_level(json.loads(row["together"])),
        standin=_level(json.loads(row["standin"])),
    )


def _level(values: Any) -> Level:
    mean, spread, error = values
    return float(mean), float(spread), float(error)


def _energy(row: sqlite3.Row) -> Energy:
    return Energy(row["energy_j"], row["energy_origin"])


def _plain(value: Any) -> Any:
    """Tuples as lists and dataclasses as objects, so that JSON can hold them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return asdict(value) if isinstance(value, ClassEmbarrassment) else value
