"""What is measured: an untrained ResNet-18 with settled normalization, as a bundle and in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.bundle.rungs import Rung
from sel_edge.cli.export_bundle import make_bundle
from sel_edge.cli.export_source import Source
from sel_edge.compile.export import torch_model
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.optimizers import Sgd
from sel_edge.core.frames import Frames
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.model import ResNet18
from sel_edge.runtime.preprocess import Preprocessor
from tools.step_bench.ours import MOMENTUM

CLASSES, SIDE = 10, 32
VIEW = ImagePreprocessing(SIDE, SIDE, 3, (0.5,) * 3, (0.25,) * 3)
SETTLING_BATCHES = 3


@dataclass(frozen=True)
class Subject:
    """One network in every form that is compared.

    Attributes:
        network: in torch, with its BatchNorm layers, in evaluation mode.
        bundle: made of it by the project's own compiler.
        weights: a safetensors file with the network's state.
    """

    network: ResNet18
    bundle: Bundle
    weights: Path

    def folded(self) -> ResNet18:
        """The bundle's network in torch: convolutions with bias, no BatchNorm layers."""
        model = ResNet18(CLASSES, self.bundle.manifest.model.width)
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, nn.Identity())
                elif isinstance(child, nn.Conv2d):
                    setattr(parent, name, _with_bias(child))
        found = self.bundle.parameters()
        model.load_state_dict({name: torch.tensor(value) for name, value in found.items()})
        return model


def make_subject(folder: Path, width: int, batch: int, frames: int, share: float) -> Subject:
    """Make the network and its bundle.

    Args:
        folder: takes the bundle and the weights for torch.
        width: channels of the first stage.
        batch: samples per training step.
        frames: of the rung `norm`.
        share: of each layer's channels that `tail` and `deep` train.
    """
    anchors = _anchors(max(batch, frames))
    image = torch.from_numpy(Preprocessor(VIEW)(anchors.frames))
    network = _settled(width, image)
    source = Source(
        model=torch_model(network, (3, SIDE, SIDE)),
        name="resnet18",
        width=width,
        classes=anchors.classes,
        preprocessing=VIEW,
        anchors=anchors,
        held_out=True,
        calibration=anchors.frames,
        predict=lambda frames: _predict(network, frames),
        seed=0,
        accuracy={},
        provenance={"made_by": "tools/bench_step.py"},
    )
    options = LadderOptions(batch=batch, frames=frames, share=share, optimizer=Sgd(MOMENTUM))
    bundle = make_bundle(source, folder / "bundle", options, with_int8=False).bundle
    weights = folder / "torch.safetensors"
    save_file(network.state_dict(), weights)
    return Subject(network, bundle, weights)


def behind_cut(model: ResNet18, rung: Rung) -> nn.Module:
    """What of a network lies behind a rung's cut; its parameters stay those of the network."""
    if rung.cut is None:
        return model
    first = rung.layers[0].weight
    if first == "fc.weight":
        return model.fc
    names = [f"layer{stage}.{index}" for stage in range(1, 5) for index in range(2)]
    start = next(i for i, name in enumerate(names) if first.startswith(f"{name}."))
    blocks = [model.get_submodule(name) for name in names[start:]]
    return nn.Sequential(*blocks, model.avgpool, nn.Flatten(), model.fc)


def trained_parameters(model: ResNet18, rung: Rung) -> dict[str, nn.Parameter]:
    """The weights and biases of the layers that a rung trains, whole; others want no gradient."""
    model.requires_grad_(False)
    names = [name for layer in rung.layers for name in (layer.weight, layer.bias)]
    found = {name: model.get_parameter(name) for name in names}
    for parameter in found.values():
        parameter.requires_grad_(True)
    return found


def replace_relu(model: ResNet18, make: Callable[[], nn.Module]) -> None:
    """Put other modules in the place of a network's ReLUs, in the order they run first."""
    owners = [m for m in model.modules() if isinstance(getattr(m, "relu", None), nn.ReLU)]
    for owner in owners:
        owner.relu = make()


def _anchors(count: int) -> Dataset:
    """Noise, as many images of each class, at least two and at least `count` together."""
    per_class = max(2, -(-count // CLASSES))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (per_class * CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(len(images), dtype=np.int64) % CLASSES
    return Dataset(images, labels, tuple(f"class {number}" for number in range(CLASSES)))


def _settled(width: int, image: torch.Tensor) -> ResNet18:
    """A network whose normalization fits its activations, as in one that was trained."""
    torch.manual_seed(0)
    network = ResNet18(CLASSES, width).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        for part in image.chunk(SETTLING_BATCHES):
            network(part)
    return network.eval()


def _predict(network: ResNet18, frames: Frames) -> NDArray[np.float32]:
    with torch.no_grad():
        logits: NDArray[np.float32] = network(torch.from_numpy(Preprocessor(VIEW)(frames))).numpy()
    return logits


def _with_bias(conv: nn.Conv2d) -> nn.Conv2d:
    sizes = (conv.kernel_size, conv.stride, conv.padding)
    return nn.Conv2d(conv.in_channels, conv.out_channels, *sizes)  # type: ignore[arg-type]
