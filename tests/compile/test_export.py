"""The exported graph is the network: against torch, in the engine that will run it."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from sel_edge.compile.export import export_forward
from sel_edge.pretrain.model import ResNet18


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


@settings(max_examples=4)
@given(
    channels=st.sampled_from([1, 3]),
    classes=st.integers(2, 12),
    side=st.sampled_from([8, 16, 17]),
    n=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_graph_computes_what_torch_computes(tmp_path_factory, channels, classes, side, n, seed):
    import onnxruntime

    model = trained_like(8, channels, classes, seed)
    exported = export_forward(model, (channels, side, side), "weights.safetensors")
    folder = tmp_path_factory.mktemp("graph")
    (folder / "infer.onnx").write_bytes(exported.graph)
    (folder / "weights.safetensors").write_bytes(exported.weights)
    session = onnxruntime.InferenceSession(str(folder / "infer.onnx"))
    x = torch.randn(n, channels, side, side)
    features, logits = session.run(["features", "logits"], {"image": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(features, model.features(x).numpy(), atol=1e-4)
        np.testing.assert_allclose(logits, model(x).numpy(), atol=1e-4)


@pytest.fixture(scope="module")
def exported():
    return export_forward(trained_like(8, 1, 3, 0), (1, 8, 8), "weights.safetensors")


def test_weights_are_stored_once_and_by_name(exported):
    tensors = load(exported.weights)
    graph = onnx.load_from_string(exported.graph).graph
    outside = {i.name for i in graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL}
    assert outside == set(tensors)
    assert tensors[exported.head_weight].shape == (3, 64)
    assert tensors[exported.head_bias].shape == (3,)
    assert len(exported.graph) < 30_000


def test_normalization_is_folded_and_nothing_of_the_exporter_stays(exported):
    proto = onnx.load_from_string(exported.graph)
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert b"site-packages" not in exported.graph


def test_the_same_network_gives_the_same_bytes(exported):
    again = export_forward(trained_like(8, 1, 3, 0), (1, 8, 8), "weights.safetensors")
    assert (again.graph, again.weights) == (exported.graph, exported.weights)
