"""Tries requests that mean no good on a daemon, and judges what they come to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tools.serve_bench.connection import Connection

SLOW_S = 30.0
"""Until a slow client must have been sent away."""
DRIP_S = 0.5


@dataclass(frozen=True)
class Attack:
    """A request.

    Attributes:
        name: of what is tried.
        sent: all at once.
        wanted: statuses that refuse it rightly; 0 is a connection that is closed without a word.
        drip: sent after it, over and over, as long as the other side listens: a slow client.
    """

    name: str
    sent: bytes
    wanted: frozenset[int]
    drip: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        name: of it.
        status: that came back; 0 if the connection was closed without a word, -1 if nothing came.
        is_refused: rightly, and without telling anything.
        seconds: until then.
    """

    name: str
    status: int
    is_refused: bool
    seconds: float


def try_all(port: int, attacks: Sequence[Attack]) -> list[Outcome]:
    """Try them, each on a connection and from an address of its own, so that no limit on a client
    hides what another limit lets through; slow ones beside the others.

    Args:
        port: of the daemon.
        attacks: to be tried.
    """
    return asyncio.run(_try_all(port, attacks))


async def _try_all(port: int, attacks: Sequence[Attack]) -> list[Outcome]:
    sources = [f"127.0.{5 + number // 250}.{number % 250 + 1}" for number in range(len(attacks))]
    tries = [(attack, _try(port, attack, at)) for attack, at in zip(attacks, sources, strict=True)]
    slow = asyncio.gather(*(one for attack, one in tries if attack.drip))
    return [*[await one for attack, one in tries if not attack.drip], *await slow]


async def _try(port: int, attack: Attack, source: str) -> Outcome:
    began_s = time.monotonic()
    connection = await Connection.open(port, source)
    sending = asyncio.create_task(_send(connection, attack))
    status, content = -1, b""
    try:
        async with asyncio.timeout(SLOW_S):
            status, _ = await connection.read_head()
            content = await connection.reader.read(65536)
    except (EOFError, OSError) as error:
        if not isinstance(error, TimeoutError):
            status = max(status, 0)
    sending.cancel()
    await connection.close()
    is_refused = status in attack.wanted and b"root:" not in content
    return Outcome(attack.name, status, is_refused, time.monotonic() - began_s)


async def _send(connection: Connection, attack: Attack) -> None:
    with contextlib.suppress(OSError):  # the other side has had enough
        connection.writer.write(attack.sent)
        await connection.writer.drain()
        while attack.drip:
            await asyncio.sleep(DRIP_S)
            connection.writer.write(attack.drip)
            await connection.writer.drain()
