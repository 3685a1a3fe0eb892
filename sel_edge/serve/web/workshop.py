"""Threads for slow work, and patience for the device, both bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sel_edge.serve.web.refusals import busy

T = TypeVar("T")
THREADS = 4


class Workshop:
    """Does what would hold up everybody else.

    Args:
        jobs: that may be under way or wait.
    """

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self._threads = ThreadPoolExecutor(THREADS, "sel-edge-http")
        self._over = asyncio.Event()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, done in a thread.

        Raises:
            RefusalError: 503, because too much waits, or the server stops.
        """
        if self._over.is_set():
            raise busy("The service is ending.")
        with self._place():
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def wait(self, future: Future[T], seconds: float) -> T | None:
        """What a request to the device came to; None if it takes longer, or the server stops.

        Raises:
            RefusalError: 503, because too much waits.
            SelEdgeError: it failed.
        """
        with self._place():
            waiting = asyncio.wrap_future(future)
            waiting.add_done_callback(_noticed)
            over = asyncio.ensure_future(self._over.wait())
            try:
                await asyncio.wait(
                    (waiting, over), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                over.cancel()
            return waiting.result() if waiting.done() else None

    def close(self) -> None:
        """Let those who wait go; no thread begins anything new."""
        self._over.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the threads of a closed one; from outside its event loop. A disk that hangs may
        keep them for ever, and they would keep the interpreter from ending."""
        self._threads.shutdown()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._left:
            raise busy("Too many requests wait.")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def _noticed(future: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone; the device has told of the error by itself."""
    if not future.cancelled():
        future.exception()
