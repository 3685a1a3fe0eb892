"""The gradient mask of the paper."""

import numpy as np
import pytest
import torch
from torch import nn

from sel_edge.pretrain.recipe import GradientMask
from sel_edge.pretrain.sparsity import initial_threshold, mask_gradients, stage_threshold


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    net(torch.randn(9, 7)).square().sum().backward()
    return net


def test_gamma_0_is_the_percentile_over_all_parameters_together(model):
    every = np.concatenate([p.grad.abs().flatten().numpy() for p in model.parameters()])
    assert initial_threshold(model, 20.0) == pytest.approx(np.percentile(every, 20.0))


def test_gradients_at_or_below_gamma_become_zero_and_the_others_stay(model):
    before = [p.grad.clone() for p in model.parameters()]
    gamma = float(before[0].abs().flatten().median())
    sparsity = float(mask_gradients(model.parameters(), gamma))
    zeroed = 0
    for old, parameter in zip(before, model.parameters(), strict=True):
        expected = torch.where(old.abs() <= gamma, torch.zeros_like(old), old)
        assert torch.equal(parameter.grad, expected)
        zeroed += int((old.abs() <= gamma).sum())
    assert sparsity == pytest.approx(zeroed / sum(g.numel() for g in before), abs=1e-6)


def test_gamma_falls_from_stage_to_stage():
    mask = GradientMask()
    gammas = [stage_threshold(mask, 1.0, stage, 5) for stage in range(5)]
    assert gammas == pytest.approx([1.0, 0.92, 0.84, 0.76, 0.68])
