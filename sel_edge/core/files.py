"""Writing files so that a crash, a power cut or a full disk never costs what was there before."""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sel_edge.core.errors import RunDirectoryError, StorageError

LOCK_FILE = ".lock"
"""In a directory that one process at a time may write into."""


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn whatever the operating system refuses into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"Writing {path} failed: {error.strerror or error}.",
            "Nothing that existed before was changed.",
            "Free some space, then run the command again."
            if is_full
            else "Choose another place or mend this one, then run the command again.",
        ) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: afterwards the file holds all of it or the old content.

    Raises:
        StorageError: the disk is full, read-only or failing.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what `write_atomic` left beside `path` where it was killed; nobody may write it now.

    Raises:
        StorageError: the directory refuses it.
    """
    with storage_errors(path):
        for left in path.parent.glob(leftovers_of(path.name)):
            left.unlink(missing_ok=True)


def leftovers_of(name: str) -> str:
    """The pattern of what `write_atomic` leaves of a file of this name where it is killed."""
    return f".{glob.escape(name)}." + "[a-z0-9_]" * 8


def require_free(path: Path, but: Sequence[str] = ()) -> None:
    """Check that a new directory can be made at `path`: nothing there, or an empty directory.

    Args:
        path: the directory.
        but: patterns of the names of files that may be in it.

    Raises:
        RunDirectoryError: something is there.
        StorageError: the place cannot be looked at.
    """
    with storage_errors(path):
        taken = path.is_symlink() or (path.exists() and not path.is_dir())
        names = [each.name for each in path.iterdir()] if path.is_dir() else []
    others = [name for name in names if not any(fnmatch.fnmatch(name, one) for one in but)]
    if taken or others:
        raise RunDirectoryError(
            f"{path} already exists and is not an empty directory.",
            "A new directory is expected, so that nothing is overwritten.",
            "Choose another --out or remove the old one first.",
        )


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Build a directory aside and rename it into place once it is complete.

    Yields:
        The temporary directory to fill.

    Raises:
        RunDirectoryError: `path` already holds something.
        StorageError: the disk is full, read-only or failing.
    """
    require_free(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())
            sync_directory(temporary)
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(path.parent)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a directory, so that no second process writes into it at the same time.

    Raises:
        RunDirectoryError: another process holds it.
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        descriptor = take_lock(path / LOCK_FILE, path)
    try:
        yield
    finally:
        os.close(descriptor)


def take_lock(lock: Path, held: Path) -> int:
    """Hold a lock file until the descriptor returned is closed.

    Args:
        lock: the file; created where it is missing.
        held: what the lock is for, named in the error.

    Raises:
        RunDirectoryError: another process holds it.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise in_use(held) from None
    return descriptor


def in_use(path: Path) -> RunDirectoryError:
    """The error for a run directory or a ledger that another process writes."""
    return RunDirectoryError(
        f"{path} is in use by another process.",
        "One process at a time may write into it.",
        "Wait for the other one to end, stop it, or choose another directory.",
    )


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
