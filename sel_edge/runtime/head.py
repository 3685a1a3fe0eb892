"""The classifier: one row of weights per class, and its content-addressed files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import sha256_bytes, write_atomic

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
    def content(self) -> bytes:
        """The head as a safetensors file: `weight`, `bias` and the class names."""
        tensors = {"weight": self.weight, "bias": self.bias}
        # One metadata key only: safetensors writes several in no fixed order.
        return safetensors.numpy.save(tensors, {"classes": json.dumps(self.classes)})

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `content`: the name under which it is stored."""
        return sha256_bytes(self.content)


class HeadStore:
    """Heads as files named by their content, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> Path:
        """Where the head with this hash lies."""
        return self.directory / f"{name}.safetensors"

    def save(self, head: Head) -> None:
        """Write a head aside, synced, then rename it into place.

        Raises:
            StorageError: the disk is full, read-only or failing.
        """
        write_atomic(self.path(head.hash), head.content)

    def load(self, name: str) -> Head:
        """Read the head with this hash.

        Raises:
            RunDirectoryError: it is missing, or its content does not have this hash.
        """
        path = self.path(name)
        try:
            if sha256_bytes(path.read_bytes()) != name:
                raise _unreadable(path, "its content does not match its name")
            with safe_open(path, framework="numpy") as file:
                classes = tuple(json.loads(file.metadata()["classes"]))
                return Head(file.get_tensor("weight"), file.get_tensor("bias"), classes)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, detail: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"The classifier {path}, which the ledger names, cannot be read: {detail}.",
        "The file that the last kept update wrote is expected.",
        "Restore it from a copy, or start in a new directory with the bundle's own classifier.",
    )
