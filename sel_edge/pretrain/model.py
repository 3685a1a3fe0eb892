"""ResNet-18 with a width factor, for small images and for signals.

Architecture: He et al. 2016 (arXiv:1512.03385), without its max-pool. Images have the CIFAR stem:
3x3, stride 1. Signals have a stem of 7 samples with stride 2: 60 samples are 4 places before the
last pool, and 4096 are 256. Parameter names are those of torchvision's resnet18, so that its
ImageNet weights load by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sel_edge.core.errors import ConfigError
from sel_edge.core.frames import described, noun

WIDTHS = (64, 32, 16, 8)


@dataclass(frozen=True)
class Layers:
    """What a ResNet's layers are, in the dimensions of its frames.

    Attributes:
        conv, norm, pool: kinds of layers.
        kernel: size of a block's convolutions in each dimension, odd.
        stem_kernel, stem_stride: of the first convolution.
    """

    conv: type[nn.Conv1d] | type[nn.Conv2d]
    norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]
    pool: type[nn.AdaptiveAvgPool1d] | type[nn.AdaptiveAvgPool2d]
    kernel: int
    stem_kernel: int
    stem_stride: int


OF_IMAGES = Layers(nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d, 3, 3, 1)
OF_SIGNALS = Layers(nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d, 5, 7, 2)

PARTS = 9
"""The stem and eight residual blocks: what can be frozen, from the stem on."""

MODELS = {"resnet18": OF_IMAGES, "resnet18-1d": OF_SIGNALS}
"""Name of a network -> its layers."""


def model_for(frame_shape: tuple[int, ...], wanted: str | None) -> str:
    """The name of the network for frames of a shape.

    Args:
        frame_shape: of an image or a signal, as data hold it.
        wanted: the network that was asked for, None for the one that fits.

    Raises:
        ConfigError: it does not fit.
    """
    kind = noun(frame_shape)
    fitting = "resnet18-1d" if kind == "signal" else "resnet18"
    if wanted not in (None, fitting):
        raise ConfigError(
            f"--model {wanted} was asked for, and the data are {described(frame_shape)}.",
            f"The network for {kind}s is {fitting}.",
            "Leave --model out, or name other data (?mode=gray, if floats in an .npz are images).",
        )
    return fitting


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut, projected where the shape changes."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, layers: Layers = OF_IMAGES
    ) -> None:
        super().__init__()
        conv, norm, kernel, padding = layers.conv, layers.norm, layers.kernel, layers.kernel // 2
        self.conv1 = conv(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.bn1 = norm(channels_out)
        self.conv2 = conv(channels_out, channels_out, kernel, 1, padding, bias=False)
        self.bn2 = norm(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                conv(channels_in, channels_out, 1, stride, bias=False), norm(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C_in, ...] to [N, C_out, ...] with every side divided by the stride."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + shortcut)
        return out


class ResNet18(nn.Module):
    """ResNet-18 whose stages have width, 2, 4 and 8 times width channels.

    Args:
        n_classes: rows of the classifier, at least 2.
        width: channels of the first stage; 64 is the published network (11.17 M parameters).
        channels: of an image, 1 or 3; of a signal, any number.
        layers: one of `MODELS`.
    """

    def __init__(
        self, n_classes: int, width: int = 64, channels: int = 3, layers: Layers = OF_IMAGES
    ) -> None:
        super().__init__()
        kernel, stride = layers.stem_kernel, layers.stem_stride
        self.conv1 = layers.conv(channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = layers.norm(width)
        self.relu = nn.ReLU(inplace=True)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for index in range(1, 5):
            stride = 1 if index == 1 else 2
            layer = nn.Sequential(
                BasicBlock(widths[index - 1], widths[index], stride, layers),
                BasicBlock(widths[index], widths[index], 1, layers),
            )
            self.add_module(f"layer{index}", layer)
        self.avgpool = layers.pool(1)
        self.fc = nn.Linear(8 * width, n_classes)
        self._initialize()

    def _initialize(self) -> None:
        """He initialization of the convolutions, as torchvision's resnet18 does it."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def blocks(self) -> list[BasicBlock]:
        """The residual blocks in forward order; the stem comes before, the classifier after."""
        stages = (self.get_submodule(f"layer{i}").children() for i in range(1, 5))
        return [cast(BasicBlock, block) for blocks in stages for block in blocks]

    def front(self, parts: int) -> list[nn.Module]:
        """The modules of the first `parts` of 1 + 8 parts: the stem, then the residual blocks."""
        modules: list[nn.Module] = [self.conv1, self.bn1, *self.blocks()]
        return modules[: parts + 1] if parts else []

    def normalized(self) -> list[tuple[Any, Any]]:
        """Every convolution with the normalization that takes what comes out of it."""
        found: list[tuple[Any, Any]] = [(self.conv1, self.bn1)]
        for block in self.blocks():
            found += [(block.conv1, block.bn1), (block.conv2, block.bn2)]
            if block.downsample is not None:
                found.append((block.downsample[0], block.downsample[1]))
        return found

    def until(self, x: Tensor, first: int, last: int) -> Tensor:
        """What comes out of part `last - 1` of what goes into part `first`; both in 0..9."""
        if first == 0 < last:
            x = self.relu(self.bn1(self.conv1(x)))
        for block in self.blocks()[max(0, first - 1) : max(0, last - 1)]:
            x = block(x)
        return x

    def features(self, x: Tensor, first: int = 0) -> Tensor:
        """Penultimate features, float [N, 8 * width], of what goes into part `first`."""
        return torch.flatten(self.avgpool(self.until(x, first, PARTS)), 1)

    def forward(self, x: Tensor, first: int = 0, frozen: int = 0) -> Tensor:
        """Logits, float [N, n_classes], of images float [N, C, H, W] or signals [N, C, L].

        Args:
            x: the frames, or what comes out of the parts before `first`.
            first: the part that `x` goes into, 0..9; part 0 is the stem, 1..8 are the blocks.
            frozen: parts from the stem on that pass no gradient, and so have no backward pass.
        """
        if frozen > first:
            with torch.no_grad():
                x = self.until(x, first, frozen)
            first = frozen
        logits: Tensor = self.fc(self.features(x, first))
        return logits


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and then every module in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters P, the one in the paper's 2 * P * n."""
    return sum(parameter.numel() for parameter in model.parameters())
