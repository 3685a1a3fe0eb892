"""The network that the stories happen to: as torch has it, and as a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_source import from_run
from sel_edge.compile.ladder import LadderOptions
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.trained import anchor_indices, load_trained

NETWORKS = Path(__file__).parent / "networks"


@dataclass(frozen=True)
class Subject:
    """A trained network.

    Attributes:
        run: its finished run.
        spec: SPEC of the data it was trained on.
        bundle: its bundle.
        model: the same network as torch has it, in evaluation mode; nobody changes it.
        normalize: from pixels to its input.
        anchors: what every contestant may replay: training images that training never saw.
    """

    run: Path
    spec: str
    bundle: Bundle
    model: ResNet18
    normalize: Normalization
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
    trained = load_trained(run)
    info = trained.run.info
    anchors = splits.train.subset(anchor_indices(splits.train, info, 0))
    normalize = Normalization(tuple(info["data"]["mean"]), tuple(info["data"]["std"]))
    return Subject(run, spec, bundle.bundle, trained.model, normalize, anchors)
