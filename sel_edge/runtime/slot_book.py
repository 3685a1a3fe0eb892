"""Which deltas are in use: slots A and B, what is chosen of them at a start, and the way back.

A commit is written over the slot that does not hold the newest confirmed record, so that whatever
happens meanwhile, the other one loads. This module looks at how deltas are linked; networks are
made of them in `slots`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from sel_edge.bundle.keys import PublicKey
from sel_edge.core.closing import Closing
from sel_edge.core.errors import BundleError, RunDirectoryError, StorageError
from sel_edge.core.files import LOCK_FILE, storage_errors, take_lock
from sel_edge.runtime.slot_choice import (
    Choice,
    Step,
    T,
    choose,
    newest_first,
    read_records,
    unchanged_hash,
)
from sel_edge.runtime.slot_files import SlotFiles
from sel_edge.runtime.slot_history import History, tell_history
from sel_edge.runtime.slot_record import SlotRecord, Status

KEEP_DELTAS = 64
"""Files of deltas that stay, if no slot needs more of them."""
MIN_PREFIX = 8
"""Digits of a hash that name a network at least."""


class SlotBook(Closing):
    """The slots of one device, held by this process alone.

    Args:
        directory: of the slots; made if it is missing.
        trusted: keys whose deltas are read.
        base: hash of the bundle; None for that of the slots, wherever the bundle is.

    Attributes:
        files: where everything lies.
        base: hash of the bundle.
        records: of both slots.
        notes: full sentences on damaged records.

    Raises:
        RunDirectoryError: another process holds the slots, they belong to another bundle, or there
            are none and `base` is None.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(
        self, directory: Path, trusted: Collection[PublicKey], base: str | None = None
    ) -> None:
        self.files = SlotFiles(directory, trusted)
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(directory / LOCK_FILE, directory)
        try:
            self.files.prepare()
            self.records, self.notes = read_records(self.files)
            self.base = _common_base(directory, self.records.values(), base)
            self.counter = self._last_counter()
        except BaseException:
            os.close(self._lock)
            raise
        self._slot: str | None = None
        self._home: str | None = None
        self.chain: tuple[str, ...] = ()

    def start(self, start: T, step: Step[T]) -> Choice[T]:
        """Choose what to go on with; see `choose`."""
        choice = choose(self.files, self.records, start, step)
        self._slot, self.chain = choice.slot, choice.chain
        confirmed = [n for n, r in newest_first(self.records) if r.status is Status.CONFIRMED]
        self._home = self._slot if self._slot in confirmed else next(iter(confirmed), None)
        return choice

    @property
    def pending(self) -> bool:
        """Whether the deltas in use wait to be confirmed."""
        record = self.records[self._slot] if self._slot else None
        return record is not None and record.status is not Status.CONFIRMED

    def settle(self) -> None:
        """Right after `start`: remember which pending slot is used again, and which was given up,
        and remove what commits that were cut off have left.

        A slot that is used again for the first time is given up by the next start, unless it is
        confirmed or spared before: a process that it ends can tell of nothing afterwards.
        """
        for name, record in self.records.items():
            if record is not None and record.status is Status.TRIED:
                self._rewrite(name, Status.GIVEN_UP)
        if self._slot and self.pending:
            self._rewrite(self._slot, Status.TRIED)
        self._prune()

    def confirm(self) -> None:
        """The deltas in use work; without pending ones nothing is written."""
        if self._slot and self.pending:
            self._rewrite(self._slot, Status.CONFIRMED)
            self._home = self._slot

    def spare(self) -> None:
        """The deltas in use were not tried since `start`: it does not count."""
        record = self.records[self._slot] if self._slot else None
        if self._slot and record is not None and record.status is Status.TRIED:
            self._rewrite(self._slot, Status.PENDING)

    def put(self, chain: tuple[str, ...], status: Status) -> None:
        """Go over to other deltas, under the next counter.

        Raises:
            StorageError: the disk is full, read-only or failing; nothing has changed.
        """
        name = "b" if self._home == "a" else "a"
        record = SlotRecord(status, self.counter + 1, self.base, chain)
        self.files.write_record(name, record)
        self.counter, self.records[name] = record.counter, record
        self._slot, self.chain = name, chain
        if status is Status.CONFIRMED:
            self._home = name
        with suppress(StorageError):  # they are in use by now; the next one removes more
            self._prune()

    def chain_to(self, network: str) -> tuple[str, ...]:
        """Deltas that lead from the bundle to a network: a part of those in use, or the fewest.

        Raises:
            BundleError: no deltas that are left lead there.
        """
        at = unchanged_hash(self.base)
        for number, name in enumerate(self.chain):
            if at == network:
                return self.chain[:number]
            at = self.files.delta(name).new
        if at == network:
            return self.chain
        edges = [(delta.parent, name, delta.new) for name, delta in self.files.deltas()]
        return _shortest(edges, unchanged_hash(self.base), network)

    def find(self, text: str | None) -> str:
        """The hash of a network.

        Args:
            text: the first digits of it; "bundle" for the bundle's own; None for what the network
                in use was before its last update.

        Raises:
            BundleError: there is none, or more than one; or the network in use is the bundle's.
        """
        unchanged = unchanged_hash(self.base)
        if text is None:
            if not self.chain:
                raise _unknown("Nothing is left to undo")
            return self.files.delta(self.chain[-1]).parent
        if text == "bundle":
            return unchanged
        known = {unchanged, *(delta.new for _, delta in self.files.deltas())}
        found = [name for name in known if name.startswith(text.lower())]
        if len(text) < MIN_PREFIX or len(found) != 1:
            raise _unknown(f"{text!r} names {len(found)} networks")
        return found[0]

    def history(self) -> History:
        """All that is known of the updates."""
        choice = Choice("", self.chain, self._slot, ())
        return tell_history(self.files, self.base, self.records, choice, self.notes)

    def close(self) -> None:
        """Let another process hold the slots."""
        os.close(self._lock)

    def _rewrite(self, name: str, status: Status) -> None:
        record = self.records[name]
        if record is not None:
            changed = record.with_status(status)
            self.files.write_record(name, changed)
            self.records[name] = changed

    def _last_counter(self) -> int:
        """The highest counter given out; where a record is lost, its delta may still tell."""
        counters = [record.counter for record in self.records.values() if record is not None]
        if self.notes:
            counters += [delta.counter for _, delta in self.files.deltas()]
        return max(counters, default=0)

    def _prune(self) -> None:
        """Remove deltas that no slot refers to: those of commits that were cut off before their
        record, which have counters yet to come; and the oldest beyond `KEEP_DELTAS` in all."""
        needed = {n for record in self.records.values() if record for n in record.chain}
        counters = {name: self.files.counter(name) for name in self.files.names()}
        idle = sorted(counters.keys() - needed, key=lambda name: (counters[name], name))
        # Where a record was damaged at the start, its counter came from the deltas themselves.
        cut_off = [name for name in idle if counters[name] > self.counter]
        surplus = len(counters) - len(cut_off) - KEEP_DELTAS
        past = [name for name in idle if counters[name] <= self.counter]
        self.files.remove([*cut_off, *past[: max(surplus, 0)]])


def _common_base(
    directory: Path, records: Iterable[SlotRecord | None], expected: str | None
) -> str:
    bases = {record.base for record in records if record is not None}
    base = expected or next(iter(bases), None)
    if base is None:
        raise RunDirectoryError(
            f"No update was kept in {directory}.",
            "A state directory of a device that has learned is expected.",
            "Check the path, or let the device learn first.",
        )
    if bases - {base}:
        raise RunDirectoryError(
            f"The slots in {directory} belong to the bundle {(bases - {base}).pop()}.",
            f"Slots of the bundle {base} are expected.",
            "Go on with the bundle that they were begun with, or choose another directory.",
        )
    return base


def _shortest(edges: list[tuple[str, str, str]], start: str, goal: str) -> tuple[str, ...]:
    """The fewest edges (from, name, to) that lead from `start` to `goal`, by their names."""
    ways: dict[str, tuple[str, ...]] = {start: ()}
    ends = [start]
    while ends and goal not in ways:
        found = {b: (*ways[a], name) for a, name, b in edges if a in ends and b not in ways}
        ways |= found
        ends = list(found)
    if goal not in ways:
        raise _unknown(f"No deltas that are left lead to the network {goal}")
    return ways[goal]


def _unknown(found: str) -> BundleError:
    return BundleError(
        f"{found}.",
        f"`bundle`, or at least {MIN_PREFIX} digits of one network's hash, are expected.",
        "Run `sel-edge history` to see the networks that can be gone back to.",
    )
