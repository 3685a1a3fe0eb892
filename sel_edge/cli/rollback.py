"""`sel-edge rollback`: undo kept updates."""

from __future__ import annotations

from pathlib import Path

import click

from sel_edge.cli.history import changes
from sel_edge.cli.remote import ssh_option
from sel_edge.cli.rollback_host import roll_back_host
from sel_edge.deploy.target import destination, is_host
from sel_edge.report.wording import printable
from sel_edge.runtime.slot_history import Entry
from sel_edge.runtime.undo import roll_back


@click.command("rollback")
@click.argument("place", metavar="DIR|HOST")
@click.option(
    "--to",
    metavar="HASH",
    help="The network to go to, by the first digits of its hash in `sel-edge history`, or `bundle` "
    "for the network as it was exported; default: undo the last update. Of a HOST, a release.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be undone.")
@ssh_option
def command(place: str, to: str | None, dry_run: bool, ssh_options: tuple[str, ...]) -> int:
    """Undo updates that the device with the state directory DIR has kept, or a deployment to HOST.

    Nothing is deleted: a rollback can be undone in the same way. The device of a DIR must be
    stopped, and goes on from there when it is started again. A HOST, as `sel-edge deploy` takes
    it, goes back to the release that ran before, and is watched like after a deployment.
    """
    if is_host(place):
        return roll_back_host(destination(place), to, dry_run, ssh_options)
    return _roll_back_directory(Path(place), to, dry_run)


def _roll_back_directory(directory: Path, to: str | None, dry_run: bool) -> int:
    done = roll_back(directory, to, dry_run)
    for note in done.notes:
        click.echo(printable(note), err=True)
    if not done.changed:
        click.echo(f"The network {done.network} is in use already.")
        return 0
    verb = "would be" if dry_run else "is"
    for entry in done.undone:
        click.echo(_line(entry, f"{verb} undone"))
    for entry in done.used_again:
        click.echo(_line(entry, f"{verb} used again"))
    origin = " (the bundle's own)" if done.is_bundles else ""
    click.echo(f"The network in use {verb} {done.network}{origin}.")
    return 0


def _line(entry: Entry, what: str) -> str:
    return f"Update {entry.counter} (frame {entry.frame:,}: {changes(entry)}) {what}."
