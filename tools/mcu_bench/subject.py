"""The networks of the benchmark: trained, exported for a microcontroller, with frames to answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge import zoo
from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_mcu import target_of
from sel_edge.cli.export_source import from_run
from sel_edge.compile.ladder import LadderOptions
from sel_edge.data.sources import load_splits
from sel_edge.data.spec import parse_data
from sel_edge.mcu.image import Image
from sel_edge.pretrain.trained import load_trained
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session
from tools.adapt_bench.subject import NETWORKS

RUNS = {8: NETWORKS / "ten-w8", 16: Path(zoo.__file__).parent / "cifar10-8-dense"}
"""Width -> a finished run."""
PROFILE = "esp32-c3"
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Subject:
    """A network.

    Attributes:
        bundle: with a model image, and the rungs norm, head and tail.
        image: of the bundle.
        frames: of the test split, uint8 [n, height, width, channels].
        labels: true classes, int64 [n].
        note: what the data say of themselves.
    """

    bundle: Bundle
    image: Image
    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    note: str

    def fp32_labels(self, count: int) -> NDArray[np.int64]:
        """What the network itself answers for the first frames, int64 [count]."""
        session = Session(self.bundle.member("infer.onnx"), 1)
        preprocess = Preprocessor(self.bundle.manifest.preprocessing)
        parts = []
        for start in range(0, count, _BATCH):
            image = preprocess(self.frames[start : min(start + _BATCH, count)])
            parts.append(session.run({"image": image}, ["logits"])["logits"].argmax(axis=1))
        return np.concatenate(parts)


def make_subject(width: int, data: str, folder: Path) -> Subject:
    """Export the network of a width.

    Args:
        width: 8 or 16.
        data: SPEC of CIFAR-10; classes that the network does not know are left out.
        folder: for the bundle.

    Raises:
        SelEdgeError: the data or the disk is at fault.
    """
    run = RUNS[width]
    spec = str(replace(parse_data(data), classes=load_trained(run).run.classes))
    options = LadderOptions(rungs=("norm", "head", "tail"))
    target, out = target_of(PROFILE, None), folder / f"width-{width}"
    bundle = make_bundle(from_run(run, spec), out, options, False, target).bundle
    splits = load_splits(spec)
    frames = splits.test.frames.astype(np.uint8, copy=False)
    return Subject(bundle, bundle.mcu_image(), frames, splits.test.labels, splits.note)
