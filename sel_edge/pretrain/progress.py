"""How far a run has come: its position, the running epoch's sums, and what was spent so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Position:
    """Where the next step is.

    Attributes:
        stage: index of the running stage, from 0.
        stage_epoch: epochs of the stage that are complete.
        epoch: epochs of the run that are complete.
        step: steps of the running epoch that are complete.
    """

    stage: int = 0
    stage_epoch: int = 0
    epoch: int = 0
    step: int = 0


@dataclass
class Spent:
    """Cumulative cost of training: steps, curriculum scoring and thresholds; not evaluation.

    Seconds and joules do include evaluation, as the published times do.
    """

    paper_flops: float = 0.0
    executed_flops: float = 0.0
    seconds: float = 0.0
    joules: float = 0.0
    images: int = 0


@dataclass
class EpochSums:
    """Sums over the steps of the running epoch.

    Attributes:
        embarrassment, confidence: sum over batches of E_c and C_c of the classes in the batch, [K].
        batches: how many batches each class was in, [K].
        changed, changed_steps: sum of the share of weights a step changed, and steps looked at.
    """

    n_classes: int
    steps: int = 0
    images: int = 0
    correct: int = 0
    loss: float = 0.0
    sparsity: float = 0.0
    learning_rate: float = 0.0
    changed: float = 0.0
    changed_steps: int = 0
    embarrassment: NDArray[np.float64] = field(init=False)
    confidence: NDArray[np.float64] = field(init=False)
    batches: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.embarrassment = np.zeros(self.n_classes)
        self.confidence = np.zeros(self.n_classes)
        self.batches = np.zeros(self.n_classes, dtype=np.int64)

    def add_classes(self, embarrassment: NDArray[np.float64]) -> None:
        """Add one batch's E_c, NaN for the classes that are not in it."""
        present = ~np.isnan(embarrassment)
        self.batches += present
        self.embarrassment[present] += embarrassment[present]
        self.confidence[present] += np.maximum(0.0, 1.0 - embarrassment[present])

    def class_means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """E_c and C_c averaged over the epoch's batches, [K] each; NaN for an absent class."""
        seen = np.where(self.batches > 0, self.batches, np.nan)
        return self.embarrassment / seen, self.confidence / seen

    def as_dict(self) -> dict[str, Any]:
        """Plain data, exact: floats survive JSON bit for bit."""
        plain = asdict(self)
        for name in ("embarrassment", "confidence", "batches"):
            plain[name] = plain[name].tolist()
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> EpochSums:
        """The inverse of `as_dict`."""
        arrays = ("embarrassment", "confidence", "batches")
        sums = cls(**{name: value for name, value in plain.items() if name not in arrays})
        sums.embarrassment = np.array(plain["embarrassment"], dtype=np.float64)
        sums.confidence = np.array(plain["confidence"], dtype=np.float64)
        sums.batches = np.array(plain["batches"], dtype=np.int64)
        return sums
