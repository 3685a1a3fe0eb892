"""Data sets in a numpy .npz file: ``x, y``, or ``x_train, y_train, x_test, y_test``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.frames import Frames, described, noun
from sel_edge.data import limits
from sel_edge.data.dataset import Dataset, Splits, split_off_test
from sel_edge.data.members import archive_errors

_WHOLE = ("x", "y")
_SPLIT = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, sha256: str, as_images: bool = False) -> Splits:
    """Read frames and labels from an .npz file; `x, y` is split 80/20, stratified, always alike.

    x are images, uint8 or float in 0..1 (scaled to 0..255), as [N, H, W] or [N, H, W, C]; or
    signals, float of any finite value as [N, channels, length]. y [N] are integers, whose classes
    are ordered by value, or unicode strings, ordered by name.

    Args:
        path: the file; pickled objects in it are never loaded.
        sha256: of the content, put into the result.
        as_images: whether floats [N, H, W] are gray images rather than signals.

    Raises:
        DataError: the file is damaged, or an array has another key, type, shape or range.
    """
    arrays = _read_arrays(path)
    keys = _SPLIT if set(arrays) & set(_SPLIT) else _WHOLE
    if not set(arrays) >= set(keys):
        raise _refused(path, f"lacks {', '.join(key for key in keys if key not in arrays)}")
    frames = [_frames(path, key, arrays[key], as_images) for key in keys[::2]]
    targets = [_targets(path, key, arrays[key]) for key in keys[1::2]]
    for key, x, y in zip(keys[::2], frames, targets, strict=True):
        if len(x) != len(y):
            kind = f"{noun(x.shape[1:])}s"
            raise _refused(path, f"holds {len(x):,} {kind} in {key} for {len(y):,} labels")
    if keys == _WHOLE:
        return split_off_test(frames[0], targets[0], str(path), sha256)
    return _join(path, frames, targets, sha256)


def _join(path: Path, frames: list[Frames], targets: list[NDArray[Any]], sha256: str) -> Splits:
    if targets[0].dtype.kind != targets[1].dtype.kind:
        raise _refused(path, f"mixes labels of type {targets[0].dtype} and {targets[1].dtype}")
    if frames[0].shape[1:] != frames[1].shape[1:]:
        shapes = " and ".join(described(x.shape[1:]) for x in frames)
        raise _refused(path, f"holds {shapes}")
    one_sided = np.setxor1d(targets[0], targets[1])
    if len(one_sided):
        raise _refused(path, f"has the class {one_sided[0]} in one split only")
    values = np.unique(targets[0])
    classes = tuple(str(value) for value in values)
    train, test = (
        Dataset(x, np.searchsorted(values, y).astype(np.int64), classes)
        for x, y in zip(frames, targets, strict=True)
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


def _frames(path: Path, key: str, x: NDArray[Any], as_images: bool) -> Frames:
    """The array under `key` as a `Dataset` holds it."""
    if x.ndim == 3 and x.dtype.kind == "f" and not as_images:
        return _signals(path, key, x)
    return _images(path, key, x)


def _signals(path: Path, key: str, x: NDArray[Any]) -> NDArray[np.float32]:
    """The array under `key` as float32 [N, channels, length]."""
    if x.size == 0:
        raise _refused(path, f"holds {key} with the shape {x.shape}")
    limits.check_decoded_bytes(path, 4 * x.size, "Divide it into smaller files.")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and found below
        signals = x.astype(np.float32)
    if not np.isfinite(signals).all():
        raise _refused(path, f"holds NaN or infinite numbers in {key}")
    return signals


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
        "An .npz holds x and y, or x_train, y_train, x_test and y_test: x as images [N, H, W] or "
        "[N, H, W, C] with C = 1 or 3, uint8 or float from 0 to 1, or as signals [N, channels, "
        "length], finite floats (which are gray images if ?mode=gray says so); y as [N] integers "
        "or unicode strings.",
        "Save the arrays again in this form.",
    )
