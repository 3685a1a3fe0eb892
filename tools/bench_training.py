"""What a training step costs, and how little of it the data pipeline is.

Times, in turn in one process so that a drifting machine hurts all alike: picking and augmenting a
batch, making it a normalized tensor, and whole training steps in fp32, bf16 and bf16 channels-last.
The bar: the pipeline costs at most 5 % of a step. Floor: the step's FLOPs over the best rate that
one large matrix product reaches here in the same precision.

    python tools/bench_training.py --data cifar10:PATH [--width 16] [--batch 64] [--quick]

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sel_edge.core import provenance
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import fit_normalization, training_batches
from sel_edge.pretrain.flops import count_flops
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.precision import Arithmetic, Precision
from sel_edge.pretrain.recipe import load_recipe

WARM_UP = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 8 if options.quick else 40
    print(json.dumps(measure(options.data, options.width, options.batch, rounds)))


def measure(data: str, width: int, batch: int, rounds: int) -> dict[str, object]:
    """Run everything in turn and return medians with spread."""
    splits = load_splits(data)
    recipe = load_recipe("dense", [f"batch_size = {batch}"])
    normalize = fit_normalization(splits.train)
    device = torch.device("cpu")
    shape = (splits.train.images.shape[3], *splits.train.images.shape[1:3])
    pool = np.arange(len(splits.train.labels), dtype=np.int64)
    batches = training_batches(splits.train, pool, recipe, 0, 0, 0)
    images, labels, _ = next(batches)
    x, y = normalize(images, device), torch.from_numpy(labels)
    steps = {
        name: training_step(splits.train.classes, width, shape, precision, layout, x, y)
        for name, (precision, layout) in VARIANTS.items()
    }
    timed: dict[str, Callable[[], object]] = {
        "augment": lambda: next(batches),
        "normalize": lambda: normalize(images, device),
        **{f"step_{name}": step for name, step in steps.items()},
        **{f"matmul_{name}": matmul(name) for name in ("fp32", "bf16")},
    }
    rounds = min(rounds, len(pool) // batch - WARM_UP - 1)
    times = interleave(timed, rounds)
    rows = {name: summary(values[WARM_UP:]) for name, values in times.items()}
    best = min(("fp32", "bf16"), key=lambda name: rows[f"step_{name}"]["median_ms"])
    step_ms = rows[f"step_{best}"]["median_ms"]
    pipeline_ms = rows["augment"]["median_ms"] + rows["normalize"]["median_ms"]
    flops = count_flops(
        build_model(len(splits.train.classes), width, shape[0], "scratch", 0), shape
    )
    floor_ms = flops.training * batch / (MATMUL_FLOPS / rows[f"matmul_{best}"]["median_ms"])
    return {
        "data": data,
        "note": splits.note,
        "width": width,
        "batch": batch,
        "rounds": rounds,
        "rows": rows,
        "precision": best,
        "pipeline_share_of_step": pipeline_ms / (step_ms + pipeline_ms),
        "bf16_speedup": rows["step_fp32"]["median_ms"] / rows["step_bf16"]["median_ms"],
        "channels_last_slowdown": rows["step_bf16_channels_last"]["median_ms"]
        / rows["step_bf16"]["median_ms"],
        "step_flops": flops.training * batch,
        "step_over_matmul_floor": step_ms / floor_ms,
        "threads": torch.get_num_threads(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


VARIANTS: dict[str, tuple[Precision, torch.memory_format]] = {
    "fp32": ("fp32", torch.contiguous_format),
    "bf16": ("bf16", torch.contiguous_format),
    "bf16_channels_last": ("bf16", torch.channels_last),
}
MATMUL_SIZE = 1024
MATMUL_FLOPS = 2 * MATMUL_SIZE**3


def training_step(
    classes: tuple[str, ...],
    width: int,
    shape: tuple[int, int, int],
    precision: Precision,
    layout: torch.memory_format,
    x: torch.Tensor,
    y: torch.Tensor,
) -> Callable[[], object]:
    """A whole training step on a model of its own."""
    model = build_model(len(classes), width, shape[0], "scratch", 0).to(memory_format=layout)
    images = x.to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    arithmetic = Arithmetic(torch.device("cpu"), precision)

    def step() -> None:
        with arithmetic.autocast():
            logits = model(images)
        cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def matmul(precision: str) -> Callable[[], object]:
    """One large matrix product, the best rate this machine is likely to reach."""
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE).to(kind) for _ in range(2))
    return lambda: a @ b


def interleave(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, the functions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds + WARM_UP):
        for name, function in timed.items():
            start = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summary(values: list[float]) -> dict[str, float]:
    """Median with the quartiles and the count."""
    low, median, high = statistics.quantiles(values, n=4)
    return {"median_ms": median, "q1_ms": low, "q3_ms": high, "n": len(values)}


if __name__ == "__main__":
    main()
