"""What stays the same during a run, and what changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sel_edge.core.measurement import Meter
from sel_edge.core.runlog import HistoryRow
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.flops import NetworkFlops
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.progress import EpochSums, Position, Spent
from sel_edge.pretrain.recipe import Recipe


@dataclass(frozen=True)
class Setup:
    """What stays the same during a run."""

    recipe: Recipe
    train: Dataset
    test: Dataset
    normalization: Normalization
    arithmetic: Arithmetic
    flops: NetworkFlops
    meter: Meter
    seed: int


@dataclass(frozen=True)
class EpochWork:
    """What is computed in an epoch.

    Attributes:
        pool: int64 indices of the images that are trained on.
        weights: float32 [N], of every training image.
        size: height and width, or length, at which they are trained on.
        gamma: threshold of the gradient mask, None without one.
    """

    pool: NDArray[np.int64]
    weights: NDArray[np.float32]
    size: tuple[int, ...]
    gamma: float | None


@dataclass
class TrainState:
    """What changes during a run; a checkpoint holds all of it.

    Attributes:
        scores: cross-entropy of every training image under the cold model, float32 [N];
            empty where the recipe has no curriculum, None before it is known.
        losses: of every training image when it was trained on last, float32 [2, N]: as the running
            epoch found them, and as they are now; infinite before that.
        gamma_0: threshold of the gradient mask at fresh weights; 0 without a mask.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    position: Position = field(default_factory=Position)
    spent: Spent = field(default_factory=Spent)
    sums: EpochSums | None = None
    history: list[HistoryRow] = field(default_factory=list)
    scores: NDArray[np.float32] | None = None
    losses: NDArray[np.float32] | None = None
    gamma_0: float = 0.0
