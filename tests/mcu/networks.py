"""A small network in floats, and the image that its quantization gives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image
from sel_edge.mcu.layer import pack_rows
from sel_edge.mcu.quantized import Scales, quantize_rows
from tools.small_network import small_image

BIASES = {"conv.weight": "conv.bias", "fc.weight": "fc.bias"}
WIDTH = 8

Parameters = dict[str, NDArray[np.float32]]


def normal(draw: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Normally distributed float32."""
    return draw.standard_normal(shape, dtype=np.float32)


@cache
def base(seed: int = 0) -> tuple[Image, Parameters]:
    """An image, and the float parameters that it was made of."""
    draw = np.random.default_rng(seed)
    image = small_image(seed, WIDTH)
    found: Parameters = {}
    layers = []
    for number, layer in enumerate(image.layers):
        if layer.has_weights:
            count = len(layer.rows)
            weight, bias = 0.2 * normal(draw, count, *layer.row_shape), normal(draw, count)
            found[layer.weight], found[BIASES[layer.weight]] = weight.reshape(count, -1), bias
            scales = Scales(image.input_scale_of(number), layer.zero_in, layer.scale)
            integers, parameters = quantize_rows(weight, bias, scales)
            layer = replace(layer, rows=pack_rows(integers), parameters=parameters)
        layers.append(layer)
    return replace(image, layers=tuple(layers)), found
