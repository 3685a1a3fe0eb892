"""A daemon at full speed for a long time: whether its memory grows, and where its frames went."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tools.serve_bench.books import compare, gaps, ticks_of
from tools.serve_bench.daemon import Daemon, serving
from tools.serve_bench.page import visitors
from tools.serve_bench.questions import answers_of, server_errors, status_of
from tools.serve_bench.speed import CONNECTIONS, load
from tools.serve_bench.statistics import growth

SAMPLE_S = 1.0
WARM_UP = 0.2
"""Share of the time after which memory counts: pools, windows and caches fill at first."""
MEGA = 1e6


def by_http(bundle: Path, frames: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Marked frames by HTTP as fast as they are answered, with an open page and its visitors.

    Args:
        bundle: that runs.
        frames: uint8 [n, H, W, 3], as .npy.
        folder: for state and answers.
        minutes: how long.
    """
    answers = folder / "answers.npy"
    with serving(bundle, "http", folder) as daemon:
        with _watched(daemon) as memory, visitors(daemon.port) as seen:
            told = load(daemon, frames, 60 * minutes, connections=CONNECTIONS, answers=answers)
        flow = status_of(daemon)["flow"]
        errors = server_errors(answers_of(daemon))
    if unmeant := set(told["statuses"]) - {"200", "429", "503"}:
        raise RuntimeError(f"frames were answered with {sorted(unmeant)}")
    found = compare(daemon.state, np.load(answers))
    lost = told["offered"] - sum(told["statuses"].values())
    return {
        **memory,
        **told,
        **found,
        "unaccounted": lost + abs(flow["seen"] - told["statuses"].get("200", 0)),
        "page_loads": seen["loads"],
        "events": seen["events"],
        "server_errors": errors,
    }


def from_stream(bundle: Path, spec: str, folder: Path, minutes: float) -> dict[str, Any]:
    """A stream as fast as it is answered.

    Args:
        bundle: that runs.
        spec: of the stream.
        folder: for the state.
        minutes: how long.
    """
    with serving(bundle, f"stream:{spec}?pace=0&loop=1", folder) as daemon:
        with _watched(daemon) as memory, visitors(daemon.port) as seen:
            threading.Event().wait(60 * minutes)
        flow = status_of(daemon)["flow"]
        errors = server_errors(answers_of(daemon))
    ticks = ticks_of(daemon.state)
    recorded = sum(tick.n for tick in ticks)
    return {
        **memory,
        "frames_per_s": flow["frames_per_s"],
        "recorded": recorded,
        "twice": gaps(ticks),
        "unaccounted": flow["dropped"] + max(0, flow["seen"] - recorded),
        "page_loads": seen["loads"],
        "events": seen["events"],
        "server_errors": errors,
    }


@contextmanager
def _watched(daemon: Daemon) -> Iterator[dict[str, Any]]:
    """Look at a daemon's memory; what is given is filled at the end."""
    over, found, samples = threading.Event(), dict[str, Any](), list[int]()

    def look() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(daemon.rss_bytes())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
    warm = samples[int(WARM_UP * len(samples)) :]
    found |= {
        "rss_mb": float(np.median(warm)) / MEGA,
        "rss_first_mb": warm[0] / MEGA,
        "rss_max_mb": max(samples) / MEGA,
        "rss_growth": growth([SAMPLE_S * number for number in range(len(warm))], warm),
        "rss_samples": len(warm),
    }
