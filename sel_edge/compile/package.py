"""Everything that a bundle takes from the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.manifest import GRAPH_FILE, INT8_FILE, WEIGHTS_FILE
from sel_edge.bundle.rungs import Rung
from sel_edge.compile.blocks import layers_of
from sel_edge.compile.graph import Model, to_model
from sel_edge.compile.ladder import LadderOptions, compile_ladder, forward_graph
from sel_edge.compile.quantize import quantize
from sel_edge.compile.weights import attach, pack_weights


@dataclass(frozen=True)
class Package:
    """The compiler's part of a bundle.

    Attributes:
        members: file name -> content.
        rungs: what the manifest says of each.
        head_weight, head_bias: names of the classifier's parameters.
        features: length of a feature vector.
        classes: number of logits.
        image_shape: of one sample: channels, height, width; or channels, length.
        width: channels of the first layer.
        parameters: numbers in weights and biases.
        forward_macs: multiply-accumulates of one sample.
    """

    members: Mapping[str, bytes]
    rungs: Mapping[str, Rung]
    head_weight: str
    head_bias: str
    features: int
    classes: int
    image_shape: tuple[int, ...]
    width: int
    parameters: int
    forward_macs: int


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
    forward = forward_graph(model, ladder.latents)
    weights = pack_weights(forward.graph, WEIGHTS_FILE)
    members = {
        GRAPH_FILE: attach(forward.graph, weights).SerializeToString(),
        WEIGHTS_FILE: weights.content,
    }
    for name, graph in ladder.graphs.items():
        members[name] = attach(graph, weights).SerializeToString()
    if calibration is not None:
        latents = {n: forward.graph.outputs.pop(n) for n in ladder.latents}
        members[INT8_FILE] = quantize(to_model(forward.graph), calibration)
        forward.graph.outputs.update(latents)
    layers = layers_of(ladder.forward.graph)
    shape = ladder.forward.graph.shape
    return Package(
        members=members,
        rungs=ladder.rungs,
        head_weight=forward.head_weight,
        head_bias=forward.head_bias,
        features=shape(forward.head_weight)[1],
        classes=shape(forward.head_weight)[0],
        image_shape=shape("image")[1:],
        width=shape(layers[0].weight)[0],
        parameters=sum(int(np.prod(shape(n))) for la in layers for n in (la.weight, la.bias)),
        forward_macs=sum(layer.macs for layer in layers),
    )
