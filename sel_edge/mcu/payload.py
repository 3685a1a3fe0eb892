"""The payload of an overlay: what leads from the network in use to another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import MAX_TEXT_BYTES, Image, inverse_of, pack_texts
from sel_edge.mcu.layer import Layer, pack_rows, unpack_rows
from sel_edge.mcu.quantized import Scales, quantize_rows
from sel_edge.mcu.running import MAX_PAYLOAD_BYTES, RUN, Kind, Running, Scalar, running

Parameters = Mapping[str, NDArray[np.float32]]


def quantized_network(
    image: Image, target: Parameters, biases: Mapping[str, str], classes: Sequence[str]
) -> Running:
    """A network as a board with this image would run it.

    It depends on nothing but the image and the network. Where a row is that of the image times a
    factor, it keeps the image's integers; so the bundle's own network is the image, bit for bit.

    Args:
        image: of the bundle.
        target: name -> float32: the weights and biases that the network computes with.
        biases: weight of a layer -> its bias. Other layers are those of the image.
        classes: in label order, the image's first.

    Raises:
        BundleError: there are more classes than the image has room for or fewer than it has, a
            parameter is missing or has another shape, or cannot be quantized.
    """
    _require_classes(image, classes)
    found = running(image)
    rows, parameters = list(found.rows), list(found.parameters)
    for number, layer in enumerate(image.layers):
        if layer.weight in biases:
            count = len(classes) if number == len(image.layers) - 1 else layer.out_shape[0]
            weight, bias = _parameters(layer, target, biases[layer.weight], count)
            new = _quantized(image, number, weight, bias)
            rows[number] = _over(rows[number], new[0])
            parameters[number] = _over(parameters[number], new[1])
    return Running(image, tuple(classes), tuple(rows), tuple(parameters))


def overlay_payload(
    before: Running, target: Parameters, biases: Mapping[str, str], classes: Sequence[str]
) -> bytes:
    """What leads from the network in use to another one; nothing if they are the same in integers.

    Args:
        before: in use on the board.
        target, biases, classes: as for `quantized_network`.

    Raises:
        BundleError: as from `quantized_network`, or the payload is larger than 2^20 bytes.
    """
    return difference(before, quantized_network(before.image, target, biases, classes))


def difference(before: Running, after: Running) -> bytes:
    """The payload that leads from one network of an image to another: `before.apply` gives it back.

    Raises:
        BundleError: it is larger than 2^20 bytes.
    """
    parts = []
    for number in range(len(before.image.layers)):
        kinds = _kinds(before, after, number)
        for kind in (Kind.SCALE, Kind.WHOLE):
            for channels in _neighbours(np.flatnonzero(kinds == kind)):
                parts.append(_run(after, number, kind, channels))
    if before.classes != after.classes:
        parts.append(_classes_run(after))
    payload = b"".join(parts)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BundleError(
            f"The difference of two networks has {len(payload)} bytes.",
            f"At most {MAX_PAYLOAD_BYTES} bytes go to a microcontroller at once.",
            "Learn fewer channels at a time (sel-edge export --share), or install a new image.",
        )
    return payload


def _require_classes(image: Image, classes: Sequence[str]) -> None:
    own = len(image.classes)
    if tuple(classes[:own]) != image.classes or len(classes) > image.most_classes:
        raise BundleError(
            f"The network tells {len(classes)} classes apart.",
            f"The model image begins with {own} classes and has room for {image.most_classes}.",
            "Export the bundle again with more room (--class-room), and install it.",
        )


def _parameters(
    layer: Layer, target: Parameters, bias: str, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A layer's rows [count, C, kernel height, kernel width] and biases [count], float32."""
    shape = (count, *layer.row_shape)
    rows, offsets = target.get(layer.weight), target.get(bias)
    if rows is None or offsets is None or rows.size != np.prod(shape) or offsets.shape != (count,):
        raise BundleError(
            f"The network does not have the parameters of the layer {layer.weight}.",
            f"Rows {list(shape)} and as many biases are expected.",
            "Use the bundle that the model image was exported with.",
        )
    if not np.isfinite(rows).all() or not np.isfinite(offsets).all():
        raise BundleError(
            f"The layer {layer.weight} has numbers that are not finite.",
            "Finite weights and biases are expected.",
            "Roll the learner back.",
        )
    return rows.reshape(shape), offsets


def _quantized(
    image: Image, number: int, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Rows and parameters as they are stored."""
    layer = image.layers[number]
    scales = Scales(image.input_scale_of(number), layer.zero_in, layer.scale)
    own = len(layer.rows)
    like = unpack_rows(layer.rows, layer.row_shape)
    parts = [quantize_rows(weight[:own], bias[:own], scales, like)]
    if len(weight) > own:
        parts.append(quantize_rows(weight[own:], bias[own:], scales))
    integers, parameters = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return pack_rows(integers), parameters


def _over(before: NDArray[Scalar], new: NDArray[Scalar]) -> NDArray[Scalar]:
    """Rows with others in place of the first ones."""
    return np.concatenate([new, before[len(new) :]])


def _kinds(before: Running, after: Running, number: int) -> NDArray[np.int64]:
    """What every channel of a layer needs: a `Kind`, or 0."""
    count = len(after.classes) if number == len(after.rows) - 1 else None
    rows = (before.rows[number][:count] != after.rows[number][:count]).any(axis=1)
    parameters = before.parameters[number][:count] != after.parameters[number][:count]
    return np.where(rows, Kind.WHOLE, np.where(parameters.any(axis=1), Kind.SCALE, 0))


def _neighbours(channels: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Ascending numbers in pieces without gaps."""
    if len(channels):
        yield from np.split(channels, np.flatnonzero(np.diff(channels) > 1) + 1)


def _run(after: Running, number: int, kind: Kind, channels: NDArray[np.int64]) -> bytes:
    parts = [after.parameters[number][channels].astype("<i4").view(np.uint8)]
    if kind == Kind.WHOLE:
        parts.append(after.rows[number][channels])
    header = RUN.pack(number, kind, channels[0], len(channels))
    return header + np.concatenate(parts, axis=1).tobytes()


def _classes_run(after: Running) -> bytes:
    names = pack_texts(after.classes)
    if len(names) > 2**16 - 1:
        raise BundleError(
            f"The names of {len(after.classes)} classes have {len(names)} bytes.",
            f"A microcontroller stores at most {2**16 - 1} bytes of them.",
            f"Choose names much shorter than {MAX_TEXT_BYTES} bytes.",
        )
    number = len(after.image.layers) - 1
    header = RUN.pack(number, Kind.CLASSES, len(after.classes), len(names))
    inverse = inverse_of(len(after.classes)).to_bytes(4, "little")
    return header + inverse + names + bytes(-len(names) % 4)
