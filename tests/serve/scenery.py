"""What a staged device sees: pictures that people can tell apart, and signals; all from seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SIDE, CHANNELS, LENGTH = 32, 3, 128


def picture(number: int, kind: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Something of one class before a background, uint8 [side, side, 3].

    Args:
        number: of the frame; every frame looks different.
        kind: number of the class: it gives colour and outline.
        side: pixels.
    """
    rng = np.random.default_rng([number, kind])
    y, x = np.mgrid[0:side, 0:side] / side
    sky, ground = rng.integers(90, 230, 3), rng.integers(30, 120, 3)
    image = sky + (ground - sky) * np.clip((y - rng.uniform(0.4, 0.8)) * 8 + 0.5, 0, 1)[..., None]
    dx, dy = x - rng.uniform(0.35, 0.65), y - rng.uniform(0.4, 0.65)
    turn, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.32)
    outline = radius * (1 + 0.3 * np.cos((2 + kind % 5) * (np.arctan2(dy, dx) + turn)))
    inside = np.clip((outline - np.hypot(dx, dy)) * side / 2, 0, 1)[..., None]
    body = np.random.default_rng(kind).integers(20, 235, 3) + rng.normal(0, 12, 3)
    image += (body * (1 - 0.4 * dy[..., None] / radius) - image) * inside
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def signal(number: int, kind: int, length: int = LENGTH) -> NDArray[np.float32]:
    """Three channels of one class, float32 [3, length]."""
    rng = np.random.default_rng([number, kind])
    t = np.linspace(0, 2 * np.pi, length)
    waves = [
        np.sin((kind + 1) * t + rng.uniform(0, 6) + channel) / (channel + 1)
        for channel in range(CHANNELS)
    ]
    return (np.stack(waves) + rng.normal(0, 0.1, (CHANNELS, length))).astype(np.float32)
