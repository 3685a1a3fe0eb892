"""The end of a connection whose client is still sending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LINGER_S = 1.5
"""How long what a client still sends is thrown away, so that it hears the answer; a server that
stops waits longer than that."""


class PoliteTransport:
    """A transport that does not cut off a client in the middle of a request.

    Closed with bytes unread or under way, a connection is reset, and the client might not hear
    what it was told. Uvicorn closes whenever it has said its last word, so `close` is gentle here.

    Args:
        transport: of asyncio, which does everything else.
        is_sending: whether the client is in the middle of a request.

    Attributes:
        end: when it stops lingering; None until it does linger.
    """

    def __init__(self, transport: asyncio.Transport, is_sending: Callable[[], bool]) -> None:
        self._transport, self._is_sending = transport, is_sending
        self.end: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing is to be said or taken in any more."""
        return self.end is not None or self._transport.is_closing()

    def close(self) -> None:
        """Close, now or in a moment."""
        if self.is_closing():
            return
        if self._is_sending():
            self.linger()
        else:
            self._transport.close()

    def linger(self) -> None:
        """Say no more, and close when the client does, or in a moment."""
        self.end = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        self._transport.resume_reading()
        with suppress(OSError):  # the client is gone already
            self._transport.write_eof()
