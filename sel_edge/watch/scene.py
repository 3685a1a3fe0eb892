"""A place as a still camera sees it: what is always there, in what light, and what moves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sel_edge.watch.opencv import cv2
from sel_edge.watch.video import Pixels

Floats: TypeAlias = NDArray[np.float32]

MODEL_SIDE = 160
"""Pixels of the longer side at which the place is looked at."""
GRID = (6, 8)
"""Rows and columns in which the light is compared."""
DARK = 8.0
"""Levels of 255 added before two pictures are divided, so that noise in the dark does not count."""
CLIPPED = 250.0
"""Level from which on a pixel may really be brighter than the camera can say."""
LEAST_LEVELS = 14.0
"""Difference below which nothing has changed."""
NOISE_TIMES = 5.0
"""By how much more than usual a pixel must differ."""
OUTLIER = 0.12
"""A part of the place whose light differs that much from the rest holds something else."""
MOST_CLIPPED = 0.2
"""Share of a part that may be; a clipped pixel does not tell how bright it is."""
SETTLING_S, STAYING_S, JUMP_S = 10.0, 60.0, 0.5
"""Time constants: of the place, of what moves over it, and of what is steady though it differs, or
of everything when most of it has changed at once, as when a lamp goes on."""
STEADY_S = 3.0
"""Without a change, after which what differs belongs to the place."""
MOST = 0.5
LEAST_AREA = 0.002
"""Share of the frame; smaller things are not looked at."""
REFERENCE_S = 20.0
"""After which the light is no longer learned as what is usual."""
LIT_LEVELS = (80.0, 150.0)
"""Of 255: how bright the place is made before things in it are looked at."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels [top, bottom) x [left, right) of a frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        """Across and down."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def side(self) -> int:
        """The longer one."""
        return max(self.right - self.left, self.bottom - self.top)

    def middle_in(self, other: Box) -> bool:
        """Whether its middle lies in another one."""
        across, down = self.middle
        return other.left <= across < other.right and other.top <= down < other.bottom

    def inside(self, other: Box) -> bool:
        """Whether it lies in another one and touches none of its sides."""
        return (
            other.left < self.left
            and self.right < other.right
            and other.top < self.top
            and self.bottom < other.bottom
        )

    def touches(self, other: Box) -> bool:
        """Whether they have pixels in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Scene:
    """Knows the place; to be shown every frame.

    The light is compared part by part and a tilted plane is put through what most parts say, so
    that sun, clouds, lamps and the camera's own exposure move nothing.

    Args:
        width, height: of frames, in pixels.
        fps: frames per second.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._size, self._step_s = (width, height), 1 / fps
        scale = min(1.0, MODEL_SIDE / max(width, height))
        sides = (round(width * scale), GRID[1]), (round(height * scale), GRID[0])
        # Multiples, so that the light is compared in parts of equal size.
        self._small = tuple(max(1, side // (2 * parts)) * 2 * parts for side, parts in sides)
        down, across = np.mgrid[-1 : 1 : GRID[0] * 1j, -1 : 1 : GRID[1] * 1j]
        self._plane = np.stack([np.ones(down.size), across.ravel(), down.ravel()], axis=1)
        self._place: Floats | None = None
        self._last = self._usual_change = self._steady_s = np.zeros(0, np.float32)
        self._reference = np.zeros(3)
        self._seen_s = 0.0

    def see(self, frame: Pixels) -> list[Box]:
        """What moves in the next frame, the largest first; the whole frame if most of it does."""
        small = cv2.resize(frame, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._place is None:
            self._place = self._last = small
            self._steady_s = np.zeros(small.shape[:2], np.float32)
            self._usual_change = np.full(small.shape[:2], LEAST_LEVELS / NOISE_TIMES, np.float32)
        expected = np.minimum(self._place * self._relit(small, self._place), np.float32(255))
        change = np.abs(small - expected)
        change[(self._place >= CLIPPED) & (small > expected)] = 0
        most: Floats = change.max(axis=2)
        moving = most > np.maximum(LEAST_LEVELS, NOISE_TIMES * self._usual_change)
        everywhere = bool(moving.mean() > MOST)
        self._learn(small, expected, most, moving, everywhere)
        if everywhere:
            return [Box(0, 0, *self._size)]
        return self._boxes(moving)

    def usual_light(self, pixels: Pixels) -> Pixels:
        """A part of the frame, as it would look in the light that is usual here."""
        if self._place is None:
            return pixels
        now = self._place.mean(axis=(0, 1)) + DARK
        level = self._reference.mean()
        wanted = self._reference * (np.clip(level, *LIT_LEVELS) / level)
        relit: Pixels = np.clip(pixels * (wanted / now), 0, 255).astype(np.uint8)
        return relit

    def _relit(self, small: Floats, place: Floats) -> Floats:
        """By how much the light differs from the place's, float32 [h, w, 3]."""
        ratio = (small[::2, ::2] + DARK) / (place[::2, ::2] + DARK)
        (height, width), (rows, columns) = ratio.shape[:2], GRID
        parts = ratio.reshape(rows, height // rows, columns, width // columns, 3)
        each = parts.transpose(0, 2, 4, 1, 3).reshape(rows * columns, 3, -1)
        clipped = (np.maximum(small, place).max(axis=2) >= CLIPPED).astype(np.float32)
        told = cv2.resize(clipped, GRID[::-1], interpolation=cv2.INTER_AREA).ravel() < MOST_CLIPPED
        values = np.median(each, axis=2)
        middle = np.median(values[told] if told.any() else values, axis=0)
        same = told & (np.abs(values - middle) < OUTLIER * middle).all(axis=1)
        if same.sum() * 4 < len(same):
            return np.broadcast_to(middle.astype(np.float32), small.shape)
        plane, *_ = np.linalg.lstsq(self._plane[same], values[same], rcond=None)
        grid = (self._plane @ plane).reshape(*GRID, 3).astype(np.float32)
        spread: Floats = cv2.resize(grid, self._small, interpolation=cv2.INTER_LINEAR)
        return spread

    def _learn(
        self,
        small: Floats,
        expected: Floats,
        change: Floats,
        moving: NDArray[np.bool_],
        everywhere: bool,
    ) -> None:
        steady = np.abs(small - self._last).max(axis=2) < LEAST_LEVELS
        self._steady_s = np.where(steady, self._steady_s + np.float32(self._step_s), 0)
        self._last = np.where(steady[..., np.newaxis], self._last, small)
        still, staying, jump = (self._share(s) for s in (SETTLING_S, STAYING_S, JUMP_S))
        of_moving = np.where(everywhere | (self._steady_s >= STEADY_S), jump, staying)
        share = np.where(moving, of_moving, still).astype(np.float32)
        self._place = expected + share[..., np.newaxis] * (small - expected)
        self._usual_change += np.where(moving, 0, still).astype(np.float32) * (
            change - self._usual_change
        )
        if self._seen_s < REFERENCE_S:
            self._reference = self._place.mean(axis=(0, 1)) + DARK
        self._seen_s += self._step_s

    def _share(self, constant_s: float) -> float:
        return 1 - math.exp(-self._step_s / constant_s)

    def _boxes(self, moving: NDArray[np.bool_]) -> list[Box]:
        mask = moving.astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        across, down = self._size[0] / self._small[0], self._size[1] / self._small[1]
        boxes = [
            Box(
                math.floor(left * across),
                math.floor(top * down),
                min(self._size[0], math.ceil((left + width) * across)),
                min(self._size[1], math.ceil((top + height) * down)),
            )
            for left, top, width, height, _ in stats[1:].tolist()
        ]
        least = LEAST_AREA * self._size[0] * self._size[1]
        large = [box for box in boxes if box.area >= least]
        return sorted(large, key=lambda box: -box.area)
