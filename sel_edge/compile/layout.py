"""Changes of layout out of the way: transpositions move towards the outputs, meet and cancel.

Convolutions in the Winograd domain want the batch innermost, ONNX wants it outermost. Each such
convolution is emitted between two transpositions; between two convolutions there are only operators
that do not care, so this pass carries the first transposition through them to the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sel_edge.compile.graph import Graph, Node

ELEMENTWISE = frozenset(
    (
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "And",
        "Or",
        "Pow",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
        "Where",
    )
)
"""Operators whose result at a place depends on their inputs at that place, with broadcasting."""

_REDUCTIONS = frozenset(("ReduceMean", "ReduceSum"))


def sink_transposes(graph: Graph) -> Graph:
    """The same graph with transpositions carried through operators that do not care.

    An Expand is dropped where the operator behind it broadcasts anyway.
    """
    return _Pass(graph).run()


@dataclass
class _Pass:
    source: Graph
    target: Graph = field(init=False)
    names: dict[str, str] = field(default_factory=dict)
    producers: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.target = Graph(opset=self.source.opset)

    def run(self) -> Graph:
        for name, kind in self.source.inputs.items():
            self.names[name] = self.target.input(name, kind.dtype, kind.shape)
        for name, value in self.source.constants.items():
            self.names[name] = self.target.constant(value, name)
        for node in self.source.nodes:
            self._repeat(node)
        for name, tensor in self.source.outputs.items():
            self.target.outputs[name] = self.names[tensor]
            self.target.types[self.names[tensor]] = self.source.types[tensor]
        return self.target

    def _repeat(self, node: Node) -> None:
        inputs = [self.names[name] if name else "" for name in node.inputs]
        if node.op == "Transpose":
            result = self._transpose(inputs[0], node.attributes["perm"])
        elif node.op in ELEMENTWISE:
            result = self._elementwise(node, inputs)
        elif node.op in _REDUCTIONS and self._permutation(inputs[0]) is not None:
            result = self._reduction(node, inputs)
        else:
            outputs = self._emit(node.op, inputs, node)
            self.names.update(zip(node.outputs, outputs, strict=True))
            return
        self.names[node.outputs[0]] = result

    def _emit(self, op: str, inputs: Sequence[str], like: Node) -> tuple[str, ...]:
        outputs = self.target.add_node(op, inputs, like.attributes, len(like.outputs), like.name)
        made = self.target.nodes[-1] if self.target.nodes else None
        if made is not None and made.outputs == outputs:
            self.producers.update(dict.fromkeys(outputs, made))
        return outputs

    def _transpose(self, tensor: str, perm: Sequence[int]) -> str:
        """Two transpositions in a row are one, and may be none."""
        inner = self._permutation(tensor)
        if inner is not None:
            return self._transpose(self.producers[tensor].inputs[0], [inner[p] for p in perm])
        if list(perm) == sorted(perm):
            return tensor
        shape = self.target.types[tensor].shape
        if sum(size != 1 for size in shape) <= 1:
            return self.target.add(
                "Reshape", tensor, self.target.ints(*(int(shape[p]) for p in perm))
            )
        return self._emit("Transpose", [tensor], Node("", (), ("",), {"perm": list(perm)}))[0]

    def _permutation(self, tensor: str) -> list[int] | None:
        """How `tensor` was transposed last, if it was."""
        node = self.producers.get(tensor)
        if node is None or node.op != "Transpose":
            return None
        return [int(p) for p in node.attributes["perm"]]

    def _elementwise(self, node: Node, inputs: list[str]) -> str:
        rank = len(self.source.types[node.outputs[0]].shape)
        full = [i for i in inputs if i and self.target.rank(i) == rank]
        perms = [p for p in map(self._permutation, full) if p is not None]
        inputs = self._without_expand(node, inputs)
        if not perms:
            return self._emit(node.op, inputs, node)[0]
        perm = perms[0]
        inverse = [int(p) for p in np.argsort(perm)]
        carried = [self._carried(i, inverse) for i in inputs]
        return self._transpose(self._emit(node.op, carried, node)[0], perm)

    def _carried(self, tensor: str, perm: list[int]) -> str:
        """An operand in the layout before the transposition."""
        if not tensor or not self.target.types[tensor].shape:
            return tensor
        missing = len(perm) - self.target.rank(tensor)
        if missing:
            tensor = self.target.add("Unsqueeze", tensor, self.target.ints(*range(missing)))
        return self._transpose(tensor, perm)

    def _without_expand(self, node: Node, inputs: list[str]) -> list[str]:
        shape = self.source.types[node.outputs[0]].shape
        found = list(inputs)
        for index, name in enumerate(inputs):
            producer = self.producers.get(name)
            others = [i for i in found if i and i != name]
            whole = any(self.target.types[i].shape == shape for i in others)
            if producer is not None and producer.op == "Expand" and whole:
                found[index] = producer.inputs[0]
        return found

    def _reduction(self, node: Node, inputs: list[str]) -> str:
        axes = self._axes(node, inputs)
        perm = self._permutation(inputs[0])
        if axes is None or perm is None:
            return self._emit(node.op, inputs, node)[0]
        tensor = self.producers[inputs[0]].inputs[0]
        moved = {perm[axis] for axis in axes}
        keepdims = int(node.get("keepdims", 1))
        if node.op == "ReduceMean" and self.source.opset < 18:
            reduced = self.target.add(node.op, tensor, axes=sorted(moved), keepdims=keepdims)
        else:
            where = self.target.ints(*sorted(moved))
            reduced = self.target.add(node.op, tensor, where, keepdims=keepdims)
        if keepdims:
            return self._transpose(reduced, perm)
        left = [axis for axis in range(len(perm)) if axis not in moved]
        return self._transpose(reduced, [left.index(p) for p in perm if p not in moved])

    def _axes(self, node: Node, inputs: list[str]) -> list[int] | None:
        rank = self.target.rank(inputs[0])
        if len(inputs) > 1:
            value = self.target.value(inputs[1])
            return None if value is None else [int(axis) % rank for axis in value]
        return [int(axis) % rank for axis in node.get("axes", ())] or None
