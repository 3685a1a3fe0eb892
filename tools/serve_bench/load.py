"""Load: frames by HTTP from many clients, in a process of its own.

    python -m tools.serve_bench.load PORT FRAMES.npy --seconds S [--rate R] [--connections N]
        [--answers FILE.npy]

Without a rate, every connection sends a frame as soon as the one before it is answered (closed
loop). With one, a frame is sent when its time has come, whatever became of those before it (open
loop); if no connection is free then, it counts as unsent. With --answers frames are marked, and
FILE gets int64 [n, 2]: each mark that was answered, and the number that the daemon gave its frame.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tools.serve_bench.connection import NOTHING, Connection, Reply, post
from tools.serve_bench.marked import Jpegs, Pngs
from tools.serve_bench.statistics import spread_ms

CLIENTS = 250
"""Addresses that frames come from, because the daemon takes only so much from each."""
TURN = 50
"""Frames after which a connection is opened anew, from the next address."""
PAUSE_S = 0.005
"""After a refusal, in a closed loop."""


class Load:
    """Clients that send frames.

    Args:
        port: of the daemon.
        bodies: makes the body of the frame with a number.

    Attributes:
        unsent: frames for which no connection was free.
        statuses: of HTTP -> answers; 0 where none came.
        seconds: whether the frame was answered -> how long that took, for each frame.
        answers: mark and frame number of what was answered.
    """

    def __init__(self, port: int, bodies: Pngs | Jpegs) -> None:
        self._port, self._bodies = port, bodies
        self._sent = self._clients = 0
        self.unsent = 0
        self.statuses: Counter[int] = Counter()
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.answers: list[tuple[int, int]] = []

    async def closed(self, connections: int, seconds: float) -> None:
        """Every connection sends one frame after the other."""
        end_s = time.perf_counter() + seconds
        await asyncio.gather(*(self._one_by_one(end_s) for _ in range(connections)))

    async def open(self, connections: int, seconds: float, rate: float) -> None:
        """Frames are sent at a rate, in frames per second."""
        idle = [await self._connect() for _ in range(connections)]
        under_way: set[asyncio.Task[None]] = set()
        began_s = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(began_s + number / rate - time.perf_counter(), 0.0))
            if not idle:
                self.unsent += 1
                continue
            task = asyncio.create_task(self._from_pool(idle))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for connection in idle:
            await connection.close()

    async def _one_by_one(self, end_s: float) -> None:
        while time.perf_counter() < end_s:
            connection = await self._connect()
            for _ in range(TURN):
                if time.perf_counter() >= end_s:
                    break
                status = (await self._send(connection)).status
                if status != 200:
                    await asyncio.sleep(PAUSE_S)
                if not status:
                    break
            await connection.close()

    async def _from_pool(self, idle: list[Connection]) -> None:
        connection = idle.pop()
        reply = await self._send(connection)
        if reply is NOTHING or reply.headers.get("connection") == "close":
            await connection.close()
            connection = await self._connect()
        idle.append(connection)

    async def _connect(self) -> Connection:
        self._clients += 1
        number = self._clients % CLIENTS
        return await Connection.open(self._port, f"127.0.1.{number + 1}")

    async def _send(self, connection: Connection) -> Reply:
        number, self._sent = self._sent, self._sent + 1
        request = post("/api/v1/frames", self._bodies(number), self._bodies.media_type)
        began_s = time.perf_counter()
        reply = await connection.ask(request)
        is_answer = reply.status == 200
        self.seconds[is_answer].append(time.perf_counter() - began_s)
        self.statuses[reply.status] += 1
        if is_answer:
            self.answers.append((number, json.loads(reply.body)["frame"]))
        return reply

    def told(self, seconds: float) -> dict[str, Any]:
        """What came of it, over so many seconds."""
        return {
            "seconds": seconds,
            "offered": self._sent + self.unsent,
            "unsent": self.unsent,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "offered_per_s": (self._sent + self.unsent) / seconds,
            "frames_per_s": self.statuses[200] / seconds,
            "answer": spread_ms(self.seconds[True]),
            "refusal": spread_ms(self.seconds[False]),
        }


def main() -> None:
    """Load a daemon, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--answers", type=Path)
    options = parser.parse_args()
    frames = np.load(options.frames)
    load = Load(options.port, Pngs(frames) if options.answers else Jpegs(frames))
    began_s = time.perf_counter()
    if options.rate:
        asyncio.run(load.open(options.connections, options.seconds, options.rate))
    else:
        asyncio.run(load.closed(options.connections, options.seconds))
    told = load.told(time.perf_counter() - began_s)
    if options.answers:
        np.save(options.answers, np.array(load.answers, np.int64).reshape(-1, 2))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
