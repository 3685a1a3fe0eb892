"""From a folded network to the image that a microcontroller executes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Array
from sel_edge.compile.mcu_plan import Plan, layer_of, plan
from sel_edge.compile.mcu_ranges import Quantization, measure, quantization_of
from sel_edge.compile.mcu_steps import Step, Steps, steps_of
from sel_edge.core.errors import BundleError
from sel_edge.core.standin import StandIn
from sel_edge.mcu.image import LOGIT_SCALE, MAX_CLASSES, Image
from sel_edge.mcu.layer import AVERAGES, KEEPS_SCALE, Layer, Operation, pack_rows
from sel_edge.mcu.quantized import Scales, quantize_rows
from sel_edge.mcu.standin import curve_of

SPARE_CLASSES = 8
"""Room for classes that the device learns."""
_SUM_ROOM = 2**31 - 1
_MOST_SHIFT = 30


@dataclass(frozen=True)
class ImageSettings:
    """What an image needs beside the network.

    Attributes:
        classes: names in label order.
        preprocessing: from a frame to the network's input.
        standin: of the bundle.
        weights_sha256: 64 hex digits, of the bundle's weights.safetensors.
        room: classes that there is room for; None for `SPARE_CLASSES` more than there are.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    standin: StandIn
    weights_sha256: str
    room: int | None = None


def room_for(classes: int, wanted: int | None) -> int:
    """How many classes a classifier gets room for.

    Args:
        classes: that it has.
        wanted: None for `SPARE_CLASSES` more.

    Raises:
        BundleError: fewer than there are, or more than a microcontroller can tell apart.
    """
    room = min(classes + SPARE_CLASSES, MAX_CLASSES) if wanted is None else wanted
    if not classes <= room <= MAX_CLASSES:
        raise BundleError(
            f"The network tells {classes} classes apart, with room for {room}.",
            f"A microcontroller tells at most {MAX_CLASSES} apart, and no fewer than the network.",
            "Export with fewer classes, or without --target mcu.",
        )
    return room


def compile_image(forward: Forward, settings: ImageSettings, frames: NDArray[np.float32]) -> Image:
    """Quantize a network for a microcontroller.

    Args:
        forward: the folded network.
        settings: what it does not say itself.
        frames: float32 [m, C, H, W] or [m, C, L], preprocessed, to measure ranges on; m at least 1.

    Raises:
        BundleError: the network has what microcontrollers cannot compute; the error names it.
    """
    network = steps_of(forward)
    room = room_for(len(settings.classes), settings.room)
    places = plan(network, room)
    quantizations = _quantizations(forward, network, settings.preprocessing, frames)
    builder = _Builder(forward.graph.constants, places, quantizations)
    layers = [builder.layer(step) for step in network.steps]
    channels = (room, *layers[-1].out_shape[1:])
    layers[-1] = replace(layers[-1], out_shape=channels)
    view = settings.preprocessing
    start = quantizations["image"]
    pixels = None
    if isinstance(view, ImagePreprocessing):
        pixels = start.quantize(_pixel_values(view))
    return Image(
        weights_sha256=settings.weights_sha256,
        arena_bytes=places.arena_bytes,
        scratch_bytes=places.scratch_bytes,
        input_shape=network.input_shape,
        input_offset=places.offsets["image"],
        input_scale=start.scale,
        pixels=pixels,
        classes=settings.classes,
        most_classes=room,
        features=network.steps[network.features_step].out_shape[0],
        features_layer=network.features_step,
        standin=curve_of(settings.standin.knots, settings.standin.expected),
        layers=tuple(layers),
    )


def _pixel_values(view: ImagePreprocessing) -> NDArray[np.float64]:
    """What the network sees of every pixel value, float64 [channels, 256]."""
    mean, std = (np.array(values)[:, np.newaxis] for values in (view.mean, view.std))
    found: NDArray[np.float64] = (np.arange(256) / 255 - mean) / std
    return found


def _quantizations(
    forward: Forward, network: Steps, view: Preprocessing, frames: NDArray[np.float32]
) -> Mapping[str, Quantization]:
    """Tensor -> its quantization."""
    free = [step.output for step in network.steps[:-1] if step.operation not in KEEPS_SCALE]
    found = dict(measure(forward.graph, free, frames))
    if isinstance(view, ImagePreprocessing):
        values = _pixel_values(view)
        found["image"] = quantization_of(float(values.min()), float(values.max()))
    else:
        found["image"] = quantization_of(float(frames.min()), float(frames.max()))
    for step in network.steps:
        if step.operation in KEEPS_SCALE:
            found[step.output] = found[step.sources[0]]
    found[network.steps[-1].output] = Quantization(LOGIT_SCALE, 0)
    return found


@dataclass(frozen=True)
class _Builder:
    """Makes layers of steps.

    Attributes:
        constants: weights and biases by name.
        places: of tensors in the arena.
        quantizations: of tensors.
    """

    constants: Mapping[str, Array]
    places: Plan
    quantizations: Mapping[str, Quantization]

    def layer(self, step: Step) -> Layer:
        """A step with all its numbers."""
        source, target = self.quantizations[step.sources[0]], self.quantizations[step.output]
        low, high = (target.zero + bound / target.scale for bound in step.bounds)
        layer = replace(
            layer_of(step),
            source=self.places.offsets[step.sources[0]],
            target=self.places.offsets[step.output],
            scale=target.scale,
            zero_in=source.zero,
            zero_out=target.zero,
            least=int(np.clip(np.rint(low), 0, 255)),
            greatest=int(np.clip(np.rint(high), 0, 255)),
        )
        if step.weight:
            return self._weighted(step, layer, Scales(source.scale, source.zero, target.scale))
        if step.operation == Operation.ADD:
            return self._sum(step, layer, source, target)
        if step.operation in AVERAGES:
            return _average(layer, source.scale / target.scale)
        return layer

    def _weighted(self, step: Step, layer: Layer, scales: Scales) -> Layer:
        weight = self.constants[step.weight].reshape(-1, *layer.row_shape)
        integers, parameters = quantize_rows(weight, self.constants[step.bias], scales)
        return replace(layer, rows=pack_rows(integers), parameters=parameters)

    def _sum(self, step: Step, layer: Layer, first: Quantization, target: Quantization) -> Layer:
        """With the largest factors that keep every sum within 32 bits."""
        second = self.quantizations[step.sources[1]]
        ratios = (first.scale / target.scale, second.scale / target.scale)
        for shift in range(_MOST_SHIFT, 0, -1):
            factors = [round(ratio * 2**shift) for ratio in ratios]
            start = (target.zero << shift) + (1 << (shift - 1))
            constant = start - first.zero * factors[0] - second.zero * factors[1]
            if abs(constant) + 255 * sum(factors) <= _SUM_ROOM:
                break
        else:
            _refuse_range(layer)
        return replace(
            layer,
            second=self.places.offsets[step.sources[1]],
            zero_second=second.zero,
            multiplier=factors[0],
            second_multiplier=factors[1],
            constant=constant,
            shift=shift,
        )


def _average(layer: Layer, ratio: float) -> Layer:
    """A mean: the sum of all cells times ratio / cells, where the sum comes 256 times too large."""
    fraction, exponent = math.frexp(ratio / layer.cells / 256)
    if -1 - exponent < 1:
        _refuse_range(layer)
    multiplier = min(round(fraction * 2**31), 2**31 - 1)
    constant = -layer.cells * layer.zero_in
    return replace(layer, multiplier=multiplier, constant=constant, shift=-1 - exponent)


def _refuse_range(layer: Layer) -> NoReturn:
    raise BundleError(
        f"A layer ({layer.operation.name}) has a range of {255 * layer.scale:g}, far below that of "
        "its input.",
        "An output of the size of the input is expected.",
        "Check the network, or give calibration frames that are like those of the device.",
    )
