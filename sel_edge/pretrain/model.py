"""ResNet-18 for small images: a 3x3 stride-1 stem, no max-pool, and a width factor.

Architecture: He et al. 2016 (arXiv:1512.03385) with the CIFAR stem. Parameter names are those of
torchvision's resnet18, so that its ImageNet weights load by name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (64, 32, 16, 8)
MODELS = ("resnet18",)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, projected where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C_in, H, W] to [N, C_out, H / stride, W / stride]."""
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
        channels: image channels, 1 or 3.
    """

    def __init__(self, n_classes: int, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for index in range(1, 5):
            stride = 1 if index == 1 else 2
            layer = nn.Sequential(
                BasicBlock(widths[index - 1], widths[index], stride),
                BasicBlock(widths[index], widths[index], 1),
            )
            self.add_module(f"layer{index}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, n_classes)
        self._initialize()

    def _initialize(self) -> None:
        """He initialization of the convolutions, as torchvision's resnet18 does it."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features, float [N, 8 * width], of images float [N, C, H, W]."""
        x = self.relu(self.bn1(self.conv1(x)))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return torch.flatten(self.avgpool(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float [N, n_classes], of images float [N, C, H, W]."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters P, the one in the paper's 2 * P * n."""
    return sum(parameter.numel() for parameter in model.parameters())
