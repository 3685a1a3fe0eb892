"""The optimizer that a recipe asks for."""

from __future__ import annotations

import torch

from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.muon import Muon
from sel_edge.pretrain.recipe import Recipe


def new_optimizer(model: ResNet18, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all weights, fused into one pass where torch can."""
    weights, rate, decay = model.parameters(), recipe.learning_rate, recipe.weight_decay
    momentum = recipe.momentum
    if recipe.optimizer == "adam":
        return torch.optim.Adam(weights, rate, weight_decay=decay, fused=True)
    if recipe.optimizer == "muon":
        # What passes over steps that skip them is made up for by longer moves, see `Stepper`.
        skipped = [w for module in model.front(recipe.skip_parts) for w in module.parameters()]
        gains = dict.fromkeys(skipped, 1 / (1 - recipe.skip))
        return Muon(model, rate, momentum, decay, recipe.conv_rate, recipe.conv_momentum, gains)
    nesterov = momentum > 0
    optimizer = torch.optim.SGD(weights, rate, momentum, 0, decay, nesterov=nesterov, fused=True)
    if momentum:
        # Torch fails where a first step has gradients for some weights only.
        for weight in model.parameters():
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer
