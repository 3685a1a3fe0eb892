"""How torch computes: number format and memory layout, whatever is fastest on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.precision import Arithmetic, Precision

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Way:
    """One of them.

    Attributes:
        precision: of forward and backward passes; weights and optimizer stay fp32.
        channels_last: whether the channels are innermost in memory.
    """

    precision: Precision = "fp32"
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.precision}{'-channels-last' if self.channels_last else ''}"

    @property
    def exactly(self) -> Way:
        """The same in fp32, for final scores."""
        return replace(self, precision="fp32")

    def autocast(self) -> AbstractContextManager[object]:
        """The context for forward passes."""
        return Arithmetic(CPU, self.precision).autocast()

    def inputs(self, x: Tensor) -> Tensor:
        """Float [N, C, H, W] in this layout."""
        return x.contiguous(memory_format=self._format)

    def network(self, model: ResNet18) -> ResNet18:
        """The same network, its weights put in this layout in place."""
        placed: ResNet18 = model.to(memory_format=self._format)
        return placed

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


PLAIN = Way()
WAYS = tuple(Way(number, last) for number in ("fp32", "bf16") for last in (False, True))
