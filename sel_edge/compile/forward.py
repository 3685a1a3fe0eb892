"""The network that every rung starts from: layers with folded normalization, and a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.compile.graph import Graph, Node


@dataclass(frozen=True)
class Normalization:
    """What is left of a BatchNormalization that was folded into the layer before it.

    With m and v, mean and variance of the layer's output on other data, the layer is normalized
    again by y' = std * (y - m) / sqrt(v + epsilon) + mean. Where the network was trained these were
    `mean` and std^2 - epsilon, and y' = y. A channel with std 0 is constant, and its epsilon is 0.

    Attributes:
        tensor: the layer's output, channels in its second dimension.
        weight, bias: names of the layer's constants; the first dimension of both is the channel.
        mean: float32 [C]; beta of the BatchNormalization.
        std: float32 [C], not negative; the absolute value of its gamma.
        epsilon: float32 [C], not negative; its epsilon in units of the output's variance:
            eps * gamma^2 / (var + eps).
    """

    tensor: str
    weight: str
    bias: str
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    epsilon: NDArray[np.float32]


@dataclass(frozen=True)
class Forward:
    """A classifier.

    Attributes:
        graph: input `image` float32 [batch, C, H, W], or [batch, C, L] for signals; outputs
            `features` float32 [batch, F] and `logits` float32 [batch, K].
        head_weight, head_bias: names of the constants of the last layer, a Gemm with transB=1 on
            `features`: float32 [K, F] and [K].
        normalizations: in the order in which the layers run.
    """

    graph: Graph
    head_weight: str
    head_bias: str
    normalizations: tuple[Normalization, ...]


def is_layer(graph: Graph, node: Node) -> bool:
    """Whether a node is a convolution or linear layer as `fold` writes them.

    Its weight [O, ...] and bias [O] are constants, and so its O output channels can be trained.
    """
    plain = node.op == "Conv" or (node.op == "Gemm" and node.attributes == {"transB": 1})
    if not plain or len(node.inputs) < 3 or not graph.constants.keys() >= set(node.inputs[1:]):
        return False
    weight, bias = node.inputs[1:]
    return graph.shape(bias) == graph.shape(weight)[:1]
