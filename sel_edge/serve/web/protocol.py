"""HTTP/1.1 as uvicorn speaks it with h11, for clients that mean no good.

Uvicorn waits for ever for the rest of a request, and for a client that takes nothing. Here every
wait for a client has an end, which bytes that trickle in do not put off. What is left of a request
that was answered is not waited for at all: such an answer says that it is the connection's last.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from sel_edge.serve.web.buckets import client_of
from sel_edge.serve.web.headers import HEADERS
from sel_edge.serve.web.refusals import RefusalError, Trouble, busy
from sel_edge.serve.web.settings import Limits
from sel_edge.serve.web.transport import PoliteTransport


class Doorkeeper:
    """Counts the connections of one server.

    Args:
        limits: of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """Connections that are open."""
        return self._open.total()

    def enter(self, client: str) -> bool:
        """Whether one more connection of a client may stay; then it is counted."""
        full = self.open >= self.limits.connections
        if full or self._open[client] >= self.limits.client_connections:
            return False
        self._open[client] += 1
        return True

    def leave(self, client: str) -> None:
        """A connection that had entered is closed."""
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


class GuardedProtocol(H11Protocol):
    """One connection.

    Args:
        doorkeeper: lets it in.
        arguments: of uvicorn's protocol.
    """

    def __init__(self, doorkeeper: Doorkeeper, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._doorkeeper, self._limits = doorkeeper, doorkeeper.limits
        self._entered: str | None = None
        self.app = self._answer
        self._patience: asyncio.TimerHandle | None = None
        self._write_patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a client in, or tell it to come back later."""
        self._polite = PoliteTransport(transport, self._is_request_under_way)
        super().connection_made(cast(asyncio.Transport, self._polite))
        client = client_of(self.client[0] if self.client else "")
        if self._doorkeeper.enter(client):
            self._entered = client
            self._expect_headers()
        elif len(self.connections) > 2 * self._limits.connections:
            transport.abort()  # there is no time for explanations
        else:
            self._refuse(busy("Too many connections are open."))
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        super().connection_lost(exc)
        if self._entered is not None:
            self._doorkeeper.leave(self._entered)
            self._entered = None
        keep_alive = self.timeout_keep_alive_task
        for timer in (self._patience, self._write_patience, keep_alive, self._polite.end):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._calm()
        elif self.conn.trailing_data[0]:
            self._expect_headers()

    def send_400_response(self, msg: str) -> None:
        """Say that it was no HTTP."""
        trouble = Trouble("request", "This is no HTTP/1.1.", "", "Correct the request.")
        self._refuse(RefusalError(400, trouble))
        self._linger()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: not for ever."""
        super().pause_writing()
        if self._write_patience is None:
            self._write_patience = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._write_patience is not None:
            self._write_patience.cancel()
            self._write_patience = None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, and whether it is the last: a client that is not told would
        send its next request into a connection that ends."""
        cycle = self.cycle

        async def send_with_notice(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                is_last = self._is_request_under_way() or not cycle.keep_alive
                if is_last and CLOSE_HEADER not in headers:
                    message = {**message, "headers": [*headers, CLOSE_HEADER]}
            await send(message)

        await self.config.loaded_app(scope, receive, send_with_notice)

    def _is_request_under_way(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _expect_headers(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self._limits.header_s, self._too_slow)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self) -> None:
        if not self.conn.trailing_data[0]:
            self.transport.close()  # it never asked for anything
        else:
            rule = f"They are there within {self._limits.header_s:g} s."
            trouble = Trouble("request", "The headers did not come.", rule, "Send them faster.")
            self._refuse(RefusalError(408, trouble))
            self._linger()

    def _linger(self) -> None:
        self._calm()
        self._polite.linger()

    def _refuse(self, refusal: RefusalError) -> None:
        """Answer in place of the application."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                return
        answer = refusal.response()
        lines = [f"HTTP/1.1 {refusal.status} ", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (*answer.headers.items(), *HEADERS.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + bytes(answer.body))
