"""Heartbeats, wrist movements and sonar echoes: trained for a few epochs, exported, answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.cli.export import export_run
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.run import start_run
from sel_edge.pretrain.trained import load_trained
from sel_edge.runtime.engine import Engine
from tests.hmp import write_windows
from tests.pretrain.conftest import Quiet, never
from tests.pretrain.signals import signal_options, signal_recipe
from tests.real_data import real_file


def heartbeats(_: Path) -> str:
    """The fifth class has two heartbeats, too few for anchors."""
    return f"signals:{real_file('ecg5000-train.txt.gz')}?classes=1,2,3,4"


def echoes(_: Path) -> str:
    return f"signals:{real_file('sonar.csv')}?label=last"


def movements(folder: Path) -> str:
    return write_windows(real_file("hmp-wrist.tar.gz"), folder / "hmp.npz")


@pytest.mark.parametrize(
    ("make", "epochs_scale", "better_by"),
    [(heartbeats, 0.5, 0.3), (echoes, 1.5, 0.15), (movements, 0.35, 0.35)],
    ids=["ecg5000", "sonar", "hmp-wrist"],
)
def test_real_signals_are_learned_exported_and_answered(tmp_path, make, epochs_scale, better_by):
    data = make(tmp_path)
    options = signal_options(data, signal_recipe("sel", epochs_scale), holdout=2)
    run = start_run(tmp_path / "run", options, open_meter(), Quiet(), never)
    test = load_splits(data).test
    majority = np.bincount(test.labels).max() / len(test)
    reached = run.history[-1]["test_full_acc"]
    assert reached > majority + better_by

    bundle, _ = export_run(run.path, tmp_path / "bundle")
    features, logits = Engine(bundle, 1).infer(test.frames)
    expected = load_trained(run.path).predict(test.frames)
    for found, torchs in zip((features, logits), expected, strict=True):
        np.testing.assert_allclose(found, torchs, rtol=0, atol=1e-4 * np.abs(torchs).max())
    assert (logits.argmax(axis=1) == test.labels).mean() == pytest.approx(reached, abs=1e-9)
