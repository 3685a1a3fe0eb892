"""Signals as messages that the main thread waits for."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def received(*numbers: signal.Signals) -> Iterator[Callable[[float], signal.Signals | None]]:
    """Catch some signals inside the block; for the main thread only.

    Yields:
        A function that waits at most so many seconds for the next one.
    """
    inner, outer = socket.socketpair()
    with inner, outer:
        inner.setblocking(False)

        def wait(timeout_s: float) -> signal.Signals | None:
            if not select.select([outer], [], [], timeout_s)[0]:
                return None
            number = outer.recv(1)[0]
            return signal.Signals(number) if number in numbers else None

        # Python itself writes the number of a signal to this socket. A handler that set an event
        # could interrupt the very wait for that event while it holds the event's lock.
        descriptor = signal.set_wakeup_fd(inner.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        try:
            yield wait
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)
