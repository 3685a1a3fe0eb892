"""`sel-edge rollback`: undo kept updates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.cli.history import changes, require_slots
from sel_edge.report.wording import printable
from sel_edge.runtime.slot_book import SlotBook
from sel_edge.runtime.slot_choice import link, unchanged_hash
from sel_edge.runtime.slot_history import Entry, ancestors
from sel_edge.runtime.slot_record import Status
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY


@click.command("rollback")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--to",
    metavar="HASH",
    help="The network to go to, by the first digits of its hash in `sel-edge history`, or `bundle` "
    "for the network as it was exported; default: undo the last update.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be undone.")
def command(directory: Path, to: str | None, dry_run: bool) -> int:
    """Undo updates that the device with the state directory DIR has kept.

    Nothing is deleted: a rollback can be undone in the same way. The device must be stopped, and
    goes on from there when it is started again.
    """
    require_slots(directory)
    trusted = {load_public_key(public_path(directory / KEY_FILE))}
    with SlotBook(directory / SLOTS_DIRECTORY, trusted) as book:
        start = unchanged_hash(book.base)
        choice = book.start(start, link)
        for note in (*book.notes, *choice.notes):
            click.echo(printable(note), err=True)
        target = book.find(to)
        chain = book.chain_to(target)
        if target == choice.state:
            click.echo(f"The network {target} is in use already.")
            return 0
        verb = "would be" if dry_run else "is"
        lines = _steps(book.history().entries, choice.state, target, verb)
        if not dry_run:
            book.put(chain, Status.CONFIRMED)
    for line in lines:
        click.echo(line)
    origin = " (the bundle's own)" if target == start else ""
    click.echo(f"The network in use {verb} {target}{origin}.")
    return 0


def _steps(entries: Sequence[Entry], current: str, target: str, verb: str) -> list[str]:
    """A line for every update that is undone, newest first, or used again."""
    edges = {(entry.parent, entry.network) for entry in entries}
    before, after = ancestors(edges, current), ancestors(edges, target)
    # An update may lead back to an earlier network; a folded one has the number of what it repeats.
    updates = {(entry.counter, entry.network): entry for entry in entries}
    undone = [entry for (_, name), entry in updates.items() if name in before - after]
    used = [entry for (_, name), entry in updates.items() if name in after - before]
    told = [(entry, "undone") for entry in undone[::-1]] + [(entry, "used again") for entry in used]
    return [
        f"Update {entry.counter} (frame {entry.frame:,}: {changes(entry)}) {verb} {word}."
        for entry, word in told
    ]
