"""What a stage of the curriculum works with: which frames, how large, and which parts learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.core.rng import generator
from sel_edge.pretrain.augment import Moves
from sel_edge.pretrain.curriculum import stage_pool
from sel_edge.pretrain.frozen import FrozenFront, freeze
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.recipe import Stage
from sel_edge.pretrain.resolution import resized, side_of
from sel_edge.pretrain.sparing import epoch_weights
from sel_edge.pretrain.sparsity import stage_threshold
from sel_edge.pretrain.state import Setup, TrainState


@dataclass(frozen=True)
class Practice:
    """What a running stage works with.

    Attributes:
        stage: of the recipe.
        pool: int64 indices of the images that it may train on.
        size: height and width, or length, at which they are trained on.
        front: what frozen parts of the network say of them, where that is kept.
    """

    stage: Stage
    pool: NDArray[np.int64]
    size: tuple[int, ...]
    front: FrozenFront | None

    @property
    def first(self) -> int:
        """The part of the network that batches go into."""
        return self.stage.frozen if self.front else 0

    def part_size(self, setup: Setup) -> int:
        """How many frames at least pass through the network at a time; 0: all of a step."""
        return setup.recipe.part_size * math.prod(setup.sides) // math.prod(self.size)

    def frames(self, setup: Setup, epoch: int, chosen: Tensor, moves: Moves | None) -> Tensor:
        """What goes into that part, float [n, C, ...]; kept views come in turn, epoch by epoch."""
        if self.front:
            return self.front.frames(epoch, chosen)
        return resized(setup.train.frames(chosen, moves), self.size)


@dataclass(frozen=True)
class EpochWork:
    """What an epoch of a stage trains on.

    Attributes:
        practice: of the stage.
        pool: int64 indices of the images that the epoch does not leave out.
        weights: float32 [N] on the device, of every training image.
        gamma: threshold of the gradient mask, None without one.
    """

    practice: Practice
    pool: NDArray[np.int64]
    weights: Tensor
    gamma: float | None = None


def begin_stage(setup: Setup, state: TrainState, stage: Stage, ranks: Ranks) -> Practice:
    """Make ready a stage that begins, or goes on after `--resume`.

    Counts what kept views cost when the stage begins. That an interrupted run computes them again
    is not counted: its totals are those of the run that was not interrupted.
    """
    begins = state.begins_stage
    recipe, labels = setup.recipe, setup.train.data.labels
    if recipe.selects and recipe.scores == "losses" and begins:
        state.scores = state.remembered.last_losses().cpu().numpy()
    pool = np.arange(len(labels), dtype=np.int64)
    if recipe.selects:
        assert state.scores is not None  # noqa: S101 - scored above, or by the cold network
        pool = stage_pool(state.scores, labels, stage, recipe.images_per_class_max)
    size = tuple(side_of(side, stage.side) for side in setup.sides)
    freeze(state.model, stage.frozen)
    front = None
    if stage.frozen and stage.views:
        front = FrozenFront(setup, state.model, stage, pool, size, ranks)
        if begins:
            cost = setup.flops.at(size).front(stage.frozen)
            state.spent.executed_flops += cost * stage.views * len(pool)
    return Practice(stage, pool, size, front)


def epoch_work(setup: Setup, state: TrainState, practice: Practice, ranks: Ranks) -> EpochWork:
    """What the running epoch of a stage trains on.

    Nothing is left out of a pool of which too little would remain for a step.
    """
    pool, recipe = practice.pool, setup.recipe
    losses = state.remembered.losses[0].cpu().numpy()
    rng = generator(setup.seed, "spare", state.position.epoch)
    weights = epoch_weights(losses, pool, practice.stage.spare, rng)
    if np.count_nonzero(weights) < 2 * ranks.world:
        weights = epoch_weights(losses, pool, 0.0, rng)
    gamma = None
    if recipe.gradient_mask is not None:
        number = state.position.stage
        gamma = stage_threshold(recipe.gradient_mask, state.gamma_0, number, len(recipe.stages))
    on_device = torch.from_numpy(weights).to(setup.arithmetic.device)
    return EpochWork(practice, pool[weights[pool] > 0], on_device, gamma)
