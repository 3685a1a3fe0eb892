"""CIFAR-10 as its authors publish it: five training batches and a test batch, python or binary.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. An image is
3,072 bytes: 32x32 red, then green, then blue. The binary form puts the label byte before each
image; the python form is a pickle per batch (read by `pickle_reader`, never run).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.data.members import iterate_members
from sel_edge.data.pickle_reader import as_array, as_text, parse_pickle

_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
_PYTHON = (*_TRAIN, *_TEST, "batches.meta")
_BINARY = (*(f"{name}.bin" for name in (*_TRAIN, *_TEST)), "batches.meta.txt")
CIFAR_FILES = frozenset(_PYTHON + _BINARY)

_IMAGE_BYTES = 3 * 32 * 32
_Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
_T = TypeVar("_T")


def load_cifar(path: Path, sha256: str) -> Splits:
    """Read an archive or extracted folder, uint8 [N, 32, 32, 3] in the order of its batches.

    Args:
        path: .tar.gz, .tar, .zip or folder with the python or the binary files.
        sha256: of the content, put into the result.

    Raises:
        DataError: a batch is missing or damaged.
    """
    contents = {
        member.parts[-1]: member.read()
        for member in iterate_members(path)
        if not member.is_folder and member.parts[-1] in CIFAR_FILES
    }
    names = _BINARY if _BINARY[0] in contents else _PYTHON
    missing = [name for name in names if name not in contents]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}.",
            f"A CIFAR-10 archive holds {', '.join(names)}.",
            "Copy or download the whole archive again.",
        )
    if names is _BINARY:
        read_batch, read_names = _binary_batch, _binary_names
    else:
        read_batch, read_names = _python_batch, _python_names
    classes = _read(path, names[-1], read_names, contents[names[-1]])
    batches = [_read(path, name, read_batch, contents.pop(name)) for name in names[:-1]]
    for name, (_, labels) in zip(names, batches, strict=False):
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(classes):
            raise _damaged(path, name, f"its labels are not in 0..{len(classes) - 1}")
    *train, test = batches
    return Splits(_dataset(train, classes), _dataset([test], classes), str(path), sha256, "")


def _dataset(batches: list[_Batch], classes: tuple[str, ...]) -> Dataset:
    planes = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    images = np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Dataset(images, labels, classes)


def _binary_batch(content: bytes) -> _Batch:
    if len(content) % (1 + _IMAGE_BYTES):
        raise ValueError(f"{len(content):,} bytes are not whole records of {1 + _IMAGE_BYTES:,}")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + _IMAGE_BYTES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _binary_names(content: bytes) -> tuple[str, ...]:
    return tuple(line.strip() for line in content.decode("ascii").splitlines() if line.strip())


def _python_batch(content: bytes) -> _Batch:
    values = _python_dict(content)
    images, labels = as_array(values.get("data")), as_array(values.get("labels"))
    if images.dtype != np.uint8 or images.shape != (len(labels), _IMAGE_BYTES):
        raise ValueError(
            f"data is {images.dtype} {images.shape} for {len(labels):,} labels, "
            f"not uint8 with {_IMAGE_BYTES:,} per label"
        )
    return images.astype(np.uint8, copy=False), labels.astype(np.int64)


def _python_names(content: bytes) -> tuple[str, ...]:
    names = _python_dict(content).get("label_names")
    if not isinstance(names, list):
        raise ValueError("it has no list of label_names")
    return tuple(as_text(name) for name in names)


def _python_dict(content: bytes) -> dict[str, Any]:
    value = parse_pickle(content)
    if not isinstance(value, dict):
        raise ValueError("it is no dictionary")
    return {as_text(key): item for key, item in value.items()}


def _read(path: Path, name: str, reader: Callable[[bytes], _T], content: bytes) -> _T:
    try:
        return reader(content)
    except ValueError as error:
        raise _damaged(path, name, str(error)) from error


def _damaged(path: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{name} in {path} is no CIFAR-10 batch: {why}.",
        "The files are those of the published python or binary archive.",
        "Copy or download the archive again and compare its checksum.",
    )
