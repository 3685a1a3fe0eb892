"""The append-only record of every decision and its cost; the only source of reports.

One SQLite file in WAL mode with full synchronization. A tick and everything decided in it are one
transaction, so that a power cut leaves whole ticks only and an SD card sees one flush per tick, or,
for a device that runs for months, one for all ticks of some seconds in which nothing was decided.
Rows can be added, never changed or deleted: the database itself refuses it. What a full disk keeps
from being written waits in memory and goes before whatever is recorded next.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sel_edge.core.closing import Closing
from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.files import storage_errors, take_lock
from sel_edge.core.ledger_file import LEDGER, open_for_reading, open_for_writing
from sel_edge.core.ledger_gather import Gathering, told_as_one
from sel_edge.core.ledger_records import (
    Balances,
    ClassEmbarrassment,
    Decision,
    DecisionKind,
    Evaluation,
    Levels,
    Record,
    Session,
    Tick,
    Update,
)
from sel_edge.core.ledger_rows import (
    TABLES,
    balances_from_row,
    decision_from_row,
    evaluation_from_row,
    levels_from_row,
    session_from_row,
    tick_from_row,
    to_row,
    update_from_row,
)

__all__ = [
    "LEDGER_FILE",
    "Balances",
    "ClassEmbarrassment",
    "Decision",
    "DecisionKind",
    "Evaluation",
    "Ledger",
    "LedgerWriter",
    "Levels",
    "Session",
    "Tick",
    "Update",
    "read_ledger",
]

LEDGER_FILE = "ledger.sqlite"

Row = tuple[str, Record]
"""A table, and what is to become a row of it."""


@dataclass(frozen=True)
class Ledger:
    """Everything a ledger file holds, in the order in which it was written."""

    meta: dict[str, str]
    ticks: list[Tick]
    decisions: list[Decision]
    updates: list[Update]
    evaluations: list[Evaluation]
    sessions: list[Session] = field(default_factory=list)
    levels: list[Levels] = field(default_factory=list)
    balances: list[Balances] = field(default_factory=list)


class LedgerWriter(Closing):
    """The one process that may add to a ledger; creates the file if there is none.

    Args:
        path: the ledger file; its directory is created.
        patience_s: how long ticks in which nothing was decided may wait in memory, to be written
            as one. A power cut then loses what was counted of as many seconds, and no decision.

    Raises:
        RunDirectoryError: the file is damaged, no ledger, from another schema, or in use.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(self, path: Path, patience_s: float = 0.0) -> None:
        self.path, self._gathering = path, Gathering(patience_s)
        self._waiting: list[Row] = []
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(path.with_name(f".{path.name}.lock"), path)
        try:
            with LEDGER.errors(path):
                self._database = open_for_writing(path)
        except BaseException:
            os.close(self._lock)
            raise

    def identify(self, key: str, value: str) -> None:
        """Write `key` once; a later call may only repeat the same value.

        Raises:
            RunDirectoryError: the ledger already says something else.
        """
        self._settle()  # of an earlier runtime; the next one counts its frames
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
        self,
        tick: Tick,
        decisions: Iterable[Decision] = (),
        updates: Iterable[Update] = (),
        levels: Iterable[Levels] = (),
        balances: Balances | None = None,
    ) -> None:
        """Add a tick with all that was decided in it, durably and in one transaction.

        A tick in which nothing was decided may wait (`patience_s`). What cannot be written is kept,
        and written with the next record or by `close`.

        Args:
            tick: the frames.
            decisions, updates: made after them, in order.
            levels: what is normal from now on, for every domain for which that has changed.
            balances: of the wallet after all of it, if that is to be recorded now.

        Raises:
            RunDirectoryError: another process held the file for long, or it is damaged.
            StorageError: the disk is full, read-only or failing.
        """
        rows: list[Row] = [("decisions", decision) for decision in decisions]
        rows += [("updates", update) for update in updates]
        rows += [("levels", each) for each in levels]
        rows += [] if balances is None else [("balances", balances)]
        if not rows and self._gathering.add(tick):
            return
        ticks: list[Row] = [("ticks", each) for each in told_as_one(self._gathering.take(), tick)]
        try:
            self._write([*ticks, *rows])
        except (RunDirectoryError, StorageError):
            self._waiting += [*ticks, *rows]
            raise

    def record_session(self, session: Session) -> None:
        """Add the beginning of a session: one run of one stream by one process."""
        self._settle()
        self._write([("sessions", session)])

    def record_evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation."""
        self._write([("evaluations", evaluation)])

    def flush_if_due(self) -> None:
        """Write what has waited long enough, where nothing more is recorded for a while.

        Raises:
            RunDirectoryError, StorageError: as `record`.
        """
        if self._gathering.is_due:
            self._settle()

    def frames(self) -> int:
        """Frames recorded so far: the number of the next frame."""
        row = self._last("SELECT start + n AS frames FROM ticks")
        return 0 if row is None else int(row["frames"])

    def current_network(self) -> str | None:
        """Hash of the network that the last kept update or rollback left; None before the first.

        A rollback is taken to come after an update of the same frame, unless a decision to keep
        one follows it.
        """
        back = self._last("SELECT id, frame, network FROM decisions WHERE kind = 'rollback'")
        update = self._last("SELECT frame, network_after AS network FROM updates WHERE kept")
        if back is None or update is None:
            last = back or update
        elif back["frame"] == update["frame"]:
            query = "SELECT id FROM decisions WHERE kind = 'keep' AND id > ?"
            last = back if self._last(query, back["id"]) is None else update
        else:
            last = max(back, update, key=lambda row: int(row["frame"]))
        return None if last is None else str(last["network"])

    def current_levels(self, network: str, domain: int) -> Levels | None:
        """The levels recorded last for the network with this hash in a domain; None without any.

        Raises:
            RunDirectoryError: the row cannot be read.
        """
        row = self._last("SELECT * FROM levels WHERE network = ? AND domain = ?", network, domain)
        with _foreign_rows(self.path):
            return None if row is None else levels_from_row(row)

    def updates(self) -> list[Update]:
        """Every update recorded so far, oldest first: what predictions are corrected by.

        Raises:
            RunDirectoryError: a row cannot be read.
        """
        with LEDGER.errors(self.path):
            rows = _select(self._database, "updates")
        with _foreign_rows(self.path):
            return [update_from_row(row) for row in rows]

    def close(self) -> None:
        """Write what could not be written so far, fold the write-ahead log into the file and let
        others write."""
        with ExitStack() as last:
            last.callback(os.close, self._lock)
            last.enter_context(LEDGER.errors(self.path))
            last.callback(self._database.close)
            # Whoever recorded what could not be written was told of it; there is nothing to add.
            with suppress(RunDirectoryError, StorageError):
                self._settle()

    def _last(self, query: str, *parameters: str | int) -> sqlite3.Row | None:
        """The newest row that a query finds."""
        with LEDGER.errors(self.path):
            found = self._database.execute(f"{query} ORDER BY id DESC LIMIT 1", parameters)
            row: sqlite3.Row | None = found.fetchone()
        return row

    def _settle(self) -> None:
        """Write all that waits."""
        self._waiting += [("ticks", tick) for tick in self._gathering.take()]
        if self._waiting:
            self._write([])

    def _write(self, rows: Iterable[Row]) -> None:
        """Add rows, all of them or none, behind those that could not be written before."""
        with self._transaction() as database:
            for table, record in (*self._waiting, *rows):
                _insert(database, table, record)
        self._waiting.clear()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with LEDGER.errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def read_ledger(path: Path, newest: int | None = None) -> Ledger:
    """Read a ledger, also while it is being written, and also from read-only media.

    Args:
        path: the file.
        newest: how many rows of each table are read at most, the newest of them; None for all.

    Raises:
        RunDirectoryError: there is no file, or it is damaged, no ledger, or from another schema.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"{path} does not exist.",
            "A ledger written by `sel-edge run` is expected.",
            "Check the path, or run `sel-edge run` first.",
        )
    with LEDGER.errors(path), closing(open_for_reading(path)) as database:
        database.execute("BEGIN")  # one snapshot for all tables
        rows = {name: _select(database, name, newest) for name in TABLES}
    with _foreign_rows(path):
        return Ledger(
            meta={str(row["key"]): str(row["value"]) for row in rows["meta"]},
            ticks=[tick_from_row(row) for row in rows["ticks"]],
            decisions=[decision_from_row(row) for row in rows["decisions"]],
            updates=[update_from_row(row) for row in rows["updates"]],
            evaluations=[evaluation_from_row(row) for row in rows["evaluations"]],
            sessions=[session_from_row(row) for row in rows["sessions"]],
            levels=[levels_from_row(row) for row in rows["levels"]],
            balances=[balances_from_row(row) for row in rows["balances"]],
        )


@contextmanager
def _foreign_rows(path: Path) -> Iterator[None]:
    """Rows that no writer of this schema writes mean that the file is damaged."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise LEDGER.damaged(path, str(error)) from error


def _insert(database: sqlite3.Connection, table: str, record: Record) -> None:
    row = to_row(record)
    columns, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)  # noqa: S608


def _select(
    database: sqlite3.Connection, table: str, newest: int | None = None
) -> list[sqlite3.Row]:
    query = f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT ?"  # noqa: S608
    return database.execute(query, (-1 if newest is None else newest,)).fetchall()[::-1]
