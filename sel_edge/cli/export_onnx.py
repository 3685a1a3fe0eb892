"""A network that the user brings: an ONNX file, its class names, and samples of these classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sel_edge.bundle.preprocessing import Preprocessing
from sel_edge.cli.export_source import (
    ANCHORS_PER_CLASS,
    Logits,
    Source,
    calibration_frames,
    enough,
    preprocessing_of,
)
from sel_edge.compile.read import read_model
from sel_edge.compile.signature import signature
from sel_edge.core.errors import BundleError, ConfigError, DataError
from sel_edge.core.files import sha256_file
from sel_edge.core.frames import Frames, channels_first
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset, class_numbers, keep_classes
from sel_edge.data.sources import load_splits
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session

MAX_NAMES_BYTES = 2**20


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
        data: data SPEC with images or signals of these classes.
        mean, std: of the network's preprocessing, one number for all channels or one per channel.
        held_out: whether training never saw the samples of `data`.

    Raises:
        SelEdgeError: a file, the data or a number is at fault.
    """
    classes = read_names(names)
    model = read_model(path)
    found = signature(model)
    _require_as_many(path, found.classes, names, classes)
    splits = load_splits(data)
    train = _of_classes(splits.train, classes, names, data)
    shape = train.frames.shape[1:]
    input_shape = channels_first(shape)
    _require_fit(path, found.sample_shape, data, input_shape)
    channels = input_shape[0]
    preprocessing = preprocessing_of(
        shape, _per_channel(mean, channels), _per_channel(std, channels)
    )
    anchors = train.subset(choose_anchors(train.labels, ANCHORS_PER_CLASS, 0))
    return Source(
        model=model,
        name=path.stem,
        width=None,
        classes=classes,
        preprocessing=preprocessing,
        anchors=enough(anchors, data),
        held_out=held_out,
        calibration=calibration_frames(train, 0),
        predict=_predictor(path, preprocessing),
        seed=0,
        accuracy={},
        provenance={
            "onnx": {"name": path.name, "sha256": sha256_file(path)},
            "data": {"spec": data, "sha256": splits.sha256, "note": splits.note},
        },
        last_function=found.last_function,
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines at the end do not count.

    Raises:
        DataError: it is no text file of at least two different names.
    """
    try:
        if path.stat().st_size > MAX_NAMES_BYTES:
            raise ValueError(f"it is larger than {MAX_NAMES_BYTES} bytes")
        text = path.read_text("utf-8-sig")
        names = tuple(line.strip() for line in text.rstrip().splitlines())
        _require_names(names)
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"The class names in {path} cannot be used: {detail}.",
            "A UTF-8 text file with one class name a line is expected, in the order of the logits.",
            "Correct the file, or name another with --classes.",
        ) from error
    return names


def _require_names(names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise ValueError("it has fewer than two names")
    if "" in names:
        raise ValueError(f"line {names.index('') + 1} is empty")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"it has the name {twice!r} more than once")


def _of_classes(train: Dataset, classes: tuple[str, ...], names: Path, data: str) -> Dataset:
    """The frames of these classes, labelled in their order."""
    missing = [name for name in classes if name not in train.classes]
    if missing:
        raise DataError(
            f"{data} has no class named {', '.join(map(repr, missing[:5]))}, which {names} lists.",
            f"Its classes are {', '.join(map(repr, train.classes))}.",
            "Name data with samples of every class of the network, under the same names.",
        )
    kept = keep_classes(train, class_numbers(train.classes, classes, data))
    number = np.array([classes.index(name) for name in kept.classes], dtype=np.int64)
    return Dataset(kept.frames, number[kept.labels], classes)


def _require_as_many(path: Path, logits: int, names: Path, classes: tuple[str, ...]) -> None:
    if logits != len(classes):
        raise DataError(
            f"{names} lists {len(classes)} classes.",
            f"{path} tells {logits} classes apart.",
            "List as many names as the network has logits, in their order.",
        )


def _require_fit(path: Path, shape: tuple[int, ...], data: str, found: tuple[int, ...]) -> None:
    if shape != found:
        raise DataError(
            f"{data} holds {_described(found)}.",
            f"{path} takes {_described(shape)}.",
            "Name data like those the network was trained for (?size= and ?mode= convert folders "
            "of images, ?channels= divides rows of signals), or export the network with the "
            "channels first if it has them last.",
        )


def _described(shape: tuple[int, ...]) -> str:
    channels, *sizes = shape
    depth = f"{channels} channel{'s' if channels > 1 else ''}"
    if len(sizes) == 1:
        return f"signals of {depth} and length {sizes[0]}"
    return f"images of {depth}, height {sizes[0]} and width {sizes[1]}"


def _predictor(path: Path, settings: Preprocessing) -> Callable[[Frames], Logits]:
    """The user's file as it is; where its batch is fixed, in batches of that size."""
    try:
        session = Session(path, None)
    except BundleError as error:
        raise _unusable(error.found) from error
    preprocess = Preprocessor(settings)
    (start,), (end, *more) = session.inputs, session.outputs
    end = "logits" if more else end
    fixed = session.inputs[start][0]
    size = fixed if isinstance(fixed, int) else 1

    def predict(frames: Frames) -> Logits:
        rows = []
        for first in range(0, len(frames), size):
            batch = frames.take(range(first, first + size), axis=0, mode="clip")
            rows.append(session.run({start: preprocess(batch)}, [end])[end])
        return np.concatenate(rows)[: len(frames)]

    return predict


def _unusable(found: str) -> BundleError:
    return BundleError(
        found,
        "A network that onnxruntime can run is expected.",
        "Export the network again, with another opset or another exporter.",
    )


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise ConfigError(
            f"There are {len(values)} numbers for the mean or the standard deviation.",
            f"One, or one for each of the {channels} channels, is expected.",
            "Correct --mean and --std.",
        )
    return values * channels if len(values) == 1 else values
