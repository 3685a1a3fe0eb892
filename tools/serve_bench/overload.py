"""A daemon that is offered four times as many frames as it can answer: how long its page takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tools.serve_bench.daemon import serving
from tools.serve_bench.page import by_hand, in_browser, visitors
from tools.serve_bench.questions import answers_of, server_errors
from tools.serve_bench.speed import load

TIMES = 4
CONNECTIONS = 96
"""Frames under way at most; the daemon takes 128 connections, and the page needs some."""
LEAD_S, REST_S = 1.0, 1.0
"""Load without page, before and after it is looked at."""


def overload(
    bundle: Path, frames: Path, folder: Path, rate: float, seconds: float
) -> dict[str, Any]:
    """Load the page, by hand and in a browser, without any other load and with too much of it.

    Args:
        bundle: that runs.
        frames: uint8 [n, H, W, 3], as .npy.
        folder: for the state.
        rate: frames per second that it can answer.
        seconds: of each way to load the page.

    Returns:
        `idle` and `loaded`, each with `by_hand` and `in_browser`; what became of the frames.
    """
    ways = {"by_hand": by_hand, "in_browser": in_browser}
    found: dict[str, Any] = {"idle": {}, "loaded": {}, "frames": {}}
    options = {"rate": TIMES * rate, "connections": CONNECTIONS}
    with (
        serving(bundle, "http", folder) as daemon,
        visitors(daemon.port),
        ThreadPoolExecutor(1) as thread,
    ):
        for name, look in ways.items():
            found["idle"][name] = look(daemon.port, seconds / 4)
            duration_s = LEAD_S + seconds + REST_S
            loading = thread.submit(load, daemon, frames, duration_s, **options)
            found["loaded"][name] = look(daemon.port, seconds)
            found["frames"][name] = loading.result()
        found["server_errors"] = server_errors(answers_of(daemon))
    return found
