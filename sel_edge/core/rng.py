"""Named random streams: the same seed and names give the same numbers on every machine."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for one purpose, e.g. ``generator(seed, "crop", epoch, step)``.

    Independent of how many numbers any other purpose has drawn, which is what lets an interrupted
    run continue bit for bit and a stream be read in any batch size.
    """
    keys = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))
