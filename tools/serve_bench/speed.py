"""How many frames a daemon answers, how fast, and how fast it could if it did nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.provenance import usable_cores
from sel_edge.runtime.engine import MAX_BATCH
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session
from tools.serve_bench.books import ticks_of
from tools.serve_bench.daemon import Daemon, serving
from tools.serve_bench.questions import status_of
from tools.serve_bench.statistics import spread_ms

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 16
"""Frames that clients have under way: as many as the daemon answers at once."""
POLL_S = 0.05
FLOOR_S = 2.0


def load(daemon: Daemon, frames: Path, seconds: float, **options: Any) -> dict[str, Any]:
    """What tools/serve_bench/load.py says of a daemon.

    Args:
        daemon: to be loaded.
        frames: uint8 [n, H, W, 3], as .npy.
        seconds: how long.
        options: of its command line.
    """
    command = [sys.executable, "-m", "tools.serve_bench.load", str(daemon.port), str(frames)]
    for name, value in {"seconds": seconds, **options}.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the load ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_http(
    bundle: Path, frames: Path, folder: Path, seconds: float, rounds: int
) -> dict[str, Any]:
    """Frames by HTTP: as many as can be, and one at a time.

    Args:
        bundle: that runs.
        frames: uint8 [n, H, W, 3], as .npy.
        folder: for the state.
        seconds: of each round.
        rounds: of each kind; those of both take turns.
    """
    full, single = [], []
    with serving(bundle, "http", folder) as daemon:
        load(daemon, frames, seconds, connections=CONNECTIONS)
        for _ in range(rounds):
            began_s, cpu_s = time.monotonic(), daemon.cpu_s()
            full.append(load(daemon, frames, seconds, connections=CONNECTIONS))
            full[-1]["busy_cores"] = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began_s)
            single.append(load(daemon, frames, seconds, connections=1))
    return {
        "frames_per_s": _median(full, "frames_per_s"),
        "frames_per_s_each": [one["frames_per_s"] for one in full],
        "p50_ms": float(np.median([one["answer"]["p50_ms"] for one in full])),
        "p99_ms": float(np.median([one["answer"]["p99_ms"] for one in full])),
        "p99_ms_each": [one["answer"]["p99_ms"] for one in full],
        "busy_cores": _median(full, "busy_cores"),
        "connections": CONNECTIONS,
        "refused": sum(one["refusal"]["n"] for one in full),
        "alone_p50_ms": float(np.median([one["answer"]["p50_ms"] for one in single])),
        "alone_p99_ms": float(np.median([one["answer"]["p99_ms"] for one in single])),
    }


def from_stream(bundle: Path, spec: str, frames: int, folder: Path) -> dict[str, Any]:
    """A stream at full speed, to its end.

    Args:
        bundle: that runs.
        spec: of data whose training split has as many frames.
        frames: of it.
        folder: for the state.

    Returns:
        `frames_per_s`, and `miscounted`: frames that are recorded too often, or not at all.
    """
    with serving(bundle, f"stream:{spec}:train?n={frames}&pace=0", folder) as daemon:
        began_s, cpu_s = time.monotonic(), daemon.cpu_s()
        first = status_of(daemon)["flow"]["seen"]
        while (flow := status_of(daemon)["flow"])["source_state"] != "ended":
            time.sleep(POLL_S)
        seconds, cpu_s = time.monotonic() - began_s, daemon.cpu_s() - cpu_s
    ticks = ticks_of(daemon.state)
    scored = Counter[str]()
    for tick in ticks:
        scored.update({name: count for name, (count, _) in tick.scores.items()})
    return {
        "frames_per_s": (flow["seen"] - first) / seconds,
        "frames": frames,
        "miscounted": abs(frames - sum(tick.n for tick in ticks)),
        "frames_of_classes": dict(sorted(scored.items())),
        "busy_cores": cpu_s / seconds,
    }


def floor(bundle: Path, frames: Path) -> dict[str, Any]:
    """Nothing but the network: its forward pass in onnxruntime, over and over.

    Args:
        bundle: with the network.
        frames: uint8 [n, H, W, 3], as .npy.
    """
    opened = open_bundle(bundle)
    session = Session(opened.member("infer.onnx"), usable_cores())
    image = Preprocessor(opened.manifest.preprocessing)(np.load(frames)[:MAX_BATCH])
    found = {}
    for batch in (1, MAX_BATCH):
        seconds, end_s = [], time.monotonic() + FLOOR_S
        while time.monotonic() < end_s:
            began_s = time.perf_counter()
            session.run({"image": image[:batch]}, ["logits"])
            seconds.append(time.perf_counter() - began_s)
        found[str(batch)] = {
            "frames_per_s": batch / float(np.median(seconds)),
            **spread_ms(seconds),
        }
    return found


def flush(folder: Path, times: int = 100) -> dict[str, Any]:
    """What the disk takes to make 4 KB durable, which every tick waits for."""
    seconds = []
    with (folder / "flushed").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began_s)
    return spread_ms(seconds)


def _median(found: list[dict[str, Any]], name: str) -> float:
    return float(np.median([one[name] for one in found]))
