"""Going back to an earlier network of a device that is stopped, or forward again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.core.errors import RunDirectoryError
from sel_edge.runtime.slot_book import SlotBook
from sel_edge.runtime.slot_choice import link, unchanged_hash
from sel_edge.runtime.slot_history import Entry, ancestors
from sel_edge.runtime.slot_record import Status
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY


@dataclass(frozen=True)
class Undone:
    """What a rollback did, or would do.

    Attributes:
        network: hash of the network in use since.
        changed: whether that is another one than before.
        is_bundles: whether it is the bundle's own.
        undone: updates that it is without, newest first.
        used_again: updates that it has again, oldest first.
        notes: full sentences on what is damaged.
    """

    network: str
    changed: bool
    is_bundles: bool
    undone: tuple[Entry, ...]
    used_again: tuple[Entry, ...]
    notes: tuple[str, ...]


def require_slots(state: Path) -> None:
    """Refuse a directory in which no device has kept anything.

    Raises:
        RunDirectoryError: there are no slots.
    """
    if not (state / SLOTS_DIRECTORY).is_dir():
        raise RunDirectoryError(
            f"{state} holds no slots.",
            "The state directory of a device that has learned is expected.",
            "Check the path: `sel-edge run` names it at its end.",
        )


def roll_back(state: Path, to: str | None, dry_run: bool = False) -> Undone:
    """Have another network used from the next start on; nothing is deleted.

    Args:
        state: directory of a device that is stopped.
        to: as of `SlotBook.find`.
        dry_run: only say what would be undone.

    Raises:
        RunDirectoryError: nothing was ever kept there, or the device is not stopped.
        BundleError: there is no such network, or no deltas that are left lead to it.
        StorageError: the disk is full, read-only or failing; nothing has changed.
    """
    require_slots(state)
    trusted = {load_public_key(public_path(state / KEY_FILE))}
    with SlotBook(state / SLOTS_DIRECTORY, trusted) as book:
        start = unchanged_hash(book.base)
        choice = book.start(start, link)
        target = book.find(to)
        chain = book.chain_to(target)
        undone, used_again = _difference(book.history().entries, choice.state, target)
        if target != choice.state and not dry_run:
            book.put(chain, Status.CONFIRMED)
        return Undone(
            network=target,
            changed=target != choice.state,
            is_bundles=target == start,
            undone=undone,
            used_again=used_again,
            notes=(*book.notes, *choice.notes),
        )


def _difference(
    entries: Sequence[Entry], current: str, target: str
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Updates that lead to the current network alone, newest first, and to the target alone."""
    edges = {(entry.parent, entry.network) for entry in entries}
    before, after = ancestors(edges, current), ancestors(edges, target)
    # An update may lead back to an earlier network; a folded one has the number of what it repeats.
    updates = {(entry.counter, entry.network): entry for entry in entries}
    undone = [entry for (_, name), entry in updates.items() if name in before - after]
    used = [entry for (_, name), entry in updates.items() if name in after - before]
    return tuple(undone[::-1]), tuple(used)
