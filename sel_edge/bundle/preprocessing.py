"""What becomes of a frame before the network sees it: an image's pixels, or a signal's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from sel_edge.bundle.fields import Fields
from sel_edge.core.frames import MAX_LEVEL, MIN_STD

MAX_SIDE = 4096
MAX_LENGTH = 2**20
MAX_SIGNAL_NUMBERS = 2**26
"""Channels times length: more numbers than the largest image has."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """From uint8 pixels [H, W, C] to float32 [C, H, W]: (x / 255 - mean) / std.

    Attributes:
        height, width: pixels.
        channels: 1 or 3.
        mean, std: one number per channel.
    """

    dtype: ClassVar[type[np.uint8]] = np.uint8

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of a frame, as data hold it."""
        return (self.height, self.width, self.channels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of a frame, as the network takes it."""
        return (self.channels, self.height, self.width)


@dataclass(frozen=True)
class SignalPreprocessing:
    """From float32 samples [channels, length] to as many: (x - mean) / std.

    Attributes:
        channels, length: of a signal; length in samples.
        mean, std: one number per channel, in the units of the signal.
        kind: tells it from an image's.
    """

    dtype: ClassVar[type[np.float32]] = np.float32

    channels: int
    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: Literal["signal"] = "signal"

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of a frame, as data hold it."""
        return (self.channels, self.length)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of a frame, as the network takes it."""
        return self.frame_shape


Preprocessing: TypeAlias = ImagePreprocessing | SignalPreprocessing


def parse_preprocessing(fields: Fields) -> Preprocessing:
    """The preprocessing of a manifest; an image's has no key `kind`.

    Raises:
        BundleError: unknown, missing or impossible values.
    """
    parse = _signal if "kind" in fields.names() else _image
    preprocessing = parse(fields)
    for name, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        fields.require(len(numbers) == preprocessing.channels, name, "one number per channel")
    return fields.finished(preprocessing)


def _image(fields: Fields) -> Preprocessing:
    channels = fields.integer("channels", at_least=1, at_most=3)
    fields.require(channels != 2, "channels", "1 or 3")
    return ImagePreprocessing(
        height=fields.integer("height", at_least=1, at_most=MAX_SIDE),
        width=fields.integer("width", at_least=1, at_most=MAX_SIDE),
        channels=channels,
        mean=fields.numbers("mean", -MAX_LEVEL, MAX_LEVEL),
        std=fields.numbers("std", MIN_STD, MAX_LEVEL),
    )


def _signal(fields: Fields) -> Preprocessing:
    fields.choice("kind", ("signal",))
    signal = SignalPreprocessing(
        channels=fields.integer("channels", at_least=1, at_most=MAX_SIGNAL_NUMBERS),
        length=fields.integer("length", at_least=1, at_most=MAX_LENGTH),
        mean=fields.numbers("mean", -MAX_LEVEL, MAX_LEVEL),
        std=fields.numbers("std", MIN_STD, MAX_LEVEL),
    )
    fits = signal.channels * signal.length <= MAX_SIGNAL_NUMBERS
    fields.require(fits, "length", f"at most {MAX_SIGNAL_NUMBERS} numbers in a signal")
    return signal
