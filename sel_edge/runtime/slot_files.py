"""The files of the slots: two records, and deltas named by their content.

Every file is written aside, synced, renamed, and its directory synced; and every write is counted,
since flash wears out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sel_edge.bundle.delta import MAX_DELTA_BYTES, START_BYTES, Delta, open_delta, peek_counter
from sel_edge.bundle.keys import PublicKey
from sel_edge.core.errors import BundleError
from sel_edge.core.files import (
    LOCK_FILE,
    sha256_bytes,
    storage_errors,
    sync_directory,
    write_atomic,
)
from sel_edge.runtime.slot_record import MAX_RECORD_BYTES, SlotRecord, parse_record

DELTAS = "deltas"
SUFFIX = ".delta"
NAMES = ("a", "b")


class SlotFiles:
    """The files in a directory.

    Args:
        directory: of the slots; `prepare` makes it.
        trusted: keys whose deltas are read.

    Attributes:
        writes: files written by this object.
        written_bytes: their bytes.
    """

    def __init__(self, directory: Path, trusted: Collection[PublicKey]) -> None:
        self.directory, self._trusted = directory, trusted
        self._deltas = directory / DELTAS
        self.writes = self.written_bytes = 0

    def prepare(self) -> None:
        """Make the directories durable, and remove what interrupted writes have left.

        Raises:
            StorageError: the disk is full, read-only or failing.
        """
        with storage_errors(self.directory):
            self._deltas.mkdir(parents=True, exist_ok=True)
            for folder in (self.directory, self._deltas):
                for left in folder.glob(".*"):
                    if left.name != LOCK_FILE:
                        left.unlink()
            for folder in (self.directory, self.directory.parent):
                sync_directory(folder)

    def record(self, name: str) -> SlotRecord | None:
        """What slot "a" or "b" holds; None if it was never written.

        Raises:
            ValueError: it is damaged.
            StorageError: it cannot be read.
        """
        path = self._record(name)
        with storage_errors(path):
            if not path.exists():
                return None
            with path.open("rb") as file:
                return parse_record(file.read(MAX_RECORD_BYTES))

    def write_record(self, name: str, record: SlotRecord) -> None:
        """Replace what a slot holds.

        Raises:
            StorageError: the disk is full, read-only or failing; the slot holds what it did.
        """
        self._write(self._record(name), record.to_bytes())

    def delta(self, name: str) -> Delta:
        """The delta in the file of this name.

        Raises:
            BundleError: it is missing, damaged, or not signed by a trusted key.
            StorageError: it cannot be read.
        """
        path = self._delta(name)
        with storage_errors(path):
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_DELTA_BYTES + 1)  # one more is refused below
            except FileNotFoundError as error:
                raise _unusable(path, "it is missing") from error
        if sha256_bytes(content) != name:
            raise _unusable(path, "its content does not have the hash that is its name")
        return open_delta(content, self._trusted)

    def write_delta(self, content: bytes) -> str:
        """Store a signed delta and return its name.

        Raises:
            StorageError: the disk is full, read-only or failing.
        """
        name = sha256_bytes(content)
        self._write(self._delta(name), content)
        return name

    def names(self) -> list[str]:
        """Names of all deltas, sorted."""
        with storage_errors(self._deltas):
            return sorted(path.stem for path in self._deltas.glob(f"[0-9a-f]*{SUFFIX}"))

    def deltas(self) -> Iterator[tuple[str, Delta]]:
        """All deltas that can be used, with their names."""
        for name in self.names():
            try:
                yield name, self.delta(name)
            except BundleError:
                continue

    def counter(self, name: str) -> int:
        """The counter that a delta's file states, unchecked."""
        path = self._delta(name)
        with storage_errors(path), path.open("rb") as file:
            return peek_counter(file.read(START_BYTES))

    def remove(self, names: Iterable[str]) -> None:
        """Remove deltas; after a power cut some of them may be there again."""
        for name in names:
            with storage_errors(self._deltas):
                self._delta(name).unlink(missing_ok=True)

    def _record(self, name: str) -> Path:
        return self.directory / f"{name}.slot"

    def _delta(self, name: str) -> Path:
        return self._deltas / f"{name}{SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        write_atomic(path, content)
        self.writes += 1
        self.written_bytes += len(content)


def _unusable(path: Path, detail: str) -> BundleError:
    return BundleError(
        f"The delta {path} cannot be used: {detail}.",
        "The file that a commit wrote is expected.",
        "Restore it from a copy, or go on with what is left.",
    )
