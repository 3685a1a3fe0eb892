"""The peak memory of a process that adapts one rung with the runtime alone.

python -m tools.step_bench.memory BUNDLE RUNG STEPS THREADS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.runtime.engine import Engine, peak_memory_bytes
from sel_edge.runtime.renormalize import RUNG as NORM
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.session import spare_memory
from tools.step_bench.ours import Training, samples


def main() -> None:
    """Infer, learn, and print the peak, and how much of memory are pages of files, in bytes."""
    path, rung, steps, threads = sys.argv[1:]
    spare_memory()
    bundle = open_bundle(Path(path))
    engine = Engine(bundle, int(threads))
    engine.infer(samples(bundle, 1)[0])
    learn(bundle, rung, engine, int(steps), int(threads))
    strangers = {"torch", "onnx"}.intersection(sys.modules)
    if strangers:
        raise SystemExit(f"the runtime has imported {sorted(strangers)}")
    print(json.dumps({"peak_rss_bytes": peak_memory_bytes(), "files_bytes": files_bytes()}))


def files_bytes() -> int:
    """Bytes of libraries and other files that are mapped into this process now."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def learn(bundle: Bundle, rung: str, engine: Engine, steps: int, threads: int) -> None:
    """Some steps of a rung, or estimates of `norm`."""
    if rung == NORM:
        normalizer = Renormalizer(bundle, {}, threads)
        images, _ = samples(bundle, normalizer.frames)
        for _ in range(steps):
            normalizer.estimate(images)
    else:
        training = Training(bundle, rung, engine, threads)
        for _ in range(steps):
            training.step()


if __name__ == "__main__":
    main()
