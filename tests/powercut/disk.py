"""A disk that forgets: what a power cut may leave of a directory, after any of its operations.

Whatever is done to the real files reaches this disk only by a sync: the content of a file by
syncing the file, its name by syncing the directory it is in. At the cut, what was not synced may
have come through, or not, or in part.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

LOST, KEPT, MIXED = "lost", "kept", "mixed"
OUTCOMES = (LOST, KEPT, MIXED)


class PowerCutError(BaseException):
    """The power is gone; nobody handles this as an error."""


class Disk:
    """Watches a directory.

    Args:
        root: the directory; what is in it now is on the disk.

    Attributes:
        operations: counted so far: syncs, renames, removals and new directories.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.operations = root, 0
        self._contents = {_inode(path): path.read_bytes() for path in _files(root)}
        self._entries = {folder: _listing(folder) for folder in [root, *_folders(root)]}
        self._cut_at: int | None = None

    @contextmanager
    def cut_before(self, operation: int | None) -> Iterator[None]:
        """Count operations, and cut the power before one of them and all that follow it."""
        self._cut_at = operation
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "replace", "unlink", "mkdir"):
                patch.setattr(os, name, self._watched(getattr(os, name), name))
            yield

    def survive(self, target: Path, outcome: str, rng: np.random.Generator) -> None:
        """Lay out in a new directory what the power cut left.

        Args:
            target: a new directory.
            outcome: nothing unsynced came through, all of it did, or any part of it.
            rng: decides which part.
        """
        self._lay_out(self.root, target, outcome, rng)

    def _watched(self, real: Callable[..., None], name: str) -> Callable[..., None]:
        def operate(*arguments: object, **more: object) -> None:
            if self._cut_at is not None and self.operations >= self._cut_at:
                raise PowerCutError
            self.operations += 1
            real(*arguments, **more)
            if name == "fsync":
                self._synced(Path(f"/proc/self/fd/{arguments[0]}").readlink())

        return operate

    def _synced(self, path: Path) -> None:
        if path.is_dir():
            self._entries[path] = _listing(path)
        else:
            self._contents[_inode(path)] = path.read_bytes()

    def _lay_out(self, folder: Path, target: Path, outcome: str, rng: np.random.Generator) -> None:
        target.mkdir()
        synced, now = self._entries.get(folder, {}), _listing(folder)
        for name in sorted(synced.keys() | now.keys()):
            came_through = outcome == KEPT or (outcome == MIXED and rng.random() < 0.5)
            inode = (now if came_through else synced).get(name)
            if inode is None:
                continue
            if (folder / name).is_dir():
                self._lay_out(folder / name, target / name, outcome, rng)
            else:
                content = self._content(folder, inode, outcome, rng)
                (target / name).write_bytes(content)
                (target / name).chmod(0o600)

    def _content(self, folder: Path, inode: int, outcome: str, rng: np.random.Generator) -> bytes:
        """Of a file, which may have been written and not synced."""
        now = {_inode(path): path for path in folder.iterdir()}
        if inode not in now:
            return self._contents[inode]
        live = now[inode].read_bytes()
        if outcome == KEPT or self._contents.get(inode) == live:
            return live
        old = self._contents.get(inode, b"")
        torn = live[: int(rng.integers(0, len(live) + 1))]
        zeros = torn + bytes(len(live) - len(torn))
        return old if outcome == LOST else [old, torn, zeros, live][rng.integers(4)]


def copy_tree(source: Path, target: Path) -> Path:
    """A copy with modes kept."""
    shutil.copytree(source, target)
    return target


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _listing(folder: Path) -> dict[str, int]:
    return {path.name: _inode(path) for path in folder.iterdir()}


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def _folders(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_dir()]
