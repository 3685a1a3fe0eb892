"""Muon: orthogonal moves of convolutions, gradient descent for everything else."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sel_edge.pretrain.model import OF_SIGNALS, ResNet18
from sel_edge.pretrain.muon import Muon, orthogonal, orthogonal_flops


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99),
    scale=st.floats(1e-6, 1e6),
)  # fmt: skip
def test_moves_keep_singular_vectors_and_even_out_singular_values(rows, columns, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    matrix = scale * torch.randn(1, rows, columns, generator=generator)
    left, values, right = torch.linalg.svd(matrix[0].double(), full_matrices=False)
    other = torch.randn(3, columns, rows, generator=generator)
    found, _ = orthogonal([matrix, other])
    inside = left.T @ found[0].double() @ right.T
    spread = values / values.max()
    for index in range(len(values)):
        if spread[index] > 0.1:
            assert 0.2 < inside[index, index] < 1.5
    off = inside - inside.diag().diag()
    assert off.abs().max() < 0.01


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> nn.Module:
    """After some steps on the same frames."""
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        nn.functional.cross_entropy(model(x), torch.arange(8) % 2).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


def small() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18(2, 8, 3).train()


def muon(model: nn.Module, rate: float = 0.1) -> Muon:
    return Muon(model, rate, 0.9, 5e-4, conv_rate=0.1, conv_momentum=0.6)


def test_convolutions_keep_their_norm_but_for_the_last_move():
    model = small()
    trained(model, muon(model))
    for weight in model.parameters():
        if weight.ndim == 4:
            assert float(weight.detach().norm()) == pytest.approx(len(weight) ** 0.5, rel=0.15)


def test_everything_else_moves_as_with_gradient_descent():
    ours, theirs = small(), small()
    optimizer = muon(ours)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for weight in theirs.parameters():
        weight.requires_grad_(weight.ndim < 3)
    for group in (optimizer.param_groups[1]["params"],):
        for weight in group:
            weight.requires_grad_(False)  # so that both see the same convolutions
    rest = [weight for weight in theirs.parameters() if weight.ndim < 3]
    reference = torch.optim.SGD(rest, 0.1, 0.9, 0, 5e-4, nesterov=True)
    trained(ours, optimizer)
    trained(theirs, reference)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_it_learns_faster_than_nothing():
    model = small()
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    trained(model, muon(model, 0.05), steps=30)
    with torch.no_grad():
        assert (model(x).argmax(1) == torch.arange(8) % 2).float().mean() > 0.9


def test_gains_make_moves_longer():
    plain, gaining = small(), small()
    other = Muon(gaining, 0.1, 0.9, 0.0, 0.1, 0.6, {gaining.layer1[0].conv1.weight: 2.0})
    optimizers = Muon(plain, 0.1, 0.9, 0.0, 0.1, 0.6), other
    before = {name: weight.clone() for name, weight in plain.named_parameters()}
    for model, optimizer in zip((plain, gaining), optimizers, strict=True):
        trained(model, optimizer, steps=1)
    for (name, one), two in zip(plain.named_parameters(), gaining.parameters(), strict=True):
        factor = 2.0 if name == "layer1.0.conv1.weight" else 1.0
        torch.testing.assert_close(two - before[name], factor * (one - before[name]))


def test_what_has_no_gradient_stays():
    model = small()
    optimizer = muon(model)
    for parameter in model.front(3)[0].parameters():
        parameter.requires_grad_(False)
    before = model.conv1.weight.clone()
    trained(model, optimizer)
    assert torch.equal(model.conv1.weight, before)


@pytest.mark.parametrize("layers", [None, OF_SIGNALS])
def test_flops_are_those_that_torch_counts(layers):
    model = ResNet18(2, 8, 3, layers) if layers else ResNet18(2, 8, 3)
    x = torch.randn(4, 3, 64) if layers else torch.randn(4, 3, 8, 8)
    optimizer = muon(model)
    model(x).sum().backward()
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    assert orthogonal_flops(model) == counter.get_total_flops()
