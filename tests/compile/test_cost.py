"""Costs against torch's own counter."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sel_edge.compile import convolve
from sel_edge.compile.blocks import layers_of
from sel_edge.compile.cost import cost
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import Graph
from sel_edge.compile.load import load_graph
from sel_edge.compile.optimizers import Sgd
from sel_edge.compile.rungs import Trained, training_step
from tests.compile import reference
from tests.compile.networks import NETWORKS, exported, settled

BATCH = 4


@pytest.mark.parametrize("name", ["resnet18", "resnet1d", "branches"])
def test_a_full_step_costs_what_torch_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the Winograd domain, which needs fewer operations than torch's counter knows."""
    monkeypatch.setattr(convolve, "WINOGRAD_MIN_CHANNELS", sys.maxsize)
    make, shape = NETWORKS[name]
    forward = fold(load_graph(exported(settled(make, shape), shape), BATCH))
    trained = [Trained(la.weight, la.bias, None, la.weight) for la in layers_of(forward.graph)]
    found = cost(training_step(forward, "image", trained, Sgd()).step, {"classes": 5})
    given = {
        name: torch.tensor(forward.graph.constants[name]).requires_grad_()
        for layer in trained
        for name in (layer.weight, layer.bias)
    }
    with FlopCounterMode(display=False) as counter:
        reference.forward(forward.graph, given, torch.zeros(BATCH, *shape)).sum().backward()
    assert found.executed_flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_bytes_of_a_small_graph() -> None:
    g = Graph()
    x = g.input("x", "float32", (10, 20))
    doubled = g.add("Add", x, x)
    view = g.add("Reshape", doubled, g.ints(200))
    g.outputs["out"] = g.add("Mul", view, view)
    found = cost(g, {})
    assert found.executed_flops == 0
    assert found.moved_bytes == 6 * 800  # each of the two operators reads two and writes one
    assert found.peak_bytes == 3 * 800 + 8  # x, doubled, the product, and the shape of the view


def test_named_dimensions_take_the_given_size() -> None:
    g = Graph()
    g.input("w", "float32", ("classes", 8))
    g.input("x", "float32", (4, 8))
    g.outputs["out"] = g.add("Gemm", "x", "w", transB=1)
    assert cost(g, {"classes": 3}).executed_flops == 2 * 4 * 8 * 3
