"""Pools that round their sizes up: what is loaded answers as torch does, and can be trained."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from tests.compile.gradients import normal


def pooled(op: str, **attributes: object) -> onnx.ModelProto:
    """A pool, its mean, and a classifier of two classes."""
    nodes = [
        helper.make_node(op, ["x"], ["p"], ceil_mode=1, **attributes),
        helper.make_node("GlobalMaxPool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1),
    ]
    weights = [
        numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"),
        numpy_helper.from_array(np.zeros(3, np.float32), "b"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 7, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.sampled_from(["Max", "Average"]))
def test_a_pool_that_rounds_up_is_torchs(kernel: int, stride: int, pad: int, kind: str) -> None:
    assume(pad <= kernel // 2)
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    graph = load_graph(pooled(f"{kind}Pool", **attributes), 2)
    x = normal(2, 3, 7, 7)
    session = ort.InferenceSession(to_model(graph).SerializeToString())
    (found,) = session.run(["logits"], {"image": x})
    tensor = torch.tensor(x)
    if kind == "Max":
        expected = functional.max_pool2d(tensor, kernel, stride, pad, ceil_mode=True)
    else:
        expected = functional.avg_pool2d(tensor, kernel, stride, pad, True, False)
    np.testing.assert_allclose(found, expected.amax((2, 3)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_nothing_rounds_up_any_more(op: str) -> None:
    model = pooled(op, kernel_shape=[2, 2], strides=[2, 2])
    nodes = load_graph(model, 2).needed_nodes()
    assert nodes[0].op == op
    assert not nodes[0].get("ceil_mode", 0)
