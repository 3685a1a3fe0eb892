"""Graphs without idle operators, for a fixed batch or for one that is known at run time only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sel_edge.compile.graph import Array, Dim, Graph, Node, Type
from sel_edge.compile.layers import is_parameter
from sel_edge.compile.read import plain
from sel_edge.core.errors import BundleError

_STAND_INS = (999_983, 999_979)
"""Two large primes: no size in a network is a multiple of one of them, unless the batch is."""


def pruned(graph: Graph) -> Graph:
    """The same graph, with only what its outputs need."""
    return _Copy(graph, None, "").made()


def free_batch(build: Callable[[int], Graph], name: str) -> Graph:
    """The graph of a network for any batch.

    It is built for a batch that stands in for the free one, and every size that is a multiple of
    it is freed again. Doing so twice shows whether the batch got into anything else.

    Args:
        build: makes the graph for a fixed batch.
        name: of the free dimension.

    Raises:
        BundleError: the batch is part of the network's arithmetic.
    """
    first, second = (_Copy(build(size), size, name).made() for size in _STAND_INS)
    same = first.nodes == second.nodes and first.constants.keys() == second.constants.keys()
    if not same or not all(
        np.array_equal(value, second.constants[key], equal_nan=value.dtype.kind == "f")
        for key, value in first.constants.items()
    ):
        raise _tied_to_batch("its constants depend on it")
    return first


@dataclass
class _Copy:
    """Copies a graph operator by operator.

    Attributes:
        old: the graph to copy.
        stand_in: the batch to free; None to leave it fixed.
        name: of the free dimension.
    """

    old: Graph
    stand_in: int | None
    name: str
    new: Graph = field(init=False)
    names: dict[str, str] = field(init=False)

    def made(self) -> Graph:
        """The copy."""
        self.new, self.names = Graph(opset=self.old.opset), {"": ""}
        nodes = self.old.needed_nodes()
        for name, kind in self.old.inputs.items():
            self.names[name] = self.new.input(name, kind.dtype, self._freed(kind).shape)
        used = {i for node in nodes for i in node.inputs}
        for name, value in self.old.constants.items():
            if name in used and is_parameter(value):
                self.names[name] = self.new.constant(value, name)
        for node in nodes:
            inputs = [self._input(node, index) for index in range(len(node.inputs))]
            outputs = self.new.add_node(
                node.op, inputs, node.attributes, len(node.outputs), node.name
            )
            for before, after in zip(node.outputs, outputs, strict=True):
                self.names[before] = after
                self.new.types[after] = self._freed(self.old.types[before])
        self.new.outputs = {name: self.names[t] for name, t in self.old.outputs.items()}
        return self.new

    def _freed(self, kind: Type) -> Type:
        return Type(kind.dtype, tuple(self._free(dim) for dim in kind.shape))

    def _free(self, dim: Dim) -> Dim:
        if self.stand_in is None or not isinstance(dim, int) or dim % self.stand_in:
            return dim
        times = dim // self.stand_in
        return self.name if times == 1 else f"{times}{self.name}"

    def _input(self, node: Node, index: int) -> str:
        """The input of a node; a constant that holds the batch becomes one that does not."""
        name = node.inputs[index]
        if name in self.names:
            return self.names[name]
        value = self.old.constants[name]
        if not self._holds_batch(value):
            return self.new.constant(value)
        before = self.old.shape(node.inputs[0])
        if (node.op, index) == ("Reshape", 1):
            return self.new.ints(*self._target(before, self.old.shape(node.outputs[0])))
        raise _tied_to_batch(f"the operator {node.op} ({plain(node.name)}) needs it")

    def _holds_batch(self, value: Array) -> bool:
        if self.stand_in is None or value.dtype.kind != "i":
            return False
        return bool(((value != 0) & (value % self.stand_in == 0)).any())

    def _target(self, before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
        """What a Reshape is told: 0 for the batch where it stays, -1 where it is part of a size."""
        target = [
            size if isinstance(self._free(size), int) else 0 if before[i : i + 1] == (size,) else -1
            for i, size in enumerate(after)
        ]
        if target.count(-1) > 1:
            raise _tied_to_batch("a Reshape spreads it over several dimensions")
        return target


def _tied_to_batch(detail: str) -> BundleError:
    return BundleError(
        f"The ONNX model works for one size of the batch only: {detail}.",
        "A network that treats every image alike, however many there are, is expected.",
        "Export the network with a free batch dimension, and without using its size.",
    )
