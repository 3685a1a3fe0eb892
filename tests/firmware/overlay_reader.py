"""The two areas of an overlay, read from their bytes as docs/SPEC.md says, without any C."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field

from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import Image
from sel_edge.mcu.manifest import TO_IMAGE
from sel_edge.mcu.running import Running, running

PAGE, HEADER_BYTES, MANIFEST_BYTES, COMMIT_BYTES, MOST_SEGMENTS = 256, 60, 128, 44, 32
DELTA, SNAPSHOT, ROLLBACK = 1, 2, 3


@dataclass(frozen=True)
class Header:
    """An area's: how often it was erased, which image it is of, and what was committed before."""

    sequence: int
    erases: int
    least_counter: int
    image_hash: bytes


@dataclass(frozen=True)
class Segment:
    """One whose header is right."""

    at: int
    manifest: bytes
    payload: bytes
    is_committed: bool

    @property
    def kind(self) -> int:
        return int(struct.unpack_from("<H", self.manifest, 6)[0])

    @property
    def depth(self) -> int:
        return int(struct.unpack_from("<I", self.manifest, 12)[0])

    @property
    def counter(self) -> int:
        return int(struct.unpack_from("<Q", self.manifest, 16)[0])

    @property
    def before(self) -> bytes:
        return self.manifest[32:64]

    @property
    def after(self) -> bytes:
        return self.manifest[64:96]

    @property
    def bytes(self) -> int:
        return segment_bytes(len(self.payload))

    @property
    def is_whole(self) -> bool:
        return hashlib.sha256(self.payload).digest() == self.manifest[96:]


@dataclass
class Overlay:
    """What is in use, and what stands in the newest area.

    Attributes:
        area: number of the area in use; 2 if there is none.
        end: of what is in it; its size if nothing more is appended.
        pending: manifest that can be gone on with.
        newest: manifest of the last segment that counts.
        stack: segments that make the network, the image's first.
        networks: hashes and networks of the image and of each segment on the stack.
    """

    networks: list[tuple[bytes, Running]]
    area: int = 2
    end: int = 0
    counter: int = 0
    pending: bytes | None = None
    newest: bytes | None = None
    is_damaged: bool = False
    stack: list[Segment] = field(default_factory=list)

    @property
    def hash(self) -> bytes:
        return self.networks[-1][0]

    @property
    def network(self) -> Running:
        return self.networks[-1][1]


def segment_bytes(payload_bytes: int) -> int:
    """What a segment takes in an area."""
    return 2 * PAGE + -(-payload_bytes // PAGE) * PAGE


def read_overlay(areas: tuple[bytes, bytes], image: Image) -> Overlay:
    """The network in use on a board with this image and these areas."""
    overlay = Overlay([(bytes.fromhex(image.hash), running(image))])
    headers = [_header(area) for area in areas]
    valid = [(header.sequence, i) for i, header in enumerate(headers) if header is not None]
    for _, i in valid:
        committed = [s.counter for s in _segments(areas[i]) if s.is_committed]
        overlay.counter = max(overlay.counter, headers[i].least_counter, *committed, 0)
    if valid:
        newest = max(valid)[1]
        if headers[newest].image_hash == overlay.hash:
            overlay.area = newest
            _read(overlay, areas[newest])
    return overlay


def _read(overlay: Overlay, area: bytes) -> None:
    overlay.end = PAGE
    for segment in _segments(area):
        if not segment.is_committed:
            overlay.pending = segment.manifest
        elif _take(overlay, segment):
            overlay.newest, overlay.pending = segment.manifest, None
        else:
            overlay.is_damaged, overlay.end, overlay.pending = True, len(area), None
            return
        overlay.end = segment.at + segment.bytes


def _take(overlay: Overlay, segment: Segment) -> bool:
    """Push or pop, if the segment fits."""
    stack, networks = overlay.stack, overlay.networks
    if segment.before != overlay.hash or not segment.is_whole:
        return False
    if segment.kind == ROLLBACK:
        left = len(stack) - 1 if segment.depth == 1 else 0
        if not stack or segment.after != networks[left][0]:
            return False
        del stack[left:], networks[left + 1 :]
        return True
    if len(stack) == MOST_SEGMENTS or (segment.kind == SNAPSHOT and stack):
        return False
    try:
        network = overlay.network.apply(segment.payload)
    except BundleError:
        return False
    stack.append(segment)
    networks.append((segment.after, network))
    return True


def _header(area: bytes) -> Header | None:
    magic, version, zero, sequence, erases, counter, image_hash, crc = struct.unpack_from(
        "<4sHHIIQ32sI", area
    )
    right = (magic, version, zero) == (b"SELA", 1, 0) and 0 < sequence < 2**32 - 1
    if not right or crc != zlib.crc32(area[: HEADER_BYTES - 4]):
        return None
    return Header(sequence, erases, counter, image_hash)


def _segments(area: bytes) -> list[Segment]:
    """All segments up to a header that is blank or wrong."""
    segments, at = [], PAGE
    while (segment := _segment(area, at)) is not None:
        segments.append(segment)
        at += segment.bytes
    return segments


def _segment(area: bytes, at: int) -> Segment | None:
    manifest = area[at : at + MANIFEST_BYTES]
    if len(area) - at < 2 * PAGE or not _is_manifest(manifest):
        return None
    size = struct.unpack_from("<I", manifest, 8)[0]
    end = at + segment_bytes(size)
    if end > len(area):
        return None
    payload = area[at + PAGE : at + PAGE + size]
    record = b"SELC" + bytes(4) + hashlib.sha256(manifest).digest()
    record += struct.pack("<I", zlib.crc32(record))
    committed = area[end - PAGE : end - PAGE + COMMIT_BYTES] == record
    return Segment(at, manifest, payload, committed)


def _is_manifest(manifest: bytes) -> bool:
    magic, version, kind, size, depth, _, zero, crc = struct.unpack_from("<4sHHIIQII", manifest)
    if (magic, version, zero) != (b"SELG", 1, 0):
        return False
    if crc != zlib.crc32(manifest[:28] + manifest[32:]):
        return False
    if kind == ROLLBACK:
        nothing = hashlib.sha256(b"").digest()
        return size == 0 and depth in (1, TO_IMAGE) and manifest[96:] == nothing
    most = 2**20 if kind == DELTA else 2**32
    return kind in (DELTA, SNAPSHOT) and depth == 0 and 0 < size <= most and size % 4 == 0
