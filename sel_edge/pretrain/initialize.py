"""The first weights: random from a seed, or torchvision's ImageNet weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sel_edge.core.errors import ConfigError, MissingDependencyError
from sel_edge.pretrain.model import MODELS, ResNet18

Init = Literal["scratch", "imagenet"]


def build_model(
    n_classes: int, width: int, channels: int, init: Init, seed: int, name: str = "resnet18"
) -> ResNet18:
    """A ResNet-18, one of `MODELS` by its name, with its first weights.

    With "imagenet" every tensor is taken that has the same shape; the 7x7 stem and the classifier
    do not, and stay random, as in the published runs.

    Raises:
        ConfigError: ImageNet weights were asked for signals, or another width than 64.
        MissingDependencyError: torchvision or its weights are not to be had.
    """
    torch.manual_seed(seed)
    model = ResNet18(n_classes, width, channels, MODELS[name])
    if init == "imagenet":
        if (name, width) != ("resnet18", 64):
            raise ConfigError(
                f"--init imagenet was asked for with {name} of width {width}.",
                "ImageNet weights exist for resnet18 of width 64 only.",
                "Use --init scratch, or, for images, --width 64.",
            )
        own = model.state_dict()
        fitting = {
            name: tensor
            for name, tensor in _imagenet_weights().items()
            if name in own and own[name].shape == tensor.shape
        }
        model.load_state_dict(own | fitting)
    return model


def _imagenet_weights() -> dict[str, Tensor]:
    try:
        from torchvision.models import ResNet18_Weights
    except ImportError as error:
        raise MissingDependencyError(
            "--init imagenet needs torchvision, which is not installed.",
            "",
            "Install it with: pip install 'sel-edge[train]'.",
        ) from error
    weights = ResNet18_Weights.IMAGENET1K_V1
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=False, weights_only=True, check_hash=True
        )
    except Exception as error:  # torch, zipfile and the unpickler each raise their own kinds
        raise MissingDependencyError(
            f"The ImageNet weights could not be loaded from {weights.url}: {error}.",
            f"A download, or the file in {torch.hub.get_dir()}/checkpoints, is needed once.",
            "Connect this machine, delete a damaged file there, or use --init scratch.",
        ) from error
    return state
