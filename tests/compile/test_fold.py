"""Folding changes how a network is written and not what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward, Normalization
from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from sel_edge.core.errors import BundleError
from tests.compile.models import (
    CLASSES,
    HEAD,
    Array,
    assert_same,
    evaluate,
    logits,
    model,
    node,
    normal,
    ours,
    pooled,
)
from tests.compile.networks import NETWORKS

STATISTICS = "gamma beta mean var"


def statistics(channels: int, seed: int = 0, **fixed: Array) -> dict[str, Array]:
    """Parameters of a BatchNormalization as after training."""
    rng = np.random.default_rng(seed)
    made = {
        "gamma": rng.uniform(0.5, 1.5, channels),
        "beta": rng.normal(0, 0.5, channels),
        "mean": rng.normal(0, 0.5, channels),
        "var": rng.uniform(0.5, 2, channels),
    }
    return {name: np.float32(value) for name, value in {**made, **fixed}.items()}


def normalization(before: str, after: str, **attributes: Any) -> onnx.NodeProto:
    return node("BatchNormalization", f"{before} {STATISTICS}", after, **attributes)


def folded(proto: onnx.ModelProto, x: Array) -> Forward:
    """The folded network, which computes what the model computes."""
    forward = fold(load_graph(proto, len(x)))
    assert_same(logits(forward.graph, x), evaluate(proto, x)[0])
    check_form(forward)
    return forward


def check_form(forward: Forward) -> None:
    """What every rung relies on."""
    graph = forward.graph
    assert set(graph.outputs) == {"features", "logits"}
    head = next(n for n in graph.nodes if n.outputs[0] == graph.outputs["logits"])
    assert (head.op, head.attributes) == ("Gemm", {"transB": 1})
    assert head.inputs == (graph.outputs["features"], forward.head_weight, forward.head_bias)
    features, classes = graph.shape(head.inputs[0])[1], graph.shape(head.outputs[0])[1]
    assert graph.shape(forward.head_weight) == (classes, features)
    assert graph.shape(forward.head_bias) == (classes,)
    for layer in graph.nodes:
        if layer.op in ("Conv", "Gemm"):
            weight, bias = (graph.constants[name] for name in layer.inputs[1:])
            assert weight.dtype == bias.dtype == np.float32
            assert bias.shape == weight.shape[:1]


def value(forward: Forward, tensor: str, x: Array) -> Array:
    """A tensor of the network in onnxruntime."""
    forward.graph.outputs["probe"] = tensor
    proto = to_model(forward.graph)
    del forward.graph.outputs["probe"]
    return evaluate(proto, x)[[o.name for o in proto.graph.output].index("probe")]


def renormalized(record: Normalization, y: Array, mean: Array, variance: Array) -> Array:
    """The formula of the contract, with statistics of other data; float64."""

    def spread(v: Array) -> Array:
        return v.astype(np.float64).reshape(-1, *(1,) * (y.ndim - 2))

    scale = spread(record.std) / np.sqrt(spread(variance) + spread(record.epsilon))
    return scale * (y - spread(mean)) + spread(record.mean)


@st.composite
def layers(draw: st.DrawFn) -> tuple[onnx.ModelProto, Array]:
    """A convolution or linear layer with a BatchNormalization of any numbers, and an input."""
    rank = draw(st.sampled_from([1, 2, 0]))
    group = draw(st.sampled_from([1, 2, 3])) if rank else 1
    channels_in = group * draw(st.integers(1, 3))
    channels = group * draw(st.integers(1, 3))
    seed = draw(st.integers(0, 1000))
    signs = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=channels, max_size=channels)
    made = statistics(channels, seed)
    made["gamma"] *= np.float32(draw(signs))
    made["var"] *= np.float32(draw(st.sampled_from([1e-3, 1.0, 1e3])))
    epsilon = draw(st.sampled_from([1e-5, 1e-3, 1.0]))
    bias = {"k.bias": normal(channels, seed=seed)} if draw(st.booleans()) else {}
    weights = {**made, **bias, "w": normal(CLASSES, channels, seed=1), "b": HEAD["b"]}
    given_bias = " k.bias" if bias else ""
    if rank:
        kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
        shape = (2, channels_in, *([5] * rank))
        weights["k.weight"] = normal(channels, channels_in // group, *kernel, seed=seed)
        layer = node("Conv", f"x k.weight{given_bias}", "c", group=group)
        nodes = [layer, normalization("c", "d", epsilon=epsilon), *pooled("d")]
    else:
        shape = (2, channels_in, 1)
        weights["k.weight"] = normal(channels, channels_in, seed=seed)
        nodes = [
            node("Flatten", "x", "flat"),
            node("Gemm", f"flat k.weight{given_bias}", "c", transB=1),
            normalization("c", "d", epsilon=epsilon),
            node("Gemm", "d w b", "y", transB=1),
        ]
    return model(nodes, weights, shape), normal(*shape, seed=seed)


class TestNumbers:
    """Folding in float64 loses nothing, and its record is what the layer was normalized to."""

    @settings(max_examples=60)
    @given(layers())
    def test_a_folded_network_computes_the_same(self, case):
        proto, x = case
        forward = folded(proto, x)
        assert not any(n.op == "BatchNormalization" for n in forward.graph.nodes)

    @settings(max_examples=60)
    @given(layers())
    def test_source_statistics_reproduce_the_layer(self, case):
        proto, x = case
        (record,) = folded(proto, x).normalizations
        y = value(folded(proto, x), record.tensor, x)
        variance = record.std.astype(np.float64) ** 2 - record.epsilon
        assert (variance >= -1e-6 * record.std**2).all()
        alive = record.std > 0
        assert (record.epsilon[~alive] == 0).all()
        assume(alive.any())
        mean, std, epsilon = (v[alive] for v in (record.mean, record.std, record.epsilon))
        living = replace(record, mean=mean, std=std, epsilon=epsilon)
        again = renormalized(living, y[:, alive], living.mean, variance[alive])
        assert_same(again, y[:, alive].astype(np.float64))
        assert not np.ptp(y[:, ~alive], axis=(0, *range(2, y.ndim))).any()

    @pytest.mark.parametrize("signal", [True, False])
    def test_a_record_holds_mean_and_variance_of_the_layer_where_it_was_trained(self, signal):
        shape = (8, 3, 40) if signal else (8, 3, 9, 9)
        x, kernel = normal(*shape, seed=3), normal(4, 3, *([3] * (len(shape) - 2)), seed=4)
        gamma = np.array([1.5, -0.5, 0.1, 2.0])
        head = {"w": normal(CLASSES, 4), "b": HEAD["b"], "k": kernel}
        plain = model([node("Conv", "x k", "c"), *pooled("c")], head, shape)
        forward = fold(load_graph(plain, 8))
        raw = value(forward, forward.graph.nodes[0].outputs[0], x).astype(np.float64)
        axes = (0, *range(2, raw.ndim))
        trained = statistics(4, mean=raw.mean(axes), var=raw.var(axes), gamma=gamma)
        nodes = [node("Conv", "x k", "c"), normalization("c", "d", epsilon=1e-3), *pooled("d")]
        forward = folded(model(nodes, {**head, **trained}, shape), x)
        (record,) = forward.normalizations
        y = value(forward, record.tensor, x).astype(np.float64)
        np.testing.assert_allclose(y.mean(axes), record.mean, atol=1e-5)
        np.testing.assert_allclose(y.var(axes), record.std**2 - record.epsilon, rtol=1e-4)
        np.testing.assert_allclose(record.std, np.abs(gamma), rtol=1e-6)

    def test_statistics_of_other_data_normalize_them_as_torch_does_in_training(self):
        weights = {**HEAD, "k": normal(3, 3, 3, 3), **statistics(3, gamma=np.array([1, -2, 0.5]))}
        nodes = [node("Conv", "x k", "c"), normalization("c", "d"), *pooled("d")]
        x = 3 * normal(4, 3, 6, 6) + 1
        (record,) = (forward := folded(model(nodes, weights, x.shape), x)).normalizations
        y = value(forward, record.tensor, x).astype(np.float64)
        found = renormalized(record, y, y.mean((0, 2, 3)), y.var((0, 2, 3)))
        plain = fold(load_graph(model([nodes[0], *pooled("c")], weights, x.shape), 4))
        raw = value(plain, plain.graph.nodes[0].outputs[0], x).astype(np.float64)
        centred = raw - raw.mean((0, 2, 3), keepdims=True)
        unit = centred / np.sqrt(raw.var((0, 2, 3), keepdims=True) + 1e-5)
        gamma, beta = (weights[n].reshape(3, 1, 1) for n in ("gamma", "beta"))
        assert_same(found, gamma * unit + beta)


class TestNetworks:
    """Whole networks."""

    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize("batch", [2, "n"])
    def test_normalization_of_every_layer_is_folded_and_recorded_in_order(self, name, batch):
        _, shape, proto = ours(name)
        x = normal(2, *shape)
        forward = fold(load_graph(proto, batch))
        check_form(fold(load_graph(proto, 2)))
        features, expected = evaluate(proto, x)
        assert_same(logits(forward.graph, x), expected)
        assert_same(value(forward, forward.graph.outputs["features"], x), features)
        convolutions = [n for n in forward.graph.nodes if n.op == "Conv"]
        assert len(convolutions) == sum(n.op_type == "BatchNormalization" for n in proto.graph.node)
        assert [r.tensor for r in forward.normalizations] == [n.outputs[0] for n in convolutions]
        for record, layer in zip(forward.normalizations, convolutions, strict=True):
            assert (record.weight, record.bias) == layer.inputs[1:]
            assert record.bias == record.weight.replace(".weight", ".bias")
        assert (forward.head_weight, forward.head_bias) == ("fc.weight", "fc.bias")

    def test_names_do_not_depend_on_the_batch(self):
        _, _, proto = ours("branches")
        several = [fold(load_graph(proto, batch)) for batch in (1, 7, "n")]
        assert len({tuple(f.graph.constants) for f in several}) == 1
        assert len({tuple(r.tensor for r in f.normalizations) for f in several}) == 1


def refused(proto: onnx.ModelProto, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        fold(load_graph(proto, 2))
    for word in words:
        assert word in str(caught.value)


class TestWhatIsFolded:
    """Which operators become one layer, and which stay."""

    X = normal(2, 3, 6, 6)

    def operators(self, nodes: list[onnx.NodeProto], weights: Mapping[str, Array]) -> list[str]:
        proto = model(nodes, {**HEAD, **weights})
        return [n.op for n in folded(proto, self.X).graph.nodes]

    def test_a_layer_that_others_read_keeps_its_normalization(self):
        nodes = [
            node("Conv", "x k", "c"),
            normalization("c", "d"),
            node("Add", "c d", "e"),
            *pooled("e"),
        ]
        found = self.operators(nodes, {"k": normal(3, 3, 1, 1), **statistics(3)})
        assert found[:3] == ["Conv", "BatchNormalization", "Add"]

    def test_normalization_before_the_layer_stays(self):
        nodes = [
            normalization("x", "n"),
            node("Relu", "n", "r"),
            node("Conv", "r k", "c"),
            *pooled("c"),
        ]
        proto = model(nodes, {**HEAD, "k": normal(3, 3, 1, 1), **statistics(3)})
        forward = folded(proto, self.X)
        assert [n.op for n in forward.graph.nodes][:3] == ["BatchNormalization", "Relu", "Conv"]
        assert forward.graph.nodes[0].inputs[1:] == tuple(STATISTICS.split())
        assert forward.normalizations == ()
        assert forward.graph.nodes[2].inputs[1:] == ("k", "k.bias")
        assert not forward.graph.constants["k.bias"].any()

    def test_a_second_normalization_stays(self):
        nodes = [
            node("Conv", "x k", "c"),
            normalization("c", "d"),
            normalization("d", "e"),
            *pooled("e"),
        ]
        proto = model(nodes, {**HEAD, "k": normal(3, 3, 1, 1), **statistics(3)})
        forward = folded(proto, self.X)
        assert [n.op for n in forward.graph.nodes][:2] == ["Conv", "BatchNormalization"]
        assert len(forward.normalizations) == 1

    def test_normalization_behind_a_transposed_convolution_stays(self):
        nodes = [node("ConvTranspose", "x k", "c"), normalization("c", "d"), *pooled("d")]
        found = self.operators(nodes, {"k": normal(3, 3, 2, 2), **statistics(3)})
        assert found[:2] == ["ConvTranspose", "BatchNormalization"]

    def test_normalization_behind_a_product_of_three_dimensions_stays(self):
        nodes = [
            node("Reshape", "x shape", "s"),
            node("MatMul", "s k", "c"),
            normalization("c", "d"),
            *pooled("d"),
        ]
        weights = {"shape": np.array([2, 3, 36]), "k": normal(36, 5), **statistics(3)}
        assert self.operators(nodes, weights)[1:3] == ["MatMul", "BatchNormalization"]

    def test_a_bias_that_is_added_behind_a_convolution_joins_it(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Add", "shift c", "a"),
            normalization("a", "d"),
            *pooled("d"),
        ]
        weights = {"k": normal(3, 3, 1, 1), "shift": normal(3, 1, 1), **statistics(3)}
        forward = folded(model(nodes, {**HEAD, **weights}), self.X)
        assert forward.graph.nodes[0].inputs[1:] == ("k", "shift")
        assert forward.graph.shape("shift") == (3,)

    def test_what_is_added_to_a_layer_but_is_no_bias_stays(self):
        nodes = [node("Conv", "x k", "c"), node("Add", "c image_like", "a"), *pooled("a")]
        found = self.operators(nodes, {"k": normal(3, 3, 1, 1), "image_like": normal(1, 3, 6, 6)})
        assert found[:2] == ["Conv", "Add"]

    @pytest.mark.parametrize(
        ("layer", "weights"),
        [
            ([node("Gemm", "f k b5", "h", transB=1)], {"k": normal(5, 3)}),
            ([node("Gemm", "f k b5", "h", alpha=0.5, beta=-2.0)], {"k": normal(3, 5)}),
            ([node("Gemm", "f k one", "h", alpha=0.5, beta=3.0)], {"k": normal(3, 5)}),
            ([node("Gemm", "f k", "h")], {"k": normal(3, 5)}),
            ([node("MatMul", "f k", "h")], {"k": normal(3, 5)}),
            ([node("MatMul", "f k", "m"), node("Add", "m b5", "h")], {"k": normal(3, 5)}),
            ([node("MatMul", "f k", "m"), node("Add", "b15 m", "h")], {"k": normal(3, 5)}),
            ([node("MatMul", "f k", "m"), node("Add", "m one", "h")], {"k": normal(3, 5)}),
        ],
    )
    @pytest.mark.parametrize("normalized", [True, False])
    def test_linear_layers_of_every_kind(self, layer, weights, normalized):
        biases = {"b5": normal(5), "b15": normal(1, 5), "one": np.float32(0.7)}
        head = {"w": normal(CLASSES, 5), "b": HEAD["b"]}
        nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), *layer]
        nodes += [normalization("h", "d")] if normalized else [node("Relu", "h", "d")]
        nodes += [node("Gemm", "d w b", "y", transB=1)]
        forward = folded(model(nodes, {**head, **biases, **weights, **statistics(5)}), self.X)
        linear = [n for n in forward.graph.nodes if n.op == "Gemm"]
        assert len(linear) == 2
        assert all(n.attributes == {"transB": 1} for n in linear)
        assert forward.graph.shape(linear[0].inputs[1]) == (5, 3)
        assert linear[0].inputs[1] == "k"
        assert len(forward.normalizations) == normalized

    @pytest.mark.parametrize(
        "head", [[node("MatMul", "flat wt", "y")], [node("Gemm", "flat w", "y", transB=1)]]
    )
    def test_a_head_without_bias_gets_zeros(self, head):
        nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "flat"), *head]
        proto = model(nodes, {"w": HEAD["w"], "wt": np.ascontiguousarray(HEAD["w"].T)})
        forward = folded(proto, self.X)
        assert not forward.graph.constants[forward.head_bias].any()
        assert forward.head_bias == f"{forward.head_weight}.bias"

    def test_a_shared_weight_stays_one_unless_folding_parts_it(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("Conv", "r k", "d"),
            node("Relu", "d", "s"),
            node("Conv", "s k", "e"),
            normalization("e", "f"),
            *pooled("f"),
        ]
        proto = model(nodes, {**HEAD, "k": normal(3, 3, 1, 1), **statistics(3)})
        weights = [n.inputs[1] for n in folded(proto, self.X).graph.nodes if n.op == "Conv"]
        assert weights[0] == weights[1] == "k"
        assert weights[2] != "k"

    def test_a_new_bias_does_not_take_the_name_of_another_parameter(self):
        nodes = [
            node("Add", "x k.bias", "a"),
            node("Conv", "a k.weight", "c"),
            normalization("c", "d"),
            *pooled("d"),
        ]
        weights = {"k.weight": normal(3, 3, 1, 1), "k.bias": normal(3, 1, 1), **statistics(3)}
        forward = folded(model(nodes, {**HEAD, **weights}), self.X)
        (record,) = forward.normalizations
        np.testing.assert_array_equal(forward.graph.constants["k.bias"], weights["k.bias"])
        assert record.bias != "k.bias"

    def test_a_graph_is_left_as_it_was(self):
        nodes = [node("Conv", "x k", "c"), normalization("c", "d"), *pooled("d")]
        graph = load_graph(model(nodes, {**HEAD, "k": normal(3, 3, 1, 1), **statistics(3)}), 2)
        before = to_model(graph).SerializeToString()
        fold(graph)
        assert to_model(graph).SerializeToString() == before


class TestRefusals:
    """Numbers and forms that cannot be trained."""

    def test_a_variance_that_is_not_positive(self):
        nodes = [node("Conv", "x k", "c"), normalization("c", "d"), *pooled("d")]
        made = statistics(3, var=np.array([1, -1, 1]))
        refused(model(nodes, {**HEAD, "k": normal(3, 3, 1, 1), **made}), "variance", "n_d")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
    def test_weights_that_are_not_finite(self, bad):
        kernel = normal(3, 3, 1, 1)
        kernel[0, 0] = bad
        nodes = [node("Conv", "x k", "c"), normalization("c", "d"), *pooled("d")]
        made = statistics(3, gamma=np.full(3, 10))
        refused(model(nodes, {**HEAD, "k": kernel, **made}), "not finite", "weights k")

    def test_features_that_are_not_those_of_the_head(self):
        nodes = pooled()
        nodes[-1].output[0] = "logits"
        nodes.append(node("Relu", "flat", "features"))
        refused(model(nodes, HEAD, outputs=("features", "logits")), "features")
