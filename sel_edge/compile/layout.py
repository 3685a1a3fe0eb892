"""Changes of layout out of the way: transpositions move towards the outputs, meet and cancel.

Convolutions in the Winograd domain want the batch innermost, ONNX wants it outermost. Each such
convolution is emitted between two transpositions; between two convolutions there are only operators
that do not care, so this pass carries the first transposition through them to the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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

    What was expanded is thin again where the operator behind it broadcasts anyway. Transpositions
    that are left are split.
    """
    return split_transposes(_Pass(graph).run())


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
            outputs = self._emit(replace(node, inputs=tuple(inputs)))
            self.names.update(zip(node.outputs, outputs, strict=True))
            return
        self.names[node.outputs[0]] = result

    def _emit(self, node: Node) -> tuple[str, ...]:
        """Add a node whose inputs are the target's."""
        outputs = self.target.add_node(
            node.op, node.inputs, node.attributes, len(node.outputs), node.name
        )
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
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) == len(shape) and sum(size != 1 for size in sizes) <= 1:
            return self.target.add("Reshape", tensor, self.target.ints(*(sizes[p] for p in perm)))
        return self._emit(Node("Transpose", (tensor,), ("",), {"perm": list(perm)}))[0]

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
            return self._emit(replace(node, inputs=tuple(inputs)))[0]
        perm = perms[0]
        inverse = [int(p) for p in np.argsort(perm)]
        carried = [self._carried(i, inverse) for i in inputs]
        return self._transpose(self._emit(replace(node, inputs=tuple(carried)))[0], perm)

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
            others = [i for i in found if i and i != name]
            if any(self.target.types[i].shape == shape for i in others):
                found[index] = self._thin(name)
        return found

    def _thin(self, tensor: str) -> str:
        """A tensor before it was expanded, by Expand or by a constant full of one number."""
        producer = self.producers.get(tensor)
        if producer is not None and producer.op == "Expand":
            return producer.inputs[0]
        if producer is None or producer.op != "Mul":
            return tensor
        for thin, factor in (producer.inputs, producer.inputs[::-1]):
            value = self.target.value(factor)
            wide = self.target.types[thin].shape != self.target.types[tensor].shape
            if value is not None and value.size > 1 and wide and value.min() == value.max():
                return self.target.add("Mul", thin, self.target.scalar(value.flat[0], thin))
        return tensor

    def _reduction(self, node: Node, inputs: list[str]) -> str:
        axes = self._axes(inputs)
        perm = self._permutation(inputs[0])
        if axes is None or perm is None:
            return self._emit(replace(node, inputs=tuple(inputs)))[0]
        tensor = self.producers[inputs[0]].inputs[0]
        moved = {perm[axis] for axis in axes}
        keepdims = int(node.get("keepdims", 1))
        where = self.target.ints(*sorted(moved))
        reduced = self.target.add(node.op, tensor, where, keepdims=keepdims)
        if keepdims:
            return self._transpose(reduced, perm)
        left = [axis for axis in range(len(perm)) if axis not in moved]
        return self._transpose(reduced, [left.index(p) for p in perm if p not in moved])

    def _axes(self, inputs: list[str]) -> list[int] | None:
        rank = self.target.rank(inputs[0])
        value = self.target.value(inputs[1]) if len(inputs) > 1 else None
        return None if value is None else [int(axis) % rank for axis in value]


def split_transposes(graph: Graph) -> Graph:
    """The same graph with transpositions that onnxruntime runs at the speed of memory.

    It is fast where one dimension moves or where the innermost one stays; all else it copies number
    by number. Any transposition is one of each kind. A Reshape between them keeps onnxruntime from
    joining them again.
    """
    target = Graph(opset=graph.opset)
    names = {"": ""} | {n: target.input(n, t.dtype, t.shape) for n, t in graph.inputs.items()}
    names |= {name: target.constant(value, name) for name, value in graph.constants.items()}
    for node in graph.needed_nodes():
        inputs = [names[name] for name in node.inputs]
        if node.op == "Transpose":
            outputs: tuple[str, ...] = (_split(target, inputs[0], node.attributes["perm"]),)
        else:
            outputs = target.add_node(
                node.op, inputs, node.attributes, len(node.outputs), node.name
            )
        names.update(zip(node.outputs, outputs, strict=True))
    for name, tensor in graph.outputs.items():
        target.outputs[name] = names[tensor]
        target.types[names[tensor]] = graph.types[tensor]
    return target


def _split(graph: Graph, tensor: str, perm: Sequence[int]) -> str:
    """`tensor` with its dimensions in another order, in two steps if that is faster."""
    shape, order = graph.types[tensor].shape, list(range(len(perm)))
    # Blocks first, then the innermost dimension outwards; or first inwards what shall be innermost.
    blocks = [p for p in perm if p != order[-1]] + order[-1:]
    inwards = [p for p in order if p != perm[-1]] + [perm[-1]]
    rest = [inwards.index(p) for p in perm]
    fast = perm[-1] == order[-1] or order in (blocks, rest)
    if fast or not all(isinstance(size, int) for size in shape):
        return graph.transpose(tensor, *perm)
    sizes = graph.shape(tensor)
    if _run(sizes, blocks) >= _run([sizes[p] for p in inwards], rest):
        tensor = graph.transpose(tensor, *blocks)
        return _exchange(graph, tensor, [blocks.index(p) for p in perm])
    return graph.transpose(_exchange(graph, tensor, inwards), *rest)


def _run(sizes: Sequence[int], perm: Sequence[int]) -> int:
    """How many numbers stay side by side."""
    moved = [axis for axis, p in enumerate(perm) if axis != p]
    return math.prod(sizes[moved[-1] + 1 :])


def _exchange(graph: Graph, tensor: str, perm: Sequence[int]) -> str:
    """Two runs of neighbouring dimensions, the second the innermost, exchanged."""
    sizes = graph.shape(tensor)
    left = next(axis for axis, p in enumerate(perm) if axis != p)
    right = perm[left]
    flat = [math.prod(part) for part in (sizes[:left], sizes[left:right], sizes[right:])]
    exchanged = graph.transpose(graph.reshape(tensor, *flat), 0, 2, 1)
    return graph.reshape(exchanged, *(sizes[p] for p in perm))
