"""A typed graph of ONNX operators: what every step of the compiler reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Array: TypeAlias = NDArray[Any]
Model: TypeAlias = onnx.ModelProto
Dim: TypeAlias = int | str
"""A fixed size, or the name of one that is only known when the graph runs."""

OPSET = 18
IR_VERSION = 9
_FOLD_LIMIT = 2**16
"""Constants above this many elements are left to the runtime instead of being computed here."""


@dataclass(frozen=True)
class Type:
    """Element type (numpy's name, e.g. "float32") and shape of a tensor."""

    dtype: str
    shape: tuple[Dim, ...]

    @property
    def fixed(self) -> tuple[int, ...]:
        """The shape, where every dimension is known.

        Raises:
            ValueError: a dimension has only a name.
        """
        if not all(isinstance(dim, int) for dim in self.shape):
            raise ValueError(f"a fixed shape is needed, not {self.shape}")
        return tuple(int(dim) for dim in self.shape)

    @property
    def elements(self) -> int:
        """Number of elements of a fixed shape."""
        return int(np.prod(self.fixed, dtype=np.int64))


@dataclass(frozen=True)
class Node:
    """One operator. An absent optional input or output is the empty name."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    name: str = ""

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute, or what the operator takes in its absence."""
        return self.attributes.get(attribute, default)

    def has(self, index: int) -> bool:
        """Whether the optional input at `index` is there."""
        return len(self.inputs) > index and bool(self.inputs[index])


@dataclass
class Graph:
    """Operators in the order they run; grows at its end only.

    Equal operators on equal inputs are added once, and operators on constants are computed at once,
    so that rules may emit what they need without looking whether it is there already.

    Attributes:
        nodes: every input of a node is a graph input, a constant or an earlier node's output.
        inputs: what the caller gives, name -> type.
        constants: name -> value.
        outputs: name under which the caller finds a tensor -> the tensor.
        types: type of every tensor.
        opset: version of the operators' meanings.
    """

    opset: int = OPSET
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    _known: dict[Any, tuple[str, ...]] = field(default_factory=dict, repr=False)
    _reserved: set[str] = field(default_factory=set, repr=False)

    def input(self, name: str, dtype: str, shape: Sequence[Dim]) -> str:
        """Declare a graph input."""
        if name in self.types:
            raise ValueError(f"the name {name} is taken")
        self.inputs[name] = self.types[name] = Type(dtype, tuple(shape))
        return name

    def constant(self, value: Array, name: str | None = None) -> str:
        """A constant; equal small ones share a name.

        Args:
            value: any dtype that ONNX has.
            name: for a parameter, which is never shared.
        """
        value = np.asarray(value)
        key = None
        if name is None:
            if value.size <= _FOLD_LIMIT:
                key = ("constant", value.dtype.str, value.shape, value.tobytes())
                if key in self._known:
                    return self._known[key][0]
            name = self._fresh("c")
        elif name in self.types:
            raise ValueError(f"the name {name} is taken")
        self.constants[name] = value
        self.types[name] = Type(value.dtype.name, value.shape)
        if key is not None:
            self._known[key] = (name,)
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float, like: str) -> str:
        """A constant of no dimensions with the element type of the tensor `like`."""
        return self.constant(np.array(value, dtype=self.types[like].dtype))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output, and return its name."""
        return self.add_node(op, inputs, attributes)[0]

    def add_node(
        self,
        op: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any],
        outputs: int = 1,
        name: str = "",
    ) -> tuple[str, ...]:
        """Add an operator, or find the same one, and return its outputs' names.

        Args:
            op: an operator of ONNX's default domain.
            inputs: tensors of this graph; the empty name for an optional one that is absent.
            attributes: ints, floats, texts or lists of them.
            outputs: how many outputs there are.
            name: for error messages.
        """
        key = (op, tuple(inputs), _hashable(attributes), outputs)
        if key in self._known:
            return self._known[key]
        names = tuple(self._fresh(op.lower()) for _ in range(outputs))
        node = Node(op, tuple(inputs), names, dict(attributes), name)
        if all(i in self.constants for i in inputs if i) and inputs:
            folded = self._fold(node)
            if folded is not None:
                self._known[key] = folded
                return folded
        self.types.update(self._infer(node))
        self.nodes.append(node)
        self._known[key] = names
        return names

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The fixed shape of a tensor."""
        return self.types[tensor].fixed

    def rank(self, tensor: str) -> int:
        """The number of dimensions of a tensor."""
        return len(self.types[tensor].shape)

    def reshape(self, tensor: str, *shape: int) -> str:
        """`tensor` in another shape; itself if it has that shape already."""
        if self.types[tensor].shape == shape:
            return tensor
        return self.add("Reshape", tensor, self.ints(*shape))

    def transpose(self, tensor: str, *perm: int) -> str:
        """`tensor` with its dimensions in another order."""
        if perm == tuple(range(len(perm))):
            return tensor
        return self.add("Transpose", tensor, perm=[int(p) for p in perm])

    def needed_nodes(self) -> list[Node]:
        """The nodes that the outputs depend on, in order."""
        return needed_for(self.outputs.values(), self.nodes)

    def value(self, tensor: str) -> Array | None:
        """The value of a constant, None for anything else."""
        return self.constants.get(tensor)

    def unused(self, wanted: str) -> str:
        """`wanted`, or if that name is taken, the first of wanted.2, wanted.3, ... that is not."""
        name, number = wanted, 2
        while name in self.types:
            name, number = f"{wanted}.{number}", number + 1
        return name

    def _fresh(self, stem: str) -> str:
        index = len(self.types)
        while f"{stem}_{index}" in self.types or f"{stem}_{index}" in self._reserved:
            index += 1
        name = f"{stem}_{index}"
        self._reserved.add(name)
        return name

    def _fold(self, node: Node) -> tuple[str, ...] | None:
        """Compute an operator on constants, unless its result is large."""
        types = self._infer(node)
        try:
            small = all(types[o].elements <= _FOLD_LIMIT for o in node.outputs)
        except ValueError:  # a shape that depends on the values: small by nature
            small = True
        if not small:
            return None
        model = _model_of(node, {i: self.constants[i] for i in node.inputs if i}, self.opset)
        values = ReferenceEvaluator(model).run(None, {})
        return tuple(self.constant(np.asarray(value)) for value in values)

    def _infer(self, node: Node) -> dict[str, Type]:
        known = {i: _type_proto(self.types[i]) for i in node.inputs if i}
        data = {
            i: numpy_helper.from_array(self.constants[i])
            for i in node.inputs
            if i in self.constants and self.constants[i].size <= _FOLD_LIMIT
        }
        found = shape_inference.infer_node_outputs(
            defs.get_schema(node.op, self.opset, ""),
            node_proto(node),
            known,
            input_data=data,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=IR_VERSION,
        )
        types = {name: _type_of(proto) for name, proto in found.items()}
        if node.get("ceil_mode", 0):
            pooled = self.types[node.inputs[0]]
            return {name: _without_late_windows(node, pooled, kind) for name, kind in types.items()}
        return types


def needed_for(
    tensors: Iterable[str], nodes: Sequence[Node], given: str | None = None
) -> list[Node]:
    """The nodes that some tensors depend on, in order, when the tensor `given` is there."""
    needed, found = set(tensors), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) and given not in node.outputs:
            found.append(node)
            needed.update(i for i in node.inputs if i)
    return found[::-1]


def node_proto(node: Node) -> onnx.NodeProto:
    """The node as ONNX has it."""
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **node.attributes)


def to_model(graph: Graph, external: Iterable[str] = ()) -> onnx.ModelProto:
    """The graph as an ONNX model, with only what its outputs need.

    Args:
        graph: with at least one output.
        external: constants that the caller attaches itself, so that no value is written for them.
    """
    nodes = graph.needed_nodes()
    needed = {i for node in nodes for i in node.inputs}.union(graph.outputs.values())
    made = {o for node in nodes for o in node.outputs}
    final = {tensor: name for name, tensor in graph.outputs.items() if tensor in made}
    protos = [node_proto(_renamed(node, final)) for node in nodes]
    protos += [
        helper.make_node("Identity", [final.get(tensor, tensor)], [name])
        for name, tensor in graph.outputs.items()
        if final.get(tensor, tensor) != name
    ]
    apart = set(external)
    proto = helper.make_graph(
        protos,
        "sel-edge",
        [_value_info(name, kind) for name, kind in graph.inputs.items() if name in needed],
        [_value_info(name, graph.types[tensor]) for name, tensor in graph.outputs.items()],
        [
            numpy_helper.from_array(value, name)
            for name, value in graph.constants.items()
            if name in needed and name not in apart
        ],
    )
    return _model(proto, graph.opset)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    inputs = tuple(names.get(i, i) for i in node.inputs)
    return replace(node, inputs=inputs, outputs=tuple(names.get(o, o) for o in node.outputs))


def _model_of(node: Node, constants: Mapping[str, Array], opset: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node_proto(node)],
        "constant",
        [],
        [onnx.ValueInfoProto(name=name) for name in node.outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _model(graph, opset)


def _model(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="sel-edge",
    )


def _type_proto(kind: Type) -> onnx.TypeProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype))
    return helper.make_tensor_type_proto(element, kind.shape)


def _value_info(name: str, kind: Type) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, _type_proto(kind))


def _type_of(proto: onnx.TypeProto) -> Type:
    tensor = proto.tensor_type
    if tensor.elem_type == TensorProto.UNDEFINED:
        raise ValueError("the operator's result has no known element type")
    if not tensor.HasField("shape"):
        raise ValueError("the operator's result has no known number of dimensions")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )
    return Type(np.dtype(dtype).name, shape)


def _without_late_windows(node: Node, pooled: Type, kind: Type) -> Type:
    """The type of a pool's output without windows that start beyond the pooled tensor.

    ONNX's inference counts them in ceil_mode; onnxruntime, like torch, does not compute them.
    """
    rank = len(kind.shape) - 2
    strides = node.get("strides", None) or [1] * rank
    before = (node.get("pads", None) or [0] * rank)[:rank]
    sizes: list[Dim] = []
    for out, size, stride, pad in zip(
        kind.shape[2:], pooled.shape[2:], strides, before, strict=True
    ):
        fixed = isinstance(out, int) and isinstance(size, int)
        late = fixed and (int(out) - 1) * stride >= int(size) + pad
        sizes.append(int(out) - 1 if late else out)
    return Type(kind.dtype, (*kind.shape[:2], *sizes))


def _hashable(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        (key, tuple(value) if isinstance(value, (list, tuple)) else value)
        for key, value in sorted(attributes.items())
    )
