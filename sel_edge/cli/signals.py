"""Ctrl-C as a wish: the first asks a loop to stop at a safe place, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Catch SIGINT and SIGTERM inside the block.

    Yields:
        A function that says whether one of them has come.
    """
    requested = False

    def request(number: int, _: FrameType | None) -> None:
        nonlocal requested
        requested = True
        click.echo("Stopping at the next safe place. Once more stops at once.", err=True)
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, request)
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
