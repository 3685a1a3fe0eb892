"""Everything that a bundle takes from the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.manifest import GRAPH_FILE, INT8_FILE, MOMENTS_FILE, WEIGHTS_FILE, Moments
from sel_edge.bundle.rungs import Rung
from sel_edge.compile.blocks import layers_of
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Model, to_model
from sel_edge.compile.ladder import LadderOptions, compile_ladder
from sel_edge.compile.moments import moments_graph
from sel_edge.compile.quantize import quantize
from sel_edge.compile.weights import attach, pack_weights


@dataclass(frozen=True)
class Package:
    """The compiler's part of a bundle.

    Attributes:
        members: file name -> content.
        rungs: what the manifest says of each.
        absent: rung that was asked for and that the network has no use for -> why.
        untrained: parameters that `full` leaves as they are.
        head_weight, head_bias: names of the classifier's parameters.
        features: length of a feature vector.
        classes: number of logits.
        input_shape: of one sample: channels, height, width; or channels, length.
        width: channels of the first layer.
        parameters: numbers in weights and biases.
        forward_macs: multiply-accumulates of one sample.
        moments: what the manifest says of the graph of that name, if there is one.
        forward: the folded network.
    """

    members: Mapping[str, bytes]
    rungs: Mapping[str, Rung]
    absent: Mapping[str, str]
    untrained: tuple[str, ...]
    head_weight: str
    head_bias: str
    features: int
    classes: int
    input_shape: tuple[int, ...]
    width: int
    parameters: int
    forward_macs: int
    moments: Moments | None
    forward: Forward


def package(
    model: Model, options: LadderOptions, calibration: NDArray[np.float32] | None
) -> Package:
    """Compile a network.

    Args:
        model: any forward graph of a classifier, see `load_graph`.
        options: which rungs, and for what.
        calibration: preprocessed samples for the int8 forward graph; None to go without it.

    Raises:
        BundleError: the network cannot be compiled.
        ConfigError: the options do not fit the network.
        DataError: the calibration samples do not fit the network.
    """
    ladder = compile_ladder(model, options)
    forward = ladder.forward
    weights = pack_weights(forward.graph, WEIGHTS_FILE)
    first = layers_of(forward.graph)[0]
    stem = moments_graph(forward, ladder.forward_macs)
    graphs = {GRAPH_FILE: forward.graph, **({MOMENTS_FILE: stem[0]} if stem else {})}
    members = {WEIGHTS_FILE: weights.content}
    for name, graph in {**graphs, **ladder.graphs}.items():
        members[name] = attach(graph, weights).SerializeToString()
    if calibration is not None:
        answers = {name: forward.graph.outputs[name] for name in ("features", "logits")}
        members[INT8_FILE] = quantize(
            to_model(replace(forward.graph, outputs=answers)), calibration
        )
    types = forward.graph.types
    classes, features = types[forward.head_weight].fixed
    return Package(
        members=members,
        rungs=ladder.rungs,
        absent=ladder.absent,
        untrained=ladder.untrained,
        head_weight=forward.head_weight,
        head_bias=forward.head_bias,
        features=features,
        classes=classes,
        input_shape=replace(types["image"], shape=types["image"].shape[1:]).fixed,
        width=types[first.weight].fixed[0],
        parameters=sum(value.size for value in weights.values.values()),
        forward_macs=ladder.forward_macs,
        moments=stem[1] if stem else None,
        forward=forward,
    )
