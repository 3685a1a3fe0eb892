"""The edge install has neither torch nor onnx, and must run and adapt all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from tests.runtime import trainable
from tests.runtime.conftest import NEW_CLASS, Patterns

WALL = """
import sys
import numpy as np
from importlib.abc import MetaPathFinder
from pathlib import Path

BLOCKED = {"torch", "torchvision", "onnx", "onnxscript", "matplotlib", "sklearn", "scipy"}

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not installed here")
        return None

sys.meta_path.insert(0, Blocker())
"""

CHECK = """
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""

LEARN_A_CLASS = """
from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.ledger import LedgerWriter
from sel_edge.data.stream import FrameBatch
from sel_edge.energy.meter import open_meter
from sel_edge.runtime.loop import Runtime

bundle, ledger, frames, new = sys.argv[1:]
images = np.load(frames)
with LedgerWriter(Path(ledger)) as writer:
    runtime = Runtime(open_bundle(Path(bundle)), writer, open_meter())
    for start in range(0, len(images), 10):
        part = images[start : start + 10]
        names = (new,) * len(part)
        runtime.process(FrameBatch(start, part, names, names, "new class"))
assert new in runtime.head.classes
"""

TRAIN = """
from sel_edge.bundle.bundle import open_bundle
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.latents import Batches, Latents
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.training import TrainingStep

bundle = open_bundle(Path(sys.argv[1]))
engine, own, anchors = Engine(bundle, threads=1), bundle.parameters(), bundle.anchors()
for name, rung in bundle.manifest.rungs.items():
    if name == "norm":
        engine.load(Renormalizer(bundle, own).estimate(anchors.frames[: rung.batch]))
        continue
    channels = {layer.weight: np.arange(layer.rows or 2) for layer in rung.layers}
    step = TrainingStep(bundle, name, own, channels, threads=1)
    latents = Latents.of(engine.latents(anchors.frames[: rung.batch], name))
    batch = Batches(step, latents, 2**20)[0]
    labels = anchors.labels[: rung.batch]
    losses = [step.step(batch, labels, learning_rate=0.01).loss.mean() for _ in range(5)]
    assert losses[-1] < losses[0], (name, losses)
    engine.load(step.applied(own))
    engine.infer(anchors.frames)
"""


def edge(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program behind the wall."""
    command = [sys.executable, "-W", "error", "-c", WALL + program + CHECK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_adapts_where_torch_and_onnx_cannot_be_imported(
    bundle: Bundle, patterns: Patterns, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", patterns.draw(40, 1, (NEW_CLASS,))[0])
    ledger = tmp_path / "run" / LEDGER_FILE
    result = edge(LEARN_A_CLASS, bundle.path, ledger, tmp_path / "frames.npy", NEW_CLASS)
    assert result.returncode == 0, result.stderr
    assert any(update.kept for update in read_ledger(ledger).updates)


def test_every_rung_trains_where_torch_and_onnx_cannot_be_imported() -> None:
    result = edge(TRAIN, trainable.FOLDER)
    assert result.returncode == 0, result.stderr
