"""Taking out of a graph what need not be computed again at every step."""

from __future__ import annotations

from collections.abc import Iterable

from sel_edge.compile.differentiate import dependents
from sel_edge.compile.graph import Graph, Node, needed_for

_LAYOUT = ("Reshape", "Transpose")
_KEPT = ("float32", "int64")


def hoist(graph: Graph, changing: Iterable[str]) -> tuple[Graph, Graph]:
    """Split a graph into what does not depend on some of its inputs, and the rest.

    Args:
        graph: left as it is; the parts share its types and constants, and must not grow.
        changing: the inputs whose values change from run to run.

    Returns:
        The early graph, whose outputs are the tensors that the late graph or the caller needs of
        it, and the late graph, which takes those as inputs of the same name. An output of `graph`
        that does not depend on the changing inputs is an output of the early graph.
    """
    late = dependents(graph, changing)
    early_nodes = [node for node in graph.nodes if not late.intersection(node.outputs)]
    late_nodes = [node for node in graph.nodes if late.intersection(node.outputs)]
    late_nodes = _pull_back(graph, late_nodes)
    late = {o for node in late_nodes for o in node.outputs}
    late_nodes = needed_for([t for t in graph.outputs.values() if t in late], late_nodes)
    wanted = {i for node in late_nodes for i in node.inputs if i}
    across = {
        tensor: tensor
        for tensor in graph.types
        if tensor in wanted
        and tensor not in late
        and tensor not in graph.inputs
        and tensor not in graph.constants
    }
    early_outputs = {n: t for n, t in graph.outputs.items() if t not in late}
    early = _part(graph, early_nodes)
    early.outputs = {**across, **early_outputs}
    rest = _part(graph, late_nodes)
    rest.inputs.update({tensor: graph.types[tensor] for tensor in across})
    rest.outputs = {n: t for n, t in graph.outputs.items() if t in late}
    return early, rest


def _part(graph: Graph, nodes: list[Node]) -> Graph:
    return Graph(
        opset=graph.opset,
        nodes=nodes,
        inputs=dict(graph.inputs),
        constants=graph.constants,
        types=graph.types,
    )


def _pull_back(graph: Graph, late_nodes: list[Node]) -> list[Node]:
    """Leave in the late graph what had better not cross over.

    A mere change of layout, if what it changes crosses over anyway: otherwise the same numbers
    would be kept twice, and onnxruntime could not fuse a transposition into the matrix product that
    follows. And comparisons, because only float32 and int64 are kept.
    """
    producer = {o: node for node in graph.nodes for o in node.outputs}
    late = {o for node in late_nodes for o in node.outputs}
    while True:
        across = {i for node in late_nodes for i in node.inputs if i and i not in late}
        pulled = [
            producer[tensor]
            for tensor in across
            if tensor in producer
            and (
                graph.types[tensor].dtype not in _KEPT
                or (producer[tensor].op in _LAYOUT and producer[tensor].inputs[0] in across)
            )
        ]
        if not pulled:
            return late_nodes
        late.update(o for node in pulled for o in node.outputs)
        late_nodes = [node for node in graph.nodes if late.intersection(node.outputs)]
