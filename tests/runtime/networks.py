"""Small networks that differ from their bundle, and what makes them differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sel_edge.bundle.domain import Domain
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network
from tests.runtime.trainable import bundle
from tests.runtime.updates import own

CONV, CONV_BIAS = "body.2.conv2.weight", "body.2.conv2.bias"
CHANNELS = 12
PLACE = np.arange(6, dtype=np.float32)
"""Of frames of three channels."""


def rows(seed: int = 0, count: int = 3, name: str = CONV) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = bundle().parameters()[name].shape
    chosen = rng.permutation(shape[0])[:count]
    return {name: (chosen, rng.normal(size=(count, *shape[1:])).astype(np.float32))}


def norm(seed: int = 0, low: float = 0.5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    layers = bundle().manifest.rungs["norm"].layers
    parameters = bundle().parameters()
    return {
        layer.weight: (
            rng.uniform(low, 2, len(parameters[layer.bias])).astype(np.float32),
            rng.normal(size=len(parameters[layer.bias])).astype(np.float32),
        )
        for layer in layers
    }


def normed(network: Network, norm: dict[str, Any]) -> Network:
    """With domain 1, or without it if its normalization is empty."""
    return network.with_domains({1: Domain(PLACE, 64, norm) if norm else None})


def grown(network: Network, *names: str) -> Head:
    head, rng = network.head, np.random.default_rng(len(names))
    more = rng.normal(size=(len(names), head.weight.shape[1])).astype(np.float32)
    bias = rng.normal(size=len(names)).astype(np.float32)
    return Head(
        np.concatenate([head.weight, more]),
        np.concatenate([head.bias, bias]),
        (*head.classes, *names),
    )


def two_domains() -> Network:
    network = normed(own(), norm())
    return network.with_domains({2: replace(network.domains[1], norm={})})
