"""The int8 graph does what the fp32 graph does, in integers; images it cannot use are refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from sel_edge import zoo
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import Graph, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.quantize import quantize
from sel_edge.core.errors import DataError
from sel_edge.core.runlog import read_samples
from sel_edge.data.digits import load_digits_splits
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.trained import load_trained
from tests.compile.networks import NETWORKS, Network, exported, settled

OUTPUTS = ["features", "logits"]
LARGEST_WEIGHT = 64
"""Two products of it and an unsigned 8-bit number fit into 16 bits."""


def forward(network, shape):
    """The fp32 graph as the compiler writes it."""
    return to_model(fold(load_graph(exported(network, shape), "n")).graph)


def session(model, **options):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    for name, value in options.items():
        setattr(settings, name, value)
    file = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(file, settings, ["CPUExecutionProvider"])


def run(model, images):
    return session(model).run(OUTPUTS, {"image": images})


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def noise(shape, count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    """A network's fp32 and int8 graph, and the shape of a sample."""
    make, shape = NETWORKS[request.param]
    fp32 = forward(settled(make, shape), shape)
    return fp32, quantize(fp32, noise(shape, 96)), shape


@pytest.fixture(scope="module")
def small():
    """A small residual network: fp32 graph and shape of a sample."""
    shape = (3, 12, 12)
    return forward(
        settled(lambda: Network(nn.Sequential(*block(3, 8), *block(8, 8)), 8), shape), shape
    ), shape


def block(channels_in, channels_out):
    return nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU6()


def test_features_and_logits_stay_close(pair):
    fp32, int8, shape = pair
    images = noise(shape, 64, seed=1)
    for found, expected in zip(run(int8, images), run(fp32, images), strict=True):
        assert relative_error(found, expected) < 0.1


def test_every_convolution_runs_in_integers(pair, tmp_path):
    """Also where a sum or a concatenation has several readers, which signed activations break."""
    _, int8, _ = pair
    session(int8, optimized_model_filepath=str(tmp_path / "fused.onnx"))
    fused = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    convolutions = [n for n in onnx.load_from_string(int8).graph.node if n.op_type == "Conv"]
    assert fused.count("QLinearConv") == len(convolutions) > 0
    assert not {"Conv", "Add", "FusedConv"}.intersection(fused)


def test_weights_are_int8_per_channel_and_cannot_saturate(pair):
    fp32, int8, _ = pair
    values = {i.name: numpy_helper.to_array(i) for i in fp32.graph.initializer}
    nodes, constants = parts(int8)
    for conv in (node for node in nodes.values() if node.op_type == "Conv"):
        weight, scale, zero_point, axis = dequantized(nodes[conv.input[1]], constants)
        original = values[nodes[conv.input[1]].input[0].removesuffix("_quantized")]
        assert (weight.dtype, axis) == (np.int8, 0)
        assert scale.shape == (len(weight),)
        assert not zero_point.any()
        assert np.abs(weight).max() <= LARGEST_WEIGHT
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert (np.abs(weight * scale - original) <= 0.51 * scale).all()
    assert np.iinfo(np.int16).max >= 2 * 255 * LARGEST_WEIGHT


def test_biases_are_int32_in_the_scale_of_the_products(pair):
    """What integer kernels and exporters for microcontrollers rely on."""
    nodes, constants = parts(pair[1])
    for conv in (node for node in nodes.values() if node.op_type == "Conv"):
        _, image_scale, zero_point, _ = dequantized(nodes[conv.input[0]], constants)
        _, weight_scale, _, _ = dequantized(nodes[conv.input[1]], constants)
        bias, bias_scale, bias_zero_point, _ = dequantized(nodes[conv.input[2]], constants)
        assert (zero_point.dtype, zero_point.shape) == (np.uint8, ())
        assert bias.dtype == np.int32
        assert not bias_zero_point.any()
        np.testing.assert_allclose(bias_scale, image_scale * weight_scale, rtol=1e-6)


def test_the_head_and_its_pooling_stay_fp32(pair):
    fp32, int8, _ = pair
    nodes, constants = parts(int8)
    head = nodes["logits"]
    original = {i.name: numpy_helper.to_array(i) for i in fp32.graph.initializer}
    for name in head.input[1:]:
        np.testing.assert_array_equal(constants[name], original[name])
    names = {node.op_type for node in nodes.values() if "features" in node.output}
    assert not names.intersection({"DequantizeLinear", "QuantizeLinear"})


def test_inputs_and_outputs_are_those_of_the_fp32_graph(pair):
    fp32, int8, shape = pair
    quantized = onnx.load_from_string(int8)
    onnx.checker.check_model(quantized, full_check=True)
    for field in ("input", "output"):
        found, expected = getattr(quantized.graph, field), getattr(fp32.graph, field)
        assert [value.name for value in found] == [value.name for value in expected]
        for value in found:
            kind = value.type.tensor_type
            assert kind.elem_type == TensorProto.FLOAT
            assert kind.shape.dim[0].dim_param
    assert not any(i.data_location == TensorProto.EXTERNAL for i in quantized.graph.initializer)
    running = session(int8)
    images = noise(shape, 33, seed=2)
    together = running.run(OUTPUTS, {"image": images})
    for count in (1, 3):
        part = running.run(OUTPUTS, {"image": images[:count]})
        for found, expected in zip(part, together, strict=True):
            np.testing.assert_allclose(found, expected[:count], rtol=1e-5, atol=1e-6)


def test_another_runtime_computes_the_same(small):
    """ONNX's reference implementation, up to a rounding step in a few places."""
    fp32, shape = small
    int8, images = quantize(fp32, noise(shape, 64)), noise(shape, 4, seed=3)
    proto = onnx.load_from_string(int8)
    proto.opset_import[0].version = 19  # the first one that it knows; nothing in use differs
    expected = ReferenceEvaluator(proto).run(OUTPUTS, {"image": images})
    for found, value in zip(run(int8, images), expected, strict=True):
        assert relative_error(found, value) < 0.005


ACTIVATIONS = (
    ("Relu", 1e-3),
    ("Relu", 1.0),
    ("LeakyRelu", 1e3),
    ("Clip", 1.0),
    ("Sigmoid", 1.0),
    ("HardSwish", 1.0),
)
"""With the scale of images and biases; it is 1 where an activation is steep at one place only."""


@settings(max_examples=12)
@given(
    rank=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 2, 8]),
    stride=st.integers(1, 2),
    activation=st.sampled_from(ACTIVATIONS),
    residual=st.booleans(),
    pool=st.sampled_from(["MaxPool", "AveragePool"]),
    seed=st.integers(0, 99),
)
def test_random_networks_stay_close(rank, groups, stride, activation, residual, pool, seed):
    (activation, scale), rng = activation, np.random.default_rng(seed)
    graph = Graph()
    x = graph.input("image", "float32", ["n", 8, *[12] * rank])
    for index in range(2):
        y = convolution(graph, x, rng, rank, groups, 1, f"conv{index}", scale)
        if activation == "Clip":
            y = graph.add("Clip", y, graph.scalar(0.0, y), graph.scalar(6.0, y))
        else:
            y = graph.add(activation, y)
        x = graph.add("Add", x, y) if residual else y
    x = convolution(graph, x, rng, rank, 1, stride, "last", scale)
    x = graph.add(pool, x, kernel_shape=[2] * rank, strides=[2] * rank)
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    weight = graph.constant(rng.normal(size=(5, 8)).astype(np.float32), "fc.weight")
    bias = graph.constant(rng.normal(size=5).astype(np.float32), "fc.bias")
    graph.outputs = {"features": x, "logits": graph.add("Gemm", x, weight, bias, transB=1)}
    model, shape = to_model(graph), (8, *[12] * rank)
    int8 = quantize(model, noise(shape, 64, seed) * np.float32(scale))
    images = noise(shape, 64, seed + 1) * np.float32(scale)
    for found, expected in zip(run(int8, images), run(model, images), strict=True):
        assert relative_error(found, expected) < 0.05


def convolution(graph, x, rng, rank, groups, stride, name, scale):
    """Eight channels to eight, with biases of the given scale."""
    weight = rng.normal(size=(8, 8 // groups, *[3] * rank)) / (8 / groups * 3**rank) ** 0.5
    bias = rng.normal(size=8) * scale
    return graph.add(
        "Conv",
        x,
        graph.constant(weight.astype(np.float32), f"{name}.weight"),
        graph.constant(bias.astype(np.float32), f"{name}.bias"),
        kernel_shape=[3] * rank,
        pads=[1] * (2 * rank),
        strides=[stride] * rank,
        group=groups,
    )


def test_a_trained_network_gives_the_same_answers():
    splits = load_digits_splits("digits")
    train, test = (
        torch.from_numpy(split.frames.transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1))
        for split in (splits.train, splits.test)
    )
    torch.manual_seed(0)
    network = Network(nn.Sequential(*block(1, 16), *block(16, 16)), 16, 10)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    labels = torch.from_numpy(splits.train.labels)
    for chosen in torch.randint(len(train), (250, 64)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(train[chosen]), labels[chosen]).backward()
        optimizer.step()
    fp32 = forward(network.eval(), tuple(train.shape[1:]))
    int8 = quantize(fp32, train[:128].numpy())
    found, expected = (run(model, test.numpy())[1].argmax(1) for model in (int8, fp32))
    right = (expected == splits.test.labels).mean()
    assert right > 0.8
    assert (found == expected).mean() > 0.97
    assert (found == splits.test.labels).mean() > right - 0.01


@pytest.fixture(scope="module")
def zoo_network():
    """The network that comes with the package: fp32 graph, its normalization, its sample images."""
    run_path = Path(zoo.__file__).parent / "cifar10-8-dense"
    trained = load_trained(run_path)
    info = trained.run.info["data"]
    normalize = Normalization(tuple(info["mean"]), tuple(info["std"]))
    return (
        forward(trained.model, (3, 32, 32)),
        lambda images: normalize.of_arrays(images).numpy(),
        read_samples(run_path),
    )


def test_the_network_of_the_zoo_is_a_quarter_the_size_and_answers_alike(zoo_network):
    fp32, preprocess, samples = zoo_network
    images = preprocess(samples.images)
    int8 = quantize(fp32, images[::2])
    assert len(int8) < 0.3 * len(fp32.SerializeToString())
    (features, logits), (right_features, right_logits) = run(int8, images), run(fp32, images)
    assert relative_error(features, right_features) < 0.03
    assert (logits.argmax(1) == right_logits.argmax(1)).mean() > 0.9


def test_equal_input_gives_equal_bytes(small, tmp_path):
    """Also in another process, whose sets have another order."""
    fp32, shape = small
    images = noise(shape, 40)
    int8 = quantize(fp32, images)
    (tmp_path / "fp32.onnx").write_bytes(fp32.SerializeToString())
    np.save(tmp_path / "images.npy", images)
    code = (
        "import numpy as np, pathlib, sys; from sel_edge.compile.quantize import quantize;"
        "here = pathlib.Path(sys.argv[1]); (here / 'int8.onnx').write_bytes("
        "quantize((here / 'fp32.onnx').read_bytes(), np.load(here / 'images.npy')))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
        assert (tmp_path / "int8.onnx").read_bytes() == int8


def test_the_model_is_left_as_it_was_and_nothing_is_left_behind(
    small, tmp_path, monkeypatch, capfd, caplog
):
    fp32, shape = small
    before = fp32.SerializeToString()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    quantize(fp32, noise(shape, 8))
    assert fp32.SerializeToString() == before
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "images",
    [
        noise((3, 12, 12), 1),
        noise((3, 12, 12), 33),
        np.zeros((2, 3, 12, 12), np.float32),
        np.full((2, 3, 12, 12), -3.5, np.float32),
        np.full((2, 3, 12, 12), 1e-30, np.float32),
        noise((3, 12, 12), 8) * np.float32(1e6),
        noise((3, 24, 24), 4)[:, :, ::2, ::2],
    ],
    ids=["one", "odd", "zeros", "constant", "tiny", "huge", "strided"],
)
def test_odd_calibration_sets_are_survived(small, images):
    fp32, shape = small
    int8 = quantize(fp32, images)
    for output in run(int8, noise(shape, 4)):
        assert np.isfinite(output).all()
    for found, expected in zip(run(int8, images), run(fp32, images), strict=True):
        assert relative_error(found, expected) < 0.1


def test_a_channel_of_zero_weights_keeps_its_bias():
    """Batch normalization leaves such channels behind where its scale is zero."""
    graph, rng = Graph(), np.random.default_rng(0)
    x = convolution(graph, graph.input("image", "float32", ["n", 8, 6, 6]), rng, 2, 1, 1, "conv", 1)
    graph.constants["conv.weight"] *= 1e-3
    graph.constants["conv.weight"][3] = 0
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    weight = graph.constant(rng.normal(size=(5, 8)).astype(np.float32), "fc.weight")
    graph.outputs = {"features": x, "logits": graph.add("Gemm", x, weight, transB=1)}
    images = noise((8, 6, 6), 32) * np.float32(1e3)
    features, _ = run(quantize(to_model(graph), images), images)
    np.testing.assert_allclose(features[:, 3], graph.constants["conv.bias"][3], atol=0.05)


def with_nan(value):
    images = noise((3, 12, 12), 4)
    images[2, 1, 3, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (noise((3, 12, 12), 0), "[0, 3, 12, 12]"),
        (noise((3, 12, 11), 4), "[4, 3, 12, 11]"),
        (noise((12, 12), 4), "[4, 12, 12]"),
        (noise((3, 12, 12), 4).astype(np.float64), "float64"),
        (with_nan(np.nan), "not finite"),
        (with_nan(-np.inf), "not finite"),
    ],
)
def test_images_that_cannot_calibrate_are_refused(small, images, words):
    with pytest.raises(DataError) as caught:
        quantize(small[0], images)
    assert words in caught.value.found
    assert all((caught.value.expected, caught.value.action))


def parts(int8):
    """Nodes by what they make, and constants by name."""
    graph = onnx.load_from_string(int8).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    return {name: node for node in graph.node for name in node.output}, constants


def dequantized(node, constants):
    """Value (None if computed), scale, zero point and axis of a DequantizeLinear."""
    assert node.op_type == "DequantizeLinear"
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    value, scale, zero_point = (constants.get(name) for name in node.input)
    return value, scale, zero_point, axis
