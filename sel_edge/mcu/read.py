"""Reading a model image that may come from anywhere: everything is checked before it is used."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.flow import check_flow
from sel_edge.mcu.image import (
    HEADER,
    HEADER_BYTES,
    MAGIC,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_LAYERS,
    PIXELS,
    QUANTIZED,
    START,
    VERSION,
    Header,
    Image,
    inverse_of,
    unpack_texts,
)
from sel_edge.mcu.layer import PARAMETER_BYTES, RECORD, UNUSED, Layer, Operation, Shape
from sel_edge.mcu.rules import check_layer, require, require_channels
from sel_edge.mcu.standin import MOST_KNOTS, Curve


def read_image(content: bytes) -> Image:
    """Read what `write_image` wrote, after checking all that a microcontroller relies on.

    Raises:
        BundleError: damaged, of another version, or made to do harm.
    """
    require(HEADER_BYTES <= len(content) <= MAX_BYTES, "it is too short or too long")
    magic, version, header_bytes, size, crc, digest = START.unpack_from(content)
    require(magic == MAGIC, "it is no model image")
    if version != VERSION:
        raise BundleError(
            f"A model image has version {version}.",
            f"This version of sel-edge reads version {VERSION}.",
            "Update sel-edge, or export the network again with this version.",
        )
    require(header_bytes == HEADER_BYTES, "its header has another size")
    require(size == len(content) and size % 16 == 0, "it is not as long as it says")
    require(crc == zlib.crc32(content[16:]), "its CRC-32 is wrong")
    require(digest == hashlib.sha256(content[48:]).digest(), "its SHA-256 is wrong")
    return _Reader(content).image()


class _Reader:
    """The parts of an image whose bytes arrived as they were sent."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._header = header = Header(*HEADER.unpack_from(content, START.size))
        require(not header.zero and not header.more_zero, "what is reserved is not 0")
        require(1 <= header.layers <= MAX_LAYERS, f"it has {header.layers} layers")
        require(header.form in (PIXELS, QUANTIZED), f"its input has the form {header.form}")
        require(
            2 <= header.classes <= header.most_classes <= MAX_CLASSES,
            f"it has {header.classes} classes and room for {header.most_classes}",
        )
        arena, scratch = header.arena_bytes, header.scratch_bytes
        whole = scratch <= arena <= MAX_BYTES and (arena - scratch) % 4 == 0
        require(whole, "its arena is impossible")
        require(min(self._input_shape) >= 1, "its input has no size")

    @property
    def _input_shape(self) -> Shape:
        return self._header.channels, self._header.height, self._header.width

    def image(self) -> Image:
        """All of it, checked."""
        classes, weights = self._names()
        scales = self._scales()
        layers = self._layers(weights, scales[1:])
        image = Image(
            weights_sha256=self._header.weights.hex(),
            arena_bytes=self._header.arena_bytes,
            scratch_bytes=self._header.scratch_bytes,
            input_shape=self._input_shape,
            input_offset=self._header.input,
            input_scale=scales[0],
            pixels=self._pixels(),
            classes=classes,
            most_classes=self._header.most_classes,
            features=self._header.features,
            features_layer=self._header.features_layer,
            standin=self._standin(),
            layers=layers,
        )
        check_flow(image)
        return image

    def _section(self, offset: int, size: int, what: str) -> memoryview:
        inside = HEADER_BYTES <= offset <= len(self._content) - size
        require(inside and offset % 16 == 0, f"its {what} lie outside of it, or not aligned")
        return memoryview(self._content)[offset : offset + size]

    def _array(self, offset: int, shape: tuple[int, ...], dtype: str, what: str) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return np.frombuffer(self._section(offset, size, what), dtype).reshape(shape)

    def _names(self) -> tuple[tuple[str, ...], list[str]]:
        """The classes, and the name of every layer's weight."""
        section = bytes(self._section(self._header.names_at, self._header.names_bytes, "names"))
        names = unpack_texts(section, self._header.classes + self._header.layers)
        classes = tuple(names[: self._header.classes])
        require(len(set(classes)) == len(classes), "it names a class twice")
        return classes, names[self._header.classes :]

    def _scales(self) -> list[float]:
        scales = self._array(self._header.scales_at, (self._header.layers + 1,), "<f4", "scales")
        require(bool((np.isfinite(scales) & (scales > 0)).all()), "a scale is not positive")
        return [float(scale) for scale in scales]

    def _pixels(self) -> NDArray[np.uint8] | None:
        if self._header.form == QUANTIZED:
            require(
                self._header.pixels_at == 0, "it has a pixel table that its form has no use for"
            )
            return None
        shape = (self._input_shape[0], 256)
        pixels: NDArray[np.uint8] = self._array(self._header.pixels_at, shape, "u1", "pixels")
        return pixels

    def _standin(self) -> Curve:
        start = self._section(self._header.standin_at, 8, "stand-in")
        inverse, number, reserved = struct.unpack("<IHH", start)
        require(2 <= number <= MOST_KNOTS and not reserved, f"its stand-in has {number} knots")
        require(inverse == inverse_of(self._header.classes), "its stand-in is of other classes")
        whole = self._section(self._header.standin_at, 8 + 4 * number, "stand-in")
        values = struct.unpack_from(f"<{2 * number}H", whole, 8)
        knots, nats = values[:number], values[number:]
        rising = all(a < b for a, b in itertools.pairwise(knots))
        require(rising and list(nats) == sorted(nats), "its stand-in falls")
        return Curve(knots, nats)

    def _layers(self, weights: list[str], scales: list[float]) -> tuple[Layer, ...]:
        size = RECORD.size * self._header.layers
        records = RECORD.iter_unpack(self._section(self._header.layers_at, size, "layers"))
        layers, entries = [], 0
        for number, record in enumerate(records):
            first = record[2]
            require(first == entries, f"the entries of layer {number} do not follow")
            is_last = number == self._header.layers - 1
            layer = _layer(record, weights[number], scales[number])
            check_layer(layer, number, is_last, self._header.most_classes)
            if layer.has_weights:
                layer = self._with_rows(layer, number, record, is_last)
            enough = is_last or layer.scratch_bytes <= self._header.scratch_bytes
            require(enough, f"layer {number} lacks scratch")
            layers.append(layer)
            entries += layer.entries
        require(entries == self._header.entries, "its layers have another number of entries")
        return tuple(layers)

    def _with_rows(self, layer: Layer, number: int, record: tuple[Any, ...], last: bool) -> Layer:
        rows_at, row_bytes, parameters_at = record[29:32]
        require(row_bytes == layer.row_bytes, f"layer {number} has rows of another size")
        count = self._header.classes if last else layer.out_shape[0]
        rows = self._array(rows_at, (count, row_bytes), "u1", "rows")
        shape = (count, PARAMETER_BYTES // 4)
        parameters = self._array(parameters_at, shape, "<i4", "parameters")
        found = replace(layer, rows=rows, parameters=parameters)
        require_channels(found, rows, parameters)
        return found


def _layer(record: tuple[Any, ...], weight: str, scale: float) -> Layer:
    """A layer without its rows and parameters."""
    operation, reserved, _, source, second, target = record[:6]
    shapes, kernels = record[6:12], record[12:20]
    groups, more_reserved, *zeros = record[20:26]
    least, greatest, still_reserved = record[26:29]
    known = operation in set(Operation)
    unused = (reserved, more_reserved, zeros[3], still_reserved)
    require(known and not any(unused) and record[36] == UNUSED, "a layer's record is damaged")
    return Layer(
        operation=Operation(operation),
        source=source,
        second=second,
        target=target,
        in_shape=shapes[:3],
        out_shape=shapes[3:],
        kernel=kernels[:2],
        stride=kernels[2:4],
        padding=kernels[4:],
        groups=groups,
        zero_in=zeros[0],
        zero_second=zeros[1],
        zero_out=zeros[2],
        least=least,
        greatest=greatest,
        multiplier=record[32],
        second_multiplier=record[33],
        constant=record[34],
        shift=record[35],
        scale=scale,
        weight=weight,
    )
