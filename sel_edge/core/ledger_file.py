"""The SQLite file of a ledger: opening it safely, and telling in words what is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.files import in_use
from sel_edge.core.ledger_records import TABLES

SCHEMA = 1
APPLICATION_ID = 0x53454C45  # "SELE" in the SQLite header tells a ledger from other databases


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open a ledger, or create it where the file is missing or empty."""
    closed_cleanly = not _log(path).exists()
    database = sqlite3.connect(path, isolation_level=None)
    try:
        if not _is_empty(database):
            _check(database, path, closed_cleanly)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if _is_empty(database):
            _create(database)
    except BaseException:
        database.close()
        raise
    database.row_factory = sqlite3.Row
    return database


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open an existing ledger read-only, also on media where nothing can be written."""
    address, closed_cleanly = f"{path.resolve().as_uri()}?mode=ro", not _log(path).exists()
    try:
        return _open(address, path, closed_cleanly)
    except sqlite3.OperationalError as error:
        # A WAL database needs a shared-memory file beside it. Where none can be made, nobody can
        # be writing either; and if there is no log, the file alone holds everything.
        if not closed_cleanly or _code(error) not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        ):
            raise
        return _open(f"{address}&immutable=1", path, closed_cleanly)


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, by its primary error code."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise in_use(path) from error
        if code in (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PERM,
        ):
            raise StorageError(
                f"The ledger {path} could not be written or read: {error}.",
                "What it held before is untouched.",
                "Free some space, check the permissions or the disk, then run the command again.",
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise damaged(path, str(error)) from error
        raise


def damaged(path: Path, detail: str) -> RunDirectoryError:
    """The error for a file that is no ledger any more, or never was."""
    return RunDirectoryError(
        f"The ledger {path} is damaged or no ledger: {detail}.",
        "A file written by `sel-edge run` is expected.",
        "Restore it from a copy, or choose another directory; nothing was changed.",
    )


def _log(path: Path) -> Path:
    """The write-ahead log, which the last one to close the ledger removes."""
    return path.with_name(f"{path.name}-wal")


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
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA}")
    for name, columns in TABLES.items():
        database.execute(f"CREATE TABLE {name} ({columns})")
        for verb in ("UPDATE", "DELETE"):
            database.execute(
                f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
                "BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END"
            )
    database.execute("COMMIT")


def _is_empty(database: sqlite3.Connection) -> bool:
    """No table yet: a new file, or one whose creation was cut off."""
    return _pragma(database, "application_id") == 0 and not (
        database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    )


def _check(database: sqlite3.Connection, path: Path, closed_cleanly: bool) -> None:
    if _pragma(database, "application_id") != APPLICATION_ID:
        raise RunDirectoryError(
            f"{path} is a database, but no ledger.",
            "A ledger written by `sel-edge run` is expected.",
            "Choose another directory; nothing in this one was changed.",
        )
    if (schema := _pragma(database, "user_version")) != SCHEMA:
        raise RunDirectoryError(
            f"The ledger {path} has schema {schema}.",
            f"This version of sel-edge reads schema {SCHEMA}.",
            "Use the version that wrote it, or choose another directory.",
        )
    tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    if missing := sorted(TABLES.keys() - {name for (name,) in tables}):
        raise damaged(path, f"it has no table {missing[0]}")
    # Reading every page takes long on a card; only a power cut or a crash gives reason to.
    if closed_cleanly:
        return
    if (state := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise damaged(path, str(state))


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
