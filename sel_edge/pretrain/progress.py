"""How far a run has come: its position, the running epoch's sums, and what was spent so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.pretrain.ranks import Ranks


@dataclass
class Position:
    """Where the next step is.

    Attributes:
        stage: index of the running stage, from 0.
        stage_epoch: epochs of the stage that are complete.
        epoch: epochs of the run that are complete.
        step: steps of the running epoch that are complete.
        saved: epochs that stages left to the last one, because they had settled.
    """

    stage: int = 0
    stage_epoch: int = 0
    epoch: int = 0
    step: int = 0
    saved: int = 0


@dataclass
class Spent:
    """Cumulative cost of training: steps, curriculum scoring and thresholds; not evaluation.

    Seconds and joules do include evaluation, as the published times do; `evaluation_seconds` says
    how many of the seconds it took. Compiling is counted by itself: it costs the same for a run of
    any length.
    """

    paper_flops: float = 0.0
    executed_flops: float = 0.0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    compile_seconds: float = 0.0
    joules: float = 0.0
    images: int = 0


HEAD = 4
"""Sums of an epoch that are not of a class."""

SMALLEST_WEIGHT = 1e-6


class EpochSums:
    """Sums over the steps of the running epoch; reading one waits for the device, adding does not.

    Attributes:
        steps, images: of all processes.
        learning_rate: sum over steps.
    """

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.steps, self.images, self._looks = 0, 0, 0
        self.learning_rate = 0.0
        # Images, correct answers, weights and losses, then E_c, C_c and in how many batches each
        # class was.
        self._own = torch.zeros(HEAD + 3 * n_classes, dtype=torch.float64, device=device)
        # Zeroed and changed shares, the same in every process.
        self._common = torch.zeros(2, dtype=torch.float64, device=device)

    def add_step(self, images: int, rate: float, sparsity: Tensor | float) -> None:
        """One step of all processes: images, learning rate, share of zeroed gradients."""
        self.steps += 1
        self.images += images
        self.learning_rate += rate
        self._common[0] += sparsity

    def add_answers(self, logits: Tensor, labels: Tensor, weights: Tensor, losses: Tensor) -> None:
        """What this process computed: logits float [n, K], labels int64, the others float [n]."""
        self._own[0] += len(labels)
        self._own[1] += (logits.argmax(dim=1) == labels).sum()
        self._own[2] += weights.sum()
        self._own[3] += (weights * losses).sum()
        self._own[HEAD:] += class_sums(logits, labels).flatten()

    def add_change(self, changed: Tensor) -> None:
        """The share of weights that a step changed, of the steps that were looked at."""
        self._common[1] += changed
        self._looks += 1

    def gather(self, ranks: Ranks) -> None:
        """Make the leader's sums those of all processes, and the others' nothing."""
        ranks.sum(self._own)
        if not ranks.leads:
            self._own.zero_()

    @property
    def accuracy(self) -> float:
        """Share of correct answers so far, 0..1; of this process before `gather`, then of all."""
        return float(self._own[1]) / max(1.0, float(self._own[0]))

    @property
    def loss(self) -> float:
        """Weighted mean loss so far; of this process before `gather`, then of all."""
        return float(self._own[3]) / max(SMALLEST_WEIGHT, float(self._own[2]))

    @property
    def sparsity(self) -> float:
        """Mean share of zeroed gradients, 0..1."""
        return float(self._common[0]) / max(1, self.steps)

    @property
    def changed(self) -> float:
        """Mean share of weights that a step changed, 0..1."""
        return float(self._common[1]) / max(1, self._looks)

    def class_means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """E_c and C_c averaged over the epoch's batches, [K] each; NaN for an absent class."""
        embarrassment, confidence, batches = self._own[HEAD:].view(3, -1).cpu().numpy()
        seen = np.where(batches > 0, batches, np.nan)
        return embarrassment / seen, confidence / seen

    def as_dict(self) -> dict[str, Any]:
        """Plain data, exact: floats survive JSON bit for bit."""
        return {
            "steps": self.steps,
            "images": self.images,
            "looks": self._looks,
            "learning_rate": self.learning_rate,
            "own": self._own.tolist(),
            "common": self._common.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any], device: torch.device, ranks: Ranks) -> EpochSums:
        """The inverse of `as_dict`: the leader goes on with the sums of all processes."""
        own, common = plain["own"], plain["common"]
        sums = cls((len(own) - HEAD) // 3, device)
        sums.steps, sums.images, sums._looks = plain["steps"], plain["images"], plain["looks"]
        sums.learning_rate = plain["learning_rate"]
        sums._common.copy_(torch.tensor(common, dtype=torch.float64))
        if ranks.leads:
            sums._own.copy_(torch.tensor(own, dtype=torch.float64))
        return sums


def class_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """E_c and C_c of a batch as `sel_edge.core.embarrassment` defines them, and which are there.

    Args:
        logits: float [n, K].
        labels: int64 [n].

    Returns:
        float64 [3, K]: E_c, C_c, and 1; all 0 for a class without a sample.
    """
    # A product with one-hot rows adds up in the same order every time, on a GPU too.
    rows = one_hot(labels, logits.shape[1]).double()
    losses = cross_entropy(logits.double() / TEMPERATURE, labels, reduction="none")
    counts = rows.sum(dim=0)
    present = (counts > 0).double()
    embarrassment = losses @ rows / counts.clamp(min=1)
    return torch.stack([embarrassment, present * (1 - embarrassment).clamp(min=0), present])
