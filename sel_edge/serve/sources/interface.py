"""What every source of live frames is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sel_edge.serve.mailbox import Arrival

HTTP = "http"
"""Name of the source that is nothing but requests."""

Rest = Callable[[float], bool]
"""Waits so many seconds, or less if the source is to end; whether it is."""


@dataclass(frozen=True)
class Refused:
    """Something came that is no frame.

    Attributes:
        why: in words, with its name.
    """

    why: str


class Source(Protocol):
    """A source of frames, opened anew with every `arrivals`.

    Attributes:
        name: as the user named it, without secrets.
        signal_shape: (channels, length) of its signals; None if it brings images.
        is_patient: whether its frames wait until there is room for them; else the newest win.
    """

    @property
    def name(self) -> str: ...

    @property
    def signal_shape(self) -> tuple[int, ...] | None: ...

    @property
    def is_patient(self) -> bool: ...

    def arrivals(self, rest: Rest) -> Iterator[Arrival | Refused | None]:
        """Open it, and give what comes; None, at least every second, while nothing does.

        Ends where the source has come to its end, or `rest` says that it is to.

        Raises:
            SelEdgeError: it cannot be opened, or has failed. It may be tried again.
        """
        ...
