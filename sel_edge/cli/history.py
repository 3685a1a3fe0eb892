"""`sel-edge history`: which updates a device has kept, and which of them are in use."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.report.wording import names, printable
from sel_edge.runtime.slot_book import MIN_PREFIX
from sel_edge.runtime.slot_history import Entry, History, read_history
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY
from sel_edge.runtime.undo import require_slots

SHORT = MIN_PREFIX + 4
HEADING = ("update", "frame", "network", "from", "bytes", "state", "changed")


@click.command("history")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON line.")
def command(directory: Path, as_json: bool) -> int:
    """List the updates that the device with the state directory DIR has kept, oldest first.

    `kept` updates are part of the network in use, `undone` ones can be gone forward to again. The
    device may go on meanwhile.
    """
    require_slots(directory)
    trusted = {load_public_key(public_path(directory / KEY_FILE))}
    history = read_history(directory / SLOTS_DIRECTORY, trusted)
    if as_json:
        click.echo(json.dumps(asdict(history)))
        return 0
    for line in described(history):
        click.echo(line)
    return 0


def described(history: History) -> list[str]:
    """Lines for a person to read."""
    if history.current is None:
        return [*history.notes, "No update was kept: the bundle's own network is in use."]
    sure = "confirmed" if history.confirmed else "not confirmed yet"
    own = history.current == history.unchanged
    lines = [
        *map(printable, history.notes),
        f"bundle   {history.base}",
        f"network  {history.current} ({'the bundle’s own' if own else sure})",
    ]
    return lines + (["", *_table(history)] if history.entries else [])


def changes(entry: Entry) -> str:
    """What an update changed, in words."""
    parts = [f"{sum(entry.rows.values())} rows of {len(entry.rows)} tensors"] if entry.rows else []
    parts += ["domains"] if entry.domains else []
    parts += [f"classes learned: {names(entry.learned)}"] if entry.learned else []
    return ", ".join(parts)


def _table(history: History) -> list[str]:
    rows = [
        (
            str(entry.counter),
            f"{entry.frame:,}",
            entry.network[:SHORT],
            "bundle" if entry.parent == history.unchanged else entry.parent[:SHORT],
            f"{entry.bytes:,}",
            entry.state,
            changes(entry),
        )
        for entry in history.entries
    ]
    widths = [max(map(len, column)) for column in zip(HEADING, *rows, strict=True)]
    right = (0, 1, 4)
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (HEADING, *rows)
    ]
