"""A device that has lived a little, for commands that go on from there."""

from __future__ import annotations

from pathlib import Path

from sel_edge.core.ledger import LEDGER_FILE, Ledger, read_ledger


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without what SQLite keeps beside its files while they are open."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def ledger_of(folder: Path) -> Ledger:
    """What a state directory's ledger holds."""
    return read_ledger(folder / LEDGER_FILE)
