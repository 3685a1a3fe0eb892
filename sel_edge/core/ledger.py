"""The append-only record of every decision and its cost; the only source of reports.

One SQLite file in WAL mode with full synchronization. A tick and everything decided in it are one
transaction, so that a power cut leaves whole ticks only and an SD card sees one flush per tick.
Rows can be added, never changed or deleted: the database itself refuses it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.files import storage_errors
from sel_edge.core.ledger_records import (
    TABLES,
    ClassEmbarrassment,
    Decision,
    DecisionKind,
    Evaluation,
    Record,
    Tick,
    Update,
    decision_from_row,
    evaluation_from_row,
    tick_from_row,
    to_row,
    update_from_row,
)

__all__ = [
    "LEDGER_FILE",
    "ClassEmbarrassment",
    "Decision",
    "DecisionKind",
    "Evaluation",
    "Ledger",
    "LedgerWriter",
    "Tick",
    "Update",
    "read_ledger",
]

LEDGER_FILE = "ledger.sqlite"
SCHEMA = 1
APPLICATION_ID = 0x53454C45  # "SELE" in the SQLite header tells a ledger from other databases


@dataclass(frozen=True)
class Ledger:
    """Everything a ledger file holds, in the order in which it was written."""

    meta: dict[str, str]
    ticks: list[Tick]
    decisions: list[Decision]
    updates: list[Update]
    evaluations: list[Evaluation]


class LedgerWriter:
    """The one process that may add to a ledger; creates the file if there is none.

    Args:
        path: the ledger file; its directory is created.

    Raises:
        RunDirectoryError: the file is damaged, no ledger, from another schema, or in use.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _exclusive_lock(path)
        try:
            with _database_errors(path):
                self._database = _open_for_writing(path)
        except BaseException:
            os.close(self._lock)
            raise

    def identify(self, key: str, value: str) -> None:
        """Write `key` once; a later call may only repeat the same value.

        Raises:
            RunDirectoryError: the ledger already says something else.
        """
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
            (stored,) = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if stored != value:
            raise RunDirectoryError(
                f"The ledger {self.path} was written for {key} {stored}.",
                f"This run has {key} {value}.",
                "Continue with what the ledger was begun with, or choose another directory.",
            )

    def record(
        self, tick: Tick, decisions: Iterable[Decision] = (), updates: Iterable[Update] = ()
    ) -> None:
        """Add a tick with all that was decided in it, durably and in one transaction."""
        with self._transaction() as database:
            _insert(database, "ticks", tick)
            for decision in decisions:
                _insert(database, "decisions", decision)
            for update in updates:
                _insert(database, "updates", update)

    def record_evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation."""
        with self._transaction() as database:
            _insert(database, "evaluations", evaluation)

    def frames(self) -> int:
        """Frames recorded so far: the number of the next frame."""
        with _database_errors(self.path):
            query = "SELECT coalesce(max(start + n), 0) FROM ticks"
            return int(self._database.execute(query).fetchone()[0])

    def current_head(self) -> str | None:
        """SHA-256 of the classifier that the last kept update left, or None before the first."""
        with _database_errors(self.path):
            query = "SELECT head_after FROM updates WHERE kept ORDER BY id DESC LIMIT 1"
            row = self._database.execute(query).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Fold the write-ahead log into the file and let others write."""
        with _database_errors(self.path):
            self._database.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _database_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def read_ledger(path: Path) -> Ledger:
    """Read a ledger, also while it is being written.

    Raises:
        RunDirectoryError: there is no file, or it is damaged, no ledger, or from another schema.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"{path} does not exist.",
            "A ledger written by `sel-edge run` is expected.",
            "Check the path, or run `sel-edge run` first.",
        )
    with (
        _database_errors(path),
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database,
    ):
        _check_identity(database, path)
        database.execute("BEGIN")  # one snapshot for all tables
        rows = {name: _select(database, name) for name in TABLES}
    try:
        return Ledger(
            meta={str(row["key"]): str(row["value"]) for row in rows["meta"]},
            ticks=[tick_from_row(row) for row in rows["ticks"]],
            decisions=[decision_from_row(row) for row in rows["decisions"]],
            updates=[update_from_row(row) for row in rows["updates"]],
            evaluations=[evaluation_from_row(row) for row in rows["evaluations"]],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, str(error)) from error


def _exclusive_lock(path: Path) -> int:
    """Hold a lock beside the file until closed: two runtimes must not interleave their ticks."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _in_use(path) from None
    return descriptor


def _open_for_writing(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        if not _is_empty(database):
            _check_identity(database, path)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if _is_empty(database):
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
    except BaseException:
        database.close()
        raise
    return database


def _is_empty(database: sqlite3.Connection) -> bool:
    """No table yet: a new file, or one whose creation was cut off."""
    return _pragma(database, "application_id") == 0 and not (
        database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    )


def _check_identity(database: sqlite3.Connection, path: Path) -> None:
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
    if (state := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _damaged(path, str(state))


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, by its primary error code."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _in_use(path) from error
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
            raise _damaged(path, str(error)) from error
        raise


def _in_use(path: Path) -> RunDirectoryError:
    return RunDirectoryError(
        f"The ledger {path} is in use by another process.",
        "One runtime writes a ledger at a time.",
        "Stop the other one, or choose another directory.",
    )


def _damaged(path: Path, detail: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"The ledger {path} is damaged or no ledger: {detail}.",
        "A file written by `sel-edge run` is expected.",
        "Restore it from a copy, or choose another directory; nothing was changed.",
    )


def _insert(database: sqlite3.Connection, table: str, record: Record) -> None:
    row = to_row(record)
    columns, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)  # noqa: S608


def _select(database: sqlite3.Connection, table: str) -> list[sqlite3.Row]:
    database.row_factory = sqlite3.Row
    return database.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608
