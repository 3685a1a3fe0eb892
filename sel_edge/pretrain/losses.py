"""What a network is trained to lower, sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sel_edge.pretrain.recipe import Recipe

SMALLEST_NORM = 1e-6


class Recalled(NamedTuple):
    """What a network said of frames when it was trained on them last.

    Attributes:
        answers: probabilities, float32 [n, K].
        shares: of the label that each stands for, float32 [n].
    """

    answers: Tensor
    shares: Tensor


def sample_losses(
    logits: Tensor, labels: Tensor, recipe: Recipe, recalled: Recalled | None = None
) -> Tensor:
    """Cross-entropy with smoothed labels, float32 [n].

    With `logit_norm`, of logits that all have that norm (LogitNorm, Wei et al. 2022,
    arXiv:2205.09310): a network then cannot lower its loss by answering more loudly, and what it
    does not know stays apart from what it does.

    Earlier answers stand for a share of each label (Kim et al. 2021, arXiv:2006.12000), so that a
    frame which looks like several classes is not learned by heart.

    Args:
        logits: float32 [n, K].
        labels: int64 [n].
        recipe: its `label_smoothing` and `logit_norm`.
        recalled: earlier answers.
    """
    heard, smoothing = as_the_loss_hears(logits, recipe), recipe.label_smoothing
    losses = cross_entropy(heard, labels, reduction="none", label_smoothing=smoothing)
    if recalled is None:
        return losses
    surprise = cross_entropy(heard, recalled.answers, reduction="none")
    return losses + recalled.shares * (surprise - losses)


def as_the_loss_hears(logits: Tensor, recipe: Recipe) -> Tensor:
    """Logits float32 [n, K] with the norm that the recipe's loss gives them."""
    return logits * (recipe.logit_norm / _norms(logits)) if recipe.logit_norm else logits


@torch.no_grad()
def loudness(logits: Tensor, recipe: Recipe) -> float:
    """What to multiply the classifier by, so that its answers are as loud as it was trained to be.

    Args:
        logits: float32 [n, K], of training frames.
        recipe: 1.0 without `logit_norm`.
    """
    if not recipe.logit_norm:
        return 1.0
    return float(recipe.logit_norm / _norms(logits).mean())


def _norms(logits: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(logits, dim=1, keepdim=True)
    return norms.clamp(min=SMALLEST_NORM)
