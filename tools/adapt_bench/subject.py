"""The network that the stories happen to: as torch has it, and as a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_source import from_run
from sel_edge.compile.ladder import LadderOptions
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.pretrain.batches import Normalization, evaluation_batch
from sel_edge.pretrain.trained import anchor_indices, load_trained

NETWORKS = Path(__file__).parent / "networks"


@dataclass(frozen=True)
class Subject:
    """A trained network.

    Attributes:
        run: its finished run.
        spec: SPEC of the data it was trained on.
        bundle: its bundle.
        anchors: what every contestant may replay: training images that training never saw.
    """

    run: Path
    spec: str
    bundle: Bundle
    anchors: Dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the network."""
        return self.bundle.manifest.classes

    @property
    def forward_flops(self) -> int:
        """Executed operations of one frame's inference."""
        return 2 * self.bundle.manifest.model.forward_macs


def make_subject(run: Path, spec: str, splits: Splits, folder: Path, **options: Any) -> Subject:
    """Export a run.

    Args:
        run: directory of the finished run.
        spec: of its training data.
        splits: the same data, loaded.
        folder: for the bundle.
        options: of the ladder.
    """
    bundle = make_bundle(from_run(run, spec), folder / run.name, LadderOptions(**options), False)
    info = load_trained(run).run.info
    anchors = splits.train.subset(anchor_indices(splits.train, info, 0))
    return Subject(run, spec, bundle.bundle, anchors)


def normalization(subject: Subject) -> Normalization:
    """From pixels to the network's input."""
    view = subject.bundle.manifest.preprocessing
    return Normalization(tuple(view.mean), tuple(view.std))


def torch_answers(model: Any, normalize: Normalization, frames: NDArray[np.uint8]) -> Any:
    """Class numbers int64 [n] by a torch network."""
    import torch

    size = evaluation_batch(frames)
    with torch.inference_mode():
        parts = [
            model(normalize(frames[start : start + size], torch.device("cpu"))).argmax(1).numpy()
            for start in range(0, len(frames), size)
        ]
    return np.concatenate(parts)
