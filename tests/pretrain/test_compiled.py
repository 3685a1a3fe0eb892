"""A compiled network learns what the plain one learns. Slow: torch compiles for every stage."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from sel_edge.core.runlog import read_run
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.batches import Normalization, Order, Resident
from sel_edge.pretrain.compiled import warm_up
from sel_edge.pretrain.flops import FlopsBySize
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.practice import Practice
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.run import resume_run, start_run
from sel_edge.pretrain.state import Setup
from tests.pretrain.conftest import (
    FOUR_DIGITS,
    Quiet,
    after,
    never,
    small_options,
    small_recipe,
    train,
)

STAGES = (
    "stages = [{name = 'small', start = 0.0, end = 1.0, epochs = 2, side = 0.5, spare = 0.5},"
    " {name = 'whole', start = 0.0, end = 1.0, epochs = 2},"
    " {name = 'frozen', start = 0.0, end = 1.0, epochs = 1, frozen = 3}]"
)


@pytest.mark.proof
def test_a_compiled_network_learns_what_the_plain_one_learns(tmp_path):
    recipe = small_recipe("dense-strong", 1.0, STAGES, "batch_size = 38", "learning_rate = 0.05")
    plain = train(tmp_path / "plain", recipe)
    out = tmp_path / "compiled"
    with pytest.raises(RunInterruptedError):
        start_run(out, small_options(recipe), open_meter(), Quiet(), after(1))
    # Processors are not compiled for by themselves.
    info = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(info | {"compiled": True}))
    resume_run(out, open_meter(), Quiet(), never)
    compiled = read_run(out)
    assert compiled.info["totals"]["compile_seconds"] > 1
    assert plain.info["totals"]["compile_seconds"] == 0
    assert plain.info["data"]["n_train"] % 38 == 0
    # Of an epoch that spares images it leaves out the last, smaller batch: not the same to the bit.
    for one, other in zip(plain.history, compiled.history, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=0.1)


class Recorder:
    """A network that remembers what passed through it, and whether with all processes together."""

    def __init__(self, model):
        self.model, self.passes, self.together = model, [], True

    def __call__(self, x, first, frozen):
        self.passes.append((tuple(x.shape), self.together))
        return self.model(x, first, frozen)

    @contextmanager
    def no_sync(self):
        self.together = False
        yield
        self.together = True


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("part_size", [0, 10, 12, 64])
def test_every_shape_of_a_step_is_compiled_for_before_the_clock_runs(part_size, world):
    splits = load_splits(FOUR_DIGITS)
    recipe = small_recipe("dense-strong", 1.0, "batch_size = 71", f"part_size = {part_size}")
    arithmetic, normalization = Arithmetic(torch.device("cpu"), "fp32"), Normalization((0.5,), (1,))
    train, test = (
        Resident(split, normalization, arithmetic) for split in (splits.train, splits.test)
    )
    model = build_model(4, 8, 1, "scratch", 0)
    warming = Arithmetic(arithmetic.device, "fp32", compiled=True)
    setup = Setup(recipe, train, test, warming, FlopsBySize(model, 1), open_meter(), 0)
    pool = np.arange(len(splits.train))
    practice = Practice(recipe.stages[0], pool, setup.sides, None)
    shared = set()
    for rank in range(world):
        ranks, network = Ranks(rank, world), Recorder(model)
        assert warm_up(setup, model, network, practice, ranks) > 0
        order = Order(train, pool, recipe, 0, 0, ranks, full=True)
        for batch in order.batches(0, None):
            parts = batch.parts(part_size)
            assert {tuple(part.x.shape) for part in parts} == {shape for shape, _ in network.passes}
        shared.add(sum(together for _, together in network.passes))
    assert len(shared) == 1  # or one process would wait for another for ever
