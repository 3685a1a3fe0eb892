"""Moments of the first layer: what torch says of it, at a price that does not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sel_edge.compile.fold import fold
from sel_edge.compile.graph import Graph, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.moments import MIN_POSITIONS, SHARE, moments_graph
from tests.compile.models import Array, evaluate, ours
from tests.compile.networks import NETWORKS, Network, exported

ALL = 10**12
"""Multiply-accumulates of a network that any first layer is nothing against."""


def folded(network: nn.Module, shape: tuple[int, ...]) -> Any:
    return fold(load_graph(exported(network, shape), "n"))


def run(graph: Graph, image: Array) -> dict[str, Array]:
    return dict(zip(graph.outputs, evaluate(to_model(graph), image), strict=True))


def stem_outputs(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """What the first normalization gives, before the activation."""
    found: list[torch.Tensor] = []
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad(), norms[0].register_forward_hook(lambda *a: found.append(a[2].clone())):
        network(image)
    return found[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_the_first_layers_own(name: str) -> None:
    network, shape, proto = ours(name)
    forward = fold(load_graph(proto, "n"))
    graph, said = moments_graph(forward, ALL)
    image = torch.randn(5, *shape)
    expected = stem_outputs(network, image).flatten(2)
    found = run(graph, image.numpy())["moments"]
    assert found.shape == (5, 2, said.channels)
    np.testing.assert_allclose(found[:, 0], expected.mean(2), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], expected.square().mean(2), rtol=1e-4)
    assert said.macs == expected[0, 0].numel() * network_stem(network).weight.numel()


def network_stem(network: nn.Module) -> nn.Conv1d | nn.Conv2d:
    return next(m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d))


@pytest.mark.parametrize("cost", [2, 3, 10])
def test_a_dear_layer_is_looked_at_on_a_coarser_grid(cost: int) -> None:
    network, shape = small(side=32)
    whole = 32 * 32 * network_stem(network).weight.numel()
    forward = folded(network, shape)
    budget = whole / cost / SHARE
    graph, said = moments_graph(forward, int(budget) + 1)
    stride = next(s for s in range(1, 9) if (31 // s + 1) ** 2 * cost <= 32 * 32)
    assert said.macs <= whole / cost
    image = torch.randn(2, *shape)
    expected = stem_outputs(network, image)[:, :, ::stride, ::stride]
    found = run(graph, image.numpy())["moments"]
    np.testing.assert_allclose(found[:, 0], expected.mean((2, 3)), atol=1e-5)


def test_a_layer_that_is_half_of_the_network_has_none() -> None:
    forward = folded(*small())
    stem = 64 * 8 * 27
    assert moments_graph(forward, 2 * stem) is None


def test_too_few_positions_say_nothing() -> None:
    network, shape = small(side=3)
    assert MIN_POSITIONS > 3 * 3
    assert moments_graph(folded(network, shape), ALL) is None


def test_a_network_without_convolutions_has_none() -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU(), nn.Unflatten(1, (8, 1)))
    assert moments_graph(folded(Network(body, 8).eval(), (3, 6, 6)), ALL) is None


def test_a_convolution_behind_another_layer_has_none() -> None:
    """That layer's weights change, and the moments would with them."""
    body = nn.Sequential(
        nn.Flatten(),
        nn.Linear(192, 192),
        nn.Unflatten(1, (3, 8, 8)),
        nn.Conv2d(3, 8, 3, padding=1),
    )
    assert moments_graph(folded(Network(body, 8).eval(), (3, 8, 8)), ALL) is None


def test_the_network_stays_as_it_was() -> None:
    forward = folded(*small())
    before = to_model(forward.graph)
    graph, _ = moments_graph(forward, ALL)
    assert to_model(forward.graph) == before
    assert list(graph.outputs) == ["moments"]


def small(side: int = 8) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return Network(body, 8).eval(), (3, side, side)
