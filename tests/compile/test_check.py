"""Whatever is no plain classifier is refused in words, before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sel_edge.compile.check import MAX_NODES
from sel_edge.compile.load import load_graph
from sel_edge.core.errors import BundleError
from tests.compile.models import HEAD, model, node, normal, pooled


def refused(proto: onnx.ModelProto, *words: str, batch: int | str = 2) -> None:
    """The model ends in a BundleError of full sentences that holds the words."""
    with pytest.raises(BundleError) as caught:
        load_graph(proto, batch)
    error = caught.value
    for part in (error.found, error.expected, error.action):
        assert part[0].isupper() or not part[0].isalpha()
        assert part.endswith(".")
    for word in words:
        assert word in str(error), (word, str(error))


def conv(**changes: Any) -> onnx.ModelProto:
    """A small network with one convolution; arguments change the model."""
    weights = {**HEAD, "k": normal(3, 3, 3, 3), **changes.pop("weights", {})}
    nodes = changes.pop("nodes", None) or [node("Conv", "x k", "c"), *pooled("c")]
    return model(nodes, weights, **changes)


class TestRefusals:
    """A typed error in full sentences, before anything is computed."""

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((None, 3, "h", "w"), "dynamic shape [?, 3, h, w]"),
            ((2, None, 6, 6), "dynamic shape [2, ?, 6, 6]"),
            ((2, 3, 0, 6), "dynamic"),
            ((0, 3, 6, 6), "dynamic"),
            ((2, 3), "2 dimensions"),
            ((2, 3, 4, 5, 6), "5 dimensions"),
            ((), "0 dimensions"),
            ((1, 3, 2**20, 2**20), "elements"),
        ],
    )
    def test_shapes_that_cannot_be_fixed(self, shape, words):
        refused(conv(shape=shape), words)

    def test_a_shape_that_depends_on_the_image(self):
        nodes = [
            node("NonZero", "x", "where"),
            node("Cast", "where", "a", to=TensorProto.FLOAT),
            node("Flatten", "a", "flat", axis=0),
            node("MatMul", "flat w", "y"),
        ]
        refused(model(nodes, {"w": normal(8, 4)}), "NonZero", "depends on what is in the image")

    @pytest.mark.parametrize("opset", [0, 3, 23, 99, 2**40])
    def test_an_opset_from_the_future_or_the_far_past(self, opset):
        refused(conv(opset=opset), f"opset {opset}", "7 to 22")

    def test_several_inputs_or_none(self):
        proto = conv()
        proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
        refused(proto, "2 inputs (x, z)")
        del proto.graph.input[:]
        refused(proto, "0 inputs")

    @pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.UINT8])
    def test_an_image_that_is_not_float32(self, element):
        refused(conv(element=element), "no float32 tensor")

    def test_several_outputs(self):
        refused(conv(outputs=("y", "flat")), "2 outputs (y, flat)")

    @pytest.mark.parametrize(
        ("dtype", "word"), [(np.float16, "float16"), (np.int8, "int8"), (np.float64, "float64")]
    )
    def test_weights_of_another_type(self, dtype, word):
        refused(conv(weights={"k": np.ones((3, 3, 3, 3), dtype)}), word, "n_c", "Convert")

    def test_a_network_that_computes_in_float16(self):
        nodes = [
            node("Cast", "x", "h", to=TensorProto.FLOAT16),
            node("Relu", "h", "r"),
            node("Cast", "r", "c", to=TensorProto.FLOAT),
            *pooled("c"),
        ]
        refused(conv(nodes=nodes), "float16", "n_h")

    def test_weights_in_a_type_that_numpy_lacks(self):
        proto = conv()
        proto.graph.initializer[-1].data_type = TensorProto.BFLOAT16
        refused(proto, "BFLOAT16")

    def test_a_quantized_network(self):
        nodes = [node("DequantizeLinear", "q s", "k"), node("Conv", "x k", "c"), *pooled("c")]
        weights = {**HEAD, "q": np.ones((3, 3, 3, 3), np.int8), "s": np.float32(0.1)}
        refused(model(nodes, weights), "quantized", "DequantizeLinear")

    @pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
    def test_control_flow(self, op):
        body = helper.make_graph([node("Relu", "x", "z")], "body", [], [])
        name = "then_branch" if op == "If" else "body"
        nodes = [node(op, "x", "a", **{name: body}), *pooled("a")]
        refused(conv(nodes=nodes), op, "control flow")

    @pytest.mark.parametrize(
        ("op", "word"), [("SequenceConstruct", "sequences"), ("RandomNormalLike", "random")]
    )
    def test_sequences_and_random_numbers(self, op, word):
        refused(conv(nodes=[node(op, "x", "a"), *pooled("a")]), op, word)

    def test_operators_of_other_domains_and_unknown_ones(self):
        foreign = node("FusedConv", "x k", "c", domain="com.microsoft")
        refused(conv(nodes=[foreign, *pooled("c")]), "FusedConv", "com.microsoft")
        refused(conv(nodes=[node("Conf", "x k", "c"), *pooled("c")]), "Conf")

    def test_functions_that_call_themselves_or_too_many(self):
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]

        def calls(name: str, called: str, times: int) -> onnx.FunctionProto:
            names = ["a", *(f"t{i}" for i in range(times - 1)), "c"]
            chain = [
                node(called, names[i], names[i + 1], domain="own" if called != "Relu" else "")
                for i in range(times)
            ]
            return helper.make_function("own", name, ["a"], ["c"], chain, imports)

        nodes = [node("F0", "x", "a", domain="own"), *pooled("a")]
        refused(conv(nodes=nodes, functions=[calls("F0", "F0", 1)]), "nested too deeply")
        circle = [calls("F0", "Relu", 1), calls("F1", "F2", 1), calls("F2", "F1", 1)]
        refused(conv(nodes=nodes, functions=circle), "nested too deeply")
        laughs = [calls(f"F{i}", f"F{i + 1}", 10) for i in range(8)] + [calls("F8", "Relu", 10)]
        refused(conv(nodes=nodes, functions=laughs), "1000000006", str(MAX_NODES))

    @pytest.mark.parametrize(
        "end",
        [
            [node("Sigmoid", "z", "y")],
            [node("Softmax", "z", "y", axis=0)],
            [node("Mul", "z b", "y")],
            [node("ArgMax", "z", "y", axis=1)],
            [node("MatMul", "z z2", "y")],
        ],
    )
    def test_an_end_that_is_no_linear_layer(self, end):
        nodes = pooled()
        nodes[-1].output[0] = "z"
        nodes += [node("Transpose", "z", "z2")]
        refused(model([*nodes, *end], HEAD), "")

    def test_a_convolution_as_the_head(self):
        nodes = [node("Conv", "x k", "c"), node("GlobalAveragePool", "c", "p")]
        nodes.append(node("Flatten", "p", "y"))
        refused(conv(nodes=nodes), "does not end in the logits of a linear layer")

    def test_an_answer_that_does_not_depend_on_the_image(self):
        refused(conv(nodes=[node("Identity", "w", "y")]), "linear layer")

    def test_one_logit(self):
        weights = {"w": normal(1, 3), "b": normal(1)}
        refused(model(pooled(), weights), "at least two classes")

    def test_training_mode(self):
        names = "gamma beta mean var"
        norm = node("BatchNormalization", f"x {names}", "a m v", training_mode=1)
        weights = {**HEAD, **{name: np.ones(3, np.float32) for name in names.split()}}
        refused(model([norm, *pooled("a")], weights, opset=15), "training mode")
        weights = {**HEAD, "ratio": np.float32(0.5), "yes": np.array(True)}
        dropout = node("Dropout", "x ratio yes", "a")
        refused(model([dropout, *pooled("a")], weights), "training mode")

    def test_weights_that_lie_elsewhere(self):
        proto = conv()
        weight = proto.graph.initializer[-1]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights.bin")
        refused(proto, "weights k", "missing")

    @pytest.mark.parametrize("dims", [[3, 3, 3, 4], [-1], [3, 3, -3, -3], [2**62, 4, 1, 1]])
    def test_weights_of_another_size_than_stated(self, dims):
        proto = conv()
        proto.graph.initializer[-1].dims[:] = dims
        refused(proto)

    @pytest.mark.parametrize(
        "attributes",
        [
            {"group": 0},
            {"group": 3},
            {"strides": [0, 0]},
            {"strides": [-1, 1]},
            {"dilations": [0, 1]},
            {"kernel_shape": [9, 9]},
            {"pads": [1]},
            {"dilations": [9, 9]},
        ],
    )
    def test_attributes_that_make_no_sense(self, attributes):
        refused(conv(nodes=[node("Conv", "x k", "c", **attributes), *pooled("c")]), "Conv")

    def test_weights_that_do_not_fit(self):
        refused(conv(weights={"k": normal(3, 2, 3, 3)}), "do not fit")
        refused(conv(weights={"w": normal(4, 5)}), "do not fit")
        nodes = [node("Conv", "x k bias", "c"), *pooled("c")]
        refused(conv(nodes=nodes, weights={"bias": normal(1)}), "do not fit")

    def test_a_tensor_that_nobody_makes_and_one_that_two_make(self):
        refused(conv(nodes=[node("Conv", "x nothing", "c"), *pooled("c")]), "nothing")
        twice = [node("Relu", "x", "c"), node("Sigmoid", "x", "c"), *pooled("c")]
        refused(conv(nodes=twice), "malformed")

    def test_more_operators_than_any_network_has(self):
        nodes = [node("Relu", "x", "t0")]
        nodes += [node("Relu", f"t{i}", f"t{i + 1}") for i in range(MAX_NODES)]
        refused(conv(nodes=[*nodes, *pooled(f"t{MAX_NODES}")]), str(MAX_NODES))

    def test_a_batch_that_is_part_of_the_arithmetic(self):
        shape = [node("Shape", "x", "s", end=1), node("Cast", "s", "n", to=TensorProto.FLOAT)]
        nodes = [*shape, node("Div", "x n", "a"), *pooled("a")]
        refused(model(nodes, HEAD), "one size of the batch only", batch="n")
        load_graph(model(nodes, HEAD), 2)

    def test_a_batch_that_is_mixed_with_other_sizes(self):
        nodes = [
            node("Transpose", "x", "t", perm=[1, 0, 2, 3]),
            node("Slice", "t zero end zero", "a"),
            *pooled("a"),
        ]
        ints = {"zero": np.array([0]), "end": np.array([2])}
        refused(model(nodes, {"w": normal(4, 2), "b": HEAD["b"], **ints}), "", batch="n")

    def test_text_that_could_confuse_a_terminal(self):
        evil = node("Conv", "x k", "c")
        evil.name = evil.op_type = "\x1b[2J" + "x" * 1000
        with pytest.raises(BundleError) as caught:
            load_graph(conv(nodes=[evil, *pooled("c")]), 2)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 1000
