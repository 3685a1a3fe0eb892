"""How the learning rate goes up and down over a run."""

from __future__ import annotations

from sel_edge.pretrain.recipe import Recipe


def learning_rate(recipe: Recipe, done: float, loss: float) -> float:
    """The learning rate of a step.

    "one-cycle" (Smith and Topin 2017, without its last phase) rises linearly from zero to the
    recipe's rate over the share `warm_up` of the run, and falls linearly to zero over the rest.

    Args:
        recipe: what the run follows.
        done: share of the planned steps that lie behind the middle of this one, 0..1.
        loss: of the step's batch, for `loss_gain`.
    """
    rate = recipe.learning_rate * (1.0 + recipe.loss_gain * loss)
    if recipe.schedule == "constant":
        return rate
    return rate * min(done / recipe.warm_up, (1.0 - done) / (1.0 - recipe.warm_up))
