"""What shared rows of the classifier, taught in the bundle's own domain, do to other domains."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.evidence import class_means
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.network import Network
from sel_edge.runtime.work import Work, product, together


def spared(network: Network, taught: Network, labels: Mapping[int, Samples]) -> Work[Network]:
    """A taught network in which no domain is worse off for it, as far as labels tell.

    A domain without rows of its own for a class goes by the shared ones, and profits from better
    ones. But what is better elsewhere may be worse there. Where a domain's labels say so, all
    classes counted alike, it keeps the rows that it has, as its own. New classes are everybody's.

    Args:
        network: in use.
        taught: the same with other shared rows.
        labels: domain -> what is remembered of its labels, of classes that `network` knows.
    """
    for number, samples in labels.items():
        before, after = network.head_in(number), taught.head_in(number)
        kept = _grown(before, after)
        if not len(samples) or kept.hash == after.hash:
            continue
        yield product(len(samples), after.weight.shape[1], 2 * len(after.classes))
        if _embarrassment(kept, samples) < _embarrassment(after, samples):
            taught = taught.with_head_in(number, kept)
    return taught


def comparing(network: Network, new: Collection[str], labels: Mapping[int, Samples]) -> GraphCost:
    """The demand of `spared` at most, if as many classes are new."""
    width, columns = network.head.weight.shape[1], 2 * (len(network.classes) + len(new))
    return together(*(product(len(samples), width, columns) for samples in labels.values()))


def _grown(before: Head, after: Head) -> Head:
    """A head with the last classes of another one."""
    known = len(before.classes)
    return Head(
        np.concatenate([before.weight, after.weight[known:]]),
        np.concatenate([before.bias, after.bias[known:]]),
        after.classes,
    )


def _embarrassment(head: Head, samples: Samples) -> float:
    """Mean of the class means of cross-entropy, in nats."""
    numbers = head.index(samples.names)
    losses = cross_entropy(head.logits(samples.features), numbers, TEMPERATURE)
    return float(class_means(losses, numbers).mean())
