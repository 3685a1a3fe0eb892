"""What a network that has learned nothing says: the published curriculum, and its threshold."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sel_edge.core import embarrassment
from sel_edge.core.rng import generator
from sel_edge.pretrain.evaluate import predict
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.recipe import GradientMask
from sel_edge.pretrain.sparsity import initial_threshold
from sel_edge.pretrain.state import Setup, TrainState


def score_cold(setup: Setup, state: TrainState, ranks: Ranks) -> None:
    """Set `state.scores` and `state.gamma_0`, where the recipe needs them, and count their cost."""
    state.scores = np.zeros(0, dtype=np.float32)
    if setup.recipe.selects and setup.recipe.scores == "cold":
        # In bf16 many images would tie, and the curriculum would depend on the precision.
        exact = Arithmetic(setup.arithmetic.device, "fp32")
        logits = predict(state.model, setup.train, exact, ranks)
        state.scores = embarrassment.cross_entropy(logits, setup.train.data.labels).astype(
            np.float32
        )
        state.spent.executed_flops += setup.flops.at(setup.sides).forward * len(setup.train)
    if setup.recipe.gradient_mask is not None:
        state.gamma_0 = _gamma_0(setup, state, setup.recipe.gradient_mask, ranks)


def _gamma_0(setup: Setup, state: TrainState, mask: GradientMask, ranks: Ranks) -> float:
    """The threshold of one batch's gradients, on a copy: fresh weights stay fresh.

    Every process computes it. On a GPU the last bits may differ, and then so would the weights.
    """
    count = min(mask.batch_size, len(setup.train))
    rng = generator(setup.seed, "gamma_0")
    chosen = torch.from_numpy(rng.choice(len(setup.train), count, replace=False))
    chosen = chosen.to(setup.train.device)
    fresh = copy.deepcopy(state.model).train()
    with setup.arithmetic.autocast():
        logits = fresh(setup.train.frames(chosen)).float()
    cross_entropy(logits, setup.train.labels[chosen]).backward()  # type: ignore[no-untyped-call]
    state.spent.executed_flops += setup.flops.at(setup.sides).training() * count * ranks.world
    threshold = torch.tensor(initial_threshold(fresh, mask.percentile), dtype=torch.float64)
    return float(ranks.least(threshold.to(setup.train.device)))
