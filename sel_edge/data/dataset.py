"""A labelled set of images, and the pair of training and test set that every source gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.rng import generator


@dataclass(frozen=True)
class Dataset:
    """One split.

    Attributes:
        images: uint8 [N, H, W, C], C is 1 (gray) or 3 (RGB).
        labels: int64 [N], each in 0..K-1.
        classes: the K class names, in the order of the labels.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.integer]) -> Dataset:
        """The images at `indices` (integer [M]), in that order, with the same classes."""
        return Dataset(self.images[indices], self.labels[indices], self.classes)


@dataclass(frozen=True)
class Splits:
    """Training and test set of one source; both have the same classes and image shape.

    Attributes:
        source: the SPEC as the user wrote it.
        sha256: SHA-256 of the source's content, 64 hex digits.
        note: what every record made with this data must say ("" if nothing).
    """

    train: Dataset
    test: Dataset
    source: str
    sha256: str
    note: str


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
    """Only the classes `numbers` (rising), renumbered from 0; image order is kept."""
    renumbered = np.full(len(dataset.classes), -1, dtype=np.int64)
    renumbered[list(numbers)] = np.arange(len(numbers))
    kept = np.flatnonzero(renumbered[dataset.labels] >= 0)
    names = tuple(dataset.classes[number] for number in numbers)
    return Dataset(dataset.images[kept], renumbered[dataset.labels[kept]], names)


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
