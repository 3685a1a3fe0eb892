"""Where everything lies on the board, and how it is changed so that no instant is a bad one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .wire import Refusal

HASH = re.compile(r"[0-9a-f]{64}")


class Place:
    """The folder of the releases.

    Args:
        root: its path, absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases, self.incoming = root / "releases", root / "incoming"
        self.keys, self.state = root / "keys", root / "state"
        self.agent, self.token = root / "agent.pyz", root / "token"
        self.trial, self.journal = root / "trial.json", root / "deployments.jsonl"

    def make(self) -> None:
        """Make the folders that are not there; only their owner sees into them."""
        for folder in (self.root, self.releases, self.incoming, self.keys, self.state):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self, is_patient: bool = False) -> Iterator[None]:
        """Be the only agent that changes anything.

        Args:
            is_patient: wait for another one to end.

        Raises:
            Refusal: another one is at work, and is not waited for.
        """
        self.make()
        with (self.root / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
            except BlockingIOError:
                raise busy("Another deployment is at work on this board.") from None
            yield

    def linked(self, name: str) -> str | None:
        """The hash of the release that a link names; None without the link or its release."""
        try:
            target = str((self.root / name).readlink())
        except OSError:
            return None
        folder, _, found = target.rpartition("/")
        is_right = folder == "releases" and HASH.fullmatch(found) is not None
        return found if is_right and (self.releases / found).is_dir() else None

    def link(self, name: str, release: str | None) -> None:
        """Make a link name a release, in one step; None removes it."""
        path = self.root / name
        if release is None:
            path.unlink(missing_ok=True)
        else:
            relink(path, f"releases/{release}")
        sync_folder(self.root)

    def is_ready(self, release: str) -> bool:
        """Whether a release was installed to the end."""
        return (self.releases / release / "ready").is_file()

    def installed(self) -> list[str]:
        """The hashes of the releases that can be run, the newest last."""
        found = []
        for path in self.releases.glob("*/ready"):
            with contextlib.suppress(FileNotFoundError):  # a trial that ends removes old ones
                found.append((path.stat().st_mtime, path.parent.name))
        return [name for _, name in sorted(found) if HASH.fullmatch(name)]

    def text(self, release: str, name: str) -> str | None:
        """What stands in a file of a release; None if it cannot be read."""
        try:
            return (self.releases / release / name).read_text(errors="replace")
        except OSError:
            return None

    def open_trial(self) -> dict[str, Any] | None:
        """The trial under way."""
        try:
            trial: dict[str, Any] = json.loads(self.trial.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return trial

    def last(self) -> dict[str, Any] | None:
        """The newest line of the journal."""
        return next(self._lines(), None)

    def outcomes(self) -> dict[str, str]:
        """What the last trial of each release came to, by the journal."""
        found: dict[str, str] = {}
        for line in self._lines():
            found.setdefault(str(line.get("release")), str(line.get("outcome")))
        return found

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the journal, the newest first; those that a power cut has torn do not
        count."""
        try:
            lines = self.journal.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def clear(self, with_state: bool) -> None:
        """Remove everything but what was learned and whom the board trusts; or that, too.

        Args:
            with_state: that, too.
        """
        if self.releases.is_dir():
            for folder in self.releases.iterdir():
                remove_release(folder)
        lock = self.root / "lock"
        kept = {lock} if with_state else {lock, self.state, self.keys}
        for path in self.root.iterdir():
            if path in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        lock.unlink()  # the last, so that no other agent has begun anew before
        if with_state:
            self.root.rmdir()


def busy(found: str) -> Refusal:
    """What can only be done a little later."""
    return Refusal("busy", found, "", "Wait until it has ended, then run the command again.")


def relink(path: Path, target: str) -> None:
    """Make or replace a symbolic link in one step."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(path)


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step: afterwards it holds all of the content or what it held before."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def remove_release(folder: Path) -> None:
    """Remove a release; one that was only half removed cannot be taken for a whole one."""
    (folder / "ready").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
