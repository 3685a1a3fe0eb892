"""Texts and float32 arrays as bytes in exactly one way, read back strictly; the hash of a network.

Everything is little-endian. A reader never allocates for a size before that many bytes are there.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import Domain, DomainRows, Norm
from sel_edge.core.errors import BundleError

MAX_TEXT_BYTES = 1024
"""Of a tensor's or a class's name in UTF-8."""
MAX_ENTRIES = 4096
"""Of tensors, of normalized layers and of learned classes, each."""
MAX_RANK = 8
HASH_BYTES = 32
NETWORK_PREFIX = b"sel-edge network 1\0"


def network_hash(
    base: str,
    learned: tuple[str, ...],
    changed: Mapping[str, NDArray[np.float32]],
    domains: Mapping[int, Domain],
) -> str:
    """What names a network: SHA-256 of all in which it differs from its bundle.

    Without rows of domains it is what it was before there were any.

    Args:
        base: hash of the bundle.
        learned: classes beyond the bundle's.
        changed: whole parameters that differ from the bundle's, float32.
        domains: by number, beside the bundle's own.

    Raises:
        BundleError: a name is empty or too long.
    """
    digest = hashlib.sha256(NETWORK_PREFIX + bytes.fromhex(base))
    digest.update(counted(text_bytes(name) for name in learned))
    digest.update(struct.pack("<H", len(changed)))
    for name, value in sorted(changed.items()):
        digest.update(text_bytes(name) + shape_bytes(value.shape))
        digest.update(float_bytes(value))
    digest.update(counted(domain_bytes(*pair) for pair in sorted(domains.items())))
    own = {number: domain.rows for number, domain in domains.items() if domain.rows}
    if own:
        digest.update(counted(_domain_rows_bytes(*pair) for pair in sorted(own.items())))
    return digest.hexdigest()


def text_bytes(text: str) -> bytes:
    """Length and UTF-8 of a text.

    Raises:
        BundleError: it is empty, longer than `MAX_TEXT_BYTES`, or no Unicode text.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = b""
    if not 0 < len(content) <= MAX_TEXT_BYTES:
        raise BundleError(
            f"The name {text[:80]!r} cannot be stored.",
            f"Unicode text of 1 to {MAX_TEXT_BYTES} bytes is expected.",
            "Give the class or tensor another name.",
        )
    return struct.pack("<H", len(content)) + content


def shape_bytes(shape: tuple[int, ...]) -> bytes:
    """Rank and sizes."""
    return struct.pack(f"<B{len(shape)}I", len(shape), *shape)


def float_bytes(values: NDArray[np.float32]) -> bytes:
    """The numbers of an array in C order."""
    return np.ascontiguousarray(values, "<f4").tobytes()


def index_bytes(indices: NDArray[np.int64]) -> bytes:
    """Numbers of rows."""
    return np.ascontiguousarray(indices, "<u4").tobytes()


def norm_bytes(norm: Norm) -> bytes:
    """Layers sorted by name, each with its scales and its shifts."""
    return counted(
        text_bytes(name)
        + struct.pack("<I", len(scale))
        + float_bytes(scale)
        + float_bytes(np.asarray(shift))
        for name, (scale, shift) in sorted(norm.items())
    )


def domain_bytes(number: int, domain: Domain | None) -> bytes:
    """A domain with its number, without its rows; None for one that is no more."""
    if domain is None:
        return struct.pack("<II", number, 0)
    place = struct.pack("<I", len(domain.place)) + float_bytes(domain.place)
    return struct.pack("<II", number, domain.frames) + place + norm_bytes(domain.norm)


def counted(parts: Iterable[bytes]) -> bytes:
    """How many parts there are, and the parts.

    Raises:
        BundleError: more than `MAX_ENTRIES`.
    """
    listed = list(parts)
    if len(listed) > MAX_ENTRIES:
        raise BundleError(
            f"A network has {len(listed)} entries of one kind.",
            f"At most {MAX_ENTRIES} are expected.",
            "Export the learned network as a bundle of its own.",
        )
    return struct.pack("<H", len(listed)) + b"".join(listed)


def _domain_rows_bytes(number: int, rows: DomainRows) -> bytes:
    """The rows of a domain with its number: parameters sorted by name, each with its shape."""
    return struct.pack("<I", number) + counted(
        text_bytes(name) + shape_bytes(values.shape) + index_bytes(indices) + float_bytes(values)
        for name, (indices, values) in sorted(rows.items())
    )


class Reader:
    """Reads bytes from front to back.

    Args:
        content: bytes from anywhere.

    Raises:
        ValueError: from every method, when the bytes end early or are not as they should be.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._position = memoryview(content), 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        end = self._position + size
        if end > len(self._content):
            raise ValueError("it ends too early")
        part = self._content[self._position : end]
        self._position = end
        return part

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Numbers as `struct` describes them."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def hash(self) -> str:
        """A SHA-256 as 64 hex digits."""
        return bytes(self.take(HASH_BYTES)).hex()

    def count(self) -> int:
        """How many entries follow."""
        (number,) = self.unpack("<H")
        if number > MAX_ENTRIES:
            raise ValueError(f"it has {number} entries of one kind")
        return int(number)

    def text(self, after: str = "") -> str:
        """A text that `text_bytes` wrote, behind another one in the order of code points."""
        (size,) = self.unpack("<H")
        if not 0 < size <= MAX_TEXT_BYTES:
            raise ValueError("a name is empty or too long")
        text = bytes(self.take(size)).decode()
        if text <= after:
            raise ValueError("its names are not sorted or are repeated")
        return text

    def shape(self) -> tuple[int, ...]:
        """Sizes, at least one, none of them 0."""
        (rank,) = self.unpack("<B")
        if not 0 < rank <= MAX_RANK:
            raise ValueError(f"a tensor has {rank} dimensions")
        sizes = self.unpack(f"<{rank}I")
        if 0 in sizes:
            raise ValueError("a tensor is empty")
        return sizes

    def floats(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Finite numbers, float32 of this shape."""
        content = self.take(4 * math.prod(shape))
        values = np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)
        if not np.isfinite(values).all():
            raise ValueError("it holds numbers that are not finite")
        return values

    def indices(self, number: int, below: int) -> NDArray[np.int64]:
        """Ascending row numbers, int64 [number], each below a limit."""
        values = np.frombuffer(self.take(4 * number), "<u4").astype(np.int64)
        if (np.diff(values) <= 0).any() or (values >= below).any():
            raise ValueError("its rows are not in order, repeated or out of range")
        return values

    def norm(self) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Scales and shifts that `norm_bytes` wrote."""
        found, name = {}, ""
        for _ in range(self.count()):
            name = self.text(after=name)
            (channels,) = self.unpack("<I")
            found[name] = (self.floats((channels,)), self.floats((channels,)))
        return found

    def number(self, after: int) -> int:
        """The number of a domain, behind another number."""
        (number,) = self.unpack("<I")
        if number <= after:
            raise ValueError("its domains are not in order or are repeated")
        return int(number)

    def domain(self, after: int) -> tuple[int, Domain | None]:
        """A numbered domain that `domain_bytes` wrote, behind another number."""
        number = self.number(after)
        (frames,) = self.unpack("<I")
        if frames == 0:
            return number, None
        (size,) = self.unpack("<I")
        return number, Domain(self.floats((size,)), frames, self.norm())

    def finish(self) -> None:
        """Refuse bytes that nothing has read."""
        if self._position != len(self._content):
            raise ValueError("it goes on after its end")
