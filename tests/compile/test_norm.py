"""Normalization estimated anew against torch: whole networks, single layers, and odd channels."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Graph, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.norm import norm_graph
from sel_edge.core.errors import BundleError
from tests.compile.models import CLASSES, assert_same, logits, model, node, normal, pooled
from tests.compile.networks import NETWORKS, Network, exported, settled

Array = NDArray[Any]
FRAMES = 12
TOLERANCE = 1e-4


def estimate(graph: Graph, image: Array, blend: float = 1.0) -> dict[str, Array]:
    """All outputs of a norm graph."""
    proto = to_model(graph)
    onnx.checker.check_model(proto, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {"image": image, "blend": np.array(blend, np.float32)}
    return dict(zip(names, session.run(names, feeds), strict=True))


def adopted(forward: Forward, found: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of the normalized layers with what was found folded into them."""
    parameters = {}
    for n in forward.normalizations:
        scale, shift = found[f"scale/{n.weight}"], found[f"shift/{n.weight}"]
        weight, bias = (forward.graph.constants[name] for name in (n.weight, n.bias))
        parameters[n.weight] = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        parameters[n.bias] = bias * scale + shift
    return parameters


def with_parameters(graph: Graph, parameters: Mapping[str, Array]) -> Graph:
    """The graph as a session would run it that was opened with these parameters."""
    return replace(graph, constants=graph.constants | parameters)


class Blended(nn.Module):
    """Batch normalization by the weighted statistics of the batch and of the training."""

    def __init__(self, trained: nn.BatchNorm1d | nn.BatchNorm2d, blend: float) -> None:
        super().__init__()
        self.trained, self.blend = trained, blend

    def forward(self, x: Tensor) -> Tensor:
        return blended(x, self.trained, self.blend)


def blended(x: Tensor, of: Any, blend: float) -> Tensor:
    """Normalize by what `of` knows of its training and what x says."""
    where = [d for d in range(x.ndim) if d != 1]
    mean = (1 - blend) * of.running_mean + blend * x.mean(where)
    variance = (1 - blend) * of.running_var + blend * x.var(where, correction=0)
    return F.batch_norm(x, mean, variance, of.weight, of.bias, False, 0.0, of.eps)


def with_blend(network: nn.Module, blend: float) -> nn.Module:
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, Blended(child, blend))
    return network


class Perceptron(nn.Module):
    """Normalization behind linear layers."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.ReLU()]
        self.features = nn.Sequential(*first, nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(x))
        return out


class PreActivation(nn.Module):
    """Normalization before the convolution: there is no layer to fold it into."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.before = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.after = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + torch.relu(self.after(self.conv(torch.relu(self.before(x)))))


CASES = {**NETWORKS, "perceptron": (Perceptron, (3, 4, 4))}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Forward, Array]:
    """A trained network in torch, the same one folded, and frames of another kind."""
    make, shape = CASES[request.param]
    network = settled(make, shape)
    forward = fold(load_graph(exported(network, shape), FRAMES))
    return network, forward, 2 * normal(FRAMES, *shape, seed=1) + 0.7


def torch_logits(network: nn.Module, image: Array) -> Array:
    with torch.no_grad():
        found: Array = network(torch.tensor(image)).numpy()
    return found


def test_batch_statistics_give_the_logits_of_torch_in_training_mode(case):
    network, forward, image = case
    found = estimate(norm_graph(forward), image)
    expected = torch_logits(copy.deepcopy(network).train(), image)
    assert_same(found["logits"], expected, TOLERANCE)
    assert np.abs(expected - torch_logits(network, image)).max() > 0.01 * np.abs(expected).max()
    weights = {n.weight for n in forward.normalizations}
    estimated = {f"{k}/{w}" for w in weights for k in ("scale", "shift")}
    assert set(found) == {"features", "logits"} | estimated
    weight, bias = (forward.graph.constants[n] for n in (forward.head_weight, forward.head_bias))
    assert_same(found["features"] @ weight.T + bias, found["logits"], TOLERANCE)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_frames_in_parts_have_the_statistics_of_all(name: str, parts: int) -> None:
    make, shape = CASES[name]
    model = exported(settled(make, shape), shape)
    whole, part = (fold(load_graph(model, FRAMES // count)) for count in (1, parts))
    image = 2 * normal(FRAMES, *shape, seed=1) + 0.7
    image[: FRAMES // parts] += 3
    expected = estimate(norm_graph(whole), image, blend=0.7)
    found = estimate(norm_graph(part, parts=parts), image, blend=0.7)
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert_same(found[output], value, 1e-3)


@pytest.mark.parametrize("blend", [1.0, 0.3])
def test_scale_and_shift_make_the_plain_network_give_the_same_logits(case, blend):
    network, forward, image = case
    found = estimate(norm_graph(forward), image, blend)
    plain = logits(with_parameters(forward.graph, adopted(forward, found)), image)
    assert_same(plain, found["logits"], TOLERANCE)
    assert_same(plain, torch_logits(with_blend(network, blend), image), TOLERANCE)


def test_without_a_weight_for_the_batch_nothing_changes(case):
    network, forward, image = case
    found = estimate(norm_graph(forward), image, blend=0.0)
    for name, value in found.items():
        if name not in ("features", "logits"):
            np.testing.assert_allclose(value, float(name.startswith("scale/")), atol=1e-5)
    assert_same(found["logits"], torch_logits(network, image), TOLERANCE)


def test_weights_can_be_replaced_and_what_is_normalized_already_stays(case):
    _, forward, image = case
    graph = norm_graph(forward)
    first = estimate(graph, image)
    again = estimate(with_parameters(graph, adopted(forward, first)), image)
    assert_same(again["logits"], first["logits"], 0.01)
    for n in forward.normalizations:
        np.testing.assert_allclose(again[f"scale/{n.weight}"], 1.0, atol=0.01)
        np.testing.assert_allclose(again[f"shift/{n.weight}"], 0.0, atol=0.01)


def test_normalization_that_could_not_be_folded_keeps_its_statistics():
    def make() -> nn.Module:
        return Network(PreActivation(), 8)

    network = settled(make, (3, 8, 8))
    forward = fold(load_graph(exported(network, (3, 8, 8)), FRAMES))
    image = 2 * normal(FRAMES, 3, 8, 8) + 0.7
    assert [n.weight for n in forward.normalizations] == ["body.conv.weight"]
    expected = copy.deepcopy(network)
    expected.body.after.train()
    assert_same(estimate(norm_graph(forward), image)["logits"], torch_logits(expected, image), 1e-4)


SAMPLE = {1: (6, 40), 2: (6, 17, 17)}


def one_layer(
    dims: int, frames: int, group: int, stride: int, statistics: Mapping[str, Array]
) -> tuple[Forward, Array]:
    """A convolution, its normalization, and a head on 12 channels; and the weights before that."""
    weight = normal(12, SAMPLE[dims][0] // group, *(3,) * dims, seed=3)
    head = {"w": normal(CLASSES, 12, seed=1), "b": normal(CLASSES, seed=2)}
    nodes = [
        node("Conv", "x k", "c", strides=[stride] * dims, pads=[1] * 2 * dims, group=group),
        node("BatchNormalization", "c gamma beta mean var", "n", epsilon=1e-5),
        node("Relu", "n", "r"),
        *pooled("r"),
    ]
    proto = model(nodes, {"k": weight, **statistics, **head}, (frames, *SAMPLE[dims]))
    return fold(load_graph(proto, frames)), weight


@settings(max_examples=40)
@given(
    dims=st.sampled_from([1, 2]),
    frames=st.integers(1, 5),
    group=st.sampled_from([1, 2, 6]),
    stride=st.integers(1, 2),
    gamma=st.lists(st.sampled_from([0.0, 1e-3, 0.7, 4.0, -1.5]), min_size=12, max_size=12),
    beta=st.floats(-5, 5),
    offset=st.floats(-4, 4),
    blend=st.floats(0, 1, width=32),
)
def test_any_layer_is_normalized_as_torch_does_it(
    dims, frames, group, stride, gamma, beta, offset, blend
):
    assume(any(gamma))
    rng = np.random.default_rng(frames)
    statistics = {
        "gamma": np.array(gamma, np.float32),
        "beta": (beta + rng.normal(0, 0.2, 12)).astype(np.float32),
        "mean": rng.normal(0, 3, 12).astype(np.float32),
        "var": rng.uniform(0.1, 30, 12).astype(np.float32),
    }
    forward, weight = one_layer(dims, frames, group, stride, statistics)
    image = normal(frames, *SAMPLE[dims], seed=4) + np.float32(offset)
    found = estimate(norm_graph(forward), image, blend)

    norm = nn.BatchNorm2d(12).double()
    for target, name in zip(
        (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var),
        ("gamma", "beta", "mean", "var"),
        strict=True,
    ):
        target.copy_(torch.tensor(statistics[name]))
    convolve = F.conv1d if dims == 1 else F.conv2d
    x = torch.tensor(image, dtype=torch.float64)
    y = convolve(x, torch.tensor(weight).double(), stride=stride, padding=1, groups=group)
    features = torch.relu(blended(y, norm, blend)).detach().mean(tuple(range(2, y.ndim))).numpy()
    constants = forward.graph.constants
    expected = features @ constants["w"].T + constants["b"]
    assert_same(found["logits"], expected.astype(np.float32), TOLERANCE)
    plain = logits(with_parameters(forward.graph, adopted(forward, found)), image)
    assert_same(plain, expected.astype(np.float32), TOLERANCE)


def ordinary(**changes: Array) -> dict[str, Array]:
    found = {"gamma": np.ones(12), "beta": np.zeros(12), "mean": np.zeros(12), "var": np.ones(12)}
    return {name: value.astype(np.float32) for name, value in (found | changes).items()}


def test_a_channel_without_a_scale_stays_as_it_is():
    gamma = np.linspace(-1, 1, 12)
    gamma[[2, 5, 7]] = [0.0, 1e-30, -1e-18]
    forward, _ = one_layer(2, 3, 1, 1, ordinary(gamma=gamma, beta=normal(12)))
    found = estimate(norm_graph(forward), 5 * normal(3, *SAMPLE[2]) + 2)
    assert np.isfinite(np.concatenate([value.ravel() for value in found.values()])).all()
    np.testing.assert_allclose(found["scale/k"][[2, 5, 7]], 1.0, atol=1e-6)
    np.testing.assert_allclose(found["shift/k"][[2, 5, 7]], 0.0, atol=1e-6)


def test_a_small_scale_on_a_large_bias_loses_no_digits():
    """The bias is a million times the deviation: E[y^2] - E[y]^2 of the output would be noise."""
    forward, weight = one_layer(
        2, 4, 1, 1, ordinary(gamma=np.full(12, 1e-5), beta=np.full(12, 10.0))
    )
    image = normal(4, *SAMPLE[2], seed=5)
    found = estimate(norm_graph(forward), image)
    y = F.conv2d(torch.tensor(image).double(), torch.tensor(weight).double(), padding=1)
    expected = np.sqrt(1 + 1e-5) / np.sqrt(y.var((0, 2, 3), correction=0).numpy() + 1e-5)
    np.testing.assert_allclose(found["scale/k"], expected, rtol=1e-4)


def test_a_network_without_normalization_is_refused():
    head = {"w": normal(CLASSES, 3), "b": normal(CLASSES)}
    forward = fold(load_graph(model(pooled(), head), 2))
    with pytest.raises(BundleError, match="no BatchNormalization"):
        norm_graph(forward)


def test_layers_with_common_parameters_are_refused():
    nodes = [
        node("Conv", "x k", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c gamma beta mean var", "n"),
        node("Conv", "n k", "d", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "d gamma beta mean var", "m"),
        *pooled("m"),
    ]
    vectors = dict.fromkeys(("gamma", "beta", "mean", "var"), np.ones(3, np.float32))
    head = {"w": normal(CLASSES, 3), "b": normal(CLASSES)}
    forward = fold(load_graph(model(nodes, {"k": normal(3, 3, 3, 3), **vectors, **head}), 2))
    with pytest.raises(BundleError, match="shares its parameters"):
        norm_graph(forward)


def test_a_single_value_has_no_variance():
    network = settled(Perceptron, (3, 4, 4))
    forward = fold(load_graph(exported(network, (3, 4, 4)), 1))
    with pytest.raises(BundleError, match="single value"):
        norm_graph(forward)
