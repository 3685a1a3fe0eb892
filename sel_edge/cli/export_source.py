"""What `sel-edge export` starts from: a finished run, or a network that the user brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import MIN_ANCHORS_PER_CLASS
from sel_edge.bundle.manifest import Preprocessing
from sel_edge.compile.graph import Model
from sel_edge.compile.read import read_model
from sel_edge.core.errors import BundleError, DataError
from sel_edge.core.files import sha256_file
from sel_edge.core.rng import generator
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset, class_numbers, keep_classes
from sel_edge.data.sources import load_splits
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session

ANCHORS_PER_CLASS = 20
CALIBRATION_IMAGES = 256
"""For int8: a few hundred do (docs/records/int8.json)."""
MAX_NAMES_BYTES = 2**20

Logits: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A network and what a bundle needs to know about it.

    Attributes:
        model: the network as ONNX.
        name: of its architecture.
        width: channels of its first block; None to read it off the first layer.
        classes: in the order of the logits.
        preprocessing: from pixels to the network's input.
        anchors: labelled samples that stay with the network.
        held_out: whether training never saw the anchors.
        calibration: uint8 [n, H, W, C], images like those of the training.
        predict: logits float32 [n, K] of images uint8 [n, H, W, C], by the network itself.
        seed: of what is drawn.
        accuracy: name of a test set -> share of correct answers.
        provenance: where the network comes from.
    """

    model: Model
    name: str
    width: int | None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    anchors: Dataset
    held_out: bool
    calibration: NDArray[np.uint8]
    predict: Callable[[NDArray[np.uint8]], Logits]
    seed: int
    accuracy: Mapping[str, float]
    provenance: Mapping[str, Any]


def from_run(run_path: Path, data: str | None) -> Source:
    """The network of a finished run.

    Args:
        run_path: directory of the run.
        data: data SPEC to use in place of the one in the run log.

    Raises:
        SelEdgeError: the run or its data is at fault.
    """
    from sel_edge.compile.export import torch_model
    from sel_edge.pretrain.trained import anchor_indices, load_trained

    trained = load_trained(run_path)
    info = trained.run.info
    spec = data or info["data"]["spec"]
    splits = load_splits(spec)
    _require_same(splits.train, spec, trained.run.classes, tuple(info["data"]["image_shape"]))
    height, width, channels = info["data"]["image_shape"]
    mean, std = tuple(info["data"]["mean"]), tuple(info["data"]["std"])
    chosen = splits.train.subset(anchor_indices(splits.train, info, ANCHORS_PER_CLASS))
    return Source(
        model=torch_model(trained.model, (channels, height, width)),
        name=info["model"]["name"],
        width=info["model"]["width"],
        classes=trained.run.classes,
        preprocessing=Preprocessing(height, width, channels, mean, std),
        anchors=_enough(chosen, spec),
        held_out=info["data"]["holdout"] > 0 and splits.sha256 == info["data"]["sha256"],
        calibration=_calibration(splits.train, info["seed"]),
        predict=lambda images: trained.predict(images)[1],
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


def from_onnx(
    path: Path,
    names: Path,
    data: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    held_out: bool,
) -> Source:
    """A network that the user brings.

    Args:
        path: an ONNX file.
        names: a text file with the class names, one a line, in the order of the logits.
        data: data SPEC with images of these classes.
        mean, std: of the network's preprocessing, one number for all channels or one per channel.
        held_out: whether training never saw the images of `data`.

    Raises:
        SelEdgeError: a file or the data is at fault.
    """
    model = read_model(path)
    classes = read_names(names)
    splits = load_splits(data)
    train = keep_classes(splits.train, class_numbers(splits.train.classes, classes, data))
    height, width, channels = train.images.shape[1:]
    preprocessing = Preprocessing(
        height, width, channels, _per_channel(mean, channels), _per_channel(std, channels)
    )
    anchors = train.subset(choose_anchors(train.labels, ANCHORS_PER_CLASS, 0))
    return Source(
        model=model,
        name=path.stem,
        width=None,
        classes=classes,
        preprocessing=preprocessing,
        anchors=_enough(anchors, data),
        held_out=held_out,
        calibration=_calibration(train, 0),
        predict=_predictor(path, preprocessing),
        seed=0,
        accuracy={},
        provenance={
            "onnx": {"name": path.name, "sha256": sha256_file(path)},
            "data": {"spec": data, "sha256": splits.sha256, "note": splits.note},
        },
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines at the end do not count.

    Raises:
        DataError: it is no text file of at least two different names.
    """
    try:
        if path.stat().st_size > MAX_NAMES_BYTES:
            raise ValueError(f"it is larger than {MAX_NAMES_BYTES} bytes")
        names = tuple(line.strip() for line in path.read_text("utf-8").rstrip().splitlines())
        if len(names) < 2 or len(set(names)) < len(names) or not all(names):
            raise ValueError("it has fewer than two names, an empty one or one twice")
    except (OSError, ValueError) as error:
        raise DataError(
            f"The class names in {path} cannot be used: {error}.",
            "A UTF-8 text file with one class name a line is expected, in the order of the logits.",
            "Correct the file, or name another with --classes.",
        ) from error
    return names


def _predictor(path: Path, settings: Preprocessing) -> Callable[[NDArray[np.uint8]], Logits]:
    """The user's file as it is, one image at a time: its batch may be fixed."""
    session, preprocess = Session(path, None), Preprocessor(settings)
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        raise BundleError(
            f"{path} has {len(session.inputs)} inputs and {len(session.outputs)} outputs.",
            "A network with one input and one output is expected.",
            "Export the classifier alone, without other heads.",
        )
    (start,), (end,) = session.inputs, session.outputs

    def predict(images: NDArray[np.uint8]) -> Logits:
        rows = [
            session.run({start: preprocess(images[i : i + 1])})[end] for i in range(len(images))
        ]
        return np.concatenate(rows)

    return predict


def _require_same(
    found: Dataset, spec: str, classes: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    if (found.classes, found.images.shape[1:]) != (classes, shape):
        raise DataError(
            f"{spec} holds classes {', '.join(found.classes)} as images of shape "
            f"{found.images.shape[1:]}.",
            f"The run was trained on {', '.join(classes)}, shape {shape}.",
            "Name the run's own data with --data.",
        )


def _enough(anchors: Dataset, spec: str) -> Dataset:
    fewest = int(np.bincount(anchors.labels, minlength=len(anchors.classes)).min())
    if fewest < MIN_ANCHORS_PER_CLASS:
        raise DataError(
            f"A class of {spec} gives {fewest} anchors.",
            f"A bundle needs at least {MIN_ANCHORS_PER_CLASS} of every class.",
            "Use more training images of every class, and pretrain again.",
        )
    return anchors


def _calibration(train: Dataset, seed: int) -> NDArray[np.uint8]:
    order = generator(seed, "int8").permutation(len(train))
    return train.images[order[:CALIBRATION_IMAGES]]


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise DataError(
            f"There are {len(values)} numbers for the mean or the standard deviation.",
            f"One, or one for each of the {channels} channels, is expected.",
            "Correct --mean and --std.",
        )
    return values * channels if len(values) == 1 else values
