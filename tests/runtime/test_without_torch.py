"""The edge install has neither torch nor onnx, and must run and adapt all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from tests.runtime import faded, trainable
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

LIVE = """
from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.budget import Budget
from sel_edge.core.ledger import LedgerWriter
from sel_edge.data.stream import FrameBatch
from sel_edge.energy.meter import open_meter
from sel_edge.runtime.board import Board, Rates
from sel_edge.runtime.loop import Runtime

bundle, ledger, frames, new = sys.argv[1:]
images, rates = np.load(frames), Rates(1e9, 1e9, 1e-3, 0.0)
board, budget = Board(open_meter(), rates), Budget(energy_j_per_day=1e9) if new else None
with (
    LedgerWriter(Path(ledger)) as writer,
    Runtime(open_bundle(Path(bundle)), writer, board, budget) as runtime,
):
    for start in range(0, len(images), 20):
        part = images[start : start + 20]
        names = (new or None,) * len(part)
        runtime.process(FrameBatch(start, part, names, names, "what it has never seen"))
    classes, domains = runtime.network.classes, runtime.network.domains
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


LEARN_A_CLASS = LIVE + "assert new in classes and not domains"
LEARN_A_DOMAIN = LIVE + "assert len(classes) == 4 and list(domains) == [1]"


def test_it_adapts_where_torch_and_onnx_cannot_be_imported(
    bundle: Bundle, patterns: Patterns, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", patterns.draw(60, 1, (NEW_CLASS,))[0])
    ledger = tmp_path / "run" / LEDGER_FILE
    result = edge(LEARN_A_CLASS, bundle.path, ledger, tmp_path / "frames.npy", NEW_CLASS)
    assert result.returncode == 0, result.stderr
    assert any(update.kept for update in read_ledger(ledger).updates)


def test_it_learns_a_domain_where_torch_and_onnx_cannot_be_imported(
    patterns: Patterns, tmp_path: Path
) -> None:
    images = [patterns.draw(200, 1)[0], faded.faded(patterns.draw(100, 2)[0])]
    np.save(tmp_path / "frames.npy", np.concatenate(images))
    ledger, folder = tmp_path / "run" / LEDGER_FILE, faded.bundle().path
    result = edge(LEARN_A_DOMAIN, folder, ledger, tmp_path / "frames.npy", "")
    assert result.returncode == 0, result.stderr
    assert [update.rung for update in read_ledger(ledger).updates if update.kept] == ["norm"]


def test_every_rung_trains_where_torch_and_onnx_cannot_be_imported() -> None:
    result = edge(TRAIN, trainable.FOLDER)
    assert result.returncode == 0, result.stderr
