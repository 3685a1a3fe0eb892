"""The SQLite file of a ledger: opening it safely, and telling in words what is wrong with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sel_edge.core.ledger_rows import TABLES
from sel_edge.core.sqlite_file import (
    SqliteKind,
    is_empty,
    keep_safely,
    primary_code,
    write_ahead_log,
)

LEDGER = SqliteKind("ledger", application_id=0x53454C45, schema=2)  # "SELE"


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open a ledger, or create it where the file is missing or empty."""
    closed_cleanly = not write_ahead_log(path).exists()
    database = sqlite3.connect(path, isolation_level=None)
    try:
        if not is_empty(database):
            _check(database, path, closed_cleanly)
        keep_safely(database)
        if is_empty(database):
            _create(database)
    except BaseException:
        database.close()
        raise
    database.row_factory = sqlite3.Row
    return database


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open an existing ledger read-only, also on media where nothing can be written."""
    address, closed_cleanly = (
        f"{path.resolve().as_uri()}?mode=ro",
        not write_ahead_log(path).exists(),
    )
    try:
        return _open(address, path, closed_cleanly)
    except sqlite3.OperationalError as error:
        # A WAL database needs a shared-memory file beside it. Where none can be made, nobody can
        # be writing either; and if there is no log, the file alone holds everything.
        if not closed_cleanly or primary_code(error) not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        ):
            raise
        return _open(f"{address}&immutable=1", path, closed_cleanly)


def _open(address: str, path: Path, closed_cleanly: bool) -> sqlite3.Connection:
    database = sqlite3.connect(address, uri=True)
    try:
        _check(database, path, closed_cleanly)
    except BaseException:
        database.close()
        raise
    database.row_factory = sqlite3.Row
    return database


def _create(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    LEDGER.sign(database)
    for name, columns in TABLES.items():
        database.execute(f"CREATE TABLE {name} ({columns})")
        for verb in ("UPDATE", "DELETE"):
            database.execute(
                f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
                "BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END"
            )
    database.execute("COMMIT")


def _check(database: sqlite3.Connection, path: Path, closed_cleanly: bool) -> None:
    LEDGER.require(database, path)
    tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    if missing := sorted(TABLES.keys() - {name for (name,) in tables}):
        raise LEDGER.damaged(path, f"it has no table {missing[0]}")
    if not closed_cleanly:
        LEDGER.require_whole(database, path)
