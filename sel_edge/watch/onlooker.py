"""Looks at things: how they appear, and how strange they are to the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.core.errors import DataError
from sel_edge.core.frames import described
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.novelty import DEFAULT, calibrate
from sel_edge.watch.impressions import Likeness, Look
from sel_edge.watch.opencv import cv2
from sel_edge.watch.scene import Box, Floats
from sel_edge.watch.video import Pixels

VIEW_SIDE = 32
"""Pixels at which colours and their places are compared."""
THUMBNAIL_SIDE = 8
MAX_CUT_SIDE = 448
"""Pixels; a larger piece of a frame is made smaller before anything is computed with it."""
COLOUR_STEPS = 6
"""Per channel; and a channel at 2.5 times the mean counts as full."""
FEATURES_WEIGHT, LAYOUT_WEIGHT, COLOUR_WEIGHT = 1.0, 0.5, 0.5
"""Features tell classes apart and are nearly the same for two dogs; layout and colours tell
individuals apart."""
DIFFERENT_SHARES = (0.5, 0.9)
"""Of the anchors, no two of which are the same thing, that have no other anchor near enough to pass
for a little like it, or for the same. They have hundreds to be confused with, things at a place
some tens."""
_TINY = 1e-9


class Onlooker:
    """Looks at things with a bundle's network.

    Args:
        bundle: of images.
        threads: of the engine; None for all cores.

    Attributes:
        usual_strangeness: float64 [A], of the anchors: real samples of known classes.
        likeness: how near appearances of one thing are.

    Raises:
        DataError: the bundle is for signals.
    """

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        view = bundle.manifest.preprocessing
        if not isinstance(view, ImagePreprocessing):
            raise DataError(
                f"The bundle {bundle.path} takes {described(view.frame_shape)}.",
                "Things in a video are looked at by a network for images.",
                "Choose another bundle.",
            )
        self._view, self._engine = view, Engine(bundle, threads)
        anchors, (weight, bias) = bundle.anchors(), bundle.head()
        found = calibrate(DEFAULT, anchors.features, weight, bias)
        self._novelty = found.novelty
        self.usual_strangeness = found.scores
        pictures = [_as_colour(frame) for frame in anchors.frames.astype(np.uint8)]
        looks = _appearances(anchors.features, pictures)
        alike = looks @ looks.T
        np.fill_diagonal(alike, -1)
        self.likeness = Likeness(*np.quantile(alike.max(axis=1), DIFFERENT_SHARES).tolist())

    def look(self, pictures: list[Pixels]) -> list[Look]:
        """Look at pictures of things, blue-green-red uint8 [h, w, 3] of any size."""
        if not pictures:
            return []
        frames = np.stack([self._frame(picture) for picture in pictures])
        features, logits = self._engine.infer(frames)
        return [
            Look(*found)
            for found in zip(
                _appearances(features, pictures),
                self._novelty.score(features, logits).tolist(),
                logits.argmax(axis=1).tolist(),
                strict=True,
            )
        ]

    def _frame(self, picture: Pixels) -> NDArray[np.uint8]:
        """The picture as the network takes it, uint8 [H, W, C]."""
        fitted = _resized(picture, self._view.height, self._view.width)
        if self._view.channels == 1:
            return np.asarray(cv2.cvtColor(fitted, cv2.COLOR_BGR2GRAY))[..., np.newaxis]
        return fitted[:, :, ::-1]


def cut_out(frame: Pixels, box: Box) -> Pixels:
    """What is in a box, in a square where the frame is wide and high enough for one.

    Large ones come smaller, for no network here looks at more.
    """
    height, width = frame.shape[:2]
    side = box.side
    left = min(max(0, round(box.middle[0] - side / 2)), max(0, width - side))
    top = min(max(0, round(box.middle[1] - side / 2)), max(0, height - side))
    cut = frame[top : top + side, left : left + side]
    shrink = max(1, max(cut.shape[:2]) // MAX_CUT_SIDE)
    return cut if shrink == 1 else _resized(cut, cut.shape[0] // shrink, cut.shape[1] // shrink)


def _appearances(features: Floats, pictures: list[Pixels]) -> Floats:
    """Float32 [n, D], each of length 1."""
    small = np.stack([_resized(picture, VIEW_SIDE, VIEW_SIDE) for picture in pictures])
    parts = [
        FEATURES_WEIGHT**0.5 * _unit(features),
        LAYOUT_WEIGHT**0.5 * _unit(_layout(small)),
        COLOUR_WEIGHT**0.5 * _unit(_colours(small)),
    ]
    return _unit(np.concatenate(parts, axis=1))


def _layout(small: Pixels) -> Floats:
    """Light and dark parts, the same for a mirrored thing, float32 [n, 192]."""
    tiny = np.stack([_resized(one, THUMBNAIL_SIDE, THUMBNAIL_SIDE) for one in small])
    both = tiny.astype(np.float32) + tiny[:, :, ::-1]
    both -= both.mean(axis=(1, 2, 3), keepdims=True)
    return both.reshape(len(both), -1)


def _colours(small: Pixels) -> Floats:
    """Square roots of how often colours come, whatever the light, float32 [n, 216]."""
    level = np.maximum(small.mean(axis=(1, 2, 3), keepdims=True), 1.0)
    steps = np.minimum((small / level * (COLOUR_STEPS / 2.5)).astype(int), COLOUR_STEPS - 1)
    code = (steps[..., 0] * COLOUR_STEPS + steps[..., 1]) * COLOUR_STEPS + steps[..., 2]
    counts = [np.bincount(one.ravel(), minlength=COLOUR_STEPS**3) for one in code]
    found: Floats = np.sqrt(np.stack(counts)).astype(np.float32)
    return found


def _as_colour(frame: NDArray[np.uint8]) -> Pixels:
    """Blue, green and red of a bundle's gray or RGB image."""
    return np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame[:, :, ::-1]


def _resized(picture: Pixels, height: int, width: int) -> Pixels:
    shrinks = picture.shape[0] * picture.shape[1] >= height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def _unit(rows: NDArray[np.floating]) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = (rows / np.maximum(lengths, _TINY)).astype(np.float32)
    return unit
