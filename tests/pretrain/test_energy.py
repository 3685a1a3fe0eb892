"""Joules of a run: from the processor's counters where there are some."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sel_edge.core.runlog import read_run
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.run import resume_run, start_run
from tests.energy.trees import RANGE_UJ, Tree
from tests.pretrain.conftest import Quiet, after, never, small_options, small_recipe

STEP_UJ = 30_000


class Drawing(Quiet):
    """Every step draws so many microjoules, and the counter wraps around."""

    def __init__(self, counter: Path) -> None:
        super().__init__()
        self.counter, self.steps = counter, 0

    def step_done(self, position, steps, sums):
        self.steps += 1
        self.draw(STEP_UJ)

    def draw(self, energy_uj: int) -> None:
        self.counter.write_text(f"{(int(self.counter.read_text()) + energy_uj) % RANGE_UJ}\n")


def test_a_run_has_measured_joules_in_its_log_and_no_others(tmp_path):
    tree, out = Tree(tmp_path), tmp_path / "run"
    observer = Drawing(tree.laptop())
    options = small_options(small_recipe("sel", 0.3, "batch_size = 64"))
    with pytest.raises(RunInterruptedError):
        start_run(out, options, open_meter(system=tree.system), observer, after(9))
    observer.draw(700_000)  # while nothing runs
    resume_run(out, open_meter(system=tree.system), observer, never)
    run = read_run(out)
    assert run.info["energy"] == {"meter": "rapl:package-0", "origin": "measured"}
    drawn_j = observer.steps * STEP_UJ / 1e6
    assert drawn_j > RANGE_UJ / 1e6
    assert run.info["totals"]["joules"] == pytest.approx(drawn_j)
    spent = [row["energy_j"] for row in run.history]
    assert spent[-1] == pytest.approx(drawn_j)
    assert all(one < other for one, other in itertools.pairwise(spent))
    assert {row["energy_origin"] for row in run.history} == {"measured"}
