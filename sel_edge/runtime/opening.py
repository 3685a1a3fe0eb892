"""Opening a runtime whose ledger says what it runs and what it sees."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sel_edge.bundle.bundle import Bundle
from sel_edge.core import provenance
from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LedgerWriter, Session
from sel_edge.runtime.board import Board
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime


class Source(Protocol):
    """Where frames come from.

    Attributes:
        spec: as a person would name it.
        sha256: of what it consists of; "" where that is not known beforehand.
        note: what every record made with it must say.
    """

    @property
    def spec(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def note(self) -> str: ...


@dataclass(frozen=True)
class NamedSource:
    """A source of which nothing but its name is known."""

    spec: str
    sha256: str = ""
    note: str = ""


def begin_session(ledger: LedgerWriter, board: Board, source: Source) -> None:
    """Say in the ledger which process it is whose joules and decisions follow."""
    started = datetime.fromtimestamp(board.clock(), UTC)
    ledger.record_session(
        Session(
            frame=ledger.frames(),
            started_utc=started.isoformat(timespec="seconds"),
            source=source.spec,
            source_sha256=source.sha256,
            note=source.note,
            meter=board.meter.name,
            energy_origin=board.meter.origin,
            versions=provenance.versions(),
        )
    )


def open_runtime(
    bundle: Bundle,
    ledger: LedgerWriter,
    board: Board,
    source: Source,
    budget: Budget | None = None,
    threads: int | None = None,
    config: RuntimeConfig | None = None,
) -> Runtime:
    """A runtime whose ledger says what network runs, what it was trained on and what it sees."""
    manifest = bundle.manifest
    data = manifest.provenance.get("data")
    trained_on = f"{data.get('spec')}, {data.get('note')}" if isinstance(data, dict) else "unknown"
    name = f"{manifest.model.name} of width {manifest.model.width}"
    with ExitStack() as undo:
        runtime = undo.enter_context(Runtime(bundle, ledger, board, budget, config, threads))
        ledger.identify("network", f"{name}, trained on {trained_on}".rstrip(", "))
        begin_session(ledger, board, source)
        undo.pop_all()  # from here on the caller closes it
    return runtime
