"""The daemon: a device, a server and perhaps a bridge, from the first to the last signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from sel_edge.core.errors import SelEdgeError
from sel_edge.runtime.session import give_back
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.news import News
from sel_edge.serve.notify import Notifier
from sel_edge.serve.signals import received

STOP_S = 4.0
"""For everything to end; systemd and people wait five seconds."""
NAP_S = 1.0
"""Longest time between two looks at the worker."""
TIDY_S = 20.0
"""Between two times at which free memory is given back: what frames and answers leave free is
scattered, so that at full speed the C library would take more and more."""


class Outlet(Protocol):
    """Something that shows a device to others, such as a server."""

    @property
    def is_alive(self) -> bool:
        """Whether it goes on, once started; if not, a defect has ended it."""
        ...

    def start(self) -> None:
        """Begin; returns once it works."""
        ...

    def stop(self) -> None:
        """End."""
        ...


class Daemon:
    """Runs until a signal ends it: SIGTERM or SIGINT; SIGHUP reloads.

    Args:
        device: not started yet.
        outlets: that show it, neither.
        say: prints a line for the log, in which decisions, errors and the source are told of.
    """

    def __init__(
        self, device: LiveDevice, outlets: Sequence[Outlet], say: Callable[[str], None]
    ) -> None:
        self._device, self._outlets, self._say = device, outlets, say
        self._started: list[Outlet] = []
        self._notifier = Notifier(os.environ)
        self._reloads: deque[Future[str]] = deque()

    def run(self, ready: Callable[[], str]) -> bool:
        """Serve.

        Args:
            ready: called once everything has started; a sentence for people.

        Returns:
            Whether it ended by a signal; if not, a defect has ended the device or an outlet.

        Raises:
            SelEdgeError: it cannot be started, or something could not be saved at its end.
        """
        ends = (signal.SIGTERM, signal.SIGINT)
        with received(*ends, signal.SIGHUP) as wait:
            try:
                self._device.start()
                for outlet in self._outlets:
                    outlet.start()
                    self._started.append(outlet)
                sentence = ready()
                self._say(sentence)
                self._notifier.ready(sentence)
                is_good = self._serve(wait, ends)
            finally:
                is_over = self._stop()
        if not is_over:
            # A thread hangs in a driver or in one long step of learning, and would keep the
            # interpreter from ending. What a kill leaves on disk is whole.
            self._say("Something did not end in time; it is cut off.")
            os._exit(0 if is_good else 1)
        if self._device.unsaved is not None:
            raise self._device.unsaved
        return is_good

    @property
    def _is_alive(self) -> bool:
        return self._device.is_alive and all(one.is_alive for one in self._started)

    def _serve(
        self, wait: Callable[[float], signal.Signals | None], ends: Sequence[signal.Signals]
    ) -> bool:
        """Until a signal comes, or a defect ends any part; whether it was a signal."""
        watchdog_s, beats, news = self._notifier.watchdog_s, -1, News(self._device)
        nap_s = NAP_S if watchdog_s is None else min(NAP_S, watchdog_s / 3)
        tidied_s = time.monotonic()
        while self._is_alive:
            number = wait(nap_s)
            for line in news.lines():
                self._say(line)
            if number in ends:
                return True
            if number == signal.SIGHUP:
                self._notifier.reloading()
                self._reloads.append(self._device.reload())
            self._tell_of_reloads()
            if self._device.beats != beats:
                beats = self._device.beats
                self._notifier.alive()
            if time.monotonic() - tidied_s > TIDY_S:
                tidied_s = time.monotonic()
                give_back()
        self._say(f"A defect has ended the service. Source: {self._device.source_state}.")
        return False

    def _tell_of_reloads(self) -> None:
        while self._reloads and self._reloads[0].done():
            try:
                sentence = f"The bundle {self._reloads.popleft().result()} is in use."
            except SelEdgeError as error:
                sentence = f"Nothing was reloaded. {error}"
            if not self._reloads:
                self._notifier.ready(sentence)

    def _stop(self) -> bool:
        """End everything at the same time; whether all of it has ended."""
        self._notifier.stopping()
        end_s = time.monotonic() + STOP_S
        stops = [threading.Thread(target=one.stop, daemon=True) for one in self._started]
        for one in stops:
            one.start()
        is_over = self._device.stop(STOP_S)
        for one in stops:
            one.join(max(end_s - time.monotonic(), 0.0))
        return is_over and not any(one.is_alive() for one in stops)
