"""A compiled network learns what the plain one learns. Slow: torch compiles for every stage."""

from __future__ import annotations

import json

import pytest

from sel_edge.core.runlog import read_run
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.run import resume_run, start_run
from tests.pretrain.conftest import Quiet, after, never, small_options, small_recipe, train

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
