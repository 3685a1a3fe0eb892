"""Cross-entropy with temperature and a weight per sample."""

from __future__ import annotations

import numpy as np

from sel_edge.compile.graph import Dim, Graph

LABELS = "labels"
SAMPLE_WEIGHTS = "sample_weights"
TEMPERATURE = "temperature"


def declare_targets(graph: Graph, batch: Dim) -> None:
    """Declare labels int64 [N], sample weights float32 [N] and the temperature, a scalar."""
    graph.input(LABELS, "int64", (batch,))
    graph.input(SAMPLE_WEIGHTS, "float32", (batch,))
    graph.input(TEMPERATURE, "float32", ())


def cross_entropy(graph: Graph, logits: str) -> str:
    """-log softmax(logits / temperature)[label] per sample.

    Args:
        graph: with targets declared.
        logits: [N, K]; K may be known only when the graph runs.

    Returns:
        float32 [N].
    """
    scaled = graph.add("Div", logits, TEMPERATURE)
    likelihood = graph.add("LogSoftmax", scaled, axis=1)
    picked = graph.add("Mul", likelihood, _one_hot(graph, logits))
    return graph.add("Neg", graph.add("ReduceSum", picked, graph.ints(1), keepdims=0))


def mean_seed(graph: Graph) -> str:
    """Gradient of the weighted mean loss with respect to each sample's loss: w / sum of w."""
    total = graph.add("ReduceSum", SAMPLE_WEIGHTS, graph.ints(0), keepdims=1)
    return graph.add("Div", SAMPLE_WEIGHTS, total)


def _one_hot(graph: Graph, logits: str) -> str:
    classes = graph.types[logits].shape[1]
    if isinstance(classes, int):
        names = graph.constant(np.arange(classes))
    else:
        count = graph.add("Gather", graph.add("Shape", logits), graph.constant(np.array(1)))
        zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
        names = graph.add("Range", zero, count, one)
    same = graph.add("Equal", graph.add("Unsqueeze", LABELS, graph.ints(1)), names)
    return graph.add("Cast", same, to=1)
