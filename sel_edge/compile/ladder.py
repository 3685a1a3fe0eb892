"""From a forward network to the graphs of every rung, from the cheapest update to the full one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import onnx

from sel_edge.bundle.rungs import GraphCost, Rung, StepGraph, TrainedLayer
from sel_edge.compile.blocks import Cut, cuts, deep_cut, layers_of, tail_cut
from sel_edge.compile.cost import cost
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Graph
from sel_edge.compile.load import load_graph
from sel_edge.compile.norm import norm_graph
from sel_edge.compile.optimizers import Adam, Optimizer, Sgd
from sel_edge.compile.rules import MissingRule
from sel_edge.compile.rungs import CLASSES, StepGraphs, Trained, importance, training_step
from sel_edge.core.errors import BundleError, ConfigError

RUNGS = ("norm", "head", "tail", "deep", "full")
ROWS = "rows"
"""The dimension of the chosen classes in the rung `head`."""

FLOAT_BYTES = 4
_OPTIMIZERS = {Sgd: "sgd", Adam: "adam"}


@dataclass(frozen=True)
class LadderOptions:
    """What the rungs are compiled for.

    Attributes:
        rungs: names out of `RUNGS`.
        batch: samples per training step.
        frames: frames per estimate of the normalization.
        share: share of each layer's channels that `tail` and `deep` train, above 0 and at most 1.
        deep_from: weight of the first layer of `deep`; None for the last half of the network.
        optimizer: of every training step.
    """

    rungs: tuple[str, ...] = RUNGS
    batch: int = 32
    frames: int = 64
    share: float = 0.1
    deep_from: str | None = None
    optimizer: Optimizer = field(default_factory=Sgd)


@dataclass(frozen=True)
class Ladder:
    """The compiled rungs.

    Attributes:
        forward: the network with the training steps' batch.
        graphs: name of a member of the bundle -> graph; weights inside are parameters by name.
        rungs: what the manifest says of each rung.
        latents: name of an output of the forward graph -> the cut it is at.
    """

    forward: Forward
    graphs: Mapping[str, Graph]
    rungs: Mapping[str, Rung]
    latents: Mapping[str, Cut]


def compile_ladder(model: onnx.ModelProto, options: LadderOptions) -> Ladder:
    """Compile the rungs of a network.

    Raises:
        BundleError: an operator that a rung must differentiate has no rule, or the network has no
            layer for it; says which rungs would work.
        ConfigError: `deep_from` names no layer.
    """
    ladder = _Compiler(fold(load_graph(model, options.batch)), options)
    broken: dict[str, MissingRule] = {}
    for name in options.rungs:
        try:
            ladder.compile(name, model)
        except MissingRule as missing:
            broken[name] = missing
    if broken:
        raise _no_rule(broken, [name for name in options.rungs if name not in broken])
    return Ladder(ladder.forward, ladder.graphs, ladder.rungs, ladder.latents)


def _no_rule(broken: Mapping[str, MissingRule], possible: Sequence[str]) -> BundleError:
    name, error = next(iter(broken.items()))
    node = error.node
    return BundleError(
        f"The rung {name} needs the gradient of the operator {node.op} "
        f"(node {node.name or node.outputs[0]}), which has no rule.",
        "Only operators with a rule may lie between the first trained layer and the logits.",
        f"Export the rungs that work with --rungs {','.join(possible)}, or replace the operator."
        if possible
        else "Replace the operator; no rung would work as it is.",
    )


@dataclass
class _Compiler:
    forward: Forward
    options: LadderOptions
    graphs: dict[str, Graph] = field(default_factory=dict)
    rungs: dict[str, Rung] = field(default_factory=dict)
    latents: dict[str, Cut] = field(default_factory=dict)

    def compile(self, name: str, model: onnx.ModelProto) -> None:
        """Compile one rung; a network that has nothing for it goes without."""
        if name == "norm":
            if self.forward.normalizations:
                self._norm(fold(load_graph(model, self.options.frames)))
        elif name == "head":
            features = Cut(self.forward.graph.outputs["features"], ())
            self._step(name, features, [self._head()], "features")
        elif name == "full":
            image = cuts(self.forward)[0]
            trained = [
                Trained(la.weight, la.bias, None, la.weight) for la in layers_of(self.forward.graph)
            ]
            self._step(name, image, trained, None)
        else:
            cut = self._cut(name)
            if cut is not None:
                trained = self._sparse(cut)
                is_image = cut.tensor in self.forward.graph.inputs
                self._step(name, cut, trained, None if is_image else f"latent_{name}")

    def _cut(self, name: str) -> Cut | None:
        if name == "tail":
            return tail_cut(self.forward)
        cut = deep_cut(self.forward, self.options.deep_from)
        if cut is None and self.options.deep_from is not None:
            raise ConfigError(
                f"The network has no layer {self.options.deep_from} before the classifier.",
                "One of these is expected: " + ", ".join(cuts(self.forward)[0].weights),
                "Name the weight of the first layer that `deep` is to train.",
            )
        tail = tail_cut(self.forward)
        is_tail = cut is not None and tail is not None and cut.weights == tail.weights
        return None if is_tail and self.options.deep_from is None else cut

    def _head(self) -> Trained:
        weight, bias = self.forward.head_weight, self.forward.head_bias
        return Trained(weight, bias, ROWS, weight)

    def _sparse(self, cut: Cut) -> list[Trained]:
        """A share of every layer's channels."""
        found = []
        for layer in cut.layers:
            channels = self.forward.graph.shape(layer.weight)[0]
            count = max(1, round(self.options.share * channels))
            found.append(Trained(layer.weight, layer.bias, count, layer.follows))
        return found

    def _norm(self, forward: Forward) -> None:
        graph = norm_graph(forward)
        layers = tuple(
            TrainedLayer(n.weight, n.bias, None, n.weight) for n in forward.normalizations
        )
        channels = sum(n.mean.size for n in forward.normalizations)
        self.graphs["norm.onnx"] = graph
        self.rungs["norm"] = Rung(
            batch=self.options.frames,
            cut=None,
            latent_shape=forward.graph.shape("image")[1:],
            layers=layers,
            optimizer="",
            state=(),
            settings={},
            graphs={"statistics": StepGraph("norm.onnx", self._cost(graph))},
            parameters=2 * channels,
            delta_bytes=2 * channels * FLOAT_BYTES,
            cache_bytes=0,
        )

    def _step(self, name: str, cut: Cut, trained: Sequence[Trained], output: str | None) -> None:
        optimizer = self.options.optimizer
        parts = training_step(self.forward, cut.tensor, trained, optimizer)
        graphs = {"select": parts.select, "fill": parts.fill, "step": parts.step}
        if name in ("tail", "deep"):
            weights = [layer.weight for layer in trained]
            graphs["importance"] = importance(self.forward, cut.tensor, weights)
        graphs = {role: graph for role, graph in graphs.items() if graph.outputs}
        self.graphs |= {f"{name}.{role}.onnx": graph for role, graph in graphs.items()}
        if output is not None and output != "features":
            self.latents[output] = cut
        parameters = sum(self._parameters(layer) for layer in trained)
        self.rungs[name] = Rung(
            batch=self.options.batch,
            cut=output,
            latent_shape=self.forward.graph.shape(cut.tensor)[1:],
            layers=tuple(_as_manifest(layer) for layer in trained),
            optimizer=_OPTIMIZERS[type(optimizer)],
            state=optimizer.state,
            settings={f.name: float(getattr(optimizer, f.name)) for f in fields(optimizer)},
            graphs={
                role: StepGraph(f"{name}.{role}.onnx", self._cost(graph))
                for role, graph in graphs.items()
            },
            parameters=parameters,
            delta_bytes=parameters * FLOAT_BYTES,
            cache_bytes=self._cache_bytes(parts),
        )

    def _parameters(self, layer: Trained) -> int:
        """Numbers that the rung may change; of the classifier all rows may be chosen."""
        weight = self.forward.graph.types[layer.weight]
        rows = layer.channels if isinstance(layer.channels, int) else int(weight.fixed[0])
        return rows * (weight.elements // int(weight.fixed[0]) + 1)

    def _cost(self, graph: Graph) -> GraphCost:
        classes = self.forward.graph.shape(self.forward.head_bias)[0]
        found = cost(graph, {CLASSES: classes, ROWS: classes})
        return GraphCost(found.executed_flops, found.moved_bytes, found.peak_bytes)

    def _cache_bytes(self, parts: StepGraphs) -> int:
        """What is kept per batch: the fill's results, and the latents if the step reads them."""
        kept = [parts.fill.types[tensor] for tensor in parts.fill.outputs.values()]
        step = parts.step.needed_nodes()
        kept += [
            parts.step.types[name]
            for name in ("latent", "image")
            if any(name in node.inputs for node in step)
        ]
        classes = self.forward.graph.shape(self.forward.head_bias)[0]
        sizes = [[classes if isinstance(d, str) else d for d in kind.shape] for kind in kept]
        return FLOAT_BYTES * sum(_product(shape) for shape in sizes)


def forward_graph(model: onnx.ModelProto, latents: Mapping[str, Cut]) -> Forward:
    """The forward network for any number of images, with an output at each cut."""
    forward = fold(load_graph(model, "n"))
    for output, cut in latents.items():
        same = [c for c in cuts(forward) if c.weights == cut.weights]
        forward.graph.outputs[output] = same[-1].tensor
    return forward


def _as_manifest(layer: Trained) -> TrainedLayer:
    rows = layer.channels if isinstance(layer.channels, int) else None
    return TrainedLayer(layer.weight, layer.bias, rows, layer.follows)


def _product(shape: Sequence[int]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
