"""Muon: convolutions move by orthogonal matrices, everything else by gradient descent.

Every row of a convolution's update has the same say, so that rare directions are learned as fast as
frequent ones, in fewer images. Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the
norm of every convolution is kept fixed, as in his training of CIFAR-10 networks. What normalizes
its output makes that no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sel_edge.pretrain.model import ResNet18

ITERATIONS = 3
"""Of the Newton-Schulz iteration; singular values of about 0.3 to 1.2 are equal enough."""

SMALLEST_NORM = 1e-7

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of its odd polynomial, chosen by its author for a steep rise at 0."""


class Muon(torch.optim.Optimizer):
    """Muon for weights of convolutions; gradient descent with Nesterov's momentum for the rest.

    Args:
        model: its convolutions are normalized at once, to the root of their output channels.
        rate: of the rest; `param_groups[0]`'s is set during training.
        momentum: of the rest.
        weight_decay: of the rest.
        conv_rate: by how much a convolution moves per step at the full rate, as a share of its
            norm.
        conv_momentum: of convolutions.
        gains: by what factor some weights of convolutions move further, because a longer gradient
            would not make them.
    """

    def __init__(
        self,
        model: ResNet18,
        rate: float,
        momentum: float,
        weight_decay: float,
        conv_rate: float,
        conv_momentum: float,
        gains: Mapping[nn.Parameter, float] = MappingProxyType({}),
    ) -> None:
        self._gains = gains
        self._full_rate, self._conv_rate = rate, conv_rate
        self._momentum, self._conv_momentum = momentum, conv_momentum
        rest = [weight for weight in model.parameters() if weight.ndim < 3]
        convolutions = [weight for weight in model.parameters() if weight.ndim >= 3]
        groups = [{"params": rest}, {"params": convolutions}]
        super().__init__(groups, {"lr": rate, "weight_decay": weight_decay})
        for weight in model.parameters():
            self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        with torch.no_grad():
            for convolution, norm in model.normalized():
                (factor,) = _factors(convolution.weight[None])
                convolution.weight.mul_(factor)
                # What first weights brought with them still fits.
                norm.running_mean.mul_(factor)
                norm.running_var.mul_(factor**2)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        rest, convolutions = self.param_groups
        rate = rest["lr"]
        for weight in rest["params"]:
            if weight.grad is not None:
                gradient = weight.grad.add(weight, alpha=rest["weight_decay"])
                weight.sub_(self._nesterov(weight, gradient, self._momentum), alpha=rate)
        share = self._conv_rate * rate / self._full_rate
        groups = _by_shape(convolutions["params"])
        pushes = [
            torch.stack(
                [self._nesterov(w, w.grad, self._conv_momentum).flatten(1) for w in weights]
            )
            for weights in groups
        ]
        for weights, moves in zip(groups, orthogonal(pushes), strict=True):
            scale = (moves.shape[1] / min(moves.shape[1:])) ** 0.5
            if self._gains:
                gains = moves.new_tensor([self._gains.get(weight, 1.0) for weight in weights])
                moves = moves * gains[:, None, None]
            moved = torch.stack(weights)
            moved.mul_(_factors(moved).view(-1, *[1] * (moved.ndim - 1)))
            moved.sub_(moves.view_as(moved), alpha=share * scale)
            for weight, new in zip(weights, moved, strict=True):
                weight.copy_(new)
        return None

    def _nesterov(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        buffer: Tensor = self.state[weight]["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        return gradient.add(buffer, alpha=momentum)


def _factors(weights: Tensor) -> Tensor:
    """What gives each of the convolutions [n, channels, ...] the norm that it keeps, [n]."""
    norms = torch.linalg.vector_norm(weights.flatten(1), dim=1).clamp(min=SMALLEST_NORM)
    factors: Tensor = weights.shape[1] ** 0.5 / norms
    return factors


def _by_shape(weights: list[Any]) -> list[list[Any]]:
    """Weights that have a gradient, those of one shape together: one product for all of them."""
    groups: dict[torch.Size, list[Any]] = {}
    for weight in weights:
        if weight.grad is not None:
            groups.setdefault(weight.shape, []).append(weight)
    return list(groups.values())


def orthogonal(groups: Sequence[Tensor]) -> list[Tensor]:
    """Matrices with nearly equal singular values of about 1, and the same singular vectors.

    A polynomial of x x^T times x has the Gram matrix of the next iteration in closed form, so that
    the long side takes part in two products only, and all matrices with an equally long short side
    are iterated together.

    Args:
        groups: float32 [n, rows, columns] each.
    """
    wide = [group.mT if group.shape[1] > group.shape[2] else group for group in groups]
    wide = [x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=SMALLEST_NORM) for x in wide]
    grams = [x @ x.mT for x in wide]
    by_rows: dict[int, list[int]] = {}
    for number, gram in enumerate(grams):
        by_rows.setdefault(gram.shape[1], []).append(number)
    products: dict[int, Tensor] = {}
    for numbers in by_rows.values():
        product = _iterated(torch.cat([grams[number] for number in numbers]))
        parts = torch.split(product, [len(grams[number]) for number in numbers])
        products.update(zip(numbers, parts, strict=True))
    moves = [products[number] @ x for number, x in enumerate(wide)]
    return [
        move.mT if group.shape[1] > group.shape[2] else move
        for group, move in zip(groups, moves, strict=True)
    ]


def _iterated(gram: Tensor) -> Tensor:
    """What makes matrices with these Gram matrices [n, rows, rows] orthogonal."""
    product = factor = _polynomial(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        product = factor @ product
    return product


def _polynomial(gram: Tensor) -> Tensor:
    """What an iteration multiplies matrices with this Gram matrix [n, rows, rows] by."""
    a, b, c = COEFFICIENTS
    factor = (c * (gram @ gram)).add_(gram, alpha=b)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def orthogonal_flops(model: nn.Module) -> int:
    """FLOPs that a step spends on orthogonal moves of the convolutions that have a gradient."""
    total = 0
    for weight in model.parameters():
        if weight.ndim >= 3 and weight.grad is not None:
            rows, columns = sorted((len(weight), weight[0].numel()))
            total += 2 * rows * rows * (2 * columns + (4 * ITERATIONS - 3) * rows)
    return total
