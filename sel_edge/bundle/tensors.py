"""Tensors of a safetensors file that stay in the file until they are looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from sel_edge.core.errors import BundleError


def map_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a file, none of it read yet.

    Args:
        path: a safetensors file of float32 tensors that is not changed while it is in use; it may
            be removed or replaced.

    Returns:
        name -> read-only float32 array, whose pages the system reads when they are looked at and
        shares with whoever else maps the file.

    Raises:
        BundleError: it is no safetensors file, or holds another type.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass  # the library has checked the header: bounds, shapes, no gap and no overlap
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
        content = np.asarray(np.memmap(path, mode="r", offset=0))[8 + header_bytes :]
        return {
            name: _view(content, **entry)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The tensors of {path} cannot be read: {error}.",
            "A safetensors file of float32 tensors is expected.",
            "Copy the bundle again or export it again.",
        ) from error


def _view(
    content: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> NDArray[np.float32]:
    """One tensor of the bytes behind the header; the arguments are called as in the format."""
    if dtype != "F32":
        raise ValueError(f"a tensor of type {dtype} is there")
    first, last = data_offsets
    tensor: NDArray[np.float32] = content[first:last].view("<f4").reshape(shape)
    if not tensor.flags.aligned:
        raise ValueError("a tensor does not begin at a multiple of four bytes")
    return tensor
