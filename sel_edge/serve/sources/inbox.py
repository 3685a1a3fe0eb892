"""A folder in which pictures appear: each file is looked at once, and left alone."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError, SelEdgeError
from sel_edge.core.files import write_atomic
from sel_edge.data.decode import Decoder
from sel_edge.data.jpeg_note import JpegCensus
from sel_edge.data.limits import MAX_MEMBER_BYTES
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.sources.interface import Refused, Rest

POLL_S = 0.5
"""A file must look the same twice, this far apart, before it is read."""
LOOKING_SHARE = 0.1
"""Of the time, at most, is spent on looking through a large folder."""
SETTLED_S = 5.0
"""A picture that does not decode may still be on its way for this long."""
SAVED_EVERY_S = 60.0
MEMORY_FILE = "inbox.json"

Mark = tuple[int, int]
"""When a file was changed last, in nanoseconds since 1970, and its size in bytes."""


class InboxSource:
    """A watched folder. A file that is changed is a new picture.

    What was looked at is remembered over restarts. After a power cut, pictures of the last minute
    are looked at again; when the service ends, the few that were read and wait are never answered.

    Args:
        name: as the user named it.
        folder: that is watched; subfolders and names that begin with a dot are not.
        memory: directory for what is remembered.
    """

    signal_shape: tuple[int, ...] | None = None
    is_patient = True

    def __init__(self, name: str, folder: Path, memory: Path) -> None:
        self.name, self._folder = name, folder
        self._memory = _Memory(memory / MEMORY_FILE, str(folder))
        self._decoder = Decoder(name, None, "rgb", JpegCensus())

    def arrivals(self, rest: Rest) -> Iterator[Arrival | Refused | None]:
        """See `Source`."""
        before: dict[str, Mark] = {}
        try:
            while True:
                begun_s = time.monotonic()
                now = self._listed()
                looked_s = time.monotonic() - begun_s
                self._memory.forget_all_but(now)
                for name in self._new(now, before):
                    yield self._read(name, now[name])
                    self._memory.save_if_due()
                before = now
                yield None
                self._memory.save_if_due()
                if rest(max(POLL_S, looked_s / LOOKING_SHARE)):
                    return
        finally:
            self._memory.save()

    def _listed(self) -> dict[str, Mark]:
        """Every regular file, the oldest first."""
        try:
            with os.scandir(self._folder) as entries:
                found = {
                    entry.name: _mark(entry.stat(follow_symlinks=False))
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)
                }
        except OSError as error:
            raise DataError(
                f"The folder {self._folder} cannot be read: {error.strerror}.",
                "A folder that this user may read is expected.",
                "Bring it back, or mend its permissions.",
            ) from error
        return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))

    def _new(self, now: dict[str, Mark], before: dict[str, Mark]) -> list[str]:
        """Files that were not looked at, and do not change any more."""
        return [
            name
            for name, mark in now.items()
            if before.get(name) == mark and self._memory.marks.get(name) != mark
        ]

    def _read(self, name: str, mark: Mark) -> Arrival | Refused | None:
        """A picture; None if it may still be on its way."""
        try:
            picture = self._picture(name)
        except (DataError, OSError) as error:
            # A file from the future, by a clock that was wrong, is on its way no more either.
            if abs(time.time() - mark[0] / 1e9) < SETTLED_S:
                return None
            self._memory.marks[name] = mark
            return Refused(error.found if isinstance(error, DataError) else f"{name}: {error}")
        self._memory.marks[name] = mark
        return Arrival(picture, time.time())

    def _picture(self, name: str) -> NDArray[np.uint8]:
        # A pipe or a link may have taken the file's place since it was listed.
        descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MEMBER_BYTES:
                raise DataError(
                    f"{name} in {self.name} is no file of at most {MAX_MEMBER_BYTES:,} bytes.",
                    "Pictures are expected.",
                    "Remove it.",
                )
            return self._decoder.decode(name, file.read(MAX_MEMBER_BYTES))


@dataclass
class _Memory:
    """Which files were looked at.

    Attributes:
        path: of the file that outlives the process.
        folder: that was looked at.
        marks: name -> the file as it was.
    """

    path: Path
    folder: str

    def __post_init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self._saved: dict[str, Mark] = {}
        self._saved_s = time.monotonic()
        try:
            held = json.loads(self.path.read_bytes())
            if held["folder"] == self.folder:
                self.marks = {
                    str(n): (int(ns), int(size)) for n, (ns, size) in held["files"].items()
                }
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return  # then every picture is a new one
        self._saved = dict(self.marks)

    def forget_all_but(self, names: dict[str, Mark]) -> None:
        """Files that are gone are remembered no more."""
        for name in self.marks.keys() - names.keys():
            del self.marks[name]

    def save_if_due(self) -> None:
        if time.monotonic() - self._saved_s >= SAVED_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write what has changed; where that fails it is tried again."""
        self._saved_s = time.monotonic()
        if self.marks == self._saved:
            return
        # In ASCII: a name may have bytes that are no UTF-8, which Python holds as surrogates.
        text = json.dumps({"folder": self.folder, "files": self.marks})
        try:
            write_atomic(self.path, text.encode())
        except SelEdgeError:
            return
        self._saved = dict(self.marks)


def _mark(status: os.stat_result) -> Mark:
    return status.st_mtime_ns, status.st_size
