"""Executed FLOPs, counted operator by operator, and the paper's formula beside them.

A multiply-add is two FLOPs. Counted are convolutions and linear layers, forward, weight gradient
and input gradient; normalization, activations and the optimizer are left out, as in torch's own
counter. Every run compares the two before it starts and stops if they differ by more than 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class LayerFlops:
    """FLOPs of one layer for one frame.

    Attributes:
        name: of the module.
        operator: "conv" or "linear".
        forward, weight_gradient, input_gradient: FLOPs; the first layer has no input gradient.
    """

    name: str
    operator: str
    forward: int
    weight_gradient: int
    input_gradient: int


@dataclass(frozen=True)
class NetworkFlops:
    """FLOPs of a network for one frame, layer by layer in forward order."""

    layers: tuple[LayerFlops, ...]

    @property
    def forward(self) -> int:
        """FLOPs of one forward pass."""
        return sum(layer.forward for layer in self.layers)

    @property
    def training(self) -> int:
        """FLOPs of one forward and one whole backward pass."""
        return sum(x.forward + x.weight_gradient + x.input_gradient for x in self.layers)


def count_flops(model: nn.Module, input_shape: tuple[int, ...]) -> NetworkFlops:
    """Count one network.

    Args:
        model: on any device; its training mode is left as it was.
        input_shape: channels, height, width of an image; channels, length of a signal.
    """
    found: list[LayerFlops] = []

    def record(name: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            kernel = module.weight[0].numel()
            forward = 2 * kernel * output[0].numel()
        else:
            assert isinstance(module, nn.Linear)  # noqa: S101 - only these are hooked
            forward = 2 * module.in_features * output[0].numel()
        operator = "conv" if isinstance(module, nn.Conv1d | nn.Conv2d) else "linear"
        found.append(LayerFlops(name, operator, forward, forward, forward if found else 0))

    hooks = [
        module.register_forward_hook(lambda m, _, y, name=name: record(name, m, y))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
    ]
    try:
        _forward_once(model, input_shape)
    finally:
        for hook in hooks:
            hook.remove()
    return NetworkFlops(tuple(found))


def torch_training_flops(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Forward and backward FLOPs of one frame as torch's own counter sees them."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, *input_shape, device=device)).sum().backward()
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return int(counter.get_total_flops()) // 2


def paper_flops(parameters: int, sparsity: float, images: int) -> float:
    """The published count of a batch: 2 * P * (1 - sparsity) * n."""
    return 2.0 * parameters * (1.0 - sparsity) * images


def _forward_once(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
    model.train(was_training)
