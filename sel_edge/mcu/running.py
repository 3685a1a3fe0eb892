"""The network in use on a board: an image, and what overlays have put in place of its channels."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import Image, inverse_of, unpack_texts
from sel_edge.mcu.layer import PARAMETER_BYTES, no_parameters, no_rows
from sel_edge.mcu.rules import require_channels, require_parameters

RUN = struct.Struct("<HHHH")
MAX_PAYLOAD_BYTES = 2**20

Scalar = TypeVar("Scalar", bound=np.generic)


class Kind(IntEnum):
    """What a run of a payload brings."""

    SCALE = 1
    WHOLE = 2
    CLASSES = 3


@dataclass(frozen=True, eq=False)
class Run:
    """Neighbouring channels of one layer.

    Attributes:
        layer: its number.
        kind: what is here of them.
        channels: which.
        parameters: int32 [n, 2].
        rows: uint8 [n, row bytes]; none if the kind is SCALE.
        classes: all names afterwards, if the kind is CLASSES, which has no channels.
    """

    layer: int
    kind: Kind
    channels: range = range(0)
    parameters: NDArray[np.int32] = field(default_factory=no_parameters)
    rows: NDArray[np.uint8] = field(default_factory=no_rows)
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Running:
    """A network that a board runs; never changed in place. Begin with `running`.

    Attributes:
        image: what it is an overlay of.
        classes: names in label order.
        rows: per layer uint8 [N, row bytes], as stored. Of the last layer there is one for every
            class that the image has room for, of zeros where none was sent yet.
        parameters: per layer int32 [N, 2]: bias and m.
    """

    image: Image
    classes: tuple[str, ...]
    rows: tuple[NDArray[np.uint8], ...]
    parameters: tuple[NDArray[np.int32], ...]

    @property
    def inverse(self) -> int:
        """The stand-in's factor."""
        return inverse_of(len(self.classes))

    def has(self, layer: int, channel: int) -> bool:
        """Whether a channel has a row: stored weights are never 0."""
        return bool(self.rows[layer][channel, 0])

    def apply(self, payload: bytes) -> Running:
        """The network after a payload.

        Raises:
            BundleError: the payload is damaged, does not fit this network, or was made to do harm.
        """
        rows, parameters = list(self.rows), list(self.parameters)
        classes, seen = self.classes, set[tuple[int, int]]()
        for run in parse_payload(self.image, payload):
            here = {(run.layer, channel) for channel in run.channels or (-1,)}
            if here & seen:
                raise damaged("it names a channel twice")
            seen |= here
            if run.kind == Kind.CLASSES:
                classes = run.classes
                continue
            if run.kind == Kind.SCALE and not all(self.has(run.layer, c) for c in run.channels):
                raise damaged("it has no row for a new class")
            where = slice(run.channels.start, run.channels.stop)
            parameters[run.layer] = _put(parameters[run.layer], where, run.parameters)
            if run.kind == Kind.WHOLE:
                rows[run.layer] = _put(rows[run.layer], where, run.rows)
        if not rows[-1][: len(classes), 0].all():
            raise damaged("it has no row for a new class")
        return replace(self, classes=classes, rows=tuple(rows), parameters=tuple(parameters))


def running(image: Image) -> Running:
    """The network of an image alone."""
    rows = [layer.rows for layer in image.layers]
    parameters = [layer.parameters for layer in image.layers]
    spare = ((0, image.most_classes - len(image.classes)), (0, 0))
    rows[-1], parameters[-1] = np.pad(rows[-1], spare), np.pad(parameters[-1], spare)
    return Running(image, image.classes, tuple(rows), tuple(parameters))


def parse_payload(image: Image, payload: bytes) -> list[Run]:
    """The runs of a payload.

    Args:
        image: that it is for.
        payload: bytes that may come from anywhere.

    Raises:
        BundleError: they are no payload for this image.
    """
    if len(payload) > MAX_PAYLOAD_BYTES or len(payload) % 4:
        raise damaged(f"it has {len(payload)} bytes")
    runs, offset = [], 0
    while offset < len(payload):
        run, offset = _parse_run(image, payload, offset)
        runs.append(run)
    return runs


def damaged(detail: str) -> BundleError:
    """The error for a payload that cannot be used."""
    return BundleError(
        f"An overlay's payload cannot be used: {detail}.",
        "A payload that was made for this image, and for the network in use, is expected.",
        "Make the delta again.",
    )


def _put(before: NDArray[Scalar], where: slice, new: NDArray[Scalar]) -> NDArray[Scalar]:
    after = before.copy()
    after[where] = new
    return after


def _parse_run(image: Image, payload: bytes, offset: int) -> tuple[Run, int]:
    """A run, and where the next one begins."""
    if len(payload) - offset < RUN.size:
        raise damaged("it ends in the middle")
    number, kind, first, count = RUN.unpack_from(payload, offset)
    offset += RUN.size
    if number >= len(image.layers) or kind not in set(Kind) or count < 1:
        raise damaged(f"it has {count} channels of kind {kind} of layer {number}")
    if kind == Kind.CLASSES:
        return _parse_classes(image, payload, offset, number, first, count)
    layer = image.layers[number]
    if first + count > layer.entries:
        raise damaged(f"it has channels {first} to {first + count - 1} of layer {number}")
    row_bytes = layer.row_bytes if kind == Kind.WHOLE else 0
    size = count * (PARAMETER_BYTES + row_bytes)
    if offset + size > len(payload):
        raise damaged("it ends in the middle")
    data = np.frombuffer(payload, np.uint8, size, offset).reshape(count, -1)
    parameters = np.ascontiguousarray(data[:, :PARAMETER_BYTES]).view("<i4")
    rows = data[:, PARAMETER_BYTES:]
    require_parameters(layer, parameters)
    if kind == Kind.WHOLE:
        require_channels(layer, rows, parameters)
    return Run(number, Kind(kind), range(first, first + count), parameters, rows), offset + size


def _parse_classes(
    image: Image, payload: bytes, offset: int, number: int, count: int, size: int
) -> tuple[Run, int]:
    """The run that says which classes there are, and where the next one begins."""
    end = offset + 4 + size
    padded = end + -size % 4
    known = number == len(image.layers) - 1 and len(image.classes) <= count <= image.most_classes
    if not known or padded > len(payload) or any(payload[end:padded]):
        raise damaged(f"it names {count} classes in layer {number}")
    names = unpack_texts(payload[offset + 4 : end], count)
    if len(set(names)) != count:
        raise damaged("it names a class twice")
    if int.from_bytes(payload[offset : offset + 4], "little") != inverse_of(count):
        raise damaged("its stand-in is of another number of classes")
    return Run(number, Kind.CLASSES, classes=tuple(names)), padded
