"""From a forward network to the graphs of every rung, from the cheapest update to the full one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields

import onnx

from sel_edge.bundle.rungs import RUNGS, GraphCost, Rung, StepGraph, TrainedLayer
from sel_edge.compile.blocks import Cut, cuts, deep_cut, layers_of, tail_cut
from sel_edge.compile.cost import cost
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Graph
from sel_edge.compile.layers import count_uses, is_parameter
from sel_edge.compile.load import load_graph
from sel_edge.compile.norm import norm_graph, shared_layer
from sel_edge.compile.optimizers import Adam, Optimizer, Sgd
from sel_edge.compile.read import plain
from sel_edge.compile.rules import MissingRule
from sel_edge.compile.rungs import CLASSES, StepGraphs, Trained, importance, training_step
from sel_edge.core.errors import BundleError, ConfigError

BATCH = "n"
"""The free dimension of the forward graph."""
ROWS = "rows"
"""The dimension of the chosen classes in the rung `head`."""

NORM_PARTS = 4
"""In how many parts the frames of `norm` run: more need no less memory, for each part has operators
of its own."""

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
    frames: int = 32
    share: float = 0.1
    deep_from: str | None = None
    optimizer: Optimizer = field(default_factory=Sgd)


@dataclass(frozen=True)
class Ladder:
    """The compiled rungs.

    Attributes:
        forward: the network for any number of images, with an output at each cut.
        forward_macs: multiply-accumulates of one image.
        graphs: name of a member of the bundle -> graph; weights inside are parameters by name.
        rungs: what the manifest says of each rung.
        absent: rung that was asked for and that the network has no use for -> why.
        untrained: parameters that `full` leaves as they are, because no layer has them.
    """

    forward: Forward
    forward_macs: int
    graphs: Mapping[str, Graph]
    rungs: Mapping[str, Rung]
    absent: Mapping[str, str]
    untrained: tuple[str, ...]


def compile_ladder(model: onnx.ModelProto, options: LadderOptions) -> Ladder:
    """Compile the rungs of a network.

    Raises:
        BundleError: the network cannot be compiled, or an operator that a rung must differentiate
            has no rule; says which rungs would work.
        ConfigError: `deep_from` names no layer.
    """
    compiler = _Compiler(model, options)
    broken = compiler.compile(options.rungs)
    if broken:
        for name in set(RUNGS).difference(options.rungs):
            with suppress(BundleError):
                compiler.compile([name])
        raise _no_rule(broken, [name for name in RUNGS if name in compiler.rungs])
    flops = cost(compiler.forward.graph, {}).executed_flops
    return Ladder(
        compiler.free,
        flops // (2 * options.batch),
        compiler.graphs,
        compiler.rungs,
        compiler.absent,
        compiler.untrained(),
    )


def _no_rule(broken: Mapping[str, MissingRule], possible: Sequence[str]) -> BundleError:
    name, error = next(iter(broken.items()))
    node = error.node
    return BundleError(
        f"The rung {name} needs the gradient of the operator {node.op} "
        f"({plain(node.name or node.outputs[0])}), which has no rule.",
        "Only operators with a rule may lie between the first trained layer and the logits.",
        f"Export the rungs that work, with --rungs {','.join(possible)}, or replace the operator.",
    )


class _Compiler:
    """Compiles rung after rung.

    Args:
        model: the network.
        options: what the rungs are compiled for.
    """

    def __init__(self, model: onnx.ModelProto, options: LadderOptions) -> None:
        self.model, self.options = model, options
        self.free = fold(load_graph(model, BATCH))
        self.forward = fold(load_graph(model, options.batch))
        self.graphs: dict[str, Graph] = {}
        self.rungs: dict[str, Rung] = {}
        self.absent: dict[str, str] = {}

    def compile(self, names: Iterable[str]) -> dict[str, MissingRule]:
        """Compile rungs; those that need a rule that is missing come back."""
        broken = {}
        for name in names:
            try:
                self._compile(name)
            except MissingRule as missing:
                broken[name] = missing
        return broken

    def untrained(self) -> tuple[str, ...]:
        """Parameters that `full` does not train; none if there is no such rung."""
        if "full" not in self.rungs:
            return ()
        graph, uses = self.forward.graph, count_uses(self.forward.graph)
        trained = {name for la in self.rungs["full"].layers for name in (la.weight, la.bias)}
        known = {name for name, value in graph.constants.items() if is_parameter(value)}
        return tuple(sorted(name for name in known - trained if uses[name]))

    def _compile(self, name: str) -> None:
        """Compile one rung; a network that has no use for it goes without."""
        if name == "norm":
            self._norm()
        elif name == "head":
            self._step(name, self.forward.graph.outputs["features"], [self._head()], "features")
        elif name == "full":
            layers = layers_of(self.forward.graph)
            trained = [Trained(la.weight, la.bias, None, la.weight) for la in layers]
            self._step(name, "image", trained, None)
        else:
            self._sparse(name)

    def _sparse(self, name: str) -> None:
        """Compile the rung `tail` or `deep`."""
        cut = tail_cut(self.free) if name == "tail" else self._deep_cut()
        if cut is None:
            self.absent[name] = "it would train no more layers than the rung before it"
            return
        tensor = self._place(cut)
        output = None if tensor == "image" else f"latent_{name}"
        self._step(name, tensor, self._share(cut), output)
        if output is not None:
            self.free.graph.outputs[output] = cut.tensor

    def _deep_cut(self) -> Cut | None:
        """Where `deep` starts; by default only if it then trains more layers than `tail`."""
        first = self.options.deep_from
        cut, tail = deep_cut(self.free, first), tail_cut(self.free)
        if first is None:
            deeper = cut is not None and tail is not None and len(cut.layers) > len(tail.layers)
            return cut if deeper else None
        if cut is None:
            raise ConfigError(
                f"The network has no layer {first} before the classifier.",
                f"One of these is expected: {', '.join(cuts(self.free)[0].weights)}.",
                "Name the weight of the first layer that `deep` is to train.",
            )
        return cut

    def _place(self, cut: Cut) -> str:
        """The tensor at a cut of the network for any batch, where the batch is fixed.

        It is found by what lies behind it, for a shape may have the size of the batch by chance.
        Should fixing the batch have changed the operators themselves, the image is right too.
        """
        same = [c.tensor for c in cuts(self.forward) if c.is_like(cut)]
        return same[0] if same else "image"

    def _head(self) -> Trained:
        weight, bias = self.forward.head_weight, self.forward.head_bias
        return Trained(weight, bias, ROWS, weight)

    def _share(self, cut: Cut) -> list[Trained]:
        """A share of every layer's channels."""
        found = []
        for layer in cut.layers:
            channels = self.forward.graph.shape(layer.weight)[0]
            count = max(1, round(self.options.share * channels))
            found.append(Trained(layer.weight, layer.bias, count, layer.follows))
        return found

    def _norm(self) -> None:
        if not self.forward.normalizations:
            self.absent["norm"] = (
                "the network has no BatchNormalization behind a layer (torch.onnx.export keeps it "
                "with optimize=False)"
            )
            return
        if (shared := shared_layer(self.forward)) is not None:
            self.absent["norm"] = (
                f"the normalized layer {shared} shares its parameters with another layer, and "
                "each would need a scale and a shift of its own"
            )
            return
        parts = math.gcd(NORM_PARTS, self.options.frames)
        forward = fold(load_graph(self.model, self.options.frames // parts))
        graph = norm_graph(forward, parts=parts)
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

    def _step(self, name: str, tensor: str, trained: Sequence[Trained], output: str | None) -> None:
        """Compile a rung that starts at a tensor, which is an output of the forward graph."""
        optimizer = self.options.optimizer
        parts = training_step(self.forward, tensor, trained, optimizer)
        graphs = {"select": parts.select, "fill": parts.fill, "step": parts.step}
        if name in ("tail", "deep"):
            weights = [layer.weight for layer in trained]
            graphs["importance"] = importance(self.forward, tensor, weights)
        graphs = {role: graph for role, graph in graphs.items() if graph.outputs}
        self.graphs |= {f"{name}.{role}.onnx": graph for role, graph in graphs.items()}
        parameters = sum(self._parameters(layer) for layer in trained)
        self.rungs[name] = Rung(
            batch=self.options.batch,
            cut=output,
            latent_shape=self.forward.graph.shape(tensor)[1:],
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
        return FLOAT_BYTES * sum(math.prod(shape) for shape in sizes)


def _as_manifest(layer: Trained) -> TrainedLayer:
    rows = layer.channels if isinstance(layer.channels, int) else None
    return TrainedLayer(layer.weight, layer.bias, rows, layer.follows)
