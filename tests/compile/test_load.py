"""Any exporter's classifier becomes the same kind of graph, and everything else is refused."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sel_edge.compile.graph import Graph
from sel_edge.compile.load import load_graph
from sel_edge.compile.read import read_model
from sel_edge.core.errors import BundleError
from tests.compile.models import (
    HEAD,
    assert_same,
    evaluate,
    logits,
    model,
    node,
    normal,
    ours,
    pooled,
)
from tests.compile.networks import NETWORKS, Network, exported

SHAPE_OPERATORS = {"Shape", "Gather", "Constant", "ConstantOfShape", "Unsqueeze", "CastLike"}
NOTHING_OPERATORS = {"Identity", "Dropout", "Softmax", "LogSoftmax"}


def torchscript(
    network: nn.Module, shape: tuple[int, ...], opset: int, **options: Any
) -> onnx.ModelProto:
    """What torch's older exporter writes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, *shape),),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=["input.1"],
            **options,
        )
    return onnx.load_model_from_string(file.getvalue())


def operators(graph: Graph) -> set[str]:
    return {node.op for node in graph.nodes}


class TestExporters:
    """Graphs of networks compute what torch computes, without a trace of shape arithmetic."""

    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize("batch", [3, "n"])
    def test_ours(self, name, batch):
        network, shape, proto = ours(name)
        self.check(network, shape, load_graph(proto, batch))

    @pytest.mark.parametrize("name", NETWORKS)
    @pytest.mark.parametrize(
        ("opset", "options"),
        [
            (11, {"dynamic_axes": {"input.1": {0: "batch"}}}),
            (13, {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}),
            (17, {}),
        ],
    )
    @pytest.mark.parametrize("batch", [3, "n"])
    def test_torchscript(self, name, opset, options, batch):
        network, shape, _ = ours(name)
        proto = torchscript(network, shape, opset, **options)
        self.check(network, shape, load_graph(proto, batch))

    def test_dynamo_with_its_optimizer_and_a_fixed_batch(self):
        network, shape, _ = ours("branches")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (torch.zeros(1, *shape),), dynamo=True, verbose=False, opset_version=20
            )
        graph = load_graph(program.model_proto, 3)
        assert graph.opset == 20
        self.check(network, shape, graph)

    def check(self, network, shape, graph):
        assert not operators(graph) & (SHAPE_OPERATORS | NOTHING_OPERATORS)
        (kind,) = graph.inputs.values()
        assert list(graph.inputs) == ["image"]
        assert kind.shape[1:] == shape
        assert all(
            isinstance(dim, int) or dim == kind.shape[0]
            for output in graph.nodes
            for dim in graph.types[output.outputs[0]].shape
        )
        x = normal(3, *shape, seed=5)
        with torch.no_grad():
            assert_same(logits(graph, x), network(torch.from_numpy(x)).numpy())

    def test_parameters_keep_their_names(self):
        network, _, proto = ours("mobilenet")
        graph = load_graph(proto, 2)
        expected = {n for n, p in network.state_dict().items() if p.ndim > 0}
        arrays = {name for name, value in graph.constants.items() if value.dtype == np.float32}
        assert {name for name in arrays if graph.constants[name].ndim > 0} == expected

    @pytest.mark.parametrize("batch", [3, "n"])
    def test_channel_shuffle(self, batch):
        class Shuffle(nn.Module):
            def forward(self, x):
                n, c, h, w = x.size()
                first, second = (
                    x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(x.shape).chunk(2, 1)
                )
                return torch.cat([second.relu(), first], 1)

        body = nn.Sequential(nn.Conv2d(3, 8, 3), Shuffle(), nn.Conv2d(8, 8, 1, groups=4))
        torch.manual_seed(0)
        network = Network(body, 8).eval()
        for proto in (
            torchscript(network, (3, 8, 8), 12),
            torchscript(network, (3, 8, 8), 16, dynamic_axes={"input.1": {0: "N"}}),
            exported(network, (3, 8, 8)),
        ):
            self.check(network, (3, 8, 8), load_graph(proto, batch))


class TestNormalForm:
    """What hand-written models become."""

    def check(self, proto: onnx.ModelProto, batch: int | str = 2) -> Graph:
        x = normal(*(d.dim_value or 2 for d in proto.graph.input[0].type.tensor_type.shape.dim))
        graph = load_graph(proto, batch)
        assert_same(logits(graph, x), evaluate(proto, x)[0])
        return graph

    @pytest.mark.parametrize("opset", [11, 13, 17, 18])
    @pytest.mark.parametrize("batch", [2, "n"])
    def test_a_shape_chain_disappears(self, opset, batch):
        axes = {"axes": [0]} if opset < 13 else {}
        unsqueeze = "one" if opset < 13 else "one zero"
        nodes = [
            node("GlobalAveragePool", "x", "pool"),
            node("Shape", "pool", "shape"),
            node("Constant", "", "index", value=numpy_helper.from_array(np.array(0))),
            node("Gather", "shape index", "one", axis=0),
            node("Unsqueeze", unsqueeze, "first", **axes),
            node("Concat", "first rest", "target", axis=0),
            node("Reshape", "pool target", "flat"),
            node("Gemm", "flat w b", "y", transB=1),
        ]
        ints = {"rest": np.array([-1]), "zero": np.array([0])}
        graph = self.check(model(nodes, {**HEAD, **ints}, opset=opset), batch)
        assert [n.op for n in graph.nodes] == ["GlobalAveragePool", "Reshape", "Gemm"]

    @pytest.mark.parametrize("target", [[1, 3], [1, -1], [-1, 3], [0, -1]])
    @pytest.mark.parametrize("batch", [5, "n"])
    def test_a_batch_of_one_in_the_file_is_replaced(self, target, batch):
        nodes = [
            node("GlobalAveragePool", "x", "pool"),
            node("Reshape", "pool target", "flat"),
            node("Gemm", "flat w b", "y", transB=1),
        ]
        proto = model(nodes, {**HEAD, "target": np.array(target)}, (1, 3, 6, 6))
        graph = load_graph(proto, batch)
        x = normal(5, 3, 6, 6)
        expected = [evaluate(proto, x[i : i + 1])[0] for i in range(5)]
        assert_same(logits(graph, x), np.concatenate(expected))

    @pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
    @pytest.mark.parametrize("opset", [12, 18])
    def test_probabilities_are_traced_back_to_logits(self, op, opset):
        nodes = pooled()
        plain = model(nodes, HEAD, opset=opset)
        nodes[-1].output[0] = "z"
        proto = model([*nodes, node(op, "z", "y", axis=1)], HEAD, opset=opset)
        x = normal(2, 3, 6, 6)
        assert_same(logits(load_graph(proto, 2), x), evaluate(plain, x)[0])

    @pytest.mark.parametrize("opset", [11, 13])
    def test_what_does_nothing_is_dropped(self, opset):
        nodes = [
            node("Identity", "x", "a"),
            node("Dropout", "a", "c"),
            node("Cast", "c", "d", to=TensorProto.FLOAT),
            node("Relu", "d", "e"),
            *pooled("e"),
        ]
        graph = self.check(model(nodes, HEAD, opset=opset))
        assert [n.op for n in graph.nodes] == ["Relu", "GlobalAveragePool", "Flatten", "Gemm"]

    def test_dead_branches_are_dropped(self):
        dead = [node("Sigmoid", "x", "s"), node("MaxPool", "x", "m i", kernel_shape=[2, 2])]
        nodes = [*dead, *pooled("m")]
        graph = self.check(model(nodes, {**HEAD, "unused": normal(5)}))
        assert next(n.op for n in graph.nodes) == "MaxPool"
        assert len(graph.nodes[0].outputs) == 1
        assert "unused" not in graph.constants

    def test_a_copied_parameter_is_one_of_its_own_and_a_shared_one_stays_shared(self):
        nodes = [
            node("Identity", "k", "k2"),
            node("Conv", "x k", "a"),
            node("Conv", "a k2", "c"),
            node("Conv", "c k", "d"),
            *pooled("d"),
        ]
        graph = self.check(model(nodes, {**HEAD, "k": normal(3, 3, 1, 1)}))
        weights = [n.inputs[1] for n in graph.nodes if n.op == "Conv"]
        assert weights == ["k", "k2", "k"]

    @pytest.mark.parametrize("batch", [2, "n"])
    def test_large_weights_are_computed_from_constants(self, batch):
        inside = {"v": normal(3 * 6 * 6, 700), "g": normal(1, 700), "head": normal(700, 4)}
        nodes = [
            node("Transpose", "v", "vt", perm=[1, 0]),
            node("Transpose", "g", "gt", perm=[1, 0]),
            node("Mul", "vt gt", "weight"),
            node("Flatten", "x", "flat"),
            node("Gemm", "flat weight", "h", transB=1),
            node("MatMul", "h head", "y"),
        ]
        graph = self.check(model(nodes, inside), batch)
        assert [n.op for n in graph.nodes] == ["Flatten", "Gemm", "MatMul"]
        assert graph.nodes[1].inputs[1] == "weight"

    @pytest.mark.parametrize("batch", [2, "n"])
    def test_sizes_of_a_resize_become_factors(self, batch):
        nodes = [
            node("Shape", "x", "s", end=2),
            node("Concat", "s side", "sizes", axis=0),
            node("Resize", "x _ _ sizes", "a", mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric"),
            *pooled("a"),
        ]  # fmt: skip
        graph = self.check(model(nodes, {**HEAD, "side": np.array([12, 9])}), batch)
        np.testing.assert_array_equal(graph.constants[graph.nodes[0].inputs[2]], [1, 1, 2, 1.5])

    def test_constant_of_shape_and_cast_like(self):
        value = helper.make_tensor("v", TensorProto.INT64, [1], [3])
        nodes = [
            node("Shape", "x", "s"),
            node("ConstantOfShape", "s", "three", value=value),
            node("CastLike", "three x", "t"),
            node("Add", "x t", "a"),
            *pooled("a"),
        ]
        self.check(model(nodes, HEAD))

    def test_local_functions_are_inlined(self):
        inner = helper.make_function(
            "own", "Twice", ["a"], ["c"], [node("Add", "a a", "c")], [helper.make_opsetid("", 18)]
        )
        outer_nodes = [node("Twice", "a", "d", domain="own"), node("Relu", "d", "c")]
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        outer = helper.make_function("own", "Outer", ["a"], ["c"], outer_nodes, imports)
        nodes = [node("Outer", "x", "a", domain="own"), *pooled("a")]
        graph = self.check(model(nodes, HEAD, functions=[inner, outer]))
        assert [n.op for n in graph.nodes][:2] == ["Add", "Relu"]

    def test_a_loaded_model_is_left_as_it_was(self):
        proto = model([node("Identity", "x", "a"), *pooled("a")], HEAD, opset=13)
        before = proto.SerializeToString()
        load_graph(proto, "n")
        assert proto.SerializeToString() == before

    def test_names_that_files_cannot_have_are_changed_and_others_are_not(self):
        taken = ["image", "logits", "relu_1", "__metadata__", "moments", "moments/a"]
        names = ["layer/a:0", "a b\n", "a_b_", *taken, "größe"]
        nodes, before = [], "x"
        for index, name in enumerate(names):
            proto = node("Conv", "x k", f"c{index}")
            proto.input[:] = [before, name]
            nodes += [proto, node("Relu", f"c{index}", f"r{index}")]
            before = f"r{index}"
        weights = {name: normal(3, 3, 1, 1, seed=i) for i, name in enumerate(names)}
        graph = self.check(model([*nodes, *pooled(before)], {**HEAD, **weights}))
        found = [n.inputs[1] for n in graph.nodes if n.op == "Conv"]
        assert len(set(found)) == len(names)
        assert not set(taken) & set(found)
        assert not any(c in name for name in found for c in " \n")
        assert {"layer/a:0", "größe"} < set(found)


def _fuzzed() -> bytes:
    nodes = [
        node("Conv", "x k", "c", pads=[1, 1, 1, 1], group=1),
        node("BatchNormalization", "c b3 b3 b3 b3", "d"),
        node("Shape", "d", "s"),
        node("Gather", "s zero", "n"),
        node("Concat", "n rest", "t", axis=0),
        node("GlobalAveragePool", "d", "p"),
        node("Reshape", "p t", "flat"),
        node("Gemm", "flat w b", "y", transB=1),
    ]
    weights = {**HEAD, "k": normal(3, 3, 3, 3), "b3": np.ones(3, np.float32)}
    weights |= {"zero": np.array([0]), "rest": np.array([3])}
    return model(nodes, weights, opset=17).SerializeToString()


FUZZED = _fuzzed()


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(FUZZED) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(FUZZED)),
    st.booleans(),
    st.sampled_from([2, "n"]),
)
def test_damaged_files_end_in_an_error_or_a_graph(tmp_path_factory, changes, length, cut, batch):
    damaged = bytearray(FUZZED)
    for position, value in changes:
        damaged[position] = value
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(damaged[:length] if cut else damaged)
    with contextlib.suppress(BundleError):
        load_graph(read_model(path), batch)
