"""Where tensors lie in the arena, and that every layer reads what was written for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sel_edge.mcu.layer import POINTWISE, Operation, Shape, tensor_bytes
from sel_edge.mcu.rules import require

if TYPE_CHECKING:
    from sel_edge.mcu.image import Image


@dataclass(frozen=True)
class _Tensor:
    """A tensor that is in the arena; the zero point of the input is that of its first reader."""

    offset: int
    shape: Shape
    size: int
    zero: int


def check_flow(image: Image) -> None:
    """Refuse an image whose layers write outside the arena or read what is not there.

    Raises:
        BundleError: a tensor lies outside the arena, over the scratch, or where it is still read;
            or a layer reads another tensor than was written.
    """
    room = image.arena_bytes - image.scratch_bytes
    zero = next((x.zero_in for x in image.layers if x.source == image.input_offset), 0)
    first = _Tensor(image.input_offset, image.input_shape, tensor_bytes(image.input_shape), zero)
    _require_place(first, room, "the input")
    there = {first.offset: first}
    for number, layer in enumerate(image.layers):
        name = f"layer {number}"
        sources = [_Tensor(layer.source, layer.in_shape, 0, layer.zero_in)]
        if layer.operation == Operation.ADD:
            sources.append(_Tensor(layer.second, layer.in_shape, 0, layer.zero_second))
        for source in sources:
            found = there.get(source.offset)
            fits = found is not None and (found.shape, found.zero) == (source.shape, source.zero)
            require(fits, f"{name} reads a tensor that is not there")
        new = _Tensor(layer.target, layer.out_shape, _written_bytes(image, number), layer.zero_out)
        _require_place(new, room, name)
        in_place = layer.operation in POINTWISE
        apart = all(
            (in_place and source.offset == new.offset) or not _overlap(there[source.offset], new)
            for source in sources
        )
        require(apart, f"{name} writes over what it reads")
        there = {offset: old for offset, old in there.items() if not _overlap(old, new)}
        there[new.offset] = new
    maker = image.layers[image.features_layer] if image.features_layer < len(image.layers) else None
    one = maker is not None and maker.out_shape == (image.features, 1, 1)
    head = image.layers[-1]
    require(one and head.in_shape == (image.features, 1, 1), "its features are no layer's output")


def _written_bytes(image: Image, number: int) -> int:
    """Bytes that a layer may write: of the last, an int16 for every class there is room for."""
    if number == len(image.layers) - 1:
        return 2 * image.most_classes
    return tensor_bytes(image.layers[number].out_shape)


def _require_place(tensor: _Tensor, room: int, what: str) -> None:
    inside = tensor.offset % 4 == 0 and tensor.offset + tensor.size <= room
    require(inside, f"{what} lies outside the arena")


def _overlap(one: _Tensor, other: _Tensor) -> bool:
    return one.offset < other.offset + other.size and other.offset < one.offset + one.size
