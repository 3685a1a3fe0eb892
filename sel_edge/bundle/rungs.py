"""The rungs of a bundle: what each way of learning trains, which graphs it runs, what they cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sel_edge.bundle.fields import Fields

RUNGS = ("norm", "head", "tail", "deep", "full")
"""From the least to the most that is changed."""
ESTIMATING = "norm"
"""The rung that looks at frames without labels and takes no gradient."""
STEP, STATISTICS = "step", "statistics"
OPTIONAL_ROLES = frozenset(("select", "fill", "importance"))
OPTIMIZERS = ("", "sgd", "adam")

MAX_BATCH = 4096
MAX_RANK = 4
MAX_NUMBERS = 2**28
"""Numbers in one batch of latents: a GiB, above what a board could hold beside a network."""
MAX_COST = 2**44
"""Operations or bytes of one run: far above any step for the edge, so that those of half a million
steps still add up within 64 bits."""
MAX_SETTING = 1e6
_FILE = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}\.onnx")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class TrainedLayer:
    """A layer that a rung changes.

    Attributes:
        weight, bias: its tensors in the weights: float32 [O, ...] and [O].
        rows: how many of its O output channels are trained; None for all of them, or for as many
            as the caller chooses where the step has an input "channels/<weight>".
        follows: weight of the layer whose choice of channels it shares, itself or an earlier one.
    """

    weight: str
    bias: str
    rows: int | None
    follows: str


@dataclass(frozen=True)
class GraphCost:
    """What one run of a graph costs.

    Attributes:
        executed_flops: of convolutions and matrix products, two per multiply-accumulate.
        moved_bytes: that operators read and write.
        peak_bytes: of tensors alive at once.
    """

    executed_flops: int
    moved_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class StepGraph:
    """A graph of a rung: the member of the bundle that holds it, and what one run costs."""

    file: str
    cost: GraphCost


@dataclass(frozen=True)
class Rung:
    """One way of learning.

    Attributes:
        batch: samples per step.
        cut: output of infer.onnx at which the step starts; None for the frame itself.
        latent_shape: of one sample at the cut.
        layers: what it changes, in the order the layers run.
        optimizer: "sgd" or "adam"; empty for "norm", which has none.
        state: tensors that the optimizer keeps per weight and bias, e.g. ("velocity",).
        settings: the optimizer's constants, e.g. {"momentum": 0.9}; informative, for the graphs
            hold them.
        graphs: role -> graph: "select" (run once per choice of channels), "fill" (once per batch),
            "step" (every step) and "importance" (of channels, by Fisher information); of "norm"
            only "statistics".
        parameters: how many numbers it changes.
        delta_bytes: of storing what it changed.
        cache_bytes: of what one batch keeps between steps.
    """

    batch: int
    cut: str | None
    latent_shape: tuple[int, ...]
    layers: tuple[TrainedLayer, ...]
    optimizer: str
    state: tuple[str, ...]
    settings: Mapping[str, float]
    graphs: Mapping[str, StepGraph]
    parameters: int
    delta_bytes: int
    cache_bytes: int

    @property
    def start(self) -> str:
        """The input of its graphs that holds what a step starts from."""
        return "image" if self.cut is None else "latent"

    @property
    def main(self) -> StepGraph:
        """The graph that every rung has: "step", or "statistics" of "norm"."""
        return self.graphs[STEP if STEP in self.graphs else STATISTICS]


def parse_rungs(fields: Fields, frame: int) -> dict[str, Rung]:
    """The rungs of a manifest, as `RUNGS` orders them.

    Args:
        fields: the object that holds them under their names.
        frame: how many numbers a frame is.

    Raises:
        BundleError: unknown, missing or impossible values.
    """
    present = [name for name in RUNGS if name in fields.names()]
    return fields.finished({name: _rung(name, fields.object(name), frame) for name in present})


def graph_file(fields: Fields, name: str) -> str:
    """The flat file name of a graph in the field `name`."""
    file = fields.text(name)
    good = _FILE.fullmatch(file) is not None
    fields.require(good, name, "a file name of a-z, 0-9, dots and dashes that ends in .onnx")
    return file


def _rung(name: str, fields: Fields, frame: int) -> Rung:
    rung = Rung(
        batch=fields.integer("batch", 1, MAX_BATCH),
        cut=fields.maybe("cut", fields.text),
        latent_shape=fields.integers("latent_shape", 1, MAX_NUMBERS),
        layers=tuple(_layer(layer) for layer in fields.objects("layers")),
        optimizer=fields.choice("optimizer", OPTIMIZERS),
        state=fields.texts("state"),
        settings=_settings(fields.object("settings")),
        graphs=_graphs(fields.object("graphs")),
        parameters=fields.integer("parameters", 1),
        delta_bytes=fields.integer("delta_bytes", 0),
        cache_bytes=fields.integer("cache_bytes", 0),
    )
    _check_latent(fields, rung, frame)
    _check_layers(fields, rung)
    if name == ESTIMATING:
        _check_estimating(fields, rung)
    else:
        _check_training(fields, rung)
    return fields.finished(rung)


def _check_latent(fields: Fields, rung: Rung, frame: int) -> None:
    short = 1 <= len(rung.latent_shape) <= MAX_RANK
    fields.require(short, "latent_shape", f"1 to {MAX_RANK} numbers")
    numbers = math.prod(rung.latent_shape)
    fits = rung.batch * numbers <= MAX_NUMBERS
    fields.require(fits, "latent_shape", f"at most {MAX_NUMBERS} numbers in a batch")
    of_frame = rung.cut is not None or numbers == frame
    fields.require(of_frame, "latent_shape", "the frame's, where nothing is cut off")


def _check_layers(fields: Fields, rung: Rung) -> None:
    tensors = [name for layer in rung.layers for name in (layer.weight, layer.bias)]
    fields.require(len(tensors) > 0, "layers", "at least one layer")
    fields.require(len(set(tensors)) == len(tensors), "layers", "tensors that all differ")
    choices: dict[str, int | None] = {}
    for layer in rung.layers:
        if layer.follows == layer.weight:
            choices[layer.weight] = layer.rows
        known = layer.follows in choices and choices[layer.follows] == layer.rows
        fields.require(known, "layers", "layers that follow an earlier one with as many rows")


def _check_estimating(fields: Fields, rung: Rung) -> None:
    whole = all(layer.rows is None for layer in rung.layers)
    fields.require(whole, "layers", "all channels of each layer")
    bare = not (rung.optimizer or rung.state or rung.settings)
    fields.require(bare, "optimizer", "empty, with no state and no settings")
    fields.require(set(rung.graphs) == {STATISTICS}, "graphs", STATISTICS)


def _check_training(fields: Fields, rung: Rung) -> None:
    fields.require(rung.optimizer != "", "optimizer", "the name of one")
    named = all(_NAME.fullmatch(state) for state in rung.state)
    distinct = len(set(rung.state)) == len(rung.state)
    fields.require(named and distinct, "state", "different names of a-z, 0-9 and _")
    known = {STEP} <= set(rung.graphs) <= {STEP} | OPTIONAL_ROLES
    expected = f"{STEP}, and at most {', '.join(sorted(OPTIONAL_ROLES))} beside it"
    fields.require(known, "graphs", expected)


def _layer(fields: Fields) -> TrainedLayer:
    return fields.finished(
        TrainedLayer(
            weight=fields.text("weight"),
            bias=fields.text("bias"),
            rows=fields.maybe("rows", lambda name: fields.integer(name, 1)),
            follows=fields.text("follows"),
        )
    )


def _settings(fields: Fields) -> dict[str, float]:
    for name in fields.names():
        fields.require(_NAME.fullmatch(name) is not None, name, "named by a-z, 0-9 and _")
    return {name: fields.number(name, 0.0, MAX_SETTING) for name in fields.names()}


def _graphs(fields: Fields) -> dict[str, StepGraph]:
    return {role: _graph(fields.object(role)) for role in fields.names()}


def _graph(fields: Fields) -> StepGraph:
    graph = StepGraph(graph_file(fields, "file"), _cost(fields.object("cost")))
    return fields.finished(graph)


def _cost(fields: Fields) -> GraphCost:
    return fields.finished(
        GraphCost(
            executed_flops=fields.integer("executed_flops", 0, MAX_COST),
            moved_bytes=fields.integer("moved_bytes", 0, MAX_COST),
            peak_bytes=fields.integer("peak_bytes", 0, MAX_COST),
        )
    )
