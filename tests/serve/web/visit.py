"""A staged device behind a real server on loopback, and clients of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from sel_edge.serve.web.server import Server
from sel_edge.serve.web.settings import Limits, WebSettings
from tests.serve.stage import Script, Stage, staged

TOKEN = "-".join(("correct", "horse", "battery", "staple"))
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Visit:
    """What a test works with.

    Attributes:
        stage: the device.
        server: of it.
        client: that shows the token, if there is one.
        token: of the device.
    """

    stage: Stage
    server: Server
    client: httpx.Client
    token: str | None

    @property
    def url(self) -> str:
        """Of the server."""
        return f"http://127.0.0.1:{self.server.port}"

    def stranger(self) -> httpx.Client:
        """A client with neither token nor cookie."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S)


@contextmanager
def visit(
    script: Script | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    allowed_hosts: tuple[str, ...] = (),
) -> Iterator[Visit]:
    """Serve a stage as long as the block lasts."""
    settings = WebSettings("127.0.0.1", 0, token, allowed_hosts, limits or Limits())
    with staged(script) as stage:
        server = Server(stage, settings)
        server.start()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{server.port}"
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
                yield Visit(stage, server, client, token)
        finally:
            server.stop()


def until(holds: Callable[[], bool]) -> bool:
    """Whether something comes true in good time."""
    end_s = time.monotonic() + PATIENCE_S
    while not (held := holds()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return held


def heard(connection: socket.socket) -> bytes:
    """All that comes before the other side hangs up."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
