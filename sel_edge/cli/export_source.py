"""What `sel-edge export` starts from, and how a finished run gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import MIN_ANCHORS_PER_CLASS
from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing, SignalPreprocessing
from sel_edge.compile.graph import Model
from sel_edge.core.errors import DataError
from sel_edge.core.frames import Frames, channels_first, described, noun
from sel_edge.core.rng import generator
from sel_edge.core.runlog import frame_shape
from sel_edge.data.dataset import Dataset
from sel_edge.data.sources import load_splits

ANCHORS_PER_CLASS = 20
CALIBRATION_FRAMES = 256
"""For int8: a few hundred do (docs/records/int8.json)."""

Logits: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A network and what a bundle needs to know about it.

    Attributes:
        model: the network as ONNX.
        name: of its architecture.
        width: channels of its first block; None to read it off the first layer.
        classes: in the order of the logits.
        preprocessing: from a frame to the network's input.
        anchors: labelled samples that stay with the network.
        held_out: whether training never saw the anchors.
        calibration: frames like those of the training.
        predict: answers float32 [n, K] to n frames, by the network itself.
        seed: of what is drawn.
        accuracy: name of a test set -> share of correct answers.
        provenance: where the network comes from.
        last_function: what the network makes of its logits to answer with: "Softmax",
            "LogSoftmax", or "" for nothing.
    """

    model: Model
    name: str
    width: int | None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    anchors: Dataset
    held_out: bool
    calibration: Frames
    predict: Callable[[Frames], Logits]
    seed: int
    accuracy: Mapping[str, float]
    provenance: Mapping[str, Any]
    last_function: str = ""


def from_run(run_path: Path, data: str | None) -> Source:
    """The network of a finished run.

    Args:
        run_path: directory of the run.
        data: data SPEC to use in place of the one in the run log.

    Raises:
        SelEdgeError: the run or its data is at fault.
    """
    from sel_edge.compile.export import torch_model
    from sel_edge.pretrain.describe import is_same_data
    from sel_edge.pretrain.trained import anchor_indices, load_trained

    trained = load_trained(run_path)
    info = trained.run.info
    spec = data or info["data"]["spec"]
    splits = load_splits(spec)
    shape = frame_shape(info)
    _require_same(splits.train, spec, trained.run.classes, shape)
    mean, std = tuple(info["data"]["mean"]), tuple(info["data"]["std"])
    chosen = splits.train.subset(anchor_indices(splits.train, info, ANCHORS_PER_CLASS))
    return Source(
        model=torch_model(trained.model, channels_first(shape)),
        name=info["model"]["name"],
        width=info["model"]["width"],
        classes=trained.run.classes,
        preprocessing=preprocessing_of(shape, mean, std),
        anchors=enough(chosen, spec),
        held_out=info["data"]["holdout"] > 0 and is_same_data(splits, info),
        calibration=calibration_frames(splits.train, info["seed"]),
        predict=lambda frames: trained.predict(frames)[1],
        seed=info["seed"],
        accuracy={
            "test": info["totals"]["test_full_acc"],
            "test_first_100": info["totals"]["test_100_acc"],
        },
        provenance={
            "recipe": info["recipe"]["name"],
            "data": {key: info["data"][key] for key in ("spec", "sha256", "note")},
            "trained_with": info["versions"],
        },
    )


def _require_same(
    found: Dataset, spec: str, classes: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    if (found.classes, found.frames.shape[1:]) != (classes, shape):
        raise DataError(
            f"{spec} holds classes {', '.join(found.classes)} as "
            f"{described(found.frames.shape[1:])}.",
            f"The run was trained on {', '.join(classes)} as {described(shape)}.",
            "Name the run's own data with --data.",
        )


def preprocessing_of(
    shape: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]
) -> Preprocessing:
    """Of frames of a shape as data hold them, with a mean and a deviation for each channel."""
    if noun(shape) == "signal":
        channels, length = shape
        return SignalPreprocessing(channels, length, mean, std)
    height, width, channels = shape
    return ImagePreprocessing(height, width, channels, mean, std)


def enough(anchors: Dataset, spec: str) -> Dataset:
    """The anchors, if there are as many of every class as a bundle needs.

    Raises:
        DataError: a class has too few.
    """
    counts = np.bincount(anchors.labels, minlength=len(anchors.classes))
    if counts.min() < MIN_ANCHORS_PER_CLASS:
        raise DataError(
            f"The class {anchors.classes[int(counts.argmin())]!r} of {spec} gives {counts.min()} "
            "anchors.",
            f"A bundle needs at least {MIN_ANCHORS_PER_CLASS} of every class, beside one sample "
            "more.",
            "Use data with more training samples of every class.",
        )
    return anchors


def calibration_frames(train: Dataset, seed: int) -> Frames:
    """Some frames, drawn from all of them, to quantize with."""
    order = generator(seed, "int8").permutation(len(train))
    return train.frames[order[:CALIBRATION_FRAMES]]
