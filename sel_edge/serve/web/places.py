"""Places for what only so many may do at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sel_edge.serve.web.refusals import busy


class Places:
    """So many places; whoever finds none waits for a moment, in the order of coming.

    A refusal takes the server about as long as an answer. Clients that are refused at once come
    back at once, and refusing them would take the time in which others could be answered.

    Args:
        count: of places.
        patience_s: longest time to wait for one.
        full: a sentence for those who get none.
    """

    def __init__(self, count: int, patience_s: float, full: str) -> None:
        self._free, self._patience_s, self._full = asyncio.Semaphore(count), patience_s, full

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises:
            RefusalError: 503, none has become free.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise busy(self._full) from error
        try:
            yield
        finally:
            self._free.release()
