"""An ONNX model as a graph of the compiler: one input `image`, every size known, nothing idle."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, defs, helper
from onnx.reference import ReferenceEvaluator

from sel_edge.compile.batch import free_batch, pruned
from sel_edge.compile.check import (
    EXPORT_AGAIN,
    described,
    image_input,
    no_linear_end,
    opset_of,
    prepare,
    understood,
)
from sel_edge.compile.graph import Array, Dim, Graph, Node
from sel_edge.compile.layers import find_layers, is_parameter
from sel_edge.compile.patches import geometry
from sel_edge.compile.values import (
    needed_nodes,
    not_float32,
    read_array,
    read_attributes,
    read_constants,
)
from sel_edge.core.errors import BundleError

_RESERVED = re.compile(
    r"__metadata__|image|features|logits|moments|latent\w*|labels|sample_weights|temperature|"
    r"learning_rate|step|loss|blend|[a-z0-9]+_\d+|"
    r"(channels|frozen|new|velocity|mean|square|scale|shift|fisher|moments)/.*"
)
"""Names that a parameter cannot have: those of tensors in the graphs that are made of it, and what
safetensors keeps for itself."""

_ODD_CHARACTERS = re.compile(r'[\x00-\x20\x7f-\xa0"\\]')

_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
_LAYOUT = frozenset({"Cast", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})

_MAY_CHANGE_NOTHING = frozenset({"Cast", "Expand", "Flatten", "Squeeze", "Unsqueeze"})
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ACTIVATION_TYPES = frozenset({"float32", "int64", "int32", "bool"})


def load_graph(model: onnx.ModelProto, batch: Dim) -> Graph:
    """Bring a classifier into the form that the compiler works on.

    Constants keep the names that the file gives their tensors, where they are float32 arrays; what
    is computed from shapes and constants is computed here; Identity, Dropout, operators without
    effect and a Softmax behind the logits are dropped.

    Args:
        model: any classifier of images or signals; weights inside, as `read_model` returns it.
        batch: images per run: at least 1, or a name if it is known when the graph runs only.

    Returns:
        A graph with the input `image` float32 [batch, C, H, W] or [batch, C, L], and the output
        `logits` float32 [batch, K]; also `features` if the model has exactly these two outputs.

    Raises:
        BundleError: the model is malformed, or not a classifier that can be compiled.
    """
    model = prepare(model)
    with np.errstate(all="ignore"), understood("The ONNX model cannot be used"):
        nodes = needed_nodes(model)
        constants = read_constants(model, nodes)
        nodes = [node for node in nodes if node.op_type != "Constant"]

        def build(size: int) -> Graph:
            return _Loader(model, nodes, constants, size).load()

        graph = pruned(build(batch)) if isinstance(batch, int) else free_batch(build, batch)
        _require_classifier(graph, batch)
    return graph


class _Loader:
    """Builds a graph node by node.

    Args:
        model: as `prepare` returns it.
        nodes: those of its nodes that matter.
        constants: values of tensors by their names in the file.
        batch: images per run.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        nodes: Sequence[NodeProto],
        constants: Mapping[str, Array],
        batch: int,
    ) -> None:
        self._nodes, self._batch = nodes, batch
        self._outputs = [value.name for value in model.graph.output]
        self._used = {name for node in nodes for name in node.input}.union(self._outputs)
        self._graph = Graph(opset=opset_of(model))
        image = image_input(model)
        first, *rest = image.type.tensor_type.shape.dim
        self._declared_batch = first.dim_value if first.HasField("dim_value") else None
        shape = (batch, *(dim.dim_value for dim in rest))
        self._names = {"": "", image.name: self._graph.input("image", "float32", shape)}
        for name in sorted(self._used.intersection(constants)):
            self._bind(name, constants[name])
        self._given = frozenset(self._graph.constants)

    def load(self) -> Graph:
        """The graph, with what the model's outputs are."""
        for node in self._nodes:
            with understood(f"The ONNX model cannot be used: {described(node)} is at fault"):
                inputs = tuple(self._names[name] for name in node.input)
                while inputs and not inputs[-1]:
                    inputs = inputs[:-1]
                special = _SPECIAL.get(node.op_type, _Loader._operator)
                outputs = special(self, node, inputs)
                for name, tensor in zip(node.output, outputs, strict=False):
                    if name:
                        self._keep(name, tensor)
        found = [self._names[name] for name in self._outputs]
        names = ["logits"] if len(found) == 1 else self._outputs
        self._graph.outputs = dict(zip(names, found, strict=True))
        self._graph.outputs["logits"] = self._before_softmax(self._graph.outputs["logits"])
        if any(tensor in self._graph.constants for tensor in found):
            raise no_linear_end()
        return self._graph

    def _bind(self, name: str, value: Array) -> None:
        """Make a tensor of the file a constant of the graph."""
        if not is_parameter(value):
            self._names[name] = self._graph.constant(value)
            return
        clean = _ODD_CHARACTERS.sub("_", name)
        if _RESERVED.fullmatch(clean):
            clean = f"file.{clean}"
        if clean in self._graph.types:
            clean = f"{clean}.{len(self._graph.types)}"
        while clean in self._graph.types:
            clean += "_"
        self._names[name] = self._graph.constant(value, clean)

    def _keep(self, name: str, tensor: str) -> None:
        """Remember what a tensor of the file is here; a computed parameter gets its name."""
        value = self._graph.value(tensor)
        if value is not None and is_parameter(value):
            self._bind(name, value)
        else:
            self._names[name] = tensor

    def _operator(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """Any operator that needs no treatment of its own."""
        graph, op, attributes = self._graph, node.op_type, read_attributes(node)
        _require_layer(graph, node, inputs)
        values = [graph.constants[i] for i in inputs if i in graph.constants]
        if len(values) == len(inputs) and _keeps_size(op, values):
            return (graph.constant(_evaluated(op, values, attributes)),)
        count = self._output_count(node)
        outputs = graph.add_node(op, inputs, attributes, count, node.name or node.output[0])
        for output in outputs:
            _require_known(graph, node, output)
        if op in _MAY_CHANGE_NOTHING and graph.types[outputs[0]] == graph.types[inputs[0]]:
            return inputs[:1]
        return outputs

    def _output_count(self, node: NodeProto) -> int:
        """Outputs without those at the end that are optional and not used."""
        formal = defs.get_schema(node.op_type, self._graph.opset, "").outputs
        count = len(node.output)
        optional = defs.OpSchema.FormalParameterOption.Optional
        while (
            1 < count <= len(formal)
            and formal[count - 1].option == optional
            and node.output[count - 1] not in self._used
        ):
            count -= 1
        return count

    def _identity(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        return inputs[:1]

    def _cast_like(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        types = self._graph.types
        if types[inputs[0]].dtype != types[inputs[1]].dtype:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(types[inputs[1]].dtype))
            return (self._graph.add("Cast", inputs[0], to=element),)
        return inputs[:1]

    def _convolution(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """A Conv; zeros that an exporter computed for a missing bias are left out."""
        bias = self._graph.value(inputs[2]) if len(inputs) == 3 else None
        if bias is not None and inputs[2] not in self._given and not bias.any():
            inputs = inputs[:2]
        return self._operator(node, inputs)

    def _dropout(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        training = self._graph.value(inputs[2]) if len(inputs) > 2 and inputs[2] else np.False_
        if training is None or bool(training):
            raise _training_mode(node)
        return inputs[:1]

    def _batch_normalization(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        if read_attributes(node).get("training_mode", 0):
            raise _training_mode(node)
        return self._operator(node, inputs)

    def _shape(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        attributes = read_attributes(node)
        part = slice(attributes.get("start", 0), attributes.get("end"))
        return (self._graph.ints(*self._graph.shape(inputs[0])[part]),)

    def _constant_of_shape(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        value = np.zeros(1, dtype=np.float32)
        for attribute in node.attribute:
            value = read_array(attribute.t)
        filling = self._graph.constant(value.reshape(()))
        return (self._graph.add("Expand", filling, inputs[0]),)

    def _reshape(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """A Reshape whose target may name the batch that the model was exported with."""
        target, shape = self._graph.value(inputs[1]), self._graph.types[inputs[0]].shape
        if target is not None and self._names_batch(target.tolist(), shape):
            inputs = (inputs[0], self._graph.ints(self._batch, *target.tolist()[1:]))
        (output,) = self._operator(node, inputs)
        if output in self._graph.constants:
            return (output,)
        return (self._graph.reshape(inputs[0], *self._graph.shape(output)),)

    def _resize(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """A Resize told by factors, where sizes come to the same: they would name the batch."""
        sizes = self._graph.value(inputs[3]) if len(inputs) > 3 else None
        before = self._graph.shape(inputs[0])
        if sizes is not None and sizes.shape == (len(before),):
            factors = sizes.astype(np.float32) / np.array(before, dtype=np.float32)
            if np.array_equal(np.floor(factors * np.array(before)), sizes):
                name = f"{node.output[0]}.factors"
                self._bind(name, factors)
                inputs = (*inputs[:2], self._names[name])
        return self._operator(node, inputs)

    def _pool(self, node: NodeProto, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """A pool that rounds sizes up, padded so that it need not: engines disagree on how to."""
        (outputs, attributes) = (self._operator(node, inputs), read_attributes(node))
        if not attributes.pop("ceil_mode", 0) or attributes.get("count_include_pad", 0):
            return outputs
        where = geometry(self._graph, Node(node.op_type, inputs, outputs, attributes))
        after = where.covering()
        if any(pad >= kernel for pad, kernel in zip(after, where.kernel, strict=True)):
            return outputs
        attributes["pads"] = [*where.before, *after]
        attributes.pop("auto_pad", None)
        return self._graph.add_node(node.op_type, inputs, attributes, len(outputs), name=node.name)

    def _names_batch(self, target: list[int], shape: tuple[Dim, ...]) -> bool:
        if not target or not shape or shape[0] != self._batch or target[0] != self._declared_batch:
            return False
        one_image = math.prod(int(dim) for dim in shape[1:])
        return min(target) < 1 or math.prod(target[1:]) == one_image

    def _before_softmax(self, logits: str) -> str:
        makers = {node.outputs[0]: node for node in self._graph.nodes}
        node = makers.get(logits)
        if node is None or node.op not in ("Softmax", "LogSoftmax"):
            return logits
        by_class = self._graph.rank(logits) == 2 and node.get("axis", -1) in (1, -1)
        return node.inputs[0] if by_class else logits


_SPECIAL: Mapping[str, Callable[[_Loader, NodeProto, tuple[str, ...]], tuple[str, ...]]] = {
    "BatchNormalization": _Loader._batch_normalization,
    "CastLike": _Loader._cast_like,
    "ConstantOfShape": _Loader._constant_of_shape,
    "Conv": _Loader._convolution,
    "Dropout": _Loader._dropout,
    "AveragePool": _Loader._pool,
    "Identity": _Loader._identity,
    "MaxPool": _Loader._pool,
    "Reshape": _Loader._reshape,
    "Resize": _Loader._resize,
    "Shape": _Loader._shape,
}


def _keeps_size(op: str, values: Sequence[Array]) -> bool:
    """Whether an operator on constants can be computed here however large they are."""
    if op in _ARITHMETIC:
        shape = np.broadcast_shapes(*(value.shape for value in values))
        return math.prod(shape) <= max(value.size for value in values)
    return op in _LAYOUT


def _evaluated(op: str, values: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    names = [f"input_{index}" for index in range(len(values))]
    node = helper.make_node(op, names, ["output"], **attributes)
    (result,) = ReferenceEvaluator(node).run(None, dict(zip(names, values, strict=True)))
    return np.asarray(result)


def _require_layer(graph: Graph, node: NodeProto, inputs: Sequence[str]) -> None:
    """Refuse weights that are no float32 numbers, and those that do not fit what they work on."""
    if node.op_type not in _LAYERS:
        return
    for value in (graph.constants[i] for i in inputs if i in graph.constants):
        if value.dtype != np.float32:
            raise not_float32(
                f"The weights of {described(node)} in the ONNX model are {value.dtype}."
            )
    if node.op_type in ("Conv", "Gemm"):
        _require_fitting(graph, node, inputs)


def _require_fitting(graph: Graph, node: NodeProto, inputs: Sequence[str]) -> None:
    """Refuse a Conv or Gemm whose sizes do not match; onnx infers a shape for it all the same."""
    attributes = read_attributes(node)
    shape, weight = graph.shape(inputs[0]), graph.shape(inputs[1])
    if node.op_type == "Gemm":
        inner = shape[0 if attributes.get("transA", 0) else 1]
        fits = inner == weight[1 if attributes.get("transB", 0) else 0]
    else:
        group = attributes.get("group", 1)
        fits = shape[1] == weight[1] * group and weight[0] % group == 0
        fits &= attributes.get("kernel_shape", list(weight[2:])) == list(weight[2:])
        fits &= len(inputs) < 3 or graph.shape(inputs[2]) == weight[:1]
    if not fits:
        raise ValueError(f"weights of shape {list(weight)} do not fit an input {list(shape)}")


def _require_known(graph: Graph, node: NodeProto, tensor: str) -> None:
    """Refuse what has no fixed size or an element type that cannot be trained through."""
    if tensor in graph.constants:
        return
    kind = graph.types[tensor]
    if kind.dtype not in _ACTIVATION_TYPES:
        raise not_float32(f"The ONNX model computes in {kind.dtype} from {described(node)} on.")
    if not all(isinstance(dim, int) and dim > 0 for dim in kind.shape):
        raise BundleError(
            f"The result of {described(node)} in the ONNX model has the shape {list(kind.shape)}, "
            "which depends on what is in the image or is empty.",
            "Shapes that follow from the size of the image alone are expected.",
            EXPORT_AGAIN,
        )


def _training_mode(node: NodeProto) -> BundleError:
    return BundleError(
        f"The ONNX model was exported in training mode: {described(node)} still trains.",
        "A network in evaluation mode is expected.",
        "Export the network in evaluation mode (in torch: model.eval()).",
    )


def _require_classifier(graph: Graph, batch: Dim) -> None:
    logits = graph.outputs["logits"]
    layer = find_layers(graph).get(logits)
    if layer is None or not layer.is_linear:
        raise no_linear_end()
    shape = graph.types[logits].shape
    if shape[0] != batch or shape[1] == 1:
        raise BundleError(
            f"The ONNX model answers with logits of shape {list(shape)} for {batch} images.",
            "One row per image and at least two classes are expected.",
            "Export a classifier with a free batch, and with one logit per class.",
        )
