"""Files with keys: a private one is its owner's alone from its first byte on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sel_edge.core.errors import ConfigError, StorageError
from sel_edge.core.files import write_atomic

MAX_FILE_BYTES = 4096
_OTHERS = 0o077


def write_private_key(path: Path, content: bytes) -> None:
    """Write a key that only its owner can read; its directory is made where it is missing.

    Raises:
        StorageError: it cannot be written.
    """
    with _for_the_owner_only():
        write_atomic(path, content)


def read_private_key(path: Path) -> bytes:
    """The content of a private key's file, at most its first 4096 bytes.

    Raises:
        ConfigError: others can read it.
        StorageError: it cannot be read.
    """
    content, mode = _read(path)
    if mode & _OTHERS:
        raise ConfigError(
            f"Other users can read the private key {path} (its mode is {mode & 0o777:04o}).",
            "A private key that only its owner can read is expected.",
            f"Run `chmod 600 {path}`, and make a new key if somebody may have copied this one.",
        )
    return content


def read_public_key(path: Path) -> bytes:
    """The content of a key's file that anybody may read, at most its first 4096 bytes.

    Raises:
        StorageError: it cannot be read.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[bytes, int]:
    """The content and mode of a key file, told of one and the same file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            return file.read(MAX_FILE_BYTES), mode
    except OSError as error:
        raise StorageError(
            f"The key {path} cannot be read: {error.strerror or error}.",
            "A file that this user may read is expected.",
            "Check the path and its owner.",
        ) from error


@contextmanager
def _for_the_owner_only() -> Iterator[None]:
    """Files that are made meanwhile have mode 0600 from the beginning."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)
