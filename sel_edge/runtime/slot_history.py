"""What a device has kept, told from the files of its slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sel_edge.bundle.delta import Delta
from sel_edge.bundle.keys import PublicKey
from sel_edge.runtime.slot_choice import Choice, choose, link, read_records, unchanged_hash
from sel_edge.runtime.slot_files import SlotFiles
from sel_edge.runtime.slot_record import SlotRecord, Status


@dataclass(frozen=True)
class Entry:
    """One kept update, as a history tells it.

    Attributes:
        network, parent: hashes of the networks after and before it.
        delta: SHA-256 of its file, which is the file's name.
        counter, frame, learned: see `Delta`.
        rows: parameter -> how many of its rows it changed, shared ones and those of domains.
        domains: whether it changed what is known of domains.
        bytes: of the file.
        state: "current"; "kept" if the current network came from it; else "undone".
    """

    network: str
    parent: str
    delta: str
    counter: int
    frame: int
    learned: tuple[str, ...]
    rows: Mapping[str, int]
    domains: bool
    bytes: int
    state: str


@dataclass(frozen=True)
class History:
    """All that is known of the updates of a device.

    Attributes:
        base: hash of the bundle; None as long as nothing was kept.
        unchanged: hash of the bundle's own network; None like `base`.
        current: hash of the network in use; None like `base`.
        confirmed: whether that network is known to work.
        entries: in the order of their making.
        notes: full sentences on what is damaged or dropped.
    """

    base: str | None
    unchanged: str | None
    current: str | None
    confirmed: bool
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def read_history(directory: Path, trusted: Collection[PublicKey]) -> History:
    """The history in a directory of slots, also while it is being written; nothing is changed.

    Raises:
        StorageError: it cannot be read.
    """
    files = SlotFiles(directory, trusted)
    records, notes = read_records(files)
    found = [record for record in records.values() if record is not None]
    if not found:
        return History(None, None, None, True, (), notes)
    base = max(found, key=lambda record: record.counter).base
    choice = choose(files, records, unchanged_hash(base), link)
    return tell_history(files, base, records, choice, notes)


def tell_history(
    files: SlotFiles,
    base: str,
    records: Mapping[str, SlotRecord | None],
    choice: Choice[str],
    notes: tuple[str, ...],
) -> History:
    """The same from what is known already.

    Args:
        files: where the deltas are; one at a time is read.
        base: hash of the bundle.
        records: of both slots.
        choice: what is in use.
        notes: to go before those of the choice.
    """
    entries = [_entry(name, delta) for name, delta in files.deltas() if delta.base == base]
    networks = {entry.delta: entry.network for entry in entries}
    unchanged = unchanged_hash(base)
    current = networks.get(choice.chain[-1], unchanged) if choice.chain else unchanged
    origins = ancestors({(entry.parent, entry.network) for entry in entries}, current)
    kept = [
        replace(entry, state="current" if entry.network == current else "kept")
        if entry.network in origins
        else entry
        for entry in sorted(entries, key=lambda entry: (entry.counter, entry.delta))
    ]
    record = records[choice.slot] if choice.slot else None
    confirmed = record is None or record.status is Status.CONFIRMED
    return History(base, unchanged, current, confirmed, tuple(kept), (*notes, *choice.notes))


def _entry(name: str, delta: Delta) -> Entry:
    return Entry(
        network=delta.new,
        parent=delta.parent,
        delta=name,
        counter=delta.counter,
        frame=delta.frame,
        learned=delta.learned,
        rows=_changed_rows(delta),
        domains=bool(delta.domains or delta.own_rows),
        bytes=delta.file_bytes,
        state="undone",
    )


def _changed_rows(delta: Delta) -> dict[str, int]:
    """Parameter -> how many of its rows a delta changes, shared ones and those of domains."""
    found = Counter({name: len(rows.indices) for name, rows in delta.rows.items()})
    for changes in delta.own_rows.values():
        found.update({n: len(own.rows.indices) + len(own.gone) for n, own in changes.items()})
    return dict(found)


def ancestors(edges: set[tuple[str, str]], network: str) -> set[str]:
    """Hashes of the networks that lead to this one, itself included.

    Args:
        edges: hashes before and after every update.
        network: a hash.
    """
    found = {network}
    while new := {a for a, b in edges if b in found} - found:
        found |= new
    return found
