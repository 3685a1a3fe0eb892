"""Random updates of the small trainable network, as a device would keep them."""

from __future__ import annotations

import numpy as np

from sel_edge.bundle.domain import Domain
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network, bundle_network
from tests.runtime.trainable import bundle


def own() -> Network:
    return bundle_network(bundle())


def updated(network: Network, rng: np.random.Generator) -> Network:
    """The network after one random update: rows, a domain or another classifier."""
    kind = rng.integers(0, 4)
    if kind == 0:
        domain = Domain(rng.normal(size=4).astype(np.float32), 64, _norm(network, rng))
        goes = network.domains and rng.random() < 0.2
        return network.with_domains({1: None if goes else domain})
    if kind == 1:
        return network.with_head(_head(network, rng))
    names = sorted(set(network.base.parameters) - {network.base.head_weight})
    rows = {}
    for name in rng.choice(names, rng.integers(1, 4), replace=False):
        shape = network.parameter(name).shape
        chosen = rng.permutation(shape[0])[: rng.integers(1, shape[0] + 1)]
        rows[str(name)] = (chosen, rng.normal(size=(len(chosen), *shape[1:])).astype(np.float32))
    return network.with_rows(rows)


def _norm(network: Network, rng: np.random.Generator) -> dict:
    return {
        weight: tuple(
            rng.normal(1, 0.1, len(network.parameter(bias))).astype(np.float32) for _ in range(2)
        )
        for weight, bias in network.base.biases.items()
        if weight != network.base.head_weight
    }


def _head(network: Network, rng: np.random.Generator) -> Head:
    """With classes added or forgotten, and some rows changed."""
    count = max(len(network.base.classes), len(network.classes) + int(rng.integers(-1, 3)))
    names = [*network.classes, *(f"new-{i}-{rng.integers(1000)}" for i in range(3))][:count]
    weight = rng.normal(size=(count, network.head.weight.shape[1])).astype(np.float32)
    kept = min(count, len(network.head.weight))
    weight[1:kept] = network.head.weight[1:kept]
    bias = rng.normal(size=count).astype(np.float32)
    return Head(weight, bias, tuple(names))
