"""The model image: what a microcontroller executes in place from flash (docs/SPEC.md)."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.layer import RECORD, UNUSED, Layer, Shape
from sel_edge.mcu.rules import require
from sel_edge.mcu.standin import Curve

MAGIC = b"SELM"
VERSION = 1
START = struct.Struct("<4sHHII32s")
"""Magic, version, bytes of the header and of all, CRC-32, hash; a `Header` follows."""
HEADER_BYTES = 144
MAX_BYTES = 2**24
MAX_LAYERS = 256
MAX_CLASSES = 256
MAX_TEXT_BYTES = 255
PIXELS, QUANTIZED = 0, 1
LOGIT_SCALE = 1 / 256
"""Nats of one step of a logit."""


class Header(NamedTuple):
    """What stands behind the hash in an image's header, in the order and the words of SPEC."""

    weights: bytes
    arena_bytes: int
    scratch_bytes: int
    layers: int
    entries: int
    channels: int
    height: int
    width: int
    form: int
    input: int
    classes: int
    most_classes: int
    features: int
    features_layer: int
    layers_at: int
    pixels_at: int
    standin_at: int
    names_at: int
    names_bytes: int
    scales_at: int
    zero: int = 0
    more_zero: int = 0


HEADER = struct.Struct("<32sIIHHHHHHIHHHHIIIIIIII")


@dataclass(frozen=True, eq=False)
class Image:
    """A network in integers.

    Attributes:
        weights_sha256: 64 hex digits, of the bundle's weights.safetensors.
        arena_bytes: of tensors and scratch of one inference.
        scratch_bytes: the last of the arena.
        input_shape: channels, height, width; a signal's height is 1.
        input_offset: of the input tensor in the arena.
        input_scale: of the input.
        pixels: uint8 [channels, 256], input of each pixel value; None if inputs come quantized.
        classes: names in label order, 2..256.
        most_classes: that the classifier has room for.
        features: F.
        features_layer: number of the layer that makes them.
        standin: from uncertainty to expected embarrassment.
        layers: in the order in which they run.
    """

    weights_sha256: str
    arena_bytes: int
    scratch_bytes: int
    input_shape: Shape
    input_offset: int
    input_scale: float
    pixels: NDArray[np.uint8] | None
    classes: tuple[str, ...]
    most_classes: int
    features: int
    features_layer: int
    standin: Curve
    layers: tuple[Layer, ...]

    @cached_property
    def content(self) -> bytes:
        """The image's bytes."""
        return write_image(self)

    @property
    def hash(self) -> str:
        """SHA-256 that names the image, 64 hex digits."""
        return self.content[16:48].hex()

    @property
    def input_zero(self) -> int:
        """The zero point of the input."""
        first = next(layer for layer in self.layers if layer.source == self.input_offset)
        return first.zero_in

    @property
    def entries(self) -> int:
        """Entries of the channel table: one per output channel of layers with weights."""
        return sum(layer.entries for layer in self.layers)

    def input_scale_of(self, number: int) -> float:
        """The scale of a layer's input.

        Args:
            number: of the layer.
        """
        source = self.layers[number].source
        before = [layer for layer in self.layers[:number] if layer.target == source]
        return before[-1].scale if before else self.input_scale

    def quantize_signals(self, signals: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Preprocessed signals as an image without pixel table takes them.

        Args:
            signals: float32 [n, channels, length].

        Returns:
            uint8 [n, 1, length, channels].
        """
        steps = np.rint(signals.astype(np.float64) / self.input_scale) + self.input_zero
        found: NDArray[np.uint8] = np.clip(steps, 0, 255).astype(np.uint8)
        return found.transpose(0, 2, 1)[:, np.newaxis]


def inverse_of(classes: int) -> int:
    """The stand-in's factor for a number of classes, at least 2: round(2^32 / (98304 ln K))."""
    return round(2**32 / (98304 * math.log(classes)))


def pack_texts(texts: Iterable[str]) -> bytes:
    """Names, u8 length and UTF-8 each.

    Raises:
        BundleError: one is empty or longer than 255 bytes.
    """
    packed = []
    for text in texts:
        content = text.encode()
        if not 1 <= len(content) <= MAX_TEXT_BYTES:
            raise BundleError(
                f"The name {text[:40]!r} has {len(content)} bytes.",
                f"A microcontroller stores names of 1 to {MAX_TEXT_BYTES} bytes.",
                "Choose a shorter name.",
            )
        packed.append(bytes([len(content)]) + content)
    return b"".join(packed)


def unpack_texts(content: bytes, count: int) -> list[str]:
    """What `pack_texts` wrote, exactly `count` of them.

    Raises:
        BundleError: they are not that many, or no UTF-8.
    """
    texts, offset = [], 0
    for _ in range(count):
        length = content[offset] if offset < len(content) else 0
        text = content[offset + 1 : offset + 1 + length]
        require(length > 0 and len(text) == length, "it has fewer names than it says")
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            require(False, "it has a name that is no UTF-8")
        offset += 1 + length
    require(offset == len(content), "it has more names than it says")
    return texts


def write_image(image: Image) -> bytes:
    """The bytes of an image; `read_image` of them gives the image back.

    Raises:
        BundleError: it is larger than the format allows, or has a name that cannot be stored.
    """
    names = pack_texts([*image.classes, *(layer.weight for layer in image.layers)])
    scales = [image.input_scale, *(layer.scale for layer in image.layers)]
    sections = _Sections()
    pixels_at = 0 if image.pixels is None else sections.add(image.pixels.tobytes())
    standin_at = sections.add(image.standin.pack(inverse_of(len(image.classes))))
    scales_at = sections.add(struct.pack(f"<{len(scales)}f", *scales))
    names_at = sections.add(names)
    records, entry = [], 0
    for layer in image.layers:
        records.append(_record(layer, entry, sections))
        entry += layer.entries
    layers_at = sections.add(b"".join(records))
    content = sections.content
    if len(content) > MAX_BYTES:
        raise BundleError(
            f"The model image has {len(content)} bytes.",
            f"At most {MAX_BYTES} bytes are expected of a microcontroller's network.",
            "Choose a narrower network.",
        )
    header = Header(
        bytes.fromhex(image.weights_sha256),
        *(image.arena_bytes, image.scratch_bytes, len(image.layers), entry),
        *(*image.input_shape, QUANTIZED if image.pixels is None else PIXELS, image.input_offset),
        *(len(image.classes), image.most_classes, image.features, image.features_layer),
        *(layers_at, pixels_at, standin_at, names_at, len(names), scales_at),
    )
    content[48:HEADER_BYTES] = HEADER.pack(*header)
    digest = hashlib.sha256(content[48:]).digest()
    crc = zlib.crc32(digest + content[48:])
    content[:48] = START.pack(MAGIC, VERSION, HEADER_BYTES, len(content), crc, digest)
    return bytes(content)


class _Sections:
    """A header that is still blank, and sections behind it."""

    def __init__(self) -> None:
        self.content = bytearray(HEADER_BYTES)

    def add(self, section: bytes) -> int:
        """Where a section begins: at a multiple of 16."""
        offset = len(self.content)
        self.content += section + bytes(-len(section) % 16)
        return offset


def _record(layer: Layer, entry: int, sections: _Sections) -> bytes:
    """A layer's record; its rows and parameters become sections."""
    rows_at = sections.add(layer.rows.tobytes()) if layer.has_weights else 0
    parameters = layer.parameters.astype("<i4").tobytes()
    parameters_at = sections.add(parameters) if layer.has_weights else 0
    return RECORD.pack(
        *(layer.operation, 0, entry, layer.source, layer.second, layer.target),
        *(*layer.in_shape, *layer.out_shape, *layer.kernel, *layer.stride, *layer.padding),
        *(layer.groups, 0, layer.zero_in, layer.zero_second, layer.zero_out, 0),
        *(layer.least, layer.greatest, 0, rows_at, layer.row_bytes, parameters_at),
        *(layer.multiplier, layer.second_multiplier, layer.constant, layer.shift, UNUSED),
    )
