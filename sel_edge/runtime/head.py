"""The classifier: one row of weights per class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.files import canonical_json

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Head:
    """The last linear layer of the network; never changed in place.

    Attributes:
        weight: float32 [K, F].
        bias: float32 [K].
        classes: K different names, in label order.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    classes: tuple[str, ...]

    def logits(self, features: Features) -> NDArray[np.float32]:
        """Logits float32 [N, K] of features float32 [N, F]."""
        return features @ self.weight.T + self.bias

    def index(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Label numbers int64 [N] of class names that this head knows."""
        return np.array([self.positions[name] for name in names], dtype=np.int64)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Class name -> label number."""
        return {name: number for number, name in enumerate(self.classes)}

    def with_new_classes(
        self, names: Sequence[str], samples: Sequence[Features], background: Features
    ) -> Head:
        """A head with one imprinted row per new class.

        A new row points from the mean of the background to the mean of the class, is as long as
        the old rows are on average, and ties with the best old class half way between the two
        means. (Weight imprinting, Qi, Brown and Lowe 2018, for features that are not normalized.)

        Args:
            names: new, different class names.
            samples: features float32 [n, F] of each new class, n >= 1.
            background: features float32 [A, F] of the known classes.
        """
        weights, biases = [self.weight], [self.bias]
        common = self.weight.mean(axis=0)
        length = np.linalg.norm(self.weight - common, axis=1).mean()
        origin = background.mean(axis=0)
        for features in samples:
            target = features.mean(axis=0)
            direction = target - origin
            row = common + length * direction / max(float(np.linalg.norm(direction)), 1e-12)
            middle = (target + origin) / 2
            weights.append(row[None])
            biases.append(np.array([self.logits(middle[None]).max() - row @ middle]))
        return Head(
            np.concatenate(weights).astype(np.float32),
            np.concatenate(biases).astype(np.float32),
            (*self.classes, *names),
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 that names this head: equal for equal numbers and class names."""
        digest = hashlib.sha256(canonical_json([self.weight.shape, self.classes]))
        for values in (self.weight, self.bias):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()
