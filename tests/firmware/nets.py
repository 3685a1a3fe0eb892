"""Images and networks as the firmware's C sees them, one question at a time."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image
from sel_edge.mcu.layer import Layer, Operation, pack_rows, tensor_bytes
from sel_edge.mcu.standin import Curve
from tests.firmware.build import CORE, shared_library

PROBE = Path(__file__).parent / "net_probe.c"
NAMES = ("image", "image_layers", "net", "payload", "plain", "fast", "signal", "crc", "sha256")
SOURCES = (*(CORE / f"sel_{name}.c" for name in NAMES), PROBE)
FAST, PLAIN = 0, 1
CLASSES = ("cat", "dog", "owl")


class Answer(ctypes.Structure):
    """As probe_answer_t."""

    _fields_ = (
        ("image_reason", ctypes.c_uint32),
        ("payload_reason", ctypes.c_uint32),
        ("label", ctypes.c_uint16),
        ("uncertainty", ctypes.c_uint16),
        ("embarrassment", ctypes.c_uint16),
        ("classes", ctypes.c_uint16),
    )


@dataclass(frozen=True, eq=False)
class Inference:
    """What came of one input: arena uint8, logits int16 [K], and the rest."""

    arena: NDArray[np.uint8]
    logits: NDArray[np.int16]
    answer: Answer

    def tensor(self, layer: Layer) -> NDArray[np.uint8]:
        """The output of a layer, uint8 [height, width, channels], if nothing has overwritten it."""
        channels, height, width = layer.out_shape
        found = self.arena[layer.target : layer.target + tensor_bytes(layer.out_shape)]
        return found.reshape(height, width, -1)[:, :, :channels]


@cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(shared_library(SOURCES)))


def open_image(content: bytes) -> tuple[int, bool]:
    """Why an image is refused, 0 if it is not; and whether its hash is right."""
    right = ctypes.c_uint32()
    reason = library().probe_open(content, len(content), ctypes.byref(right))
    return reason, bool(right.value)


def infer(
    image: Image, frame: NDArray[np.uint8], kernels: int, payload: bytes = b"", filling: int = 0xA5
) -> Inference:
    """Answer for a frame uint8 [height, width, channels], in an arena full of `filling`."""
    arena = np.zeros(image.arena_bytes, np.uint8)
    logits = np.zeros(image.most_classes, np.int16)
    answer = Answer()
    answered = library().probe_infer(
        *(image.content, len(image.content), payload, len(payload), frame.tobytes(), kernels),
        *(filling, ctypes.c_void_p(arena.ctypes.data), ctypes.c_void_p(logits.ctypes.data)),
        ctypes.byref(answer),
    )
    assert answered, (answer.image_reason, answer.payload_reason)
    return Inference(arena, logits[: answer.classes], answer)


def network(
    *body: Layer, draw: np.random.Generator, room: int = 5, scratch: int | None = None
) -> Image:
    """An image of layers, then an average of all cells, and a classifier with random weights.

    Args:
        body: each reads what the one before made, the first the input, which comes quantized; of an
            ADD the second input is the input tensor. Their offsets are set here.
        room: classes that there is room for.
        scratch: bytes, as many as the layers need if None.
    """
    features = body[-1].out_shape[0]
    point = (features, 1, 1)
    average = Layer(
        *(Operation.GLOBAL_AVERAGE, 0, 0, body[-1].out_shape, point, 0.1),
        greatest=255,
        multiplier=1 << 30,
        shift=9,
        zero_in=body[-1].zero_out,
    )
    head = Layer(
        *(Operation.LINEAR, 0, 0, point, (room, 1, 1), 1 / 256),
        kernel=(1, 1),
        stride=(1, 1),
        groups=1,
        weight="fc.weight",
        rows=pack_rows(draw.integers(-63, 64, (len(CLASSES), features, 1, 1))),
        parameters=parameters(draw.integers(-500, 500, len(CLASSES)), 3),
    )
    layers: list[Layer] = []
    source, end = 0, tensor_bytes(body[0].in_shape)
    for layer in (*body, average, head):
        layers.append(replace(layer, source=source, target=end))
        source, end = end, end + tensor_bytes(layer.out_shape)
    end = source + (2 * room + 3) // 4 * 4  # logits are int16
    needed = max(layer.scratch_bytes for layer in layers) if scratch is None else scratch
    return Image(
        weights_sha256="00" * 32,
        arena_bytes=end + needed,
        scratch_bytes=needed,
        input_shape=body[0].in_shape,
        input_offset=0,
        input_scale=0.1,
        pixels=None,
        classes=CLASSES,
        most_classes=room,
        features=features,
        features_layer=len(body),
        standin=Curve((0, 30_000, 65_535), (0, 300, 900)),
        layers=tuple(layers),
    )


def parameters(bias: NDArray[np.integer], shift: int) -> NDArray[np.int32]:
    """Parameters int32 [N, 2] with a multiplier of 1/4."""
    return np.stack([bias, np.full(len(bias), (1 << 30) | shift)], 1).astype(np.int32)


def rows(draw: np.random.Generator, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Random rows for weights [N, C, kernel height, kernel width]."""
    return pack_rows(draw.integers(-63, 64, shape))
