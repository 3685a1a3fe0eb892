"""What a bundle takes from the compiler: files that share their weights and agree."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from safetensors import numpy as safetensors

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.manifest import (
    GRAPH_FILE,
    INT8_FILE,
    MOMENTS_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelInfo,
)
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.compile.graph import Graph
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.package import Package, package
from sel_edge.compile.weights import attach, pack_weights
from sel_edge.core.errors import BundleError, DataError
from sel_edge.core.standin import StandIn
from sel_edge.runtime.session import Session
from sel_edge.runtime.training import TrainingStep
from tests.compile.models import (
    HEAD,
    Array,
    assert_same,
    evaluate,
    model,
    node,
    normal,
    ours,
    pooled,
)
from tests.compile.networks import NETWORKS

BATCH, FRAMES = 4, 6


@cache
def packed(name: str) -> Package:
    _, shape, proto = ours(name)
    return package(proto, LadderOptions(batch=BATCH, frames=FRAMES), normal(8, *shape))


@pytest.fixture(params=list(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def put(found: Package, folder: Path) -> Bundle:
    """The members in a folder, as a bundle of images or signals that nothing has checked."""
    for file, content in found.members.items():
        (folder / file).write_bytes(content)
    manifest = Manifest(
        model=ModelInfo("test", found.width, found.parameters, found.forward_macs),
        classes=tuple(str(index) for index in range(found.classes)),
        preprocessing=ImagePreprocessing(1, 1, 1, (0.0,), (1.0,)),
        temperature=1.5,
        head_weight=found.head_weight,
        head_bias=found.head_bias,
        features=found.features,
        standin=StandIn((0.0,), (0.0,)),
        anchors_held_out=True,
        accuracy={},
        provenance={},
        rungs=found.rungs,
    )
    return Bundle(folder, manifest)


def answers(bundle: Bundle, samples: Array) -> dict[str, Array]:
    return Session(bundle.member(GRAPH_FILE), 1).run({"image": samples})


def step(bundle: Bundle, rung: str) -> TrainingStep:
    layers = bundle.manifest.rungs[rung].layers
    channels = {layer.weight: np.arange(layer.rows or 1) for layer in layers}
    return TrainingStep(bundle, rung, bundle.parameters(), channels, threads=1)


def check_steps(found: Package, folder: Path, samples: Array) -> None:
    """Every step sees the logits of the forward graph, and keeps what the manifest says."""
    bundle = put(found, folder)
    forward = answers(bundle, samples)
    for name, rung in found.rungs.items():
        if "step" not in rung.graphs:
            continue
        tried = step(bundle, name)
        batch = tried.prepare(samples if rung.cut is None else forward[rung.cut])
        assert batch.nbytes == rung.cache_bytes
        seen = tried.step(batch, np.zeros(len(samples), np.int64), learning_rate=0.0)
        assert_same(seen.logits, forward["logits"], 1e-4)


def initializers(content: bytes) -> list[TensorProto]:
    return list(onnx.load_from_string(content).graph.initializer)


def places(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


class TestMembers:
    def test_a_graph_for_every_role_of_every_rung_and_no_more(self, name):
        found = packed(name)
        graphs = {graph.file for rung in found.rungs.values() for graph in rung.graphs.values()}
        own = {GRAPH_FILE, WEIGHTS_FILE, INT8_FILE} | ({MOMENTS_FILE} if found.moments else set())
        assert set(found.members) == own | graphs

    def test_int8_on_request(self):
        options = LadderOptions(("head",), BATCH)
        assert INT8_FILE not in package(ours("branches")[2], options, None).members

    def test_onnx_accepts_every_graph(self, name, tmp_path):
        bundle = put(packed(name), tmp_path)
        for file in packed(name).members:
            if file.endswith(".onnx"):
                onnx.checker.check_model(str(bundle.member(file)), full_check=True)

    def test_what_it_says_of_the_network(self):
        found = packed("resnet1d")
        assert (found.input_shape, found.width) == ((2, 64), 8)
        assert (found.classes, found.features) == (5, 16)
        tensors = safetensors.load(found.members[WEIGHTS_FILE])
        assert found.parameters == sum(tensor.size for tensor in tensors.values())
        assert tensors[found.head_weight].shape == (5, 16)
        assert tensors[found.head_bias].shape == (5,)


class TestWeights:
    def test_every_graph_reads_a_tensor_of_the_file_under_its_name(self, name):
        members = packed(name).members
        tensors = safetensors.load(members[WEIGHTS_FILE])
        outside = [
            tensor
            for file, content in members.items()
            if file.endswith(".onnx")
            for tensor in initializers(content)
            if tensor.data_location == TensorProto.EXTERNAL
        ]
        assert {tensor.name for tensor in outside} == set(tensors)
        for tensor in outside:
            place = places(tensor)
            start = int(place["offset"])
            part = members[WEIGHTS_FILE][start : start + int(place["length"])]
            assert place["location"] == WEIGHTS_FILE
            assert tensor.data_type == TensorProto.FLOAT
            read = np.frombuffer(part, np.float32).reshape(list(tensor.dims))
            np.testing.assert_array_equal(read, tensors[tensor.name])

    def test_forward_and_norm_read_the_same(self, name):
        members = packed(name).members
        found = []
        for file in (GRAPH_FILE, "norm.onnx"):
            outside = [t for t in initializers(members[file]) if t.external_data]
            found.append({t.name: places(t) for t in outside})
        assert found[0] == found[1]

    def test_they_are_in_no_graph_but_the_int8_one(self, name):
        members = packed(name).members
        stored = {t.tobytes() for t in safetensors.load(members[WEIGHTS_FILE]).values()}
        for file, content in members.items():
            if file.endswith(".onnx") and file != INT8_FILE:
                inside = {t.raw_data for t in initializers(content) if not t.external_data}
                assert not inside & stored

    @pytest.mark.parametrize("value", [np.zeros(2, np.float32), np.ones(2, np.int64)])
    def test_what_only_has_the_name_of_a_parameter_stays_inside(self, value):
        def graph(value: Array) -> Graph:
            made = Graph()
            made.input("x", value.dtype.name, (2,))
            made.outputs["y"] = made.add("Add", "x", made.constant(value, "w"))
            return made

        weights = pack_weights(graph(np.ones(2, np.float32)), WEIGHTS_FILE)
        assert attach(graph(np.ones(2, np.float32)), weights).graph.initializer[0].external_data
        (inside,) = attach(graph(value), weights).graph.initializer
        np.testing.assert_array_equal(numpy_helper.to_array(inside), value)

    def test_a_parameter_of_no_layer_is_stored_once_too(self, tmp_path):
        nodes = [
            node("Reshape", "x shape", "s"),
            node("MatMul", "s big", "m"),
            node("Reshape", "m image", "i"),
            node("Conv", "i k", "c"),
            *pooled("c"),
        ]
        weights = {
            "shape": np.array([0, 1, 108]),
            "big": normal(108, 108) / 10,
            "image": np.array([0, 3, 6, 6]),
            "k": normal(3, 3, 1, 1),
        }
        found = package(model(nodes, {**HEAD, **weights}), LadderOptions(batch=BATCH), None)
        graphs = sum(len(c) for f, c in found.members.items() if f.endswith(".onnx"))
        assert graphs < weights["big"].nbytes < len(found.members[WEIGHTS_FILE])
        check_steps(found, tmp_path, normal(BATCH, 3, 6, 6))


class TestAnswers:
    def test_the_forward_graph_is_the_network(self, name, tmp_path):
        _, shape, proto = ours(name)
        samples = normal(5, *shape, seed=7)
        expected = dict(zip(("features", "logits"), evaluate(proto, samples), strict=True))
        found = answers(put(packed(name), tmp_path), samples)
        for output, value in expected.items():
            assert_same(found[output], value, 1e-5)

    def test_every_step_sees_the_logits_of_the_forward_graph(self, name, tmp_path):
        _, shape = NETWORKS[name]
        check_steps(packed(name), tmp_path, normal(BATCH, *shape, seed=8))

    def test_the_int8_graph_takes_the_same_samples(self, name, tmp_path):
        _, shape = NETWORKS[name]
        samples = normal(5, *shape, seed=9)
        bundle = put(packed(name), tmp_path)
        exact = answers(bundle, samples)["logits"]
        rounded = Session(bundle.member(INT8_FILE), 1).run({"image": samples})["logits"]
        assert rounded.shape == exact.shape
        assert np.abs(rounded - exact).max() < 0.3 * np.abs(exact).max()

    def test_estimating_without_weight_changes_nothing(self, name, tmp_path):
        _, shape = NETWORKS[name]
        samples = normal(FRAMES, *shape, seed=10)
        bundle = put(packed(name), tmp_path)
        feeds = {"image": samples, "blend": np.array(0.0, np.float32)}
        found = Session(bundle.member("norm.onnx"), 1).run(feeds, ["logits"])["logits"]
        assert_same(found, answers(bundle, samples)["logits"], 1e-4)


IMAGE = (BATCH, 3, 6, 6)


def odd_networks() -> dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]]:
    """What other exporters write, and names that our own graphs use."""
    k, k2 = normal(3, 3, 1, 1, seed=3), normal(3, 3, 1, 1, seed=4)
    chain = [node("Conv", "x k", "c"), node("Relu", "c", "r")]
    shared = [*chain, node("Conv", "r k", "d"), node("Relu", "d", "s"), *pooled("s")]
    names = ["labels", "latent", "image", "c_4", "step", "frozen/k", "conv_3", "ä b"]
    named = [node("Conv", "x labels", "t0")]
    for index, before in enumerate(names[1:]):
        conv = node("Conv", "a b", f"t{index + 1}")
        conv.input[:] = [f"t{index}", before]
        named.append(conv)
    gelu = [
        node("Flatten", "x", "f"),
        node("Gemm", "f k5", "g", transB=1),
        node("Div", "g root", "z"),
        node("Erf", "z", "e"),
        node("Add", "e one", "u"),
        node("Mul", "g u", "v"),
        node("Mul", "v half", "h"),
        node("Gemm", "h w b", "y", transB=1),
    ]
    halves = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    enlarged = [
        *chain,
        node("Resize", "r _ factors", "big", mode="nearest"),
        node("Conv", "big k2", "d"),
        *pooled("d"),
    ]
    tokens = [
        node("Reshape", "x shape", "seq"),
        node("Relu", "seq", "kept"),
        node("Transpose", "kept", "swapped", perm=[1, 0, 2]),
        node("Reshape", "swapped rows", "flat"),
        node("Gemm", "flat k3", "g", transB=1),
        node("Reshape", "g tokens", "t"),
        node("ReduceMean", "t first", "mean", keepdims=0),
        node("Gemm", "mean w b", "y", transB=1),
    ]
    sizes = {
        "shape": np.array([0, BATCH, 27]),
        "rows": np.array([-1, 27]),
        "tokens": np.array([BATCH, -1, 3]),
        "first": np.array([0]),
    }
    return {
        "a layer twice": (shared, {"k": k}),
        "one bias twice": (
            [
                node("Conv", "x k bias", "c"),
                node("Relu", "c", "r"),
                node("Conv", "r k2 bias", "d"),
                *pooled("d"),
            ],
            {"k": k, "k2": k2, "bias": normal(3)},
        ),
        "names of our own": (
            [*named, *pooled(f"t{len(names) - 1}")],
            {name: normal(3, 3, 1, 1, seed=i) for i, name in enumerate(names)},
        ),
        "a pattern of scalars": (gelu, {"k5": normal(3, 108, seed=5), **halves}),
        "a resize by factors": (
            enlarged,
            {"k": k, "k2": k2, "factors": np.array([1, 1, 2, 2], np.float32)},
        ),
        "as many tokens as samples": (tokens, {**sizes, "k3": normal(3, 27, seed=6)}),
    }


@pytest.mark.parametrize("kind", list(odd_networks()))
@pytest.mark.parametrize("batch", [1, BATCH])
def test_networks_of_other_exporters(kind, batch, tmp_path):
    nodes, weights = odd_networks()[kind]
    proto = model(nodes, {**HEAD, **weights}, ("n", *IMAGE[1:]))
    found = package(proto, LadderOptions(batch=batch), normal(*IMAGE))
    assert {"head", "tail", "full"} <= set(found.rungs)
    samples = normal(batch, *IMAGE[1:], seed=11)
    check_steps(found, tmp_path, samples)
    expected = evaluate(proto, samples)[0]
    assert_same(answers(put(found, tmp_path), samples)["logits"], expected, 1e-5)


def test_layers_with_the_same_parameters_are_trained_as_one():
    nodes, weights = odd_networks()["a layer twice"]
    found = package(model(nodes, {**HEAD, **weights}), LadderOptions(batch=BATCH), None)
    assert [layer.weight for layer in found.rungs["full"].layers] == ["k", "w"]


def test_calibration_samples_of_another_shape_are_refused():
    with pytest.raises(DataError, match="calibration"):
        package(ours("branches")[2], LadderOptions(("head",), BATCH), normal(8, 3, 8, 8))


def test_a_network_that_ends_in_a_convolution_is_refused():
    nodes = [
        node("Conv", "x k", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "y"),
    ]
    with pytest.raises(BundleError, match="linear layer"):
        package(model(nodes, {"k": normal(4, 3, 1, 1)}), LadderOptions(), None)
