"""ONNX models written by hand, and running them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from sel_edge.compile.graph import Graph, to_model
from tests.compile.networks import NETWORKS, exported, settled

Array = NDArray[Any]
CLASSES = 4


def normal(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def model(
    nodes: Sequence[NodeProto],
    initializers: Mapping[str, Array],
    shape: Sequence[int | str | None] = (2, 3, 6, 6),
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
    ir_version: int = 8,
    element: int = TensorProto.FLOAT,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model with the input `x`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, None]) for n in outputs],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    domains = {f.domain for f in functions} | {n.domain for n in nodes} - {""}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, functions=list(functions)
    )


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node of tensors whose names are separated by blanks; _ is an absent input."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"n_{outputs}", **attributes)


HEAD: Mapping[str, Array] = {"w": normal(CLASSES, 3, seed=1), "b": normal(CLASSES, seed=2)}
"""Weights of a linear layer behind three pooled channels."""


def pooled(before: str = "x", **attributes: Any) -> list[NodeProto]:
    """The end of a classifier: pool, flatten, and the linear layer of `HEAD`."""
    return [
        node("GlobalAveragePool", before, "pool"),
        node("Flatten", "pool", "flat"),
        node("Gemm", "flat w b", "y", transB=1, **attributes),
    ]


@functools.cache
def ours(name: str) -> tuple[nn.Module, tuple[int, ...], onnx.ModelProto]:
    """A network, the shape of one sample, and the network as our exporter writes it."""
    make, shape = NETWORKS[name]
    network = settled(make, shape)
    return network, shape, exported(network, shape)


def evaluate(proto: onnx.ModelProto, x: Array) -> list[Array]:
    """All outputs of a model with one input."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    found: list[Array] = session.run(None, {session.get_inputs()[0].name: x})
    return found


def logits(graph: Graph, x: Array) -> Array:
    """The logits of a compiled graph, which onnx accepts."""
    proto = to_model(graph)
    onnx.checker.check_model(proto, full_check=True)
    names = [output.name for output in proto.graph.output]
    return evaluate(proto, x)[names.index("logits")]


def assert_same(found: Array, expected: Array, tolerance: float = 1e-5) -> None:
    """Equal up to a part of the largest element."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
