"""What a user might bring: small networks in the manner of known ones, as torch exports them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto
from torch import Tensor, nn

from sel_edge.compile.blocks import tail_cut
from sel_edge.compile.fold import fold
from sel_edge.compile.load import load_graph
from sel_edge.compile.read import read_model
from sel_edge.core.embarrassment import TEMPERATURE
from tests.compile import reference
from tests.compile.models import Array, model, node, normal, pooled

CLASSES = 3
NAMES = ("pear", "apple", "fig")
"""Not in alphabetical order: a network counts its classes as it likes."""
SIDE = 6
"""Height and width of an image of the plain network."""

SHAPE = (3, 16, 16)
"""Of an image of the networks that torch exports."""

BODY = [
    node("Conv", "x k", "c", pads=[1, 1, 1, 1]),
    node("Relu", "c", "r"),
    node("Conv", "r k2", "d"),
    node("Relu", "d", "s"),
]


class SqueezeExcite(nn.Module):
    """An inverted residual block with squeeze-and-excitation, as in MobileNetV3 (1905.02244)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide))
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.BatchNorm2d(wide)
        )
        self.squeeze, self.excite = nn.Conv2d(wide, 4, 1), nn.Conv2d(4, wide, 1)
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1), nn.BatchNorm2d(channels))
        self.swish, self.gate = nn.Hardswish(), nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out = self.swish(self.depthwise(self.swish(self.expand(x))))
        scale = self.excite(torch.relu(self.squeeze(out.mean((2, 3), keepdim=True))))
        return x + self.project(out * self.gate(scale))


class Shuffle(nn.Module):
    """Half of the channels through a branch, then all of them shuffled, as in ShuffleNetV2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *(nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU()),
            *(nn.Conv2d(half, half, 3, padding=1, groups=half), nn.BatchNorm2d(half)),
            *(nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        joined = torch.cat([kept, self.branch(changed)], 1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Dense(nn.Module):
    """Normalization before the convolution, and all earlier channels kept, as in DenseNet."""

    def __init__(self, channels: int, growth: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, growth, 3, padding=1)
        )
        more = channels + growth
        self.second = nn.Sequential(
            nn.BatchNorm2d(more), nn.ReLU(), nn.Conv2d(more, growth, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.first(x)], 1)
        return torch.cat([x, self.second(x)], 1)


def _classifier(block: nn.Module, features: int) -> nn.Module:
    stem = (nn.Conv2d(SHAPE[0], 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, CLASSES))
    return nn.Sequential(*stem, block, *end)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "squeeze-excite": lambda: _classifier(SqueezeExcite(8), 8),
    "shuffle": lambda: _classifier(Shuffle(8), 8),
    "dense": lambda: _classifier(Dense(8), 16),
}


def export(name: str, path: Path, **options: Any) -> Path:
    """Write a network as a user would, with statistics as after a little training."""
    torch.manual_seed(1)
    network = NETWORKS[name]().train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(16, *SHAPE))
    batch = torch.export.Dim("n", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own internals
        torch.onnx.export(
            network.eval(),
            (torch.rand(2, *SHAPE),),
            path,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch},),
            **options,
        )
    return path


def plain(
    depth: int = 3, classes: int = CLASSES, end: Sequence[NodeProto] = (), **options: Any
) -> onnx.ModelProto:
    """A classifier of two convolutions.

    Args:
        depth: channels of an image.
        classes: number of logits.
        end: operators from the logits `z` to the output `y`.
        options: of `model`.
    """
    *features, head = pooled("s")
    if end:
        head.name, head.output[0] = "n_z", "z"
    weights = {
        "k": normal(3, depth, 3, 3),
        "k2": normal(3, 3, 1, 1),
        "w": normal(classes, 3, seed=1),
        "b": normal(classes, seed=2),
    }
    nodes = [*BODY, *features, head, *end]
    return model(nodes, weights, ("n", depth, SIDE, SIDE), **options)


def saved(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def arguments(fruit: Path, network: Path, out: Path, *more: object) -> list[str]:
    """The command; what comes later in `more` counts."""
    needed = ["--classes", fruit / "names.txt", "--data", f"folder:{fruit / 'small'}"]
    given = ["export", "--onnx", network, *needed, "--batch", 4, "--frames", 4, "--out", out]
    return [str(argument) for argument in [*given, *more]]


def gradients(
    network: Path, rung: str, trained: Mapping[str, Array], latents: Array, labels: Array
) -> dict[str, Array]:
    """Of the trained parameters, by torch in float64, for a batch as large as `latents`."""
    forward = fold(load_graph(read_model(network), len(latents)))
    tail = tail_cut(forward)
    assert tail is not None
    cuts = {"head": forward.graph.outputs["features"], "tail": tail.tensor, "full": "image"}
    given = {
        name: torch.tensor(np.array(value), dtype=torch.float64).requires_grad_()
        for name, value in trained.items()
    }
    start = torch.tensor(latents, dtype=torch.float64)
    logits = reference.forward(forward.graph, given, start, cuts[rung])
    ones = torch.ones(len(labels))
    reference.loss(logits, torch.tensor(labels), ones, TEMPERATURE)[1].backward()
    return {name: value.grad.numpy() for name, value in given.items() if value.grad is not None}
