"""The gratings under a dim light, and a bundle that can learn what that does to them.

The bundle is one of `tests/frozen`: it has every rung but `deep`, and estimates normalization from
16 frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.data.stream import FrameBatch

FRAMES = 16
"""That one estimate takes."""


@cache
def bundle() -> Bundle:
    return open_bundle(Path(__file__).parents[1] / "frozen" / "bundle-v2")


def faded(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a quarter of the contrast, and brighter."""
    return (images // 4 + 150).astype(np.uint8)


def fade(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """The same frames under that light."""
    for batch in batches:
        yield replace(batch, frames=faded(batch.frames), segment="faded")
