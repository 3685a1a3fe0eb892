"""Where a network can be cut, and which layers each rung trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sel_edge.bundle.rungs import MAX_RANK
from sel_edge.compile.forward import Forward, is_layer
from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.sparse import CHANNELWISE

TAIL_LAYERS = 2
"""Layers of the shortest tail: the two convolutions of a residual block."""

DEEP_SHARE = 0.5
"""Largest share of the forward pass that lies behind the default cut of `deep`."""


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Attributes:
        node: a Conv or Gemm.
        weight, bias: names of its parameters.
        macs: multiply-accumulates of one sample, wherever the parameters are used.
        follows: weight of the layer that a depthwise convolution takes its channels from, one by
            one; otherwise its own weight.
    """

    node: Node
    weight: str
    bias: str
    macs: int
    follows: str


@dataclass(frozen=True)
class Cut:
    """A tensor that everything behind it is computed from, sample by sample.

    Attributes:
        tensor: its name; the image if nothing is cut off.
        layers: those behind it, without the classifier, in the order they run.
        operators: how many lie behind it; tells cuts with the same layers apart.
    """

    tensor: str
    layers: tuple[Layer, ...]
    operators: int

    @property
    def weights(self) -> list[str]:
        """Names of the layers' weights."""
        return [layer.weight for layer in self.layers]

    def is_like(self, other: Cut) -> bool:
        """Whether it is at the same place of the same network, perhaps for another batch."""
        return (self.weights, self.operators) == (other.weights, other.operators)


def layers_of(graph: Graph) -> list[Layer]:
    """All layers with the classifier, in the order they run.

    Layers that share their parameters are one, where they first run, with the work of all.
    """
    source: dict[str, str] = {}  # tensor -> weight of the layer whose channels it has
    found: dict[str, Layer] = {}
    for node in graph.nodes:
        if is_layer(graph, node):
            weight, bias = node.inputs[1:]
            follows = source.get(node.inputs[0], weight) if _is_depthwise(graph, node) else weight
            source[node.outputs[0]] = follows
            layer = found.setdefault(weight, Layer(node, weight, bias, 0, follows))
            found[weight] = replace(layer, macs=layer.macs + _macs(graph, node))
        elif node.op in CHANNELWISE and node.inputs[0] in source:
            source[node.outputs[0]] = source[node.inputs[0]]
    return list(found.values())


def cuts(forward: Forward) -> list[Cut]:
    """Every tensor that all later layers depend on through it alone, the image first.

    It has float numbers and a row per sample, and no layer before it shares its parameters with one
    behind it.
    """
    graph = forward.graph
    layers = [layer for layer in layers_of(graph) if layer.weight != forward.head_weight]
    found = []
    for tensor, before, rest in _bottlenecks(graph):
        names, others = (
            {node.inputs[1] for node in part if is_layer(graph, node)} for part in (rest, before)
        )
        if names & others or not _is_latent(graph, tensor):
            continue
        behind = [layer for layer in layers if layer.weight in names]
        apart = [la if la.follows in names else replace(la, follows=la.weight) for la in behind]
        found.append(Cut(tensor, tuple(apart), len(rest)))
    return found


def tail_cut(forward: Forward) -> Cut | None:
    """The latest cut with at least two layers behind it, or one if there are no more."""
    deep_enough = [cut for cut in cuts(forward) if len(cut.layers) >= TAIL_LAYERS]
    any_layer = [cut for cut in cuts(forward) if cut.layers]
    candidates = deep_enough or any_layer
    return candidates[-1] if candidates else None


def deep_cut(forward: Forward, first: str | None = None) -> Cut | None:
    """The latest cut before the layer with the weight `first`.

    Without a name it is the earliest cut behind which at most half of the multiply-accumulates lie.
    """
    candidates = [cut for cut in cuts(forward) if cut.layers]
    if first is not None:
        candidates = [c for c in candidates if first in c.weights]
        return candidates[-1] if candidates else None
    total = sum(layer.macs for layer in layers_of(forward.graph))
    late = [c for c in candidates if sum(la.macs for la in c.layers) <= DEEP_SHARE * total]
    return _closest(late) if late else tail_cut(forward)


def _closest(found: list[Cut]) -> Cut:
    """Of the cuts with the same layers behind them as the first, the last: it needs least work."""
    return [cut for cut in found if cut.weights == found[0].weights][-1]


def _bottlenecks(graph: Graph) -> Iterator[tuple[str, list[Node], list[Node]]]:
    """Tensors through which every path from the image leads; the nodes before and behind them."""
    needed_until: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        needed_until.update(dict.fromkeys(node.inputs, index))
    needed_until[graph.outputs["logits"]] = len(graph.nodes)
    alive = set(graph.inputs)
    for index in range(-1, len(graph.nodes)):
        if index >= 0:
            node = graph.nodes[index]
            if alive.intersection(node.inputs):
                alive.update(o for o in node.outputs if needed_until.get(o, -1) > index)
            alive = {tensor for tensor in alive if needed_until[tensor] > index}
        if len(alive) == 1:
            yield next(iter(alive)), graph.nodes[: index + 1], graph.nodes[index + 1 :]


def _is_latent(graph: Graph, tensor: str) -> bool:
    kind = graph.types[tensor]
    batch, *shape = kind.shape
    by_sample = batch == graph.types["image"].shape[0] and all(isinstance(d, int) for d in shape)
    return by_sample and kind.dtype == "float32" and 1 <= len(shape) <= MAX_RANK


def _is_depthwise(graph: Graph, node: Node) -> bool:
    group = int(node.get("group", 1))
    return group > 1 and graph.shape(node.inputs[1])[:2] == (group, 1)


def _macs(graph: Graph, node: Node) -> int:
    weight = graph.types[node.inputs[1]].fixed
    outputs = [int(size) for size in graph.types[node.outputs[0]].shape[1:]]
    per_output = math.prod(weight[1:]) if node.op == "Conv" else weight[1]
    return math.prod(outputs) * per_output
