"""Training steps as graphs against torch in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from sel_edge.compile.blocks import deep_cut, layers_of, tail_cut
from sel_edge.compile.cost import cost
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Graph, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.optimizers import Adam, Optimizer, Sgd
from sel_edge.compile.rungs import StepGraphs, Trained, importance, training_step
from tests.compile import reference
from tests.compile.networks import NETWORKS, exported, resnet18, settled

BATCH = 6
TEMPERATURE = 1.5
MAX_RELATIVE_ERROR = 1e-4

Array = NDArray[Any]


def run(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        to_model(graph).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(
            names,
            session.run(names, {i.name: feeds[i.name] for i in session.get_inputs()}),
            strict=True,
        )
    )


@dataclass
class Case:
    """One rung of one network with data to run it on."""

    forward: Forward
    cut: str
    trained: list[Trained]
    optimizer: Optimizer
    latent: Array
    labels: Array
    weights: Array
    channels: dict[str, Array]

    @property
    def start(self) -> str:
        return "image" if self.cut == "image" else "latent"

    def graphs(self) -> StepGraphs:
        return training_step(self.forward, self.cut, self.trained, self.optimizer)

    def feeds(self, learning_rate: float = 0.0) -> dict[str, Array]:
        """Everything a step takes, but what `select` and `fill` compute."""
        found: dict[str, Array] = {
            self.start: self.latent,
            "labels": self.labels,
            "sample_weights": self.weights,
            "temperature": np.array(TEMPERATURE, np.float32),
            "learning_rate": np.array(learning_rate, np.float32),
            "step": np.array(1.0, np.float32),
        }
        for name, value in self.forward.graph.constants.items():
            found[f"frozen/{name}"] = value
        for layer in self.trained:
            rows = self.channels.get(layer.weight, slice(None))
            found[f"channels/{layer.weight}"] = self.channels.get(layer.weight, np.zeros(0))
            for name in (layer.weight, layer.bias):
                found[name] = self.forward.graph.constants[name][rows]
                for state in self.optimizer.state:
                    found[f"{state}/{name}"] = np.zeros_like(found[name])
        return found

    def step(self, graphs: StepGraphs, feeds: dict[str, Array]) -> dict[str, Array]:
        for part in (graphs.select, graphs.fill):
            if part.outputs:
                feeds = {**feeds, **run(part, feeds)}
        return run(graphs.step, feeds)

    def gradients(
        self, decisions: Mapping[str, Array] | None = None
    ) -> tuple[Any, dict[str, Array]]:
        """Torch's losses and gradients of the trained rows, in float64."""
        graph = self.forward.graph
        names = [name for layer in self.trained for name in (layer.weight, layer.bias)]
        given = {
            name: torch.tensor(graph.constants[name], dtype=torch.float64).requires_grad_()
            for name in names
        }
        logits = reference.forward(
            graph, given, torch.tensor(self.latent).double(), self.cut, decisions
        )
        each, mean = reference.loss(
            logits, torch.tensor(self.labels), torch.tensor(self.weights), TEMPERATURE
        )
        mean.backward()
        found = {}
        for layer in self.trained:
            rows = self.channels.get(layer.weight, slice(None))
            for name in (layer.weight, layer.bias):
                gradient = given[name].grad
                assert gradient is not None
                found[name] = gradient.numpy()[rows]
        return each.detach().numpy(), found


def case(
    forward: Forward, rung: str, optimizer: Optimizer | None = None, share: float = 0.25
) -> Case:
    rng = np.random.default_rng(3)
    graph = forward.graph
    cut, trained = "image", []
    if rung == "full":
        trained = [Trained(la.weight, la.bias, None, la.weight) for la in layers_of(graph)]
    elif rung == "head":
        cut, trained = (
            graph.outputs["features"],
            [Trained(forward.head_weight, forward.head_bias, "rows", forward.head_weight)],
        )
    else:
        found = tail_cut(forward) if rung == "tail" else deep_cut(forward)
        assert found is not None
        cut = found.tensor
        trained = [
            Trained(
                la.weight, la.bias, max(1, round(share * graph.shape(la.weight)[0])), la.follows
            )
            for la in found.layers
        ]
    channels = {}
    for layer in trained:
        count = graph.shape(layer.weight)[0]
        if layer.channels is not None:
            k = layer.channels if isinstance(layer.channels, int) else 2
            chosen = rng.permutation(count)[:k]
            channels[layer.weight] = channels.get(layer.follows, chosen)
    batch = graph.shape(cut)[0]
    latent = rng.standard_normal(graph.shape(cut), dtype=np.float32)
    return Case(
        forward,
        cut,
        trained,
        optimizer or Sgd(momentum=0.9),
        latent if cut == "image" else np.abs(latent),
        rng.integers(0, graph.shape(forward.head_bias)[0], batch),
        rng.uniform(0.5, 1.5, batch).astype(np.float32),
        channels,
    )


@pytest.fixture(scope="module", params=list(NETWORKS))
def forward(request: pytest.FixtureRequest) -> Forward:
    make, shape = NETWORKS[request.param]
    return fold(load_graph(exported(settled(make, shape), shape), BATCH))


def relative_error(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("rung", ["head", "tail", "deep", "full"])
def test_gradients_are_torchs(forward: Forward, rung: str) -> None:
    tried = case(forward, rung)
    found = tried.step(tried.graphs(), tried.feeds())
    losses, gradients = tried.gradients()
    np.testing.assert_allclose(found["loss"], losses, rtol=1e-4)
    assert ("features" in found) == (rung != "head")
    if rung != "head":
        weight, bias = (
            tried.feeds()[f"frozen/{n}"] for n in (forward.head_weight, forward.head_bias)
        )
        np.testing.assert_allclose(
            found["features"] @ weight.T + bias, found["logits"], rtol=1e-4, atol=1e-4
        )
    for name, gradient in gradients.items():
        # With momentum and no past, the new velocity is the gradient.
        assert relative_error(found[f"new/velocity/{name}"], gradient) < MAX_RELATIVE_ERROR, name


def test_gradients_of_the_wide_resnet_are_torchs() -> None:
    shape = (3, 32, 32)
    network = settled(lambda: resnet18(64), shape)
    tried = case(fold(load_graph(exported(network, shape), 8)), "full")
    graphs = tried.graphs()
    # Among millions of activations some lie within float32's rounding of zero, where the gradient
    # of ReLU jumps. Both sides take the decisions that the graph under test took.
    source = [n.outputs[0] for n in tried.forward.graph.nodes if n.op == "Relu"]
    made = [n.outputs[0] for n in graphs.step.needed_nodes() if n.op == "Relu"]
    for name, tensor in zip(source, made, strict=True):
        graphs.step.outputs[f"relu/{name}"] = tensor
    found = tried.step(graphs, tried.feeds())
    decisions = {
        name: batch_first(found[f"relu/{name}"] > 0, tried.forward.graph.shape(name))
        for name in source
    }
    _, gradients = tried.gradients(decisions)
    for name, gradient in gradients.items():
        assert relative_error(found[f"new/velocity/{name}"], gradient) < MAX_RELATIVE_ERROR, name


def batch_first(array: Array, shape: tuple[int, ...]) -> Array:
    """Undo what the compiler did to the order of dimensions."""
    for order in ((0, 1, 2, 3), (3, 2, 0, 1), (3, 0, 1, 2), (3, 1, 0, 2)):
        if array.transpose(order).shape == shape:
            return array.transpose(order)
    raise AssertionError(f"{array.shape} is no order of {shape}")


def steps(tried: Case, count: int, learning_rate: float) -> tuple[list[float], dict[str, Array]]:
    """Mean losses of some steps on the same batch, and the tensors after the last."""
    graphs = tried.graphs()
    feeds = tried.feeds(learning_rate)
    for part in (graphs.select, graphs.fill):
        if part.outputs:
            feeds |= run(part, feeds)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        to_model(graphs.step).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    losses = []
    for number in range(count):
        feeds["step"] = np.array(number + 1.0, np.float32)
        given = {i.name: feeds[i.name] for i in session.get_inputs()}
        found = dict(zip(names, session.run(names, given), strict=True))
        losses.append(float(np.average(found["loss"], weights=tried.weights)))
        feeds |= {n.removeprefix("new/"): v for n, v in found.items() if n.startswith("new/")}
    return losses, feeds


def torch_steps(
    tried: Case, count: int, optimizer: torch.optim.Optimizer, given: Any
) -> list[float]:
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        logits = reference.forward(
            tried.forward.graph, given, torch.tensor(tried.latent), tried.cut
        )
        _, mean = reference.loss(
            logits, torch.tensor(tried.labels), torch.tensor(tried.weights), TEMPERATURE
        )
        mean.backward()
        optimizer.step()
        losses.append(float(mean.detach()))
    return losses


def torch_parameters(tried: Case) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor(tried.forward.graph.constants[name]).requires_grad_()
        for layer in tried.trained
        for name in (layer.weight, layer.bias)
    }


def test_200_full_steps_follow_torchs_loss(forward: Forward) -> None:
    tried = case(forward, "full", Sgd(momentum=0.9, weight_decay=1e-3))
    given = torch_parameters(tried)
    # At larger rates the steps amplify which side of zero a ReLU's input falls on by rounding:
    # at 0.001 torch's own float32 parts from its float64 by 2 % for some weights.
    optimizer = torch.optim.SGD(given.values(), 0.0003, momentum=0.9, weight_decay=1e-3)
    expected = torch_steps(tried, 200, optimizer, given)
    found, _ = steps(tried, 200, 0.0003)
    assert expected[-1] < 0.8 * expected[0]
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_adam_is_torchs(forward: Forward) -> None:
    tried = case(forward, "full", Adam(weight_decay=0.01))
    given = torch_parameters(tried)
    optimizer = torch.optim.Adam(given.values(), 1e-3, weight_decay=0.01)
    expected = torch_steps(tried, 5, optimizer, given)
    found, _ = steps(tried, 5, 1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("rung", ["head", "tail", "deep"])
def test_sparse_steps_are_those_of_the_whole_network(forward: Forward, rung: str) -> None:
    """Ten steps on cached contributions equal ten steps that compute everything."""
    tried = case(forward, rung, Sgd(momentum=0.5))
    given = torch_parameters(tried)
    masks = {}
    for layer in tried.trained:
        for name in (layer.weight, layer.bias):
            masks[name] = torch.zeros_like(given[name])
            masks[name][tried.channels[layer.weight]] = 1.0
            given[name].register_hook(lambda gradient, mask=masks[name]: gradient * mask)
    optimizer = torch.optim.SGD(given.values(), 0.005, momentum=0.5)
    expected = torch_steps(tried, 10, optimizer, given)
    found, feeds = steps(tried, 10, 0.005)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    for layer in tried.trained:
        rows = given[layer.weight].detach().numpy()[tried.channels[layer.weight]]
        np.testing.assert_allclose(feeds[layer.weight], rows, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("rung", ["tail", "deep"])
def test_importance_is_the_fisher_information_of_torch(forward: Forward, rung: str) -> None:
    tried = case(forward, rung)
    weights = [layer.weight for layer in tried.trained]
    graph = importance(tried.forward, tried.cut, weights)
    found = run(graph, tried.feeds())
    outputs: dict[str, torch.Tensor] = {}
    logits = reference.forward(
        tried.forward.graph, {}, torch.tensor(tried.latent).double(), tried.cut, kept=outputs
    )
    each, _ = reference.loss(
        logits, torch.tensor(tried.labels), torch.tensor(tried.weights), TEMPERATURE
    )
    tensors = {
        n.inputs[1]: outputs[n.outputs[0]]
        for n in tried.forward.graph.nodes
        if n.outputs[0] in outputs and n.op in ("Conv", "Gemm")
    }
    gradients = torch.autograd.grad(each.sum(), [tensors[w] for w in weights])
    share = torch.tensor(tried.weights / tried.weights.sum()).double()
    for weight, gradient in zip(weights, gradients, strict=True):
        product = (
            (tensors[weight] * gradient).flatten(2).sum(2)
            if gradient.ndim > 2
            else tensors[weight] * gradient
        )
        expected = (share[:, None] * product**2).sum(0) / 2
        assert relative_error(found[f"fisher/{weight}"], expected.detach().numpy()) < 1e-4


def test_unchosen_operators_are_not_there(forward: Forward) -> None:
    """Everything that only frozen channels need is out of the step."""
    tried = case(forward, "tail", share=0.25)
    dense = [Trained(t.weight, t.bias, None, t.weight) for t in tried.trained]
    whole = training_step(tried.forward, tried.cut, dense, Sgd())
    assert flops(tried.graphs().step) < 0.6 * flops(whole.step)


def flops(graph: Graph) -> int:
    return cost(graph, {"classes": 5, "rows": 2}).executed_flops
