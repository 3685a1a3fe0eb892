"""The exported graph is the network: against torch, in the engine that will run it."""

import collections
import dataclasses
import warnings

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.load import load_graph
from sel_edge.compile.weights import attach, pack_weights
from sel_edge.pretrain.model import ResNet18
from tests.compile.networks import NETWORKS, Network, settled


@dataclasses.dataclass
class Exported:
    """The forward graph as a bundle has it."""

    graph: bytes
    weights: bytes
    head_weight: str
    head_bias: str


def export_forward(model, shape) -> Exported:
    forward = fold(load_graph(torch_model(model, shape), "n"))
    weights = pack_weights(forward.graph, "weights.safetensors")
    graph = attach(forward.graph, weights).SerializeToString()
    return Exported(graph, weights.content, forward.head_weight, forward.head_bias)


def trained_like(width: int, channels: int, classes: int, seed: int) -> ResNet18:
    """A network whose normalization has statistics and scales of its own, as after training."""
    torch.manual_seed(seed)
    model = ResNet18(classes, width, channels)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@settings(max_examples=3)
@given(
    channels=st.sampled_from([1, 3]),
    classes=st.integers(2, 12),
    side=st.sampled_from([8, 16, 17]),
    n=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_graph_computes_what_torch_computes(tmp_path_factory, channels, classes, side, n, seed):
    model = trained_like(8, channels, classes, seed)
    check(tmp_path_factory.mktemp("graph"), model, (channels, side, side), n)


def check(folder, model, shape, n):
    """The exported graph answers as torch does, within 1e-5 of the largest answer."""
    import onnxruntime

    exported = export_forward(model, shape)
    (folder / "infer.onnx").write_bytes(exported.graph)
    (folder / "weights.safetensors").write_bytes(exported.weights)
    session = onnxruntime.InferenceSession(str(folder / "infer.onnx"))
    x = torch.randn(n, *shape)
    found = session.run(["features", "logits"], {"image": x.numpy()})
    with torch.no_grad():
        for ours, torchs in zip(found, (model.features(x).numpy(), model(x).numpy()), strict=True):
            np.testing.assert_allclose(ours, torchs, rtol=0, atol=1e-5 * np.abs(torchs).max())


@pytest.mark.parametrize("name", ["mobilenet", "resnet1d", "branches"])
def test_networks_of_other_kinds_and_signals(tmp_path, name):
    make, shape = NETWORKS[name]
    check(tmp_path, settled(make, shape), shape, 3)


class Halves(torch.nn.Module):
    """Splits its channels, which torch writes as a sequence of tensors."""

    def forward(self, x):
        first, second = x.chunk(2, 1)
        return torch.cat([second, first.sigmoid()], 1)


def test_a_network_that_splits_its_channels(tmp_path):
    torch.manual_seed(0)
    model = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), Halves()), 8).eval()
    check(tmp_path, model, (3, 6, 6), 2)


@pytest.fixture(scope="module")
def exported():
    return export_forward(trained_like(8, 1, 3, 0), (1, 8, 8))


def test_weights_are_stored_once_and_by_name(exported):
    tensors = load(exported.weights)
    graph = onnx.load_from_string(exported.graph).graph
    outside = {i.name for i in graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL}
    assert outside == set(tensors)
    assert tensors[exported.head_weight].shape == (3, 64)
    assert tensors[exported.head_bias].shape == (3,)
    assert len(exported.graph) < 30_000


def test_the_last_operator_makes_logits_of_features(exported):
    graph = onnx.load_from_string(exported.graph).graph
    assert [value.name for value in graph.output] == ["features", "logits"]
    assert list(graph.node[-1].input) == ["features", exported.head_weight, exported.head_bias]
    assert (graph.node[-1].op_type, list(graph.node[-1].output)) == ("Gemm", ["logits"])
    assert (exported.head_weight, exported.head_bias) == ("fc.weight", "fc.bias")
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_the_graph_has_the_operators_of_torchs_own_optimized_export(exported):
    model = trained_like(8, 1, 3, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (torch.zeros(1, 1, 8, 8),), dynamo=True, verbose=False, opset_version=18
        )
    ours, torchs = (
        collections.Counter(node.op_type for node in proto.graph.node)
        for proto in (onnx.load_from_string(exported.graph), program.model_proto)
    )
    assert ours == torchs


def test_torch_writes_normalization_down_with_the_names_of_the_network():
    model = trained_like(8, 1, 3, 0)
    proto = torch_model(model, (1, 8, 8))
    assert sum(node.op_type == "BatchNormalization" for node in proto.graph.node) == 20
    arrays = {name for name, value in model.state_dict().items() if value.ndim > 0}
    assert arrays <= {initializer.name for initializer in proto.graph.initializer}


def test_normalization_is_folded_and_nothing_of_the_exporter_stays(exported):
    proto = onnx.load_from_string(exported.graph)
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert b"site-packages" not in exported.graph


def test_the_same_network_gives_the_same_bytes(exported):
    again = export_forward(trained_like(8, 1, 3, 0), (1, 8, 8))
    assert (again.graph, again.weights) == (exported.graph, exported.weights)
