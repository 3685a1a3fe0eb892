"""How much of a serial line's rate a transfer uses."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sel_edge.link.client import Client
from sel_edge.link.transport import LineTransport
from tools.mcu_bench.host import HostBoard
from tools.mcu_bench.line import BITS_PER_BYTE, Line

BAUDS = (115_200, 921_600)
_KEY = bytes(range(32))
_TIMEOUT_S = 20.0


def link_speed(image: bytes, baud: int, rounds: int) -> dict[str, Any]:
    """Install an image on a new board, again and again, and compare with the line's rate.

    The whole transfer is timed: greeting, begin, all chunks, and the commit with its check.

    Args:
        image: a model image.
        baud: bits per second, ten a byte.
        rounds: installations, at least 1.

    Returns:
        `efficiency`, payload over what the line carries in the median time, and what it is made of.
    """
    times = [_install_s(image, baud) for _ in range(rounds)]
    median_s = statistics.median(times)
    return {
        "baud": baud,
        "payload_bytes": len(image),
        "efficiency": len(image) * BITS_PER_BYTE / baud / median_s,
        "median_s": median_s,
        "least_s": min(times),
        "most_s": max(times),
        "n": rounds,
    }


def _install_s(image: bytes, baud: int) -> float:
    with (
        TemporaryDirectory() as folder,
        HostBoard(Path(folder) / "flash") as board,
        Line(board.port, baud) as line,
        closing(LineTransport(line.port)) as transport,
    ):
        client = Client(transport, _TIMEOUT_S)
        client.provision(_KEY)
        began_s = time.monotonic()
        client.install(image, _KEY)
        return time.monotonic() - began_s
