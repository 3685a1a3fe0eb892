"""Which layers each rung trains, from where, and what the manifest says of it."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import NodeProto

from sel_edge.bundle.rungs import RUNGS
from sel_edge.compile.blocks import cuts, deep_cut, layers_of, tail_cut
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.ladder import Ladder, LadderOptions, compile_ladder
from sel_edge.compile.load import load_graph
from sel_edge.compile.optimizers import Adam
from sel_edge.core.errors import BundleError, ConfigError
from tests.compile.models import HEAD, Array, model, node, normal, ours, pooled
from tests.compile.networks import NETWORKS

TRAINING = ("head", "tail", "deep", "full")


@cache
def ladder(name: str) -> Ladder:
    return compile_ladder(ours(name)[2], LadderOptions(batch=6, frames=8))


@pytest.fixture(params=list(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def compiled(proto: onnx.ModelProto, *rungs: str, **options: object) -> Ladder:
    return compile_ladder(proto, LadderOptions(rungs or RUNGS, 4, 8, **options))  # type: ignore[arg-type]


def trained(found: Ladder, rung: str) -> list[str]:
    return [layer.weight for layer in found.rungs[rung].layers]


def all_weights(name: str) -> list[str]:
    return [layer.weight for layer in layers_of(ladder(name).forward.graph)]


LAST_BLOCK = {
    "resnet18": ["layer4.1.conv1", "layer4.1.conv2"],
    "mobilenet": ["body.5.layers.0", "body.5.layers.3", "body.5.layers.6"],
    "resnet1d": ["body.4.layers.0", "body.4.layers.3", "body.4.shortcut.0"],
    "branches": ["body.1.near.0", "body.1.far.0"],
}


class TestLayers:
    """From the cheapest rung to the full one."""

    def test_head_trains_the_classifier_from_the_features(self, name):
        rung = ladder(name).rungs["head"]
        assert trained(ladder(name), "head") == ["fc.weight"]
        assert (rung.cut, rung.layers[0].rows) == ("features", None)

    def test_tail_trains_some_channels_of_the_last_block(self, name):
        assert trained(ladder(name), "tail") == [f"{la}.weight" for la in LAST_BLOCK[name]]

    def test_full_trains_every_row_of_every_layer(self, name):
        rung = ladder(name).rungs["full"]
        assert trained(ladder(name), "full") == all_weights(name)
        assert (rung.cut, {layer.rows for layer in rung.layers}) == (None, {None})

    def test_norm_changes_every_normalized_layer(self, name):
        assert trained(ladder(name), "norm") == all_weights(name)[:-1]

    @pytest.mark.parametrize(
        ("name", "first"),
        [("resnet18", "layer3.0.downsample.0"), ("mobilenet", "body.4.layers.3")],
    )
    def test_deep_trains_what_costs_half_of_the_network(self, name, first):
        weights = all_weights(name)
        start = weights.index(f"{first}.weight")
        assert trained(ladder(name), "deep") == weights[start:-1]
        macs = {layer.weight: layer.macs for layer in layers_of(ladder(name).forward.graph)}
        assert sum(macs[w] for w in weights[start:]) <= sum(macs.values()) / 2

    @pytest.mark.parametrize("name", ["resnet1d", "branches"])
    def test_there_is_no_deep_where_it_would_be_tail(self, name):
        assert "deep" not in ladder(name).rungs
        assert "no more layers" in ladder(name).absent["deep"]

    def test_a_linear_classifier_has_a_head_and_nothing_else(self):
        found = compiled(model(pooled(), HEAD))
        assert set(found.rungs) == {"head", "full"}
        assert set(found.absent) == {"norm", "tail", "deep"}
        assert "BatchNormalization" in found.absent["norm"]

    def test_a_network_with_one_layer_trains_it_in_its_tail(self):
        nodes = [node("Conv", "x k", "c"), node("Relu", "c", "r"), *pooled("r")]
        found = compiled(model(nodes, {**HEAD, "k": normal(3, 3, 1, 1)}))
        assert trained(found, "tail") == ["k"]
        assert found.rungs["tail"].cut is None
        assert "deep" in found.absent

    def test_there_is_no_norm_where_normalized_layers_share_their_parameters(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("BatchNormalization", "c one one one one", "n"),
            node("Conv", "n k", "d"),
            node("BatchNormalization", "d one one one one", "m"),
            *pooled("m"),
        ]
        values = {"k": normal(3, 3, 1, 1), "one": np.ones(3, np.float32), **HEAD}
        found = compiled(model(nodes, values))
        assert "shares its parameters" in found.absent["norm"] and "full" in found.rungs

    def test_what_full_leaves_as_it_is_is_named(self, name):
        assert ladder(name).untrained == ()
        nodes = [node("Conv", "x k", "c"), node("PRelu", "c slope", "r"), *pooled("r")]
        values = {"k": normal(3, 3, 1, 1), "slope": normal(3, 1, 1), **HEAD}
        found = compiled(model(nodes, values), "head", "full")
        assert found.untrained == ("slope",)
        assert compiled(model(nodes, values), "head").untrained == ()


class TestChannels:
    @pytest.mark.parametrize("share", [1e-6, 0.1, 0.25, 1.0])
    def test_a_share_of_every_layers_channels_but_at_least_one(self, share):
        found = compiled(ours("mobilenet")[2], "tail", "deep", share=share)
        channels = {la.weight: la.node for la in layers_of(found.forward.graph)}
        for rung in found.rungs.values():
            for layer in rung.layers:
                count = found.forward.graph.types[channels[layer.weight].inputs[2]].fixed[0]
                assert layer.rows == max(1, round(share * count))

    def test_a_depthwise_convolution_follows_the_layer_it_takes_its_channels_from(self):
        layers = {la.weight: la for la in ladder("mobilenet").rungs["deep"].layers}
        follower = layers["body.5.layers.3.weight"]
        assert follower.follows == "body.5.layers.0.weight"
        assert follower.rows == layers["body.5.layers.0.weight"].rows
        # What this one would follow lies before the cut.
        assert layers["body.4.layers.3.weight"].follows == "body.4.layers.3.weight"


class TestDeepFrom:
    @pytest.mark.parametrize(
        ("first", "start"),
        [
            ("layer2.1.conv1.weight", "layer2.1.conv1.weight"),
            ("layer2.1.conv2.weight", "layer2.1.conv1.weight"),  # a block is cut at its begin
            ("conv1.weight", "conv1.weight"),
            ("layer4.1.conv1.weight", "layer4.1.conv1.weight"),
        ],
    )
    def test_the_latest_cut_before_that_layer(self, first, start):
        found = compiled(ours("resnet18")[2], "tail", "deep", deep_from=first)
        weights = all_weights("resnet18")
        assert trained(found, "deep") == weights[weights.index(start) : -1]

    def test_deep_may_be_asked_for_where_it_is_tail(self):
        found = compiled(ours("branches")[2], "deep", deep_from="body.1.far.0.weight")
        assert trained(found, "deep") == [f"{la}.weight" for la in LAST_BLOCK["branches"]]

    @pytest.mark.parametrize("first", ["layer9.conv.weight", "fc.weight"])
    def test_a_layer_that_is_not_there(self, first):
        with pytest.raises(ConfigError, match=rf"no layer {first}.*layer4.1.conv2.weight\."):
            compiled(ours("resnet18")[2], "deep", deep_from=first)


class TestNumbers:
    """What the manifest says is what the graphs do."""

    def test_parameters_are_the_numbers_that_a_step_returns(self, name):
        found = ladder(name)
        for rung in TRAINING[1:]:
            if rung not in found.rungs:
                continue
            step = found.graphs[f"{rung}.step.onnx"]
            weights = {n for la in found.rungs[rung].layers for n in (la.weight, la.bias)}
            shapes = [step.types[step.outputs[f"new/{n}"]].shape for n in weights]
            sizes = [math.prod(5 if d == "classes" else int(d) for d in s) for s in shapes]
            assert found.rungs[rung].parameters == sum(sizes)
            assert found.rungs[rung].delta_bytes == 4 * sum(sizes)

    def test_of_the_head_all_rows_may_change(self, name):
        head, graph = ladder(name).rungs["head"], ladder(name).forward.graph
        assert head.parameters == graph.types["fc.weight"].elements + 5

    def test_norm_changes_a_scale_and_a_shift_per_channel(self, name):
        found = ladder(name)
        channels = sum(n.mean.size for n in found.forward.normalizations)
        assert found.rungs["norm"].parameters == 2 * channels

    def test_every_graph_costs_something_and_training_more_costs_more(self, name):
        found = ladder(name)
        for rung in found.rungs.values():
            for graph in rung.graphs.values():
                assert graph.cost.moved_bytes > 0 and graph.cost.peak_bytes > 0
        flops = [found.rungs[r].main.cost.executed_flops for r in TRAINING if r in found.rungs]
        assert flops[0] > 0 and flops == sorted(flops)
        # Three passes, of which the Winograd domain saves a part.
        assert found.rungs["full"].main.cost.executed_flops > 2 * 6 * found.forward_macs

    def test_the_forward_pass_costs_what_its_layers_do(self, name):
        layers = layers_of(ladder(name).forward.graph)
        assert ladder(name).forward_macs == sum(layer.macs for layer in layers)

    def test_products_of_three_dimensions_are_counted_too(self):
        nodes = [
            node("Reshape", "x shape", "s"),
            node("MatMul", "s k", "m"),
            node("Transpose", "m", "t", perm=[0, 2, 1]),
            node("ReduceMean", "t last", "flat", keepdims=0),
            node("Gemm", "flat w b", "y", transB=1),
        ]
        weights = {"shape": np.array([0, 9, 12]), "last": np.array([2]), "k": normal(12, 3)}
        assert compiled(model(nodes, {**HEAD, **weights}), "head").forward_macs == 9 * 12 * 3 + 12

    def test_the_optimizer_is_named_with_its_constants(self):
        found = compiled(ours("branches")[2], "tail", optimizer=Adam(weight_decay=0.5))
        rung = found.rungs["tail"]
        assert (rung.optimizer, rung.state) == ("adam", ("mean", "square"))
        assert rung.settings["weight_decay"] == 0.5 and rung.settings["beta2"] == 0.999


def convolutions_around(op: str) -> onnx.ModelProto:
    """Three convolutions, and `op` behind the first."""
    nodes = [
        node("Conv", "x k", "a"),
        node(op, "a", "odd"),
        node("Conv", "odd k2", "c"),
        node("Relu", "c", "d"),
        node("Conv", "d k3", "e"),
        node("Relu", "e", "f"),
        *pooled("f"),
    ]
    weights = {"k": normal(3, 3, 3, 3), "k2": normal(3, 3, 1, 1), "k3": normal(3, 3, 1, 1)}
    return model(nodes, {**HEAD, **weights})


class TestMissingRules:
    def test_the_operator_and_the_rungs_that_work_are_named(self):
        with pytest.raises(BundleError) as caught:
            compiled(convolutions_around("Selu"))
        text = str(caught.value)
        assert "rung full" in text and "Selu (n_odd)" in text
        assert "--rungs head,tail," in text

    def test_those_rungs_can_be_compiled(self):
        assert set(compiled(convolutions_around("Selu"), "head", "tail").rungs) == {"head", "tail"}

    def test_rungs_that_were_not_asked_for_are_named_too(self):
        with pytest.raises(BundleError, match="--rungs head,tail,"):
            compiled(convolutions_around("Selu"), "full")

    def test_a_comparison_lets_no_gradient_through(self):
        nodes = [
            node("Conv", "x k", "a"),
            node("Conv", "x k2", "g"),
            node("Greater", "g zero", "open"),
            node("Cast", "open", "gate", to=1),
            node("Mul", "a gate", "m"),
            *pooled("m"),
        ]
        weights = {"k": normal(3, 3, 1, 1), "k2": normal(3, 3, 1, 1), "zero": np.float32(0)}
        with pytest.raises(BundleError, match=r"Greater \(n_open\).*--rungs head,"):
            compiled(model(nodes, {**HEAD, **weights}))


def forward(nodes: list[NodeProto], weights: dict[str, Array], batch: int | str = 2) -> Forward:
    return fold(load_graph(model(nodes, {**HEAD, **weights}), batch))


def cut_layers(found: Forward) -> list[list[str]]:
    return [cut.weights for cut in cuts(found)]


class TestCuts:
    """Tensors that all later layers depend on through them alone."""

    def test_every_tensor_of_a_chain(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("Conv", "r k2", "d"),
            *pooled("d"),
        ]
        found = forward(nodes, {"k": normal(3, 3, 1, 1), "k2": normal(3, 3, 1, 1)})
        assert cut_layers(found)[:4] == [["k", "k2"], ["k2"], ["k2"], []]
        assert cuts(found)[0].tensor == "image"

    def test_none_inside_of_a_residual_block(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("Conv", "r k2", "d"),
            node("Conv", "d k3", "e"),
            node("Add", "r e", "s"),
            *pooled("s"),
        ]
        weights = {name: normal(3, 3, 1, 1) for name in ("k", "k2", "k3")}
        assert ["k3"] not in cut_layers(forward(nodes, weights))
        assert cut_layers(forward(nodes, weights))[:4] == [
            ["k", "k2", "k3"],
            ["k2", "k3"],
            ["k2", "k3"],
            [],
        ]

    def test_none_between_layers_that_share_their_parameters(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("Conv", "r k", "d"),
            node("Relu", "d", "s"),
            node("Conv", "s k2", "e"),
            *pooled("e"),
        ]
        found = forward(nodes, {"k": normal(3, 3, 1, 1), "k2": normal(3, 3, 1, 1)})
        assert cut_layers(found)[:3] == [["k", "k2"], ["k2"], ["k2"]]
        (shared, *_) = layers_of(found.graph)
        assert (shared.weight, shared.macs) == ("k", 2 * 9 * 36)

    @pytest.mark.parametrize("batch", [6, "n"])
    def test_only_tensors_with_a_row_per_sample(self, batch):
        nodes = [
            node("Reshape", "x shape", "seq"),
            node("Relu", "seq", "kept"),
            node("Transpose", "kept", "swapped", perm=[1, 0, 2]),
            node("Relu", "swapped", "inner"),
            node("ReduceMean", "inner first", "mean", keepdims=0),
            node("Gemm", "mean k", "g", transB=1),
            node("Gemm", "g w b", "y", transB=1),
        ]
        weights = {"shape": np.array([0, 9, 12]), "first": np.array([0]), "k": normal(3, 12)}
        found = forward(nodes, weights, batch)
        shapes = [found.graph.types[cut.tensor].shape for cut in cuts(found)]
        assert shapes[:4] == [(batch, 3, 6, 6), (batch, 9, 12), (batch, 9, 12), (batch, 12)]

    def test_no_tensor_of_truths(self):
        nodes = [
            node("Greater", "x zero", "open"),
            node("Cast", "open", "bits", to=1),
            node("Conv", "bits k", "c"),
            *pooled("c"),
        ]
        found = forward(nodes, {"k": normal(3, 3, 1, 1), "zero": np.float32(0)})
        dtypes = {found.graph.types[cut.tensor].dtype for cut in cuts(found)}
        assert dtypes == {"float32"}

    def test_of_many_with_the_same_layers_behind_them_the_last_is_taken(self):
        nodes = [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "p k2", "d"),
            node("Conv", "d k3", "e"),
            *pooled("e"),
        ]
        weights = {name: normal(3, 3, 1, 1) for name in ("k", "k2", "k3")}
        found = forward(nodes, weights)
        tail, deep = tail_cut(found), deep_cut(found, "k2")
        assert tail is not None and deep is not None
        assert found.graph.shape(tail.tensor) == found.graph.shape(deep.tensor) == (2, 3, 3, 3)
