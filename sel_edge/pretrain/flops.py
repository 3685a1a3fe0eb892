"""Executed FLOPs, counted operator by operator, and the paper's formula beside them.

A multiply-add is two FLOPs. Counted are convolutions and linear layers, forward, weight gradient
and input gradient, and the matrix products of an optimizer that has any (`muon`); normalization,
activations and everything else are left out, as in torch's own counter. Every run compares the two
before it starts and stops if they differ by more than 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sel_edge.pretrain.model import PARTS, in_evaluation


@dataclass(frozen=True)
class LayerFlops:
    """FLOPs of one layer for one frame.

    Attributes:
        part: of the network: 0 the stem, 1..8 the residual blocks, 9 the classifier.
        takes_input: whether it takes what comes into its part, and nothing within does.
        forward, weight_gradient, input_gradient: FLOPs; the first layer has no input gradient.
    """

    part: int
    takes_input: bool
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

    def training(self, frozen: int = 0, first: int = 0) -> int:
        """FLOPs of one forward and one backward pass.

        Args:
            frozen: parts of the network, from the stem on, that have no backward pass.
            first: the part that batches go into; those before have no forward pass either.
        """
        total, learns = 0, max(frozen, first)
        for layer in self.layers:
            if layer.part >= learns:
                at_edge = layer.part == learns and layer.takes_input
                total += layer.forward + layer.weight_gradient
                total += 0 if at_edge else layer.input_gradient
            elif layer.part >= first:
                total += layer.forward
        return total

    def front(self, parts: int) -> int:
        """FLOPs of a forward pass of the first `parts` parts."""
        return sum(layer.forward for layer in self.layers if layer.part < parts)


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
        part, takes_input = _place(name)
        gradient = forward if found else 0
        found.append(LayerFlops(part, takes_input, forward, forward, gradient))

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


class FlopsBySize:
    """FLOPs of a network for one frame, by the size of the frame.

    Args:
        model: counted when a size is first asked for.
        channels: of a frame.
    """

    def __init__(self, model: nn.Module, channels: int) -> None:
        self._model, self._channels = model, channels
        self._known: dict[tuple[int, ...], NetworkFlops] = {}

    def at(self, size: tuple[int, ...]) -> NetworkFlops:
        """FLOPs of a frame of a size: height and width, or length."""
        if size not in self._known:
            self._known[size] = count_flops(self._model, (self._channels, *size))
        return self._known[size]


def _place(name: str) -> tuple[int, bool]:
    """The part of a ResNet-18 that a layer lies in, and whether it takes the part's input."""
    if not name.startswith("layer"):
        return (PARTS, True) if name == "fc" else (0, True)
    stage, block, inner = name.removeprefix("layer").split(".", 2)
    return 2 * int(stage) - 1 + int(block), inner in ("conv1", "downsample.0")


def torch_training_flops(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Forward and backward FLOPs of one frame as torch's own counter sees them."""
    device = next(model.parameters()).device
    with in_evaluation(model), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, *input_shape, device=device)).sum().backward()
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops()) // 2


def paper_flops(parameters: int, sparsity: float, images: int) -> float:
    """The published count of a batch: 2 * P * (1 - sparsity) * n."""
    return 2.0 * parameters * (1.0 - sparsity) * images


def _forward_once(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    with in_evaluation(model), torch.no_grad():
        model(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
