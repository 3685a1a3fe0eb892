"""Slots: the network in use, every kept update as a signed delta, and the way back.

STATE/slots/a.slot, b.slot        two records, of which one always loads
STATE/slots/deltas/HASH.delta     signed deltas, named by their content
STATE/key.pem, key.pub.pem        the device's own key
"""

from __future__ import annotations

from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.delta import Delta
from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.core.closing import Closing
from sel_edge.runtime.deltas import apply, between
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.slot_book import SlotBook
from sel_edge.runtime.slot_history import History
from sel_edge.runtime.slot_record import Status

SLOTS_DIRECTORY = "slots"
KEY_FILE = "key.pem"
MAX_UPDATES = 32
"""Deltas in a row that a start applies; then they are folded into one."""


def open_slots(state: Path, bundle: Bundle) -> Slots:
    """The slots of a state directory, with its own key, which is made at first use.

    Raises:
        as `Slots` and `open_key`.
    """
    return Slots(state / SLOTS_DIRECTORY, bundle, open_key(state / KEY_FILE))


class Slots(Closing):
    """The networks of one device on disk; kill -9 at any instant leaves one that loads.

    A commit is pending until `confirm`. A pending network is used once more after a restart; if it
    is not confirmed then either, the next start goes back to the one confirmed last: it may have
    ended the process, when it was opened or when it answered. A process that ends in good order and
    never asked it for an answer says so (`spare`), and that start does not count.

    Args:
        directory: of the slots; made if it is missing.
        bundle: the network as it was exported.
        key: signs new deltas; older ones must be signed by it too.
        max_updates: how many deltas a start applies at most, 2 to 255.

    Attributes:
        notes: full sentences on what was found damaged or dropped at the start, and what is used
            instead.

    Raises:
        RunDirectoryError: another process holds the slots, or they belong to another bundle.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(
        self, directory: Path, bundle: Bundle, key: PrivateKey, max_updates: int = MAX_UPDATES
    ) -> None:
        self._key, self._max_updates = key, max_updates
        self._start = bundle_network(bundle)
        self._book = SlotBook(directory, {key.public}, bundle.manifest.bundle_hash)
        try:
            choice = self._book.start(self._start, apply)
            self._network = choice.state
            self.notes = (*self._book.notes, *choice.notes)
            if self.notes:
                self.notes += (f"The network in use is {self._network.hash}.",)
            self._book.settle()
        except BaseException:
            self._book.close()
            raise

    def current(self) -> Network:
        """The network in use."""
        return self._network

    @property
    def pending(self) -> bool:
        """Whether the network in use waits to be confirmed."""
        return self._book.pending

    @property
    def made_at(self) -> int:
        """Frames seen when the network in use was made, or a few more; 0 for the bundle's.

        Raises:
            BundleError: the delta that says it has become damaged.
            StorageError: it cannot be read.
        """
        chain = self._book.chain
        return self._book.files.delta(chain[-1]).frame if chain else 0

    @property
    def flash_writes(self) -> int:
        """Files written since the start."""
        return self._book.files.writes

    @property
    def flash_bytes(self) -> int:
        """Bytes of these files."""
        return self._book.files.written_bytes

    def commit(self, network: Network, frame: int) -> Delta:
        """Make another network the one in use, pending.

        Args:
            network: of the same bundle, and another than the one in use.
            frame: frames seen so far.

        Returns:
            What it changed.

        Raises:
            ValueError: it is the one in use.
            StorageError: the disk is full, read-only or failing; the old one stays in use.
        """
        if network.hash == self._network.hash:
            raise ValueError("the network to commit is the one in use")
        delta = between(self._network, network, self._book.counter + 1, frame)
        name = self._book.files.write_delta(delta.signed(self._key))
        self._book.put((*self._folded(frame), name), Status.PENDING)
        self._network = network
        return delta

    def confirm(self) -> None:
        """The network in use works: from now on a start uses it, whatever happens.

        Raises:
            StorageError: the disk is full, read-only or failing; it stays pending.
        """
        self._book.confirm()

    def spare(self) -> None:
        """The network in use was not asked for an answer since the start, which therefore says
        nothing against it if it is pending.

        Raises:
            StorageError: the disk is full, read-only or failing; the start counts.
        """
        self._book.spare()

    def rollback(self, to: str | None = None) -> Network:
        """Go back, or forward again, to a network that was committed; confirmed at once.

        Deltas are kept, so this can be undone as well.

        Args:
            to: the network's hash, or as many of its first digits as `SlotBook.find` wants, or
                "bundle"; None undoes the last update.

        Returns:
            The network now in use.

        Raises:
            BundleError: there is no such network, or a delta on the way to it is damaged.
            StorageError: the disk is full, read-only or failing; the old one stays in use.
        """
        chain = self._book.chain_to(self._book.find(to))
        network = self._start
        for name in chain:
            network = apply(network, self._book.files.delta(name))
        self._book.put(chain, Status.CONFIRMED)
        self._network = network
        return network

    def history(self) -> History:
        """Every delta that is left, oldest first, and which of them are in use."""
        return self._book.history()

    def close(self) -> None:
        """Let another process hold the slots."""
        self._book.close()

    def _folded(self, frame: int) -> tuple[str, ...]:
        """The chain in use; a long one as a single delta from the bundle's network.

        What was folded stays on disk until no slot refers to it and newer deltas need its place.
        """
        chain = self._book.chain
        if len(chain) < self._max_updates:
            return chain
        if self._network.hash == self._start.hash:
            return ()
        snapshot = between(self._start, self._network, self._book.counter, frame)
        return (self._book.files.write_delta(snapshot.signed(self._key)),)
