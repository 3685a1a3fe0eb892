"""A finished run as the exporter needs it: the network, its log and its anchors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.frames import Frames
from sel_edge.core.runlog import RunLog, read_run
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.batches import Normalization, evaluation_batch
from sel_edge.pretrain.checkpoint import MODEL_FILE, read_tensors
from sel_edge.pretrain.model import MODELS, ResNet18


@dataclass(frozen=True)
class Trained:
    """A finished run: its network, float32 on the CPU in evaluation mode, and its log."""

    model: ResNet18
    run: RunLog

    def predict(self, frames: Frames) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features float32 [N, F] and logits float32 [N, K] of frames as the run had them."""
        data = self.run.info["data"]
        normalize = Normalization(tuple(data["mean"]), tuple(data["std"]))
        parts, size = [], evaluation_batch(frames)
        with torch.inference_mode():
            for start in range(0, len(frames), size):
                x = normalize.of_arrays(frames[start : start + size])
                features = self.model.features(x)
                parts.append((features.numpy(), self.model.fc(features).numpy()))
        return np.concatenate([f for f, _ in parts]), np.concatenate([z for _, z in parts])


def load_trained(out: Path) -> Trained:
    """Load a finished run.

    Raises:
        RunDirectoryError: the run is unfinished or its weights are damaged.
    """
    run = read_run(out)
    if not (run.info["finished"] and (out / MODEL_FILE).exists()):
        raise RunDirectoryError(
            f"The run in {out} is not finished.",
            f"A finished run, with its {MODEL_FILE}, is expected.",
            f"Finish it with `sel-edge pretrain --resume --out {out}`.",
        )
    described, tensors = run.info["model"], read_tensors(out / MODEL_FILE).tensors
    try:
        layers = MODELS[described["name"]]
        model = ResNet18(len(run.classes), described["width"], described["channels"], layers)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, RuntimeError) as error:
        raise RunDirectoryError(
            f"The weights in {out / MODEL_FILE} do not fit the network that run.json describes.",
            f"A {described['name']} of width {described['width']} is expected.",
            "Restore the directory or pretrain again.",
        ) from error
    return Trained(model.eval(), run)


def anchor_indices(train: Dataset, info: dict[str, Any], per_class: int) -> NDArray[np.int64]:
    """The anchors of a run in its training split: the held-out ones where it kept some out.

    Args:
        train: the whole training split.
        info: the run's run.json.
        per_class: how many to choose where the run held none out.
    """
    held_out = info["data"]["holdout"]
    return choose_anchors(train.labels, held_out or per_class, info["seed"])
