"""The forward pass of a training step that computes only what the chosen channels change.

A convolution is linear. When only k channels of its input change from step to step, the others
contribute a constant per sample, and when only k rows of its weights are trained, the other rows of
its output are constants as long as its input is. So a tensor here is either whole, or a constant in
which the chosen channels are zero plus the chosen channels alone. The constants are computed in the
same graph; `hoist` takes them out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from sel_edge.compile.convolve import Layer, Use, convolve
from sel_edge.compile.forward import is_layer
from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.layers import is_parameter

CHANNELWISE = frozenset(
    (
        "AveragePool",
        "Clip",
        "Elu",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Tanh",
    )
)
"""Operators that compute each channel of their first input by itself and alike."""


@dataclass(frozen=True)
class Choice:
    """The output channels of one layer that are trained.

    Attributes:
        indices: graph input int64 [k].
        one_hot: float32 [channels, k], a column per chosen channel.
        others: float32 [channels], 0 for chosen channels and 1 for the others.
    """

    indices: str
    one_hot: str
    others: str


def choose(graph: Graph, indices: str, channels: str) -> Choice:
    """A choice among the channels 0..n-1 of the int64 vector `channels`."""
    column = graph.add("Unsqueeze", channels, graph.ints(1))
    one_hot = graph.add("Cast", graph.add("Equal", column, indices), to=1)
    chosen = graph.add("ReduceSum", one_hot, graph.ints(1), keepdims=0)
    return Choice(indices, one_hot, graph.add("Sub", graph.scalar(1.0, chosen), chosen))


@dataclass(frozen=True)
class Whole:
    """A tensor of which every channel is computed.

    Attributes:
        tensor: its name.
        static: whether it is the same at every step.
    """

    tensor: str
    static: bool


@dataclass(frozen=True)
class Partial:
    """A tensor of which only some channels change from step to step.

    Attributes:
        frozen: the whole tensor with zeros in the chosen channels; the same at every step.
        changed: the chosen channels [N, k, ...].
        choice: which they are.
    """

    frozen: str
    changed: str
    choice: Choice


Value: TypeAlias = Whole | Partial


@dataclass(frozen=True)
class Rows:
    """What is trained of a layer: rows of its weight and bias.

    Attributes:
        weight: [k, C, kernel...] or, of a linear layer, [k, F].
        bias: [k].
        choice: which rows they are; None if they are all.
    """

    weight: str
    bias: str
    choice: Choice | None


@dataclass
class SparseForward:
    """Repeats a forward graph with some layers' rows replaced by trained ones.

    Attributes:
        source: the forward graph.
        graph: the graph to add operators to.
        parameters: constants of the source -> tensors of the graph that stand for them.
        rows: weight of a trained layer in the source -> its rows.
        values: tensors of the source -> what stands for them; holds the start at first.
    """

    source: Graph
    graph: Graph
    parameters: Mapping[str, str]
    rows: Mapping[str, Rows]
    values: dict[str, Value] = field(default_factory=dict)

    def run(self, nodes: list[Node]) -> None:
        """Repeat these nodes; afterwards `values` has their outputs."""
        for node in nodes:
            value = self.values.get(node.inputs[0]) if node.inputs else None
            if is_layer(self.source, node):
                self.values[node.outputs[0]] = self._layer(node)
            elif node.op in CHANNELWISE and isinstance(value, Partial) and len(node.outputs) == 1:
                self.values[node.outputs[0]] = self._channelwise(node, value)
            else:
                self._plain(node)

    def whole(self, tensor: str) -> Whole:
        """A tensor of the source with all its channels."""
        value = self.values[tensor]
        if isinstance(value, Whole):
            return value
        joined = self.graph.add("Add", value.frozen, self._spread(value.choice, value.changed))
        return Whole(joined, static=False)

    def _plain(self, node: Node) -> None:
        inputs, static = [], True
        for name in node.inputs:
            if name in self.values:
                value = self.whole(name)
                inputs.append(value.tensor)
                static = static and value.static
            else:
                inputs.append(self._constant(name))
        outputs = self.graph.add_node(
            node.op, inputs, node.attributes, len(node.outputs), node.name
        )
        for name, tensor in zip(node.outputs, outputs, strict=True):
            self.values[name] = Whole(tensor, static)

    def _constant(self, name: str) -> str:
        if not name or name in self.parameters:
            return self.parameters.get(name, "")
        value = self.source.constants[name]
        if not is_parameter(value):
            return self.graph.constant(value)
        return name if name in self.graph.constants else self.graph.constant(value, name)

    def _channelwise(self, node: Node, value: Partial) -> Partial:
        rest = [self._constant(name) for name in node.inputs[1:]]
        frozen = self.graph.add(node.op, value.frozen, *rest, **node.attributes)
        frozen = self._keep(frozen, value.choice)
        changed = self.graph.add(node.op, value.changed, *rest, **node.attributes)
        return Partial(frozen, changed, value.choice)

    def _layer(self, node: Node) -> Value:
        """Frozen rows and trained rows of a convolution or linear layer."""
        weight, bias = (self.parameters[name] for name in node.inputs[1:3])
        rows = self.rows.get(node.inputs[1])
        value = self.values[node.inputs[0]]
        if node.op == "Conv" and int(node.get("group", 1)) != 1:
            return self._grouped(node, weight, bias, rows, value)
        if rows is None:
            return self._product(node, weight, bias, value)
        if rows.choice is None:
            return Whole(
                self._product(node, rows.weight, rows.bias, value, trained=True).tensor,
                static=False,
            )
        frozen = self._frozen(node, weight, bias, rows.choice, value)
        changed = self._product(node, rows.weight, rows.bias, value, trained=True).tensor
        if isinstance(value, Whole) and value.static:
            return Partial(frozen.tensor, changed, rows.choice)
        spread = self._spread(rows.choice, changed)
        return Whole(self.graph.add("Add", frozen.tensor, spread), static=False)

    def _frozen(self, node: Node, weight: str, bias: str, choice: Choice, value: Value) -> Whole:
        """The layer with zeros in the chosen rows."""
        others = self._keep_rows(weight, choice)
        return self._product(node, others, self.graph.add("Mul", bias, choice.others), value)

    def _in_place(self, node: Node, weight: str, bias: str, rows: Rows, value: Whole) -> Whole:
        """Where nothing is constant: one product, with the trained rows put in their places."""
        if rows.choice is None:
            weight, bias = rows.weight, rows.bias
        else:
            others = self._keep_rows(weight, rows.choice)
            weight = self.graph.add("Add", others, self._spread_rows(rows.choice, rows.weight))
            bias = self.graph.add("Mul", bias, rows.choice.others)
            bias = self.graph.add("Add", bias, self._spread_rows(rows.choice, rows.bias))
        return Whole(self._product(node, weight, bias, value).tensor, static=False)

    def _grouped(
        self, node: Node, weight: str, bias: str, rows: Rows | None, value: Value
    ) -> Value:
        """A depthwise convolution keeps channels apart: chosen ones go in and come out.

        Its trained rows are those of the layer before, or of constant channels. What is grouped in
        another way is computed as a whole.
        """
        choice = rows.choice if rows is not None else None
        if self._is_depthwise(node) and isinstance(value, Partial):
            if rows is None:
                columns = (self._pick(weight, value.choice), self._pick(bias, value.choice))
                return self._apart(node, weight, bias, *columns, value)
            if choice is not None and choice.indices == value.choice.indices:
                return self._apart(node, weight, bias, rows.weight, rows.bias, value)
        value = self.whole(node.inputs[0])
        if rows is None:
            return self._product(node, weight, bias, value)
        if choice is None or not value.static or not self._is_depthwise(node):
            return self._in_place(node, weight, bias, rows, value)
        changed = self.graph.add("Gather", value.tensor, choice.indices, axis=1)
        part = Partial(value.tensor, changed, choice)
        return self._apart(node, weight, bias, rows.weight, rows.bias, part)

    def _apart(
        self, node: Node, weight: str, bias: str, rows: str, row_bias: str, value: Partial
    ) -> Partial:
        frozen = self._multiply(node, weight, bias, value.frozen, "once")
        changed = self._multiply(node, rows, row_bias, value.changed, "changing")
        return Partial(self._keep(frozen, value.choice), changed, value.choice)

    def _pick(self, parameter: str, choice: Choice) -> str:
        return self.graph.add("Gather", parameter, choice.indices, axis=0)

    def _is_depthwise(self, node: Node) -> bool:
        outputs, inputs = self.source.shape(node.inputs[1])[:2]
        return inputs == 1 and outputs == int(node.get("group", 1))

    def _product(
        self, node: Node, weight: str, bias: str, value: Value, trained: bool = False
    ) -> Whole:
        """The layer with these weights; of a partial input both parts, added."""
        constant: Use = "kept" if trained else "once"
        if isinstance(value, Whole):
            use: Use = constant if value.static else "changing"
            return Whole(self._multiply(node, weight, bias, value.tensor, use), value.static)
        frozen = self._multiply(node, weight, bias, value.frozen, constant)
        columns = self.graph.add("Gather", weight, value.choice.indices, axis=1)
        varying = self._multiply(node, columns, None, value.changed, "changing")
        return Whole(self.graph.add("Add", frozen, varying), static=False)

    def _multiply(self, node: Node, weight: str, bias: str | None, tensor: str, use: Use) -> str:
        if node.op == "Conv":
            return convolve(self.graph, weight, bias, tensor, Layer(self.source, node), use)
        inputs = [tensor, weight] if bias is None else [tensor, weight, bias]
        return self.graph.add("Gemm", *inputs, transB=1)

    def _column(self, vector: str, like: str) -> str:
        """A vector over the channels of `like` [N, C, ...] as [C, 1, ...]."""
        spatial = self.graph.rank(like) - 2
        if not spatial:
            return vector
        return self.graph.add("Unsqueeze", vector, self.graph.ints(*range(1, spatial + 1)))

    def _keep(self, tensor: str, choice: Choice) -> str:
        """Zeros in the chosen channels of [N, C, ...]."""
        return self.graph.add("Mul", tensor, self._column(choice.others, tensor))

    def _keep_rows(self, weight: str, choice: Choice) -> str:
        """Zeros in the chosen rows of [O, ...]."""
        axes = self.graph.ints(*range(1, self.graph.rank(weight)))
        return self.graph.add("Mul", weight, self.graph.add("Unsqueeze", choice.others, axes))

    def _spread(self, choice: Choice, changed: str) -> str:
        """[N, k, ...] as [N, C, ...], zeros in the other channels."""
        graph, rank = self.graph, self.graph.rank(changed)
        order = (*range(2, rank), 1, 0)
        inner = graph.transpose(changed, *order)
        return graph.transpose(graph.add("MatMul", choice.one_hot, inner), *np.argsort(order))

    def _spread_rows(self, choice: Choice, rows: str) -> str:
        """[k, ...] as [O, ...], zeros in the other rows."""
        graph = self.graph
        chosen, *rest = graph.types[rows].shape
        if len(rest) < 2:
            return graph.add("MatMul", choice.one_hot, rows)
        sizes = [int(size) for size in rest]
        flat = graph.reshape(rows, int(chosen), int(np.prod(sizes)))
        spread = graph.add("MatMul", choice.one_hot, flat)
        return graph.reshape(spread, graph.shape(spread)[0], *sizes)
