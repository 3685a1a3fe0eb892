"""What the page, the metrics and MQTT see of a running device."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import SelEdgeError
from sel_edge.serve.snapshot import Answer, Snapshot

Picture = NDArray[np.uint8]
"""An image as its source had it, uint8 [H, W, C], C = 1 or 3."""


class BusyError(SelEdgeError):
    """More is asked of the device than it can do; try again a little later."""

    kind = "busy"


class Device(Protocol):
    """A running device. Every method may be called from any thread and returns at once, except
    `newer`; what takes time is a Future, whose error is a SelEdgeError."""

    @property
    def state(self) -> Path:
        """The directory with samples, slots and ledger of the runtime in use."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether the worker goes on."""
        ...

    def snapshot(self) -> Snapshot:
        """The newest."""
        ...

    def newer(self, version: int, timeout_s: float) -> Snapshot:
        """The newest, once it is newer than `version` or the time is over."""
        ...

    def view(self) -> tuple[Answer, NDArray[np.uint8 | np.float32]] | None:
        """The newest answered frame with its answer, for people: a picture as the source had it,
        or a signal float32 [channels, length]. None before the first."""
        ...

    def submit(self, picture: Picture) -> Future[Answer]:
        """Have a frame answered that came by HTTP.

        Raises:
            BusyError: too many wait; it is counted as dropped.
            DataError: the source is another one than `http`, or the bundle takes signals.
        """
        ...

    def refused(self) -> None:
        """A picture came by HTTP that cannot be used: count it. Called by one thread."""
        ...

    def answered(self) -> None:
        """A label was given: look at it soon, even if no frame comes."""
        ...

    def adapt(self) -> Future[tuple[str, ...]]:
        """Learn now, whatever the triggers say; sentences on what came of it."""
        ...

    def rollback(self, to: str | None) -> Future[str]:
        """Go back (or forward) to a network by its hash, "bundle", or None for the last update;
        the hash in use since."""
        ...

    def reload(self) -> Future[str]:
        """Open the bundle anew from its path; the bundle's hash."""
        ...
