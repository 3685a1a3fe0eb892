"""How each record of a ledger becomes a row of its table, and comes back from it.

A field that is an Energy takes two columns, `<name>_j` and `<name>_origin`; collections are stored
as canonical JSON; everything else is stored as it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from sel_edge.core.files import canonical_json
from sel_edge.core.ledger_records import (
    Balances,
    ClassEmbarrassment,
    Decision,
    DecisionKind,
    Evaluation,
    Level,
    Levels,
    Record,
    Session,
    Tick,
    Update,
)
from sel_edge.core.measurement import Energy, Origin

TABLES = {
    "meta": "key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL",
    "ticks": """id INTEGER PRIMARY KEY, start INTEGER NOT NULL, n INTEGER NOT NULL,
        segment TEXT NOT NULL, scores TEXT NOT NULL, embarrassment TEXT NOT NULL,
        domains TEXT NOT NULL, novel INTEGER NOT NULL, executed_flops INTEGER NOT NULL,
        watching_flops INTEGER NOT NULL, energy_j REAL NOT NULL, energy_origin TEXT NOT NULL,
        seconds REAL NOT NULL""",
    "decisions": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, kind TEXT NOT NULL,
        reason TEXT NOT NULL, classes TEXT NOT NULL, network TEXT""",
    "updates": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, rung TEXT NOT NULL,
        domain INTEGER NOT NULL, classes TEXT NOT NULL, kept INTEGER NOT NULL,
        frames INTEGER NOT NULL, labels INTEGER NOT NULL, steps INTEGER NOT NULL,
        held_out INTEGER NOT NULL, exact INTEGER NOT NULL,
        held_out_before REAL, held_out_after REAL, anchors_before REAL, anchors_after REAL,
        predicted_flops INTEGER NOT NULL, predicted_energy_j REAL NOT NULL,
        predicted_seconds REAL NOT NULL, predicted_gain REAL,
        executed_flops INTEGER NOT NULL, energy_j REAL NOT NULL, energy_origin TEXT NOT NULL,
        seconds REAL NOT NULL, network_before TEXT NOT NULL, network_after TEXT NOT NULL,
        delta_bytes INTEGER NOT NULL""",
    "evaluations": """id INTEGER PRIMARY KEY, name TEXT NOT NULL, subset TEXT NOT NULL,
        n INTEGER NOT NULL, correct INTEGER NOT NULL""",
    "sessions": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, started_utc TEXT NOT NULL,
        source TEXT NOT NULL, source_sha256 TEXT NOT NULL, note TEXT NOT NULL, meter TEXT NOT NULL,
        energy_origin TEXT NOT NULL, versions TEXT NOT NULL""",
    "levels": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, network TEXT NOT NULL,
        domain INTEGER NOT NULL, classes TEXT NOT NULL, together TEXT NOT NULL,
        standin TEXT NOT NULL""",
    "balances": """id INTEGER PRIMARY KEY, frame INTEGER NOT NULL, utc_s REAL NOT NULL,
        celsius REAL, throttled INTEGER NOT NULL, balances TEXT NOT NULL""",
}


def to_row(record: Record) -> dict[str, str | int | float | None]:
    """Column -> value of a record."""
    row: dict[str, str | int | float | None] = {}
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
    domains = json.loads(row["domains"])
    return Tick(
        start=row["start"],
        n=row["n"],
        segment=row["segment"],
        scores={name: (int(n), int(correct)) for name, (n, correct) in scores.items()},
        embarrassment={name: ClassEmbarrassment(**value) for name, value in windows.items()},
        domains={str(number): int(frames) for number, frames in domains.items()},
        novel=row["novel"],
        executed_flops=row["executed_flops"],
        watching_flops=row["watching_flops"],
        energy=_energy(row),
        seconds=row["seconds"],
    )


def decision_from_row(row: sqlite3.Row) -> Decision:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    if row["kind"] not in get_args(DecisionKind):
        raise ValueError(f"decision {row['kind']!r} is unknown")
    classes = tuple(json.loads(row["classes"]))
    return Decision(row["frame"], row["kind"], row["reason"], classes, row["network"])


def update_from_row(row: sqlite3.Row) -> Update:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    apart = ("classes", "kept", "exact", "energy")
    plain = {field.name: row[field.name] for field in fields(Update) if field.name not in apart}
    return Update(
        classes=tuple(json.loads(row["classes"])),
        kept=bool(row["kept"]),
        exact=bool(row["exact"]),
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
        network=row["network"],
        domain=row["domain"],
        classes={name: _level(values) for name, values in classes.items()},
        together=_level(json.loads(row["together"])),
        standin=_level(json.loads(row["standin"])),
    )


def balances_from_row(row: sqlite3.Row) -> Balances:
    """The inverse of `to_row`; raises ValueError, TypeError or KeyError on a foreign row."""
    amounts = json.loads(row["balances"])
    return Balances(
        frame=row["frame"],
        utc_s=row["utc_s"],
        celsius=row["celsius"],
        throttled=bool(row["throttled"]),
        balances={name: (float(left), float(size)) for name, (left, size) in amounts.items()},
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
