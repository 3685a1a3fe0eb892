"""A labelled set of images or signals, and the training and test set that every source gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.frames import Frames, noun, require_images
from sel_edge.core.rng import generator
from sel_edge.data.bad_images import BadImages

TEST_SHARE = 0.2
"""Of a source that has no test set of its own."""


@dataclass(frozen=True)
class Dataset:
    """One split.

    Attributes:
        frames: images uint8 [N, H, W, C], C is 1 (gray) or 3 (RGB), or signals float32 [N,
            channels, length], all finite.
        labels: int64 [N], each in 0..K-1.
        classes: the K class names, in the order of the labels.
    """

    frames: Frames
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> NDArray[np.uint8]:
        """The frames uint8 [N, H, W, C], where only images are meant.

        Raises:
            DataError: they are signals.
        """
        return require_images(self.frames, "This command")

    def subset(self, indices: NDArray[np.integer]) -> Dataset:
        """The frames at `indices` (integer [M]), in that order, with the same classes."""
        return Dataset(self.frames[indices], self.labels[indices], self.classes)


@dataclass(frozen=True)
class Splits:
    """Training and test set of one source; both have the same classes and shape of frames.

    Attributes:
        source: the SPEC as the user wrote it.
        sha256: SHA-256 of the source's content, 64 hex digits.
        note: what every record made with this data must say ("" if nothing).
        skipped: images of the source that are in neither set, because the SPEC says so.
    """

    train: Dataset
    test: Dataset
    source: str
    sha256: str
    note: str
    skipped: BadImages = field(default_factory=BadImages)


def class_numbers(classes: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Numbers of the `wanted` classes, in the data set's own order.

    Raises:
        DataError: a wanted class is not in the data set.
    """
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise DataError(
            f"{source} has no class named {', '.join(map(repr, unknown))}.",
            f"Its classes are {', '.join(map(repr, classes))}.",
            "Correct the classes= key; in a name, write a comma as %2C and a + as %2B.",
        )
    return [number for number, name in enumerate(classes) if name in wanted]


def keep_classes(dataset: Dataset, numbers: Sequence[int]) -> Dataset:
    """Only the classes `numbers` (rising), renumbered from 0; their order is kept."""
    renumbered = np.full(len(dataset.classes), -1, dtype=np.int64)
    renumbered[list(numbers)] = np.arange(len(numbers))
    kept = np.flatnonzero(renumbered[dataset.labels] >= 0)
    names = tuple(dataset.classes[number] for number in numbers)
    return Dataset(dataset.frames[kept], renumbered[dataset.labels[kept]], names)


def split_off_test(frames: Frames, targets: NDArray[Any], source: str, sha256: str) -> Splits:
    """A source with one set as training and test set, a fifth for the test: see `stratified_split`.

    Args:
        frames: as in `Dataset`.
        targets: label of each, any dtype that sorts [N]; the classes are named by them, in their
            order.
        source: what it is called.
        sha256: of its content.

    Raises:
        DataError: a class has a single frame.
    """
    values, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise DataError(
            f"{source} holds a single {noun(frames.shape[1:])} of class "
            f"{values[counts.argmin()]}, too few to split.",
            "A class needs at least two, one to train on and one to test on.",
            "Add more of this class, or leave it out; labels that are all different may stand in "
            "another column than was said.",
        )
    whole = Dataset(frames, labels.astype(np.int64), tuple(str(value) for value in values))
    train, test = stratified_split(whole.labels, round(TEST_SHARE * len(labels)))
    return Splits(whole.subset(train), whole.subset(test), source, sha256, "")


def stratified_split(
    labels: NDArray[np.int64], n_test: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and test indices, the same on every machine, each class in its share.

    Args:
        labels: int64 [N] in 0..K-1, at least two samples of every class.
        n_test: wanted size of the test set, met exactly unless a class is so small that it would
            be missing from one side.

    Returns:
        Rising int64 indices of the training set and of the test set.
    """
    counts = np.bincount(labels)
    quota = n_test * counts / len(labels)
    takes = np.floor(quota).astype(np.int64)
    largest_remainder = np.argsort(takes - quota, kind="stable")
    takes[largest_remainder[: n_test - int(takes.sum())]] += 1
    takes = np.clip(takes, 1, counts - 1)
    is_test = np.zeros(len(labels), dtype=bool)
    for number, take in enumerate(takes):
        members = np.flatnonzero(labels == number)
        is_test[generator(0, "split", number).permutation(members)[:take]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
