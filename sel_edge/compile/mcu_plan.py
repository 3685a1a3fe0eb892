"""Where the tensors of a microcontroller lie, and how large its image is; known before any number.

Tensors that are alive at the same time do not overlap. The largest is placed first, each as low as
it fits; so a residual network needs three tensors of its largest size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sel_edge.compile.mcu_steps import Step, Steps
from sel_edge.mcu.image import HEADER_BYTES, pack_texts
from sel_edge.mcu.layer import PARAMETER_BYTES, RECORD, Layer, Shape, tensor_bytes
from sel_edge.mcu.memory import Need, payload_bytes, table_bytes
from sel_edge.mcu.standin import MOST_KNOTS


@dataclass(frozen=True)
class Plan:
    """The memory of a network.

    Attributes:
        offsets: tensor -> where it begins in the arena.
        arena_bytes: of tensors and scratch.
        scratch_bytes: the last of the arena.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class _Life:
    """A tensor from the step that makes it to the last one that reads it."""

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: _Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(network: Steps, room: int) -> Plan:
    """Give every tensor its place.

    Args:
        network: whose features stay to the end.
        room: classes that there is room for.
    """
    placed: list[tuple[_Life, int]] = []
    for life in sorted(_lives(network, room), key=lambda life: (-life.size, life.first)):
        others = sorted((at, at + other.size) for other, at in placed if other.meets(life))
        offset = 0
        for start, end in others:
            if offset + life.size <= start:
                break
            offset = max(offset, end)
        placed.append((life, offset))
    tensors = max(at + life.size for life, at in placed)
    scratch = max((layer_of(step).scratch_bytes for step in network.steps[:-1]), default=0)
    return Plan({life.name: at for life, at in placed}, tensors + scratch, scratch)


def need_of(network: Steps, classes: tuple[str, ...], room: int) -> Need:
    """What a network needs of a board; its image may be some bytes smaller.

    Args:
        network: it may be one that was never trained.
        classes: their names.
        room: classes that there is room for.
    """
    layers = [layer_of(step) for step in network.steps]
    channels, height, width = network.input_shape
    layers[-1] = replace(layers[-1], out_shape=(room, 1, 1))
    return Need(
        image=_image_bytes(network, classes),
        arena=plan(network, room).arena_bytes,
        table=table_bytes(layers),
        frame=channels * height * width,
        payload=payload_bytes(layers, classes),
    )


def narrowed(network: Steps, factor: float) -> Steps:
    """The same network with fewer channels everywhere but in the input and the logits."""
    last = len(network.steps) - 1

    def smaller(shape: Shape, is_end: bool) -> Shape:
        return shape if is_end else (math.ceil(shape[0] * factor), *shape[1:])

    def one(number: int, step: Step) -> Step:
        groups = math.ceil(step.groups * factor) if step.groups > 1 else step.groups
        source = smaller(step.in_shape, step.sources[0] == "image")
        target = smaller(step.out_shape, number == last)
        return replace(step, in_shape=source, out_shape=target, groups=groups)

    steps = tuple(one(number, step) for number, step in enumerate(network.steps))
    return replace(network, steps=steps)


def layer_of(step: Step) -> Layer:
    """A step as a layer without numbers and places."""
    return Layer(
        operation=step.operation,
        source=0,
        target=0,
        in_shape=step.in_shape,
        out_shape=step.out_shape,
        scale=1.0,
        kernel=step.kernel,
        stride=step.stride,
        padding=step.padding,
        groups=step.groups,
        weight=step.weight or "-",
    )


def _image_bytes(network: Steps, classes: tuple[str, ...]) -> int:
    """How large the image is, with the largest stand-in."""
    names = pack_texts([*classes, *(step.weight or "-" for step in network.steps)])
    sections = [
        *(HEADER_BYTES, 256 * network.input_shape[0], 8 + 4 * MOST_KNOTS, len(names)),
        *(4 * (len(network.steps) + 1), RECORD.size * len(network.steps)),
    ]
    for step in network.steps:
        layer = layer_of(step)
        sections += [layer.entries * layer.row_bytes, layer.entries * PARAMETER_BYTES]
    return sum(-(-size // 16) * 16 for size in sections)


def _lives(network: Steps, room: int) -> list[_Life]:
    last_step = len(network.steps) - 1
    last = {"image": 0}
    for number, step in enumerate(network.steps):
        last.update(dict.fromkeys(step.sources, number))
    last[network.steps[network.features_step].output] = last_step
    lives = [_Life("image", tensor_bytes(network.input_shape), -1, last["image"])]
    for number, step in enumerate(network.steps):
        size = -(-room // 2) * 4 if number == last_step else tensor_bytes(step.out_shape)
        lives.append(_Life(step.output, size, number, last.get(step.output, number)))
    return lives
