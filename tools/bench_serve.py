"""How a device serves: how many frames, how fast, under too much load, for long, and to enemies.

A trained ResNet-18 of width 8 runs in real `sel-edge serve` processes on loopback. Measured: frames
per second by HTTP and from a stream, beside what onnxruntime alone does; the page, by hand and in
Chromium, while four times as many frames are offered; memory, and the books of marked frames, at
full speed for a long time, by HTTP and from a stream, one after the other. Tried: requests, names,
archives and bundles that mean no good, and Schemathesis. Deploys that are cut off and videos that
are watched have tools of their own.

    python -m tools.bench_serve [--data SPEC] [--quick] [--soak-min 10] [--json] [--out FILE]
        [--cuts FILE] [--watch FILE]

SPEC names CIFAR-10 (default: cifar10-jpeg.tar.gz in the directory SEL_EDGE_TEST_DATA, or
../shared/data). The two FILEs are what tools/deploy_cuts.py and tools/bench_watch.py printed; they
are run where none is named. `page_ms_under_load` is Chromium's median from navigation to the first
status shown, or the median by hand where there is no Chromium. `bad_requests` were not refused as
they should have been; `server_errors` are all 5xx but 503 and 507. Prints one JSON object as its
last line, and nothing else with --json. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sel_edge.core import provenance
from sel_edge.data.sources import load_splits
from tools.adapt_bench.subject import NETWORKS, make_subject
from tools.bench_adapt import without_folders
from tools.bench_mcu import outcome, progress, silent
from tools.bench_step import judged
from tools.mcu_bench.network import Say
from tools.publish import publish
from tools.serve_bench import soak, speed
from tools.serve_bench.mischief import mischief
from tools.serve_bench.overload import overload

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = "cifar10-jpeg.tar.gz"
NETWORK = NETWORKS / "ten-w8"
PACKAGES = ("starlette", "uvicorn", "h11", "prometheus-client", "playwright", "schemathesis")
"""Whose versions matter besides."""
FRAMES = 2000
"""That are sent, over and over."""
AT_MOST = {
    "page_ms_under_load": 300,
    "rss_growth": 0.02,
    "frames_twice": 0,
    "frames_lost": 0,
    "left_broken": 0,
    "bad_requests": 0,
    "server_errors": 0,
    "undocumented": 0,
    "storage_kept": 0.1,
    "novel_missed": 0,
}
"""Goals; `storage_kept` is what is not saved."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        seconds: of one round of frames by HTTP.
        rounds: of these.
        stream: frames.
        page_s: of each way to load the page.
        soak_min: of each soak.
        examples: of Schemathesis, for each operation.
        cuts: of deploys.
    """

    seconds: float
    rounds: int
    stream: int
    page_s: float
    soak_min: float
    examples: int
    cuts: int


QUICK = Sizes(3, 2, 4_000, 8, 0.4, 5, 4)
WHOLE = Sizes(10, 5, 50_000, 60, 10, 100, 100)


def main() -> None:
    """Measure and print."""
    options = _options()
    say = silent if options.json else progress
    sizes = QUICK if options.quick else WHOLE
    if options.soak_min is not None:
        sizes = replace(sizes, soak_min=options.soak_min)
    watching = ["--quick", "--places", "home"] if options.quick else []
    watch = outcome(options.watch, "tools.bench_watch", watching, say)
    cuts = outcome(options.cuts, "tools.deploy_cuts", ["--cuts", str(sizes.cuts)], say)
    found = measure(options.data, sizes, cuts, watch, say)
    publish(found, options.out)


def measure(
    data: str, sizes: Sizes, cuts: dict[str, Any], watch: dict[str, Any], say: Say
) -> dict[str, Any]:
    """Measure everything.

    Args:
        data: SPEC of CIFAR-10.
        sizes: how much.
        cuts, watch: what tools/deploy_cuts.py and tools/bench_watch.py printed.
        say: told what comes next.

    Raises:
        RuntimeError: a daemon, or what loads it, did not do what it should.
        SelEdgeError: the data or the disk is at fault.
    """
    commit = provenance.commit()
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        folder = Path(temporary)
        say("exporting")
        splits = load_splits(data)
        bundle = make_subject(NETWORK, data, splits, folder).bundle.path
        frames = folder / "frames.npy"
        np.save(frames, splits.test.frames[:FRAMES].astype(np.uint8, copy=False))
        parts = _parts(bundle, frames, data, folder, sizes, say)
    found = {
        **_numbers(parts),
        **{name: cuts[name] for name in ("deploy_cuts", "left_broken")},
        **{name: watch[name] for name in ("storage_saved", "novel_missed")},
        **parts,
        "sizes": vars(sizes),
        "cuts": cuts,
        "watch": watch,
        "data": without_folders(data),
        "note": splits.note,
        "machine": provenance.machine(),
        "versions": provenance.versions() | {name: metadata.version(name) for name in PACKAGES},
        "commit": commit,
    }
    for_goals = {**found, "storage_kept": 1 - found["storage_saved"]}
    return {**found, "goals": judged(AT_MOST, for_goals)}


def _parts(
    bundle: Path, frames: Path, data: str, folder: Path, sizes: Sizes, say: Say
) -> dict[str, Any]:
    """Everything that is measured on daemons here."""
    say("frames by HTTP and from a stream")
    parts = {
        "flush": speed.flush(folder),
        "floor": speed.floor(bundle, frames),
        "http": speed.by_http(bundle, frames, folder / "http", sizes.seconds, sizes.rounds),
        "stream": speed.from_stream(bundle, data, sizes.stream, folder / "stream"),
    }
    rate = parts["http"]["frames_per_s"]
    say(f"the page, at {rate:.0f} frames/s that can be answered")
    parts["overload"] = overload(bundle, frames, folder / "overload", rate, sizes.page_s)
    say(f"two soaks of {sizes.soak_min:g} minutes")
    parts["soak_http"] = soak.by_http(bundle, frames, folder / "soak-http", sizes.soak_min)
    parts["soak_stream"] = soak.from_stream(bundle, data, folder / "soak-stream", sizes.soak_min)
    say("what means no good")
    (folder / "mischief").mkdir()
    parts["mischief"] = mischief(bundle, folder / "mischief", sizes.examples)
    return parts


def _numbers(parts: dict[str, Any]) -> dict[str, Any]:
    """The numbers that stand for all others."""
    soaks, loaded = (parts["soak_http"], parts["soak_stream"]), parts["overload"]["loaded"]
    page, stream, bad = (
        loaded["in_browser"] or loaded["by_hand"],
        parts["stream"],
        parts["mischief"],
    )
    return {
        "frames_per_s": parts["http"]["frames_per_s"],
        "p99_ms": parts["http"]["p99_ms"],
        "stream_frames_per_s": stream["frames_per_s"],
        "floor_frames_per_s": parts["floor"]["16"]["frames_per_s"],
        "page_ms_under_load": page["p50_ms"],
        "page_p99_ms_under_load": page["p99_ms"],
        "rss_mb": max(one["rss_mb"] for one in soaks),
        "rss_growth": max(one["rss_growth"] for one in soaks),
        "frames_twice": sum(one["twice"] for one in soaks) + parts["soak_http"]["mixed_up"],
        "frames_lost": sum(one["unaccounted"] for one in soaks) + stream["miscounted"],
        "bad_requests": len(bad["not_refused"]),
        "server_errors": sum(
            one["server_errors"] for one in (*soaks, parts["overload"], parts["mischief"])
        ),
        "undocumented": len(bad["schemathesis"]["failures"]),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    folder = Path(os.environ.get("SEL_EDGE_TEST_DATA", ROOT / "../shared/data"))
    parser.add_argument("--data", default=f"cifar10:{folder / ARCHIVE}")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--soak-min", type=float, help="minutes of each of both soaks")
    parser.add_argument("--json", action="store_true", help="nothing but the result")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    parser.add_argument("--cuts", type=Path, help="what tools/deploy_cuts.py printed")
    parser.add_argument("--watch", type=Path, help="what tools/bench_watch.py printed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
