"""What a training step costs against torch's, how exact it is, how fast it starts and how large.

A ResNet-18 is compiled to a bundle. Every rung of it then runs in turn with torch eager in one
process, so that a drifting machine hurts all alike: (same) training the same layers, whole, from
the same latents, and (full) training everything. Both have SGD with momentum, and BatchNorm folded;
torch's full step with BatchNorm in training mode is told beside them. For `norm` and `forward`, the
same is torch's plain forward pass of the same frames in evaluation mode. The floor of a step is its
executed FLOPs over the rate of one large matrix product in onnxruntime. Start and peak memory are
those of fresh processes.

    python tools/bench_step.py [--width 64] [--batch 32] [--frames 64] [--share 0.1] [--threads 1]
        [--rounds 21] [--quick] [--json]

Prints a table, or one JSON object as its last line with --json. Times are medians; megabytes are
10^6 bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sel_edge.core import provenance
from tools.step_bench.accuracy import gradient_errors
from tools.step_bench.contestants import MATMUL_FLOPS, contestants
from tools.step_bench.processes import cold_starts, peak_memory
from tools.step_bench.subject import Subject, make_subject
from tools.step_bench.timing import Times, interleave

ROWS = ("forward", "norm", "head", "tail", "deep", "full")
MEMORY_STEPS = 20
GOALS = {
    "norm": {"ratio_same": 1.15},
    "head": {"ours_ms": 1.0},
    "tail": {"ratio_same": 0.15, "ratio_full": 0.015},
    "full": {"ratio_full": 1.15},
}
"""At width 64, batch 32, 64 frames, a share of 0.1 and one thread."""
ADAPTING_GOALS = {"peak_rss_mb": 200.0}
OTHER_GOALS = {"cold_start_s": 1.0, "cold_start_ratio": 0.5, "grad_max_rel_err": 1e-4}
MEGA = 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="Width 8 and few rounds.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width = options.width or (8 if options.quick else 64)
    rounds = options.rounds or (3 if options.quick else 21)
    starts = 3 if options.quick else 9
    sizes = (width, options.batch, options.frames, options.share)
    measured = measure(*sizes, options.threads, rounds, starts)
    if options.json:
        print(json.dumps(measured))
    else:
        print(table(measured))


def measure(
    width: int, batch: int, frames: int, share: float, threads: int, rounds: int, starts: int
) -> dict[str, Any]:
    """Measure everything.

    Args:
        width: channels of the network's first stage.
        batch: samples per training step.
        frames: of `norm` and `forward`.
        share: of each layer's channels that `tail` and `deep` train.
        threads: of onnxruntime and torch.
        rounds: turns of every function, at least 2.
        starts: fresh processes per kind, at least 2.
    """
    torch.set_num_threads(threads)
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        folder = Path(temporary)
        subject = make_subject(folder, width, batch, frames, share)
        started = cold_starts(subject, threads, starts)
        errors = gradient_errors(subject, folder, threads)
        memory = {
            rung: peak_memory(subject, rung, MEMORY_STEPS, threads).peak_rss_bytes
            for rung in subject.bundle.manifest.rungs
        }
        times = interleave(contestants(subject, threads, folder), rounds)
    started["cold_start_ratio"] = started["cold_start_s"] / started["torch_cold_start_s"]
    rows = [row(name, subject, times, memory) for name in ROWS if name in times]
    return {
        "network": f"resnet18 width {width}, images of 32x32, 10 classes, fp32",
        "batch": batch,
        "frames": frames,
        "share": share,
        "threads": threads,
        "rows": rows,
        **started,
        **errors,
        "goals": judged(OTHER_GOALS, {**started, **errors}),
        "matmul_gflops_per_s": MATMUL_FLOPS / times["matmul"].wall_ms / MEGA,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def row(
    name: str, subject: Subject, times: dict[str, Times], memory: dict[str, int]
) -> dict[str, Any]:
    """Everything about one rung, or about the plain forward pass."""
    same = {"forward": "norm.torch", "full": "torch.full"}.get(name, f"{name}.torch")
    ours, theirs, full = times[name], times[same], times["torch.full"]
    found: dict[str, Any] = {
        "rung": name,
        "n": len(ours.wall),
        "calls_per_turn": ours.repeats,
        **ours.row("ours"),
        **theirs.row("torch_same"),
        **full.row("torch_full"),
        **times["torch.full_batchnorm"].row("torch_full_batchnorm"),
        "ratio_same": ours.wall_ms / theirs.wall_ms,
        "ratio_full": ours.wall_ms / full.wall_ms,
        "ratio_same_cpu": ours.cpu_ms / theirs.cpu_ms,
        "ratio_full_cpu": ours.cpu_ms / full.cpu_ms,
        "executed_flops": executed_flops(name, subject),
    }
    found["floor_ms"] = found["executed_flops"] / MATMUL_FLOPS * times["matmul"].wall_ms
    found["over_floor"] = ours.wall_ms / found["floor_ms"]
    if f"{name}.prepare" in times:
        found["prepare_ms"] = times[f"{name}.prepare"].wall_ms
    goals = dict(GOALS.get(name, {}))
    if name in memory:
        cost = subject.bundle.manifest.rungs[name].main.cost
        found["peak_rss_mb"] = memory[name] / MEGA
        found["predicted_peak_mb"] = cost.peak_bytes / MEGA
        goals |= ADAPTING_GOALS
    return {**found, "goals": judged(goals, found)}


def executed_flops(name: str, subject: Subject) -> int:
    """Of one step, one estimate, or the forward pass of all frames."""
    manifest = subject.bundle.manifest
    if name == "forward":
        return 2 * manifest.model.forward_macs * manifest.rungs["norm"].batch
    return manifest.rungs[name].main.cost.executed_flops


def judged(goals: dict[str, float], found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal as a field's name, the most that it may be, and whether it is met."""
    return {
        name: {"at_most": most, "met": bool(found[name] <= most)} for name, most in goals.items()
    }


def table(measured: dict[str, Any]) -> str:
    """What a person wants to see first."""
    columns = ["ours_ms", "torch_same_ms", "torch_full_ms", "ratio_same", "ratio_full"]
    columns += ["floor_ms", "over_floor", "peak_rss_mb"]
    lines = [" ".join(["rung   ", *(f"{name:>13}" for name in columns), " missed goals"])]
    for found in measured["rows"]:
        cells = [f"{found.get(name, float('nan')):13.4g}" for name in columns]
        missed = [name for name, goal in found["goals"].items() if not goal["met"]]
        lines.append(" ".join([f"{found['rung']:7}", *cells, " ", ", ".join(missed)]))
    for name in (*OTHER_GOALS, "torch_cold_start_s", "torch_grad_max_rel_err"):
        lines.append(f"{name:24} {measured[name]:.4g}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
