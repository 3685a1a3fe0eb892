"""The thread that takes frames from a source and leaves them in the mailbox."""

from __future__ import annotations

import threading
import time

from sel_edge.core.errors import SelEdgeError
from sel_edge.serve.mailbox import Arrival, Mailbox
from sel_edge.serve.sources.interface import Refused, Source

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before a source that failed is tried again; doubled with every failure in a row."""
ROOM_S = 0.5
"""Longest time in which nobody asks whether a patient source is to end."""
SILENT_S = 15.0
"""After so long without a word a source seems to hang, as a driver may."""


class Capture:
    """Runs a source. One that fails is tried again and again.

    Args:
        source: of the frames.
        mailbox: where they go.
    """

    def __init__(self, source: Source, mailbox: Mailbox) -> None:
        self._source, self._mailbox = source, mailbox
        self._stopping = threading.Event()
        self._state, self._last_refusal = "starting", ""
        self._expected_s = time.monotonic()
        self._refused, self._is_broken = 0, False
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def state(self) -> str:
        """In words."""
        state, silent_s = self._state, time.monotonic() - self._expected_s
        if state == "running" and silent_s > SILENT_S:
            state = f"silent for more than {SILENT_S:.0f} s"
        return f"{state}; refused: {self._last_refusal}" if self._last_refusal else state

    @property
    def refused(self) -> int:
        """Things that were no frames."""
        return self._refused

    @property
    def is_broken(self) -> bool:
        """Whether a defect has ended it."""
        return self._is_broken

    def refuse(self) -> None:
        """Count one that came by HTTP: the source is that, and refuses nothing by itself."""
        self._refused += 1

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End; whether it has in time. A camera that hangs may not, and ends with the process."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                for arrival in self._source.arrivals(self._rest):
                    if self._stopping.is_set():
                        return
                    self._expected_s = time.monotonic()
                    self._state, pause_s = "running", FIRST_PAUSE_S
                    self._take(arrival)
            except SelEdgeError as error:
                what = " ".join(part for part in (error.found, error.action) if part)
                self._state = f"{what} Tried again every {pause_s:.0f} s."
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except BaseException as error:
                self._state, self._is_broken = f"failed: {error!r}", True
                raise
            else:
                self._state = "ended"
                return

    def _rest(self, seconds: float) -> bool:
        self._expected_s = time.monotonic() + seconds
        return self._stopping.wait(seconds)

    def _take(self, arrival: Arrival | Refused | None) -> None:
        if isinstance(arrival, Refused):
            self._refused += 1
            self._last_refusal = arrival.why
        elif arrival is not None and self._source.is_patient:
            while not self._mailbox.put_patiently(arrival, ROOM_S):
                self._expected_s = time.monotonic()
                if self._stopping.is_set():
                    return
        elif arrival is not None:
            self._mailbox.put(arrival)
