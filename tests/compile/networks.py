"""Small and large classifiers of every kind that the compiler has to cope with."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import torch
from torch import Tensor, nn

from sel_edge.compile.export import torch_model
from sel_edge.pretrain.model import ResNet18


class Network(nn.Module):
    """A body that ends in features, and a linear head."""

    def __init__(self, body: nn.Module, features: int, classes: int = 5) -> None:
        super().__init__()
        self.body = body
        self.fc = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.mean(tuple(range(2, out.ndim)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, as in MobileNetV2 (arXiv 1801.04381)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * channels_in
        self.skip = stride == 1 and channels_in == channels_out
        self.layers = nn.Sequential(
            *_layer(nn.Conv2d, channels_in, wide, 1),
            nn.ReLU6(),
            *_layer(nn.Conv2d, wide, wide, 3, stride, wide),
            nn.ReLU6(),
            *_layer(nn.Conv2d, wide, channels_out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.skip else out


class Residual1d(nn.Module):
    """Two convolutions along a signal and a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(nn.Conv1d, channels_in, channels_out, 5, stride),
            nn.ReLU(),
            *_layer(nn.Conv1d, channels_out, channels_out, 5),
        )
        self.shortcut = nn.Sequential(*_layer(nn.Conv1d, channels_in, channels_out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


class Branches(nn.Module):
    """Two branches that are concatenated, and a pool."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.near = nn.Sequential(*_layer(nn.Conv2d, channels_in, half, 1), nn.ReLU())
        self.far = nn.Sequential(*_layer(nn.Conv2d, channels_in, half, 3), nn.SiLU())
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(torch.cat([self.near(x), self.far(x)], 1))
        return pooled


def resnet18(width: int = 8) -> nn.Module:
    return ResNet18(5, width)


def mobilenet() -> nn.Module:
    blocks = [InvertedResidual(8, 8, 1), InvertedResidual(8, 16, 2), InvertedResidual(16, 16, 1)]
    body = nn.Sequential(*_layer(nn.Conv2d, 3, 8, 3, 2), nn.ReLU6(), *blocks)
    return Network(body, 16)


def resnet1d() -> nn.Module:
    body = nn.Sequential(*_layer(nn.Conv1d, 2, 8, 7, 2), nn.ReLU(), Residual1d(8, 16, 2))
    body.append(Residual1d(16, 16, 1))
    return Network(body, 16)


def branches() -> nn.Module:
    return Network(nn.Sequential(Branches(3, 16), Branches(16, 32)), 32)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (resnet18, (3, 32, 32)),
    "mobilenet": (mobilenet, (3, 24, 24)),
    "resnet1d": (resnet1d, (2, 64)),
    "branches": (branches, (3, 16, 16)),
}
"""Name -> (how to make it, shape of one sample)."""


def settled(make: Callable[[], nn.Module], shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """A network whose normalization fits its activations, as in one that was trained."""
    torch.manual_seed(seed)
    network = make().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, *shape))
    return network.eval()


def exported(network: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The network as our exporter writes it."""
    return torch_model(network, shape)  # type: ignore[arg-type]


def _layer(
    kind: type[nn.Conv1d | nn.Conv2d],
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
) -> tuple[nn.Module, nn.Module]:
    norm = nn.BatchNorm1d if kind is nn.Conv1d else nn.BatchNorm2d
    conv = kind(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, norm(channels_out)
