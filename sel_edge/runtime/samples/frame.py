"""Frames as they lie in the sample store, and the ids by which people call them.

An id such as `f1234-a3f09c12` is the number of the frame in the ledger and the beginning of the
SHA-256 of its content. Numbers alone would not do: after a power cut the frames whose tick was not
yet in the ledger have their numbers given out again. The letter keeps spreadsheets from taking an
id for a number or a date.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError

Frame = NDArray[np.uint8] | NDArray[np.float32]
"""An image uint8 [H, W, C], or a signal float32 of any shape."""

DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype(np.uint8), "float32": np.dtype("<f4")}
_ID = re.compile(r"f?(?P<number>\d{1,18})(?:-(?P<digest>[0-9a-f]{8}))?")


@dataclass(frozen=True)
class Form:
    """Shape and dtype, the same for all frames of a store.

    Attributes:
        dtype: "uint8" or "float32".
        shape: of one frame.
    """

    dtype: str
    shape: tuple[int, ...]

    @staticmethod
    def of(frame: Frame) -> Form:
        """The form of one frame."""
        return Form(frame.dtype.name, frame.shape)

    def decode(self, data: bytes) -> Frame:
        """The frame whose bytes these are, read-only.

        Raises:
            ValueError: they are too few or too many.
        """
        dtype = DTYPES[self.dtype]
        if len(data) != dtype.itemsize * math.prod(self.shape):
            raise ValueError(f"a frame has {len(data)} bytes")
        frame: Frame = np.frombuffer(data, dtype).reshape(self.shape)
        return frame

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class FrameId:
    """An id as a person may give it.

    Attributes:
        number: of the frame.
        digest: 8 hex digits of its content, None where only the number was given.
    """

    number: int
    digest: str | None

    def __str__(self) -> str:
        return f"f{self.number}" if self.digest is None else f"f{self.number}-{self.digest}"


def encode(frame: Frame) -> bytes:
    """The bytes that `Form.decode` reads, row by row and little-endian."""
    return np.ascontiguousarray(frame, _stored(frame.dtype)).tobytes()


def digest(frame: Frame) -> str:
    """The first 8 hex digits of the SHA-256 of a frame's form and bytes."""
    return hashlib.sha256(_heading(frame.dtype, frame.shape) + encode(frame)).hexdigest()[:8]


def frame_id(number: int, frame: Frame) -> str:
    """The text by which people call a frame.

    Args:
        number: of the frame in the ledger, 0 or more.
        frame: its content.
    """
    return str(FrameId(number, digest(frame)))


def parse_id(text: str) -> FrameId:
    """Read an id: `f1234-a3f09c12`, or only the number, with or without the letter.

    Raises:
        DataError: it has another form.
    """
    found = _ID.fullmatch(text.strip())
    if found is None:
        raise DataError(
            f"{text[:80]!r} is no id of a frame.",
            "An id looks like f1234-a3f09c12, or is the number of a frame.",
            "Copy the id from the list that `sel-edge label` prints.",
        )
    return FrameId(int(found["number"]), found["digest"])


# Every frame of a store is of one form, and numpy is slow to say its name.
@lru_cache
def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What a dtype is stored as."""
    return DTYPES[dtype.name]


@lru_cache
def _heading(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What a digest takes in before the bytes of a frame."""
    return f"{Form(dtype.name, shape)}\0".encode()
