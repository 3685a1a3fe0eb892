"""First weights: seeded, or from ImageNet."""

import pytest
import torch

from sel_edge.core.errors import ConfigError, MissingDependencyError
from sel_edge.pretrain.initialize import build_model


def test_the_seed_fixes_the_first_weights():
    first, again, other = (build_model(3, 8, 1, "scratch", seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_imagenet_weights_fill_everything_but_stem_and_classifier(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(9)
    stored = torchvision.models.resnet18().state_dict()
    torch.save(stored, checkpoints / url.rsplit("/", 1)[1])
    own = build_model(10, 64, 3, "imagenet", 0).state_dict()
    fresh = build_model(10, 64, 3, "scratch", 0).state_dict()
    for name, tensor in own.items():
        source = fresh if name in ("conv1.weight", "fc.weight", "fc.bias") else stored
        assert torch.equal(tensor, source[name]), name


def test_imagenet_weights_need_the_full_width():
    with pytest.raises(ConfigError, match="--width 64"):
        build_model(10, 16, 3, "imagenet", 0)


def test_weights_that_cannot_be_downloaded_are_named(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(MissingDependencyError, match=weights.url.rsplit("/", 1)[1]):
        build_model(10, 64, 3, "imagenet", 0)
