"""The SQLite file of a sample store: opening it safely, whole transactions, and what they wrote.

Write-ahead logging with full synchronization, as for the ledger: a transaction that was finished
survives a power cut, and one that was not leaves nothing. Unlike the ledger, several processes may
write: each takes its turn, for a few milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.sqlite_file import SqliteKind, is_empty, keep_safely, write_ahead_log

SAMPLES = SqliteKind("sample store", application_id=0x53454C53, schema=1)  # "SELS"
BUSY_S = 10.0
"""Seconds to wait for another process to finish its transaction."""

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
    # Frames come last: SQLite reads a row only as far as it must.
    """CREATE TABLE waiting (id TEXT PRIMARY KEY NOT NULL, number INTEGER NOT NULL,
        predicted TEXT NOT NULL, score REAL NOT NULL, reason TEXT NOT NULL, seen REAL NOT NULL,
        feature BLOB NOT NULL, frame BLOB NOT NULL)""",
    """CREATE TABLE labelled (id TEXT PRIMARY KEY NOT NULL, number INTEGER NOT NULL, label TEXT,
        source TEXT NOT NULL, held_out INTEGER, given REAL NOT NULL, frame BLOB NOT NULL)""",
    # What each source said last about each frame. A new answer takes a new, higher seq.
    """CREATE TABLE answers (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL,
        number INTEGER NOT NULL, origin TEXT NOT NULL, source TEXT NOT NULL, label TEXT,
        given REAL NOT NULL, UNIQUE (id, origin))""",
    "CREATE INDEX waiting_number ON waiting (number)",
    "CREATE INDEX labelled_number ON labelled (number)",
    "CREATE INDEX labelled_label ON labelled (label)",
    "CREATE INDEX answers_number ON answers (number)",
)

Value: TypeAlias = str | bytes | int | float | None


@dataclass
class Written:
    """What this process wrote, for the budget of a flash card.

    Attributes:
        flushes: transactions, each synchronized.
        bytes: of the values in them. SQLite writes whole pages of 4,096 bytes, to its log and from
            there to the file: 6.6 times as much in a run with a flush for every 16 images of 3 KB.
    """

    flushes: int = 0
    bytes: int = 0


class SampleFile:
    """One connection to a sample store.

    Args:
        path: the file.
        create: make the file if it is missing or empty; otherwise that is an error.

    Raises:
        RunDirectoryError: missing, damaged, of another kind or schema, or held by another process.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, create: bool) -> None:
        self.path, self.written = path, Written()
        if not create and not path.is_file():
            raise _missing(path)
        with SAMPLES.errors(path):
            unclean = create and write_ahead_log(path).exists()
            self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            try:
                self._open(create, unclean)
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Let go of the file; the last one to do so folds the log into it."""
        with SAMPLES.errors(self.path):
            self._database.close()

    def rows(self, query: str, *values: Value) -> list[sqlite3.Row]:
        """Everything that a query finds."""
        with SAMPLES.errors(self.path):
            return self._database.execute(query, values).fetchall()

    def row(self, query: str, *values: Value) -> sqlite3.Row | None:
        """The first row that a query finds."""
        with SAMPLES.errors(self.path):
            found: sqlite3.Row | None = self._database.execute(query, values).fetchone()
        return found

    def change(self, statement: str, *values: Value) -> int:
        """Carry out a statement inside `writing` and return how many rows it changed."""
        self.written.bytes += sum(map(_size, values))
        with SAMPLES.errors(self.path):
            return self._database.execute(statement, values).rowcount

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, all queries see the same moment."""
        with SAMPLES.errors(self.path):
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all that is changed inside is durable afterwards, or none of it is."""
        before, changes = self.written.bytes, self._database.total_changes
        with SAMPLES.errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self.written.bytes = before
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        if self._database.total_changes > changes:
            self.written.flushes += 1

    def note(self, key: str, value: str) -> None:
        """Keep a word about the store; inside `writing`."""
        self.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def noted(self, key: str) -> str | None:
        """What was kept under a key."""
        found = self.row("SELECT value FROM meta WHERE key = ?", key)
        return None if found is None else str(found["value"])

    def count(self, key: str, more: int) -> None:
        """Add to a counter; inside `writing`."""
        self.note(key, str(self.counted(key) + more))

    def counted(self, key: str) -> int:
        """A counter.

        Raises:
            RunDirectoryError: it is no number.
        """
        try:
            return int(self.noted(key) or 0)
        except ValueError as error:
            raise SAMPLES.damaged(self.path, f"{key} is no number") from error

    def _open(self, create: bool, unclean: bool) -> None:
        database = self._database
        database.row_factory = sqlite3.Row
        # A file from elsewhere may hold triggers and views: they run nothing, and are refused.
        database.execute("PRAGMA trusted_schema = OFF")
        if not is_empty(self._database):
            self._check(unclean)
        elif not create:
            raise _missing(self.path)
        keep_safely(database)
        if create:
            self._create()

    def _create(self) -> None:
        with self.writing():
            if is_empty(self._database):
                SAMPLES.sign(self._database)
                for table in TABLES:
                    self._database.execute(table)

    def _check(self, unclean: bool) -> None:
        SAMPLES.require(self._database, self.path)
        if _schema(self._database) != _expected_schema():
            raise SAMPLES.damaged(self.path, "its tables are not those of a sample store")
        if unclean:
            SAMPLES.require_whole(self._database, self.path)


def _missing(path: Path) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} does not exist.",
        "The frames that wait for a label lie in the state directory of `sel-edge run`.",
        "Check the directory, or run `sel-edge run` first.",
    )


def _schema(database: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    return [(str(row[0]), str(row[1]), row[2]) for row in database.execute(query)]


@cache
def _expected_schema() -> list[tuple[str, str, str | None]]:
    database = sqlite3.connect(":memory:")
    try:
        for table in TABLES:
            database.execute(table)
        return _schema(database)
    finally:
        database.close()


def _size(value: Value) -> int:
    return len(value) if isinstance(value, str | bytes) else 8
