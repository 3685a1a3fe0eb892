"""What stays the same during a run, and what changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sel_edge.core.frames import channels_first
from sel_edge.core.measurement import Meter
from sel_edge.core.runlog import HistoryRow
from sel_edge.pretrain.batches import Resident
from sel_edge.pretrain.flops import FlopsBySize
from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.progress import EpochSums, Position, Spent
from sel_edge.pretrain.recipe import Recipe
from sel_edge.pretrain.remembered import Remembered


@dataclass(frozen=True)
class Setup:
    """What stays the same during a run."""

    recipe: Recipe
    train: Resident
    test: Resident
    arithmetic: Arithmetic
    flops: FlopsBySize
    meter: Meter
    seed: int

    @property
    def meter_is_own(self) -> bool:
        """Whether the meter sees this process and no other: its GPU, or its processor time."""
        return self.meter.name.startswith("nvml") or self.meter.origin == "estimated"

    @property
    def sides(self) -> tuple[int, ...]:
        """Height and width of a whole image, or the length of a signal."""
        return channels_first(self.train.data.frames.shape[1:])[1:]


@dataclass
class TrainState:
    """What changes during a run; a checkpoint holds all of it.

    Attributes:
        scores: what sorts every training image from easy to hard in the running stage, float32
            [N]; empty where the recipe has no curriculum, None before it is known.
        curve: mean embarrassment of the pool after every epoch of the running stage.
        remembered: what the network said of every training image when it was trained on last.
        gamma_0: threshold of the gradient mask at fresh weights; 0 without a mask.
    """

    model: ResNet18
    optimizer: torch.optim.Optimizer
    remembered: Remembered
    position: Position = field(default_factory=Position)
    spent: Spent = field(default_factory=Spent)
    sums: EpochSums | None = None
    history: list[HistoryRow] = field(default_factory=list)
    scores: NDArray[np.float32] | None = None
    curve: list[float] = field(default_factory=list)
    gamma_0: float = 0.0

    @property
    def begins_stage(self) -> bool:
        """Whether the running stage has not had a step."""
        return self.position.stage_epoch == 0 and self.sums is None
