"""Random updates of the small trainable network, as a device would keep them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network, bundle_network
from tests.runtime.trainable import bundle


def own() -> Network:
    """As of a bundle that tells moments of three channels, which the frozen one is too old for."""
    network = bundle_network(bundle())
    return replace(network, base=replace(network.base, place=6))


def updated(network: Network, rng: np.random.Generator) -> Network:
    """The network after one random update: rows, a domain or another classifier, or the same in a
    domain alone."""
    kind = rng.integers(0, 6)
    if kind == 0:
        return _with_domain(network, rng)
    number = int(rng.choice([OWN, *network.domains]))
    if kind == 1:
        return network.with_head(_head(network, rng))
    if kind == 2:
        return network.with_head_in(number, _head_in(network, number, rng))
    if kind == 3 and number != OWN:
        return _with_fewer_rows(network, number, rng)
    names = sorted(set(network.base.parameters) - {network.base.head_weight})
    rows = {}
    for name in rng.choice(names, rng.integers(1, 4), replace=False):
        shape = network.parameter(name).shape
        chosen = rng.permutation(shape[0])[: rng.integers(1, shape[0] + 1)]
        rows[str(name)] = (chosen, rng.normal(size=(len(chosen), *shape[1:])).astype(np.float32))
    return network.with_rows_in(number, rows)


def _with_domain(network: Network, rng: np.random.Generator) -> Network:
    """With a domain that is new, or gone, or in other words, with its rows or without."""
    number = int(rng.integers(1, 4))
    domain = Domain(rng.normal(size=6).astype(np.float32), 64, _norm(network, rng))
    if number in network.domains and rng.random() < 0.5:
        domain = replace(domain, rows=network.domains[number].rows)
    goes = number in network.domains and rng.random() < 0.3
    return network.with_domains({number: None if goes else domain})


def _with_fewer_rows(network: Network, number: int, rng: np.random.Generator) -> Network:
    """With some of the rows that a domain has to itself."""
    domain, rows = network.domains[number], {}
    for name, (indices, values) in domain.rows.items():
        kept = rng.random(len(indices)) < 0.6
        if kept.any():
            rows[name] = (indices[kept], values[kept])
    return network.with_domains({number: replace(domain, rows=rows)})


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


def _head_in(network: Network, number: int, rng: np.random.Generator) -> Head:
    """A domain's, with some rows changed, some as the shared ones, and perhaps a class more."""
    shared, head = network.head, network.head_in(number)
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[rng.integers(len(weight))] += 1
    back = rng.random(len(weight)) < 0.3
    weight[back], bias[back] = shared.weight[back], shared.bias[back]
    more = int(rng.integers(0, 2))
    row = rng.normal(size=(more, weight.shape[1])).astype(np.float32)
    return Head(
        np.concatenate([weight, row]),
        np.concatenate([bias, rng.normal(size=more).astype(np.float32)]),
        (*head.classes, *(f"seen-{rng.integers(10**6)}" for _ in range(more))),
    )
