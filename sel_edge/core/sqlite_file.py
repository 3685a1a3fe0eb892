"""What all SQLite files of a device have in common: who made them, and what is wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.files import in_use

_STORAGE = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
)


@dataclass(frozen=True)
class SqliteKind:
    """One kind of file.

    Attributes:
        noun: what a person calls it.
        application_id: in the SQLite header, which tells it from other databases.
        schema: version of its tables.
    """

    noun: str
    application_id: int
    schema: int

    @contextmanager
    def errors(self, path: Path) -> Iterator[None]:
        """Turn SQLite's errors into ours, by its primary error code."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = primary_code(error)
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise in_use(path) from error
            if code in _STORAGE:
                raise StorageError(
                    f"The {self.noun} {path} could not be written or read: {error}.",
                    "What it held before is untouched.",
                    "Free some space, check the permissions or the disk, then run the command "
                    "again.",
                ) from error
            # Text that is no UTF-8 is found by Python, which sets no code.
            is_no_text = code == sqlite3.SQLITE_OK and isinstance(error, sqlite3.OperationalError)
            if is_no_text or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self.damaged(path, str(error)) from error
            raise

    def damaged(self, path: Path, detail: str) -> RunDirectoryError:
        """The error for a file that is none of this kind any more, or never was."""
        return RunDirectoryError(
            f"The {self.noun} {path} is damaged or no {self.noun}: {detail}.",
            "A file written by `sel-edge run` is expected.",
            "Restore it from a copy, or choose another directory; nothing was changed.",
        )

    def sign(self, database: sqlite3.Connection) -> None:
        """Say in the header of a new file what it is; inside the transaction that creates it."""
        database.execute(f"PRAGMA application_id = {self.application_id}")
        database.execute(f"PRAGMA user_version = {self.schema}")

    def require(self, database: sqlite3.Connection, path: Path) -> None:
        """Refuse a database of another kind or schema.

        Raises:
            RunDirectoryError: it is one.
        """
        if _number(database, "application_id") != self.application_id:
            raise RunDirectoryError(
                f"{path} is a database, but no {self.noun}.",
                f"A {self.noun} written by `sel-edge run` is expected.",
                "Choose another directory; nothing in this one was changed.",
            )
        if (schema := _number(database, "user_version")) != self.schema:
            raise RunDirectoryError(
                f"The {self.noun} {path} has schema {schema}.",
                f"This version of sel-edge reads schema {self.schema}.",
                "Use the version that wrote it, or choose another directory.",
            )

    def require_whole(self, database: sqlite3.Connection, path: Path) -> None:
        """Look at every page, which takes long on a card: only a power cut or a crash is a reason.

        Raises:
            RunDirectoryError: the file is damaged.
        """
        if (state := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise self.damaged(path, str(state))


def write_ahead_log(path: Path) -> Path:
    """The write-ahead log of a file, which the last one to close it removes."""
    return path.with_name(f"{path.name}-wal")


def keep_safely(database: sqlite3.Connection) -> None:
    """Log ahead and synchronize fully: a finished transaction survives a power cut."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")


def is_empty(database: sqlite3.Connection) -> bool:
    """No table yet: a new file, or one whose creation was cut off."""
    return _number(database, "application_id") == 0 and not (
        database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    )


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; `SQLITE_OK` where Python found the error itself."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF


def _number(database: sqlite3.Connection, pragma: str) -> int:
    return int(database.execute(f"PRAGMA {pragma}").fetchone()[0])
