"""What a training step costs, and how little of it is anything but the network.

Times, in turn in one process so that a drifting machine hurts all alike: a batch picked, augmented
and normalized; bare forward and backward passes in every number format and layout; and whole steps
of the trainer in the fastest of them, which do all that a run does between two evaluations. The
bar: a step is at least 0.9 times as fast as bare passes of as many images as the recipe lets
through at a time. Floor: the step's FLOPs over the best rate that one large matrix product reaches
here in the same number format.

    python -m tools.bench_training --data cifar10:PATH [--recipe sel] [--width 16] [--device auto]
        [--quick] [--out FILE]

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sel_edge.core import provenance
from sel_edge.core.frames import channels_first
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.batches import Batch, Order, Resident, fit_normalization, parts_of
from sel_edge.pretrain.compiled import compiled_network
from sel_edge.pretrain.flops import FlopsBySize, count_flops
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.optimizer import new_optimizer
from sel_edge.pretrain.practice import EpochWork, Practice
from sel_edge.pretrain.precision import (
    CHANNELS_LAST_MIN_SPEEDUP,
    Arithmetic,
    bare_step,
    can_compile,
    choose_arithmetic,
    choose_device,
    possible,
)
from sel_edge.pretrain.progress import EpochSums
from sel_edge.pretrain.ranks import ALONE
from sel_edge.pretrain.recipe import Recipe, load_recipe
from sel_edge.pretrain.remembered import Remembered
from sel_edge.pretrain.state import Setup, TrainState
from sel_edge.pretrain.step import Stepper
from tools.bench_adapt import without_folders
from tools.publish import publish

WARM_UP = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--recipe", default="sel")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    options = parser.parse_args()
    rounds = 8 if options.quick else 40
    device, recipe = choose_device(options.device), load_recipe(options.recipe)
    found = measure(options.data, options.width, recipe, device, rounds)
    publish(found, options.out)


def measure(
    data: str, width: int, recipe: Recipe, device: torch.device, rounds: int
) -> dict[str, object]:
    """Run everything in turn and return medians with spread."""
    splits = load_splits(data)
    shape = channels_first(splits.train.frames.shape[1:])
    model = build_model(len(splits.train.classes), width, shape[0], "scratch", 0)
    batch, compiled = recipe.batch_size, can_compile(device)
    part = batch // parts_of(batch, recipe.part_size)
    best, _ = choose_arithmetic(model, shape, part, device)
    best = replace(best, compiled=compiled)
    trainer = _Trainer(data, width, recipe, best)
    bare = {
        named(one): bare_step(model, shape, part, replace(one, compiled=compiled))
        for one in possible(model, shape, device)
    }
    timed: dict[str, Callable[[], object]] = {
        "batch": trainer.next,
        **bare,
        "step": trainer.step,
        **{f"matmul_{number}": matmul(number, device) for number in ("fp32", "bf16")},
    }
    rows = {name: summary(v[WARM_UP:]) for name, v in interleave(timed, rounds).items()}
    flops = count_flops(model, shape).training() * batch
    floor_ms = flops / (MATMUL_FLOPS / rows[f"matmul_{best.precision}"]["median_ms"])
    bare_ms = rows[named(best)]["median_ms"] * batch / part
    step_ms = rows["step"]["median_ms"]
    return {
        "data": without_folders(data),
        "note": splits.note,
        "recipe": recipe.name,
        "width": width,
        "batch": batch,
        "part": part,
        "rounds": rounds,
        "device": str(device),
        "rows": rows,
        "chosen": named(best),
        "throughput_of_bare": bare_ms / step_ms,
        "pipeline_share_of_step": rows["batch"]["median_ms"] / step_ms,
        "channels_last_must_win_by": CHANNELS_LAST_MIN_SPEEDUP,
        "step_flops": flops,
        "step_over_matmul_floor": step_ms / floor_ms,
        "threads": torch.get_num_threads(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


class _Trainer:
    """Steps of the trainer, for ever."""

    def __init__(self, data: str, width: int, recipe: Recipe, arithmetic: Arithmetic) -> None:
        splits, self._recipe = load_splits(data), recipe
        normalization = fit_normalization(splits.train)
        shape, classes = channels_first(splits.train.frames.shape[1:]), splits.train.classes
        model = build_model(len(classes), width, shape[0], "scratch", 0)
        arithmetic.prepared(model)
        train, test = (
            Resident(split, normalization, arithmetic) for split in (splits.train, splits.test)
        )
        flops = FlopsBySize(model, shape[0])
        setup = Setup(self._recipe, train, test, arithmetic, flops, open_meter(), 0)
        device = arithmetic.device
        remembered = Remembered(self._recipe, len(train), len(classes), device)
        state = TrainState(model.train(), new_optimizer(model, self._recipe), remembered)
        state.sums = EpochSums(len(classes), device)
        self._train, pool = train, np.arange(len(train), dtype=np.int64)
        practice = Practice(self._recipe.stages[-1], pool, setup.sides, None)
        self._work = EpochWork(practice, pool, torch.ones(len(train), device=device))
        self._stepper = Stepper(setup, state, compiled_network(setup, model, ALONE), ALONE)
        self._device, self._batches = device, self._endless()

    def _endless(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            order = Order(self._train, self._work.pool, self._recipe, 0, epoch)
            yield from order.batches(0)
            epoch += 1

    def next(self) -> Batch:
        """A batch, and nothing else."""
        batch = next(self._batches)
        self._finish()
        return batch

    def step(self) -> None:
        """A batch, and a step with it, at a learning rate of nearly zero."""
        self._stepper.take(next(self._batches), self._work, 1e-6)
        self._finish()

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def named(arithmetic: Arithmetic) -> str:
    """The row of bare passes in an arithmetic."""
    return f"bare_{arithmetic.precision}_{arithmetic.layout}"


MATMUL_SIZE = 1024
MATMUL_FLOPS = 2 * MATMUL_SIZE**3


def matmul(precision: str, device: torch.device) -> Callable[[], object]:
    """One large matrix product, the best rate this machine is likely to reach."""
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=device).to(kind) for _ in range(2))

    def multiply() -> None:
        torch.matmul(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return multiply


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
