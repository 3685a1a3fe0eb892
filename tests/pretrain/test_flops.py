"""Executed FLOPs agree with torch's own counter; parameters with the published network."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sel_edge.pretrain.flops import count_flops, paper_flops, torch_training_flops
from sel_edge.pretrain.model import PARTS, ResNet18, parameter_count


@pytest.mark.parametrize(
    ("width", "channels", "size"), [(64, 3, 32), (16, 3, 32), (8, 1, 8), (8, 3, 17)]
)
def test_training_flops_are_within_one_percent_of_torchs_counter(width, channels, size):
    model = ResNet18(10, width, channels)
    ours = count_flops(model, (channels, size, size)).training()
    assert ours == pytest.approx(torch_training_flops(model, (channels, size, size)), rel=0.01)


@pytest.mark.parametrize("frozen", range(PARTS + 1))
@pytest.mark.parametrize("first", [0, 1, 4, 9])
def test_what_is_frozen_is_counted_as_torch_counts_it(frozen, first):
    model = ResNet18(10, 8, 3)
    flops, x = count_flops(model, (3, 16, 16)), torch.zeros(2, 3, 16, 16)
    with torch.no_grad():
        x = model.until(x, 0, first)
    with FlopCounterMode(display=False) as counter:
        model(x, first, frozen).sum().backward()
    assert 2 * flops.training(frozen, first) == counter.get_total_flops()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.until(torch.zeros(2, 3, 16, 16), 0, frozen)
    assert 2 * flops.front(frozen) == counter.get_total_flops()


def test_the_published_network_has_the_published_size():
    model = ResNet18(10, 64, 3)
    assert parameter_count(model) == pytest.approx(11.17e6, rel=1e-3)
    # 0.556 G multiply-adds forward, and 33.5 T is 2 * P * 1.5 M images.
    assert count_flops(model, (3, 32, 32)).forward / 2 == pytest.approx(0.556e9, rel=2e-3)
    assert paper_flops(parameter_count(model), 0.0, 1_500_000) == pytest.approx(33.5e12, rel=1e-3)


def test_counting_changes_neither_mode_nor_statistics_nor_gradients():
    model = ResNet18(4, 8, 1).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_flops(model, (1, 8, 8))
    torch_training_flops(model, (1, 8, 8))
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_parameter_names_are_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    reference = torchvision.models.resnet18(num_classes=10).state_dict()
    own = ResNet18(10, 64, 3).state_dict()
    assert own.keys() == reference.keys()
    different = {n for n in own if own[n].shape != reference[n].shape}
    assert different == {"conv1.weight"}
    assert isinstance(own["conv1.weight"], torch.Tensor)
