"""The manifest of an overlay's segment, and the hashes that name networks on a board."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from sel_edge.core.errors import BundleError

MANIFEST_BYTES = 128
TO_IMAGE = 2**32 - 1
"""Depth of a rollback to the image alone."""
_MAGIC, _VERSION = b"SELG", 1
_FORMAT = struct.Struct("<4sHHIIQII32s32s32s")
_CRC_AT = 28


class Segment(IntEnum):
    """What a segment of an overlay area is."""

    DELTA = 1
    SNAPSHOT = 2
    ROLLBACK = 3


@dataclass(frozen=True)
class Manifest:
    """What a segment says of itself.

    Attributes:
        kind: what it is.
        counter: rises with every segment of a board, 0 to 2^64 - 1.
        before, after: hashes of the networks before and afterwards, 64 hex digits.
        payload_bytes: of a rollback 0.
        payload_sha256: 64 hex digits; of a rollback that of nothing.
        depth: of a rollback 1, for the network before, or `TO_IMAGE`; else 0.
    """

    kind: Segment
    counter: int
    before: str
    after: str
    payload_bytes: int
    payload_sha256: str
    depth: int = 0

    def to_bytes(self) -> bytes:
        """The manifest's 128 bytes."""
        hashes = [bytes.fromhex(h) for h in (self.before, self.after, self.payload_sha256)]
        start = (_MAGIC, _VERSION, self.kind, self.payload_bytes, self.depth, self.counter, 0)
        blank = _FORMAT.pack(*start, 0, *hashes)
        return _FORMAT.pack(*start, _crc(blank), *hashes)


def parse_manifest(content: bytes) -> Manifest:
    """What `Manifest.to_bytes` wrote.

    Raises:
        BundleError: it is damaged or of another version.
    """
    if len(content) != MANIFEST_BYTES:
        raise _damaged(f"it has {len(content)} bytes")
    magic, version, kind, size, depth, counter, zero, crc, *hashes = _FORMAT.unpack(content)
    if (magic, version, zero) != (_MAGIC, _VERSION, 0) or crc != _crc(content):
        raise _damaged("its bytes are not those of a manifest")
    if kind not in set(Segment) or (depth in (1, TO_IMAGE)) != (kind == Segment.ROLLBACK):
        raise _damaged(f"it has the kind {kind} and the depth {depth}")
    if kind != Segment.ROLLBACK and depth:
        raise _damaged(f"it has the kind {kind} and the depth {depth}")
    before, after, payload = (value.hex() for value in hashes)
    return Manifest(Segment(kind), counter, before, after, size, payload, depth)


def network_hash(before: str, payload: bytes) -> str:
    """The hash of the network that a payload makes of the one with the hash `before`."""
    content = b"sel-edge overlay 1\0" + bytes.fromhex(before) + payload
    return hashlib.sha256(content).hexdigest()


def delta_manifest(before: str, payload: bytes, counter: int) -> Manifest:
    """The manifest of a delta on the network with the hash `before`."""
    return Manifest(
        Segment.DELTA,
        counter,
        before,
        network_hash(before, payload),
        len(payload),
        hashlib.sha256(payload).hexdigest(),
    )


def rollback_manifest(before: str, after: str, counter: int, depth: int) -> Manifest:
    """The manifest of a rollback from one network to another.

    Args:
        before, after: hashes of the networks.
        counter: higher than the board's last one.
        depth: 1 or `TO_IMAGE`.
    """
    empty = hashlib.sha256(b"").hexdigest()
    return Manifest(Segment.ROLLBACK, counter, before, after, 0, empty, depth)


def _crc(content: bytes) -> int:
    return zlib.crc32(content[:_CRC_AT] + content[_CRC_AT + 4 :])


def _damaged(detail: str) -> BundleError:
    return BundleError(
        f"The manifest of an overlay cannot be used: {detail}.",
        "128 bytes as sel-edge writes them are expected.",
        "Make the delta again.",
    )
