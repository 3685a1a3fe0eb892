"""What a gradient rule is given, and how it makes itself known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sel_edge.compile.graph import Graph, Node

Gradients: TypeAlias = dict[int, str]
"""Index of an input -> its gradient."""


@dataclass(frozen=True)
class Backward:
    """What a rule works with.

    Attributes:
        graph: the graph to add operators to.
        node: the operator to differentiate.
        gradients: gradient of each output; None where nothing depends on it.
        wanted: indices of the inputs that need a gradient.
    """

    graph: Graph
    node: Node
    gradients: tuple[str | None, ...]
    wanted: frozenset[int]

    @property
    def dy(self) -> str:
        """The gradient of the first output."""
        gradient = self.gradients[0]
        if gradient is None:
            raise ValueError(f"{self.node.op} is differentiated by its first output only")
        return gradient

    @property
    def x(self) -> str:
        """The first input."""
        return self.node.inputs[0]

    @property
    def y(self) -> str:
        """The first output."""
        return self.node.outputs[0]


Rule: TypeAlias = Callable[[Backward], Gradients]
_RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these operators."""

    def register(function: Rule) -> Rule:
        for operator in operators:
            _RULES[operator] = function
        return function

    return register


class MissingRule(Exception):  # noqa: N818 - the compiler turns it into a BundleError
    """An operator on the way from the loss to a parameter cannot be differentiated."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"{node.op} {node.name}")
        self.node = node


def find_rule(node: Node) -> Rule:
    """The rule of a node's operator.

    Raises:
        MissingRule: there is none.
    """
    if node.op not in _RULES:
        raise MissingRule(node)
    return _RULES[node.op]
