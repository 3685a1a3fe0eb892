"""Data sets in a numpy .npz file: ``x, y``, or ``x_train, y_train, x_test, y_test``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.dataset import Dataset, Splits, stratified_split
from sel_edge.data.members import archive_errors

TEST_SHARE = 0.2
_WHOLE = ("x", "y")
_SPLIT = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, sha256: str) -> Splits:
    """Read images and labels from an .npz file; `x, y` is split 80/20, stratified, always alike.

    x is uint8, or float in 0..1 (scaled to 0..255), as [N, H, W] or [N, H, W, C]; y [N] are
    integers, whose classes are ordered by value, or unicode strings, ordered by name.

    Args:
        path: the file; pickled objects in it are never loaded.
        sha256: of the content, put into the result.

    Raises:
        DataError: the file is damaged, or an array has another key, type, shape or range.
    """
    arrays = _read_arrays(path)
    keys = _SPLIT if set(arrays) & set(_SPLIT) else _WHOLE
    if not set(arrays) >= set(keys):
        raise _refused(path, f"lacks {', '.join(key for key in keys if key not in arrays)}")
    images = [_images(path, key, arrays[key]) for key in keys[::2]]
    targets = [_targets(path, key, arrays[key]) for key in keys[1::2]]
    for key, x, y in zip(keys[::2], images, targets, strict=True):
        if len(x) != len(y):
            raise _refused(path, f"holds {len(x):,} images in {key} for {len(y):,} labels")
    if keys == _WHOLE:
        return _split(path, images[0], targets[0], sha256)
    return _join(path, images, targets, sha256)


def _split(path: Path, images: NDArray[np.uint8], targets: NDArray[Any], sha256: str) -> Splits:
    values, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        rare = values[counts.argmin()]
        raise _refused(path, f"holds a single image of class {rare}, too few to split")
    whole = Dataset(images, labels.astype(np.int64), tuple(str(value) for value in values))
    train, test = stratified_split(whole.labels, round(TEST_SHARE * len(labels)))
    return Splits(whole.subset(train), whole.subset(test), str(path), sha256, "")


def _join(
    path: Path, images: list[NDArray[np.uint8]], targets: list[NDArray[Any]], sha256: str
) -> Splits:
    if targets[0].dtype.kind != targets[1].dtype.kind:
        raise _refused(path, f"mixes labels of type {targets[0].dtype} and {targets[1].dtype}")
    if images[0].shape[1:] != images[1].shape[1:]:
        raise _refused(path, f"holds images of {images[0].shape[1:]} and {images[1].shape[1:]}")
    one_sided = np.setxor1d(targets[0], targets[1])
    if len(one_sided):
        raise _refused(path, f"has the class {one_sided[0]} in one split only")
    values = np.unique(targets[0])
    classes = tuple(str(value) for value in values)
    train, test = (
        Dataset(x, np.searchsorted(values, y).astype(np.int64), classes)
        for x, y in zip(images, targets, strict=True)
    )
    return Splits(train, test, str(path), sha256, "")


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with archive_errors(path), path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            total = sum(info.file_size for info in archive.infolist())
        limits.check_decoded_bytes(path, total, "Divide it into smaller files.")
        file.seek(0)
        with np.load(file, allow_pickle=False) as loaded:
            try:
                return {key: loaded[key] for key in _WHOLE + _SPLIT if key in loaded}
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                what = "holds Python objects, which are never loaded; save labels as y.astype(str)"
                raise _refused(path, what) from error


def _images(path: Path, key: str, x: NDArray[Any]) -> NDArray[np.uint8]:
    """The array under `key` as uint8 [N, H, W, C]."""
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.size == 0:
        raise _refused(path, f"holds {key} with the shape {x.shape}")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise _refused(path, f"holds {key} as {x.dtype}")
    low, high = x.min(), x.max()
    if np.isnan(low):
        raise _refused(path, f"holds NaN in {key}")
    if low < 0 or high > 1:
        raise _refused(path, f"holds values from {low:g} to {high:g} in {key}")
    return np.rint(x * np.float32(255)).astype(np.uint8)


def _targets(path: Path, key: str, y: NDArray[Any]) -> NDArray[Any]:
    """The labels under `key` as int64 [N] or unicode [N]."""
    if y.ndim != 1 or y.dtype.kind not in "iuU":
        raise _refused(path, f"holds {key} as {y.dtype} with the shape {y.shape}")
    return y if y.dtype.kind == "U" else y.astype(np.int64)


def _refused(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} {found}.",
        "An .npz holds x and y, or x_train, y_train, x_test and y_test: x as [N, H, W] or "
        "[N, H, W, C] with C = 1 or 3, uint8 or float from 0 to 1; y as [N] integers or unicode "
        "strings.",
        "Save the arrays again in this form.",
    )
