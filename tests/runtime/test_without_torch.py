"""The edge install has neither torch nor onnx, and must run and adapt all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from tests.runtime.conftest import NEW_CLASS, Patterns

PROGRAM = """
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
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""


def test_it_adapts_where_torch_and_onnx_cannot_be_imported(
    bundle: Bundle, patterns: Patterns, tmp_path: Path
) -> None:
    import numpy as np

    np.save(tmp_path / "frames.npy", patterns.draw(40, 1, (NEW_CLASS,))[0])
    ledger = tmp_path / "run" / LEDGER_FILE
    arguments = [bundle.path, ledger, tmp_path / "frames.npy", NEW_CLASS]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert any(update.kept for update in read_ledger(ledger).updates)
