"""What training reads at every step: samples as latents, small, and batches made ready, fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.training import Prepared, TrainingStep

_LEVELS = 255


@dataclass(frozen=True)
class Latents:
    """Activations as int8, a scale and an offset per sample: a quarter of float32.

    x is about scale * (value + 128) + offset, off by half a scale at most.

    Attributes:
        values: int8 [n, ...].
        scale, offset: float32 [n].
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def of(cls, latents: NDArray[np.float32]) -> Latents:
        """Quantize float32 [n, ...] of finite numbers, n at least 1."""
        flat = latents.reshape(len(latents), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        scale = np.maximum((high - low) / _LEVELS, np.finfo(np.float32).tiny).astype(np.float32)
        levels = flat - low[:, None]  # float32 like the samples, and the only copy of them
        levels /= scale[:, None]
        np.rint(levels, out=levels)
        levels -= 128
        return cls(levels.astype(np.int8).reshape(latents.shape), scale, low.astype(np.float32))

    def __len__(self) -> int:
        return len(self.values)

    def where(self, at: NDArray[np.int64]) -> Latents:
        """Copies of the samples at some places, int64 [k]."""
        return Latents(self.values[at], self.scale[at], self.offset[at])

    def floats(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples from `start` to `stop` as float32."""
        part = slice(start, stop)
        column = (-1, *[1] * (self.values.ndim - 1))
        found = self.values[part].astype(np.float32)
        found += 128
        found *= self.scale[part].reshape(column)
        found += self.offset[part].reshape(column)
        return found

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        return self.values.nbytes + self.scale.nbytes + self.offset.nbytes


class Batches:
    """The samples of one adaptation, cut into batches once and for all.

    A batch that was made ready stays so if it fits the memory; the others are made ready again
    whenever they are needed, which costs time and changes nothing else.

    Args:
        step: what the batches are for.
        latents: of all samples.
        cache_bytes: memory for batches that stay ready.
    """

    def __init__(self, step: TrainingStep, latents: Latents, cache_bytes: int) -> None:
        self._step, self._latents, self._cache_bytes = step, latents, cache_bytes
        self._size = step.rung.batch
        self._ready: dict[int, Prepared] = {}

    def __len__(self) -> int:
        return -(-len(self._latents) // self._size)

    @property
    def held_bytes(self) -> int:
        """Memory of the batches that are ready."""
        return sum(batch.nbytes for batch in self._ready.values())

    def samples(self, index: int) -> slice:
        """Which samples the batch has, for their labels and weights."""
        return slice(index * self._size, min((index + 1) * self._size, len(self._latents)))

    def __getitem__(self, index: int) -> Prepared:
        """The batch, ready for a step.

        Raises:
            IndexError: there is none of that number.
        """
        index = range(len(self))[index]
        if index in self._ready:
            return self._ready[index]
        where = self.samples(index)
        batch = self._step.prepare(self._latents.floats(where.start, where.stop))
        if self.held_bytes + batch.nbytes <= self._cache_bytes:
            self._ready[index] = batch
        return batch

    def shrink(self, cache_bytes: int) -> None:
        """Give memory back: keep only what fits `cache_bytes` from now on."""
        self._cache_bytes = cache_bytes
        while self._ready and self.held_bytes > cache_bytes:
            self._ready.popitem()
