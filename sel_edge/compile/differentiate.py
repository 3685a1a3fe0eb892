"""Reverse-mode differentiation of a graph, node by node, computing only what is asked for.

A rule knows one operator. It is given the node, the gradients of its outputs and which of its
inputs need a gradient, and adds the operators that compute those. Rules live in `rules/`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import Backward, find_rule


def differentiate(graph: Graph, seeds: Mapping[str, str], wrt: Sequence[str]) -> dict[str, str]:
    """Add the operators that compute gradients, and return where they are.

    Args:
        graph: grows by the backward pass.
        seeds: tensor -> gradient of the loss with respect to it.
        wrt: tensors whose gradients are wanted.

    Returns:
        Gradient of each of `wrt` that the seeds depend on.

    Raises:
        MissingRule: an operator between them has no rule.
    """
    reached = _differentiable(graph, wrt)
    pending: dict[str, list[str]] = defaultdict(list)
    for tensor, gradient in seeds.items():
        pending[tensor].append(gradient)
    for node in list(reversed(graph.nodes)):
        outputs = tuple(_total(graph, pending.get(o, [])) for o in node.outputs)
        wanted = frozenset(i for i, name in enumerate(node.inputs) if name in reached)
        if not wanted or all(gradient is None for gradient in outputs):
            continue
        found = find_rule(node)(Backward(graph, node, outputs, wanted))
        for index in sorted(wanted.intersection(found)):
            pending[node.inputs[index]].append(found[index])
    totals = {tensor: _total(graph, pending.get(tensor, [])) for tensor in wrt}
    return {tensor: total for tensor, total in totals.items() if total is not None}


def dependents(graph: Graph, sources: Iterable[str]) -> set[str]:
    """The sources and every tensor that is computed from one of them."""
    reached = set(sources)
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.update(o for o in node.outputs if o)
    return reached


def _differentiable(graph: Graph, wrt: Iterable[str]) -> set[str]:
    """What is computed from `wrt` by real numbers: shapes, indices and comparisons end the way."""
    reached = set(wrt)
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.update(o for o in node.outputs if o and _is_real(graph, o))
    return reached


def _is_real(graph: Graph, tensor: str) -> bool:
    return graph.types[tensor].dtype.startswith("float")


def _total(graph: Graph, gradients: Sequence[str]) -> str | None:
    """The sum of the gradients that reach one tensor over several paths."""
    if not gradients:
        return None
    return gradients[0] if len(gradients) == 1 else graph.add("Sum", *gradients)
