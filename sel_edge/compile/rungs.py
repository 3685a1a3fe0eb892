"""The training step of each rung: forward, loss, pruned backward and optimizer as one graph.

Names of a step's inputs and outputs, for a trained layer with weight `w` and bias `b`:

    latent                      the tensor at which the graph starts; "image" if nothing is cut off
    w, b                        current values: the chosen rows, or all if there is no choice
    velocity/w, ...             state of the optimizer, one tensor per weight and bias
    channels/w                  int64 [k]: which rows they are
    frozen/NAME                 whole parameters as they are without this training
    new/...                     output: the next value of w, b or state
    loss, logits                outputs: float32 [N] and [N, K], before the update
    features                    output: float32 [N, F], before the update, unless they are given
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sel_edge.compile.differentiate import dependents, differentiate
from sel_edge.compile.forward import Forward, is_layer
from sel_edge.compile.graph import Dim, Graph, Node, needed_for
from sel_edge.compile.hoist import hoist
from sel_edge.compile.layout import sink_transposes
from sel_edge.compile.loss import SAMPLE_WEIGHTS, cross_entropy, declare_targets, mean_seed
from sel_edge.compile.optimizers import Optimizer
from sel_edge.compile.rules import MissingRule
from sel_edge.compile.sparse import Choice, Rows, SparseForward, Whole, choose

LATENT = "latent"
CLASSES = "classes"
"""The dimension that grows when the network learns a new class."""


@dataclass(frozen=True)
class Trained:
    """A layer to train.

    Attributes:
        weight, bias: names of its parameters.
        channels: how many of its output channels are trained: a number, the name of one that is
            known when the graph runs, or None for all of them.
        follows: weight of the layer whose choice of channels it shares; its own weight if it has
            a choice of its own.
    """

    weight: str
    bias: str
    channels: Dim | None
    follows: str


@dataclass(frozen=True)
class StepGraphs:
    """A training step in three parts.

    Attributes:
        select: run once per choice of channels: what the step needs of the frozen parameters.
        fill: run once per batch: what the frozen channels contribute to each sample.
        step: run at every step; takes the outputs of both.
    """

    select: Graph
    fill: Graph
    step: Graph


def training_step(
    forward: Forward, cut: str, trained: Sequence[Trained], optimizer: Optimizer
) -> StepGraphs:
    """Derive the training step of some layers.

    Args:
        forward: the network, with a fixed batch.
        cut: tensor at which the step starts; no trained layer lies before it.
        trained: what to train.
        optimizer: how to update it.

    Raises:
        MissingRule: an operator between the cut and the loss cannot be differentiated, or is one,
            such as a comparison, through which no gradient comes.
    """
    graph, start = _begin(forward, cut)
    for scalar in optimizer.scalars:
        graph.input(scalar, "float32", ())
    nodes = nodes_behind(forward.graph, cut)
    whole = {n for t in trained if t.channels is None for n in (t.weight, t.bias)}
    parameters = _frozen(forward, graph, nodes, whole)
    rows: dict[str, Rows] = {}
    for layer in trained:
        rows[layer.weight] = _rows(forward, graph, layer, rows)
    sparse = SparseForward(forward.graph, graph, parameters, rows)
    sparse.values[cut] = Whole(start, static=True)
    sparse.run(nodes)
    logits = sparse.whole(forward.graph.outputs["logits"]).tensor
    loss = cross_entropy(graph, logits)
    changing = [name for r in rows.values() for name in (r.weight, r.bias)]
    gradients = differentiate(graph, {loss: mean_seed(graph)}, changing)
    for name in changing:
        if name not in gradients:
            raise MissingRule(_dead_end(graph, name))
    graph.outputs = {"loss": loss, "logits": logits}
    features = forward.graph.outputs["features"]
    if features != cut:
        graph.outputs["features"] = sparse.whole(features).tensor
    for name in changing:
        _update(graph, name, gradients[name], optimizer)
    return _split(sink_transposes(graph), start)


def importance(forward: Forward, cut: str, weights: Sequence[str]) -> Graph:
    """Fisher information of every output channel of some layers.

    With a the layer's output and g the gradient of a sample's loss with respect to it, a channel's
    importance is the mean over samples, by weight, of (sum over pixels of a g)^2 / 2: to second
    order, what removing the channel would cost (Theis et al., arXiv 1801.05787; chosen for updates
    by TinyTrain, arXiv 2307.09988). A linear layer that has several rows per sample, such as one
    per token, has a sum of its own for each of them.

    Args:
        forward: the network, with a fixed batch.
        cut: tensor at which the graph starts.
        weights: of the layers.

    Returns:
        A graph with an output `fisher/<weight>` float32 [channels] per layer.

    Raises:
        MissingRule: an operator between the layers and the loss cannot be differentiated.
    """
    graph, start = _begin(forward, cut)
    nodes = nodes_behind(forward.graph, cut)
    sparse = SparseForward(forward.graph, graph, _frozen(forward, graph, nodes, set()), {})
    sparse.values[cut] = Whole(start, static=False)
    sparse.run(nodes)
    outputs = [
        (node.inputs[1], sparse.whole(node.outputs[0]).tensor)
        for node in nodes
        if is_layer(forward.graph, node) and node.inputs[1] in weights
    ]
    loss = cross_entropy(graph, sparse.whole(forward.graph.outputs["logits"]).tensor)
    # The share of a sample's square is the square of what its gradient is multiplied by.
    half = graph.add("Mul", mean_seed(graph), graph.scalar(0.5, SAMPLE_WEIGHTS))
    gradients = differentiate(graph, {loss: graph.add("Sqrt", half)}, [t for _, t in outputs])
    products: dict[str, list[str]] = {}
    for weight, tensor in outputs:
        product = graph.add("Mul", tensor, gradients[tensor])
        if (rank := graph.rank(product)) > 2:
            product = graph.add("ReduceSum", product, graph.ints(*range(2, rank)), keepdims=0)
        products.setdefault(weight, []).append(product)
    for weight, uses in products.items():
        product = uses[0] if len(uses) == 1 else graph.add("Sum", *uses)
        squares = graph.add("Mul", product, product)
        total = graph.add("ReduceSum", squares, graph.ints(0), keepdims=0)
        graph.outputs[f"fisher/{weight}"] = total
    return sink_transposes(graph)


def _begin(forward: Forward, cut: str) -> tuple[Graph, str]:
    """A graph with the cut tensor and the targets as inputs, and the name of the former."""
    graph = Graph(opset=forward.graph.opset)
    kind = forward.graph.types[cut]
    start = "image" if cut in forward.graph.inputs else LATENT
    graph.input(start, kind.dtype, kind.shape)
    declare_targets(graph, kind.shape[0])
    return graph, start


def _split(graph: Graph, start: str) -> StepGraphs:
    """Take out of the step what is the same at every step.

    Where everything is trained nothing is worth keeping: the sample itself is the only constant.
    """
    fixed = {name for name in graph.inputs if name.startswith(("channels/", "frozen/"))}
    if any(name.startswith("channels/") for name in fixed):
        fixed.add(start)
    early, step = hoist(graph, [name for name in graph.inputs if name not in fixed])
    per_sample = dependents(early, [start])
    select, fill = replace(early, outputs={}), replace(early, outputs={})
    for name, tensor in early.outputs.items():
        (fill if tensor in per_sample else select).outputs[name] = tensor
    return StepGraphs(select, fill, step)


def nodes_behind(graph: Graph, cut: str) -> list[Node]:
    """The nodes that logits need when the tensor `cut` is given."""
    return needed_for([graph.outputs["logits"]], graph.nodes, given=cut)


def _dead_end(graph: Graph, tensor: str) -> Node:
    """The operator, such as a comparison, at which what depends on a tensor is no real number."""
    reached = {tensor}
    behind = (node for node in graph.nodes if reached.intersection(node.inputs))
    for node in behind:
        if not any(graph.types[o].dtype.startswith("float") for o in node.outputs):
            return node
        reached.update(node.outputs)
    raise ValueError(f"the loss does not depend on {tensor}")


def _frozen(forward: Forward, graph: Graph, nodes: list[Node], whole: set[str]) -> dict[str, str]:
    """Graph inputs for the parameters that layers behind the cut need; names for trained ones."""
    found: dict[str, str] = {}
    for node in nodes:
        if not is_layer(forward.graph, node):
            continue
        for name in node.inputs[1:]:
            if name in whole:
                found[name] = name
            elif name not in found:
                found[name] = graph.input(f"frozen/{name}", "float32", _shape(forward, name))
    return found


def _shape(forward: Forward, name: str) -> tuple[Dim, ...]:
    """Shape of a parameter; the classifier's rows are counted when the graph runs."""
    shape = forward.graph.types[name].shape
    is_head = name in (forward.head_weight, forward.head_bias)
    return (CLASSES, *shape[1:]) if is_head else shape


def _rows(forward: Forward, graph: Graph, layer: Trained, earlier: Mapping[str, Rows]) -> Rows:
    shape = _shape(forward, layer.weight)
    rows = shape[0] if layer.channels is None else layer.channels
    weight = graph.input(layer.weight, "float32", (rows, *shape[1:]))
    bias = graph.input(layer.bias, "float32", (rows,))
    if layer.channels is None:
        return Rows(weight, bias, None)
    if layer.follows != layer.weight:
        return Rows(weight, bias, earlier[layer.follows].choice)
    indices = graph.input(f"channels/{layer.weight}", "int64", (rows,))
    return Rows(weight, bias, _choice(graph, indices, layer.weight, shape[0]))


def _choice(graph: Graph, indices: str, weight: str, channels: Dim) -> Choice:
    if isinstance(channels, int):
        return choose(graph, indices, graph.constant(np.arange(channels)))
    count = graph.add("Shape", f"frozen/{weight}", start=0, end=1)
    count = graph.add("Squeeze", count, graph.ints(0))
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    return choose(graph, indices, graph.add("Range", zero, count, one))


def _update(graph: Graph, name: str, gradient: str, optimizer: Optimizer) -> None:
    """Declare the state of one tensor and let the optimizer make the next values."""
    shape = graph.types[name].shape
    state = {s: graph.input(f"{s}/{name}", "float32", shape) for s in optimizer.state}
    value, new_state = optimizer.update(graph, name, gradient, state)
    new = {f"new/{name}": value, **{f"new/{key}/{name}": t for key, t in new_state.items()}}
    for output, tensor in new.items():
        # Names of dimensions get lost on the way; these tensors replace the ones they came from.
        graph.types[tensor] = graph.types[name]
        graph.outputs[output] = tensor
