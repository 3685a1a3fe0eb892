"""A client's connection to a daemon: HTTP/1.1 by hand, because load must cost less than answers.

httpx and urllib take longer for a request than the daemon does for its answer, and none of them
sends what is no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Self

PATIENCE_S = 30.0
"""Until a request is given up."""


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP; 0 if the connection was closed without any.
        headers: lower-case name -> value; of several of one name the last.
        body: as it came; of a chunked one nothing.
    """

    status: int
    headers: dict[str, str]
    body: bytes


NOTHING = Reply(0, {}, b"")


class Connection:
    """One kept-alive connection.

    Args:
        reader, writer: of an open one.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, source: str = "127.0.0.1") -> Self:
        """Connect to a port of 127.0.0.1.

        Args:
            port: of the daemon.
            source: address to come from; all of 127.0.0.0/8 is this machine, and to the daemon
                each address is a client of its own.
        """
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))

    async def ask(self, request: bytes) -> Reply:
        """Send a request, whole, and read the answer; `NOTHING` if none comes."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                self.writer.write(request)
                await self.writer.drain()
                return await self.read()
        except (OSError, EOFError, TimeoutError):
            return NOTHING

    async def read(self) -> Reply:
        """The next answer.

        Raises:
            EOFError: the connection was closed.
        """
        status, headers = await self.read_head()
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(status, headers, body)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer; its body is not read."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def close(self) -> None:
        """Close it; the other side may have."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def get(path: str, *headers: str) -> bytes:
    """A GET request."""
    return _head("GET", path, headers)


def post(path: str, body: bytes, media_type: str, *headers: str) -> bytes:
    """A POST request with a body."""
    own = (f"Content-Type: {media_type}", f"Content-Length: {len(body)}")
    return _head("POST", path, (*own, *headers)) + body


def _head(method: str, path: str, headers: tuple[str, ...]) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()
