"""The network as a step calls it: compiled where that pays, its gradients shared by all ranks."""

from __future__ import annotations

import copy
import time
from typing import cast

import torch
from torch import nn

from sel_edge.pretrain.batches import parts_of
from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.practice import Practice
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.state import Setup


def compiled_network(setup: Setup, model: ResNet18, ranks: Ranks) -> nn.Module:
    """The model, ready to be called with frames float32 [n, C, ...], `first` and `frozen`."""
    recipe = setup.recipe
    whole = recipe.skip == 0 and not any(stage.frozen for stage in recipe.stages)
    network = ranks.spread(model, whole)
    if not setup.arithmetic.compiled:
        return network
    # Shapes are few: of every size of frames, and every number of frozen parts, two at most.
    torch.backends.cudnn.benchmark = True
    return cast(nn.Module, torch.compile(network, dynamic=False))


def warm_up(
    setup: Setup, model: ResNet18, network: nn.Module, practice: Practice, ranks: Ranks
) -> float:
    """Let a network be compiled for a stage, and leave the model as it was.

    Args:
        setup: nothing is done where its arithmetic is not compiled.
        model: that the network computes with, in the mode of training.
        network: from `compiled_network`.
        practice: of the stage.
        ranks: who take a step together.

    Returns:
        Seconds that it took.
    """
    if not setup.arithmetic.compiled:
        return 0.0
    begun, buffers = time.perf_counter(), copy.deepcopy(dict(model.named_buffers()))
    # What was compiled for stages before is of no use, and torch keeps only a few variants.
    torch.compiler.reset()
    together = min(setup.recipe.batch_size, len(practice.pool))
    chosen = torch.arange(ranks.rank, together, ranks.world, device=setup.train.device)
    count, frozen = parts_of(len(chosen), practice.part_size(setup)), practice.stage.frozen
    split = torch.tensor_split(chosen, count)
    # Some parts may have a frame more than others, and the last is shared: each kind once.
    kinds = {(len(part), part is split[-1]): part for part in split}
    batches = [(practice.frames(setup, 0, part, None), last) for (_, last), part in kinds.items()]
    for parts in {frozen, max(frozen, setup.recipe.skip_parts)}:
        # Twice: the first backward pass compiles, the second finds what is fastest.
        for x, last in [*batches, *batches]:
            with ranks.sharing(network, last):
                with setup.arithmetic.autocast():
                    logits = network(x, practice.first, parts).float()
                logits.sum().backward()
    model.zero_grad(set_to_none=True)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    if chosen.device.type == "cuda":
        torch.cuda.synchronize(chosen.device)
    return time.perf_counter() - begun
