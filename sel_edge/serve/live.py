"""A running device: a source, a worker, and what others may see and ask."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from sel_edge.core.errors import DataError, SelEdgeError
from sel_edge.core.frames import noun
from sel_edge.runtime.engine import MAX_BATCH
from sel_edge.serve.capture import Capture
from sel_edge.serve.device import Picture
from sel_edge.serve.journal import Inflow, View
from sel_edge.serve.mailbox import Arrival, Mailbox
from sel_edge.serve.requests import busy, ending
from sel_edge.serve.residence import Settings, find
from sel_edge.serve.snapshot import Answer, Snapshot
from sel_edge.serve.sources.interface import HTTP, Source
from sel_edge.serve.worker import Worker

T = TypeVar("T")


class LiveDevice:
    """A `Device`.

    Args:
        settings: of the device.
        source: of its frames.

    Raises:
        SelEdgeError: the bundle or the budget cannot be used.
    """

    def __init__(self, settings: Settings, source: Source) -> None:
        self._source, self._board = source, settings.board
        self._mailbox, self._stopping = Mailbox(MAX_BATCH), threading.Event()
        self._capture = Capture(source, self._mailbox)
        inflow = Inflow(source.name, self._capture, self._mailbox)
        found = find(settings, source)
        self._worker = Worker(found, settings, source, inflow, self._stopping)
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._unsaved: SelEdgeError | None = None

    def start(self) -> None:
        """Open the runtime and begin.

        Raises:
            SelEdgeError: it cannot be opened, or its network does not answer.
        """
        self._thread.start()
        self._opened.result()
        self._capture.start()

    def stop(self, timeout_s: float) -> bool:
        """End: an update under way is undone, and what is in memory is saved.

        Returns:
            Whether that was done in time. If not, ending the process costs what a power cut would.
        """
        end_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._capture.stop(0.0)  # at the same time; it is waited for below
        self._mailbox.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        is_source_over = self._capture.stop(max(end_s - time.monotonic(), 0.0))
        return is_source_over and not self._thread.is_alive()

    @property
    def beats(self) -> int:
        """Rises as long as the worker gets on, at least every second and with every step of
        learning."""
        return self._worker.beats

    @property
    def is_alive(self) -> bool:
        """Whether worker and source go on; if not, a defect has ended one of them."""
        return self._thread.is_alive() and not self._capture.is_broken

    @property
    def source_state(self) -> str:
        """Of the source, in words."""
        return self._capture.state

    @property
    def unsaved(self) -> SelEdgeError | None:
        """Why something could not be saved at the end; None if all was."""
        return self._unsaved

    @property
    def state(self) -> Path:
        """See `Device`."""
        return Path(self.snapshot().state)

    def snapshot(self) -> Snapshot:
        """See `Device`."""
        return self._worker.published.newest

    def newer(self, version: int, timeout_s: float) -> Snapshot:
        """See `Device`."""
        return self._worker.published.newer(version, timeout_s)

    def view(self) -> View | None:
        """See `Device`."""
        return self._worker.view

    def submit(self, picture: Picture) -> Future[Answer]:
        """See `Device`."""
        if self._source.name != HTTP or noun(self.snapshot().frame_shape) == "signal":
            raise DataError(
                f"This device looks at {self._source.name}, and takes no frames by HTTP.",
                "One that was started with --source http, for images, is expected.",
                "Start the service with --source http.",
            )
        future: Future[Answer] = Future()
        if not self._mailbox.offer(Arrival(picture, self._board.clock(), wanted=future)):
            raise ending() if self._stopping.is_set() else busy("Too many frames are waiting.")
        return future

    def refused(self) -> None:
        """See `Device`."""
        if self._source.name == HTTP:
            self._capture.refuse()

    def answered(self) -> None:
        """See `Device`."""
        self._worker.is_labelled = True
        self._mailbox.wake()

    def adapt(self) -> Future[tuple[str, ...]]:
        """See `Device`."""
        return self._woken(self._worker.requests.ask(self._worker.adapt))

    def rollback(self, to: str | None) -> Future[str]:
        """See `Device`."""
        return self._woken(self._worker.requests.ask(lambda: self._worker.roll_back(to)))

    def reload(self) -> Future[str]:
        """See `Device`."""
        return self._woken(self._worker.requests.ask(self._worker.reload))

    def _woken(self, future: Future[T]) -> Future[T]:
        self._mailbox.wake()
        return future

    def _run(self) -> None:
        try:
            self._worker.open()
        except SelEdgeError as error:
            self._opened.set_exception(error)
            return
        except BaseException as error:
            self._opened.set_exception(error)
            raise
        self._opened.set_result(None)
        try:
            while not self._stopping.is_set():
                self._worker.turn()
        finally:
            try:
                self._worker.close()
            except SelEdgeError as error:
                self._unsaved = error
