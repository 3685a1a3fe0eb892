"""The paper's sparse gradients: computed in full, then zeroed below a fixed threshold.

This saves no operation (the backward pass has already run); it is here to reproduce what was
published and to show it beside the FLOPs that were really executed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sel_edge.pretrain.recipe import GradientMask


def initial_threshold(model: nn.Module, percentile: float) -> float:
    """gamma_0: the percentile (0..100) of |gradient| over all parameters, as they stand now."""
    magnitudes = [p.grad.abs().flatten() for p in model.parameters() if p.grad is not None]
    return float(np.percentile(torch.cat(magnitudes).float().cpu().numpy(), percentile))


def stage_threshold(mask: GradientMask, gamma_0: float, stage: int, n_stages: int) -> float:
    """gamma of stage i (from 0) of n: gamma_0 * (1 - decay * i / n)."""
    return gamma_0 * (1.0 - mask.decay * stage / n_stages)


def mask_gradients(parameters: Iterable[nn.Parameter], gamma: float) -> Tensor:
    """Zero every gradient with |g| <= gamma, in place.

    Returns:
        The share of gradients that are zero now, a scalar on the parameters' device, 0..1.
    """
    kept: list[Tensor] = []
    total = 0
    for parameter in parameters:
        if parameter.grad is None:
            continue
        keep = parameter.grad.abs() > gamma
        parameter.grad.mul_(keep)
        kept.append(keep.sum())
        total += keep.numel()
    return 1.0 - torch.stack(kept).sum() / total
