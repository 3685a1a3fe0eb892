"""The predicted peak of a training step is what a process really grows by."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_source import Source
from sel_edge.compile.ladder import LadderOptions
from sel_edge.data.dataset import Dataset
from tests.compile.networks import exported, resnet18, settled

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from sel_edge.bundle.bundle import open_bundle
from sel_edge.runtime.engine import peak_memory_bytes
from sel_edge.runtime.training import TrainingStep

bundle, name = open_bundle(Path(sys.argv[1])), sys.argv[2]
rung, parameters = bundle.manifest.rungs[name], dict(bundle.parameters())
channels = {layer.weight: np.arange(layer.rows or 2) for layer in rung.layers}
step = TrainingStep(bundle, name, parameters, channels, threads=1)
batch = step.prepare(np.zeros((rung.batch, *rung.latent_shape), np.float32))
before = peak_memory_bytes()
for _ in range(3):
    step.step(batch, np.zeros(rung.batch, int), learning_rate=0.0)
print(json.dumps(peak_memory_bytes() - before))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    classes = tuple("abcde")
    source = Source(
        model=exported(settled(lambda: resnet18(16), (3, 32, 32)), (3, 32, 32)),
        name="resnet18",
        width=16,
        classes=classes,
        preprocessing=ImagePreprocessing(32, 32, 3, (0.5,) * 3, (0.25,) * 3),
        anchors=Dataset(images, np.arange(10) % 5, classes),
        held_out=True,
        calibration=images,
        predict=lambda images: np.zeros((len(images), 5), np.float32),
        seed=0,
        accuracy={},
        provenance={},
    )
    options = LadderOptions(rungs=("deep", "full"))
    with pytest.MonkeyPatch.context() as patch:
        # The network is random: nothing to compare its answers with.
        patch.setattr("sel_edge.cli.export_bundle.PARITY_TOLERANCE", np.inf)
        return make_bundle(source, tmp_path_factory.mktemp("peak") / "b", options, False).bundle


@pytest.mark.parametrize("rung", ["deep", "full"])
def test_a_process_grows_by_the_predicted_peak(bundle: Bundle, rung: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle.path), rung],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    grown, predicted = json.loads(done.stdout), bundle.manifest.rungs[rung].main.cost.peak_bytes
    # onnxruntime rounds up what it takes from the system, and kernels have buffers of their own.
    assert 0.6 * predicted < grown < 1.8 * predicted, (grown, predicted)
