"""How large deltas of a network are, by what was learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import Rung
from sel_edge.core.rng import generator
from sel_edge.data.corruptions import corrupt
from sel_edge.mcu.payload import overlay_payload
from sel_edge.mcu.running import running
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.renormalize import Renormalizer
from tools.mcu_bench.subject import Subject

Parameters = Mapping[str, NDArray[np.float32]]

SHIFT, SEVERITY = "fog", 5
"""What the normalization is estimated in."""


def delta_bytes(subject: Subject) -> dict[str, int]:
    """Bytes of payload that lead from the image to a network which has learned.

    `norm` is an estimate of the statistics of all layers in fog. `head` changes the rows of all
    classes, `tail` as many channels of its layers as the bundle says, spread evenly, so that hardly
    two are neighbours; what they are changed to is of no matter to the size.

    Returns:
        rung -> bytes.
    """
    bundle = subject.bundle
    own, rungs = bundle.parameters(), bundle.manifest.rungs
    renormalizer = Renormalizer(bundle, {}, 1)
    frames = corrupt(subject.frames[: renormalizer.frames], SHIFT, SEVERITY, generator(0))
    learned: dict[str, Parameters] = {
        "norm": renormalizer.estimate(frames),
        "head": _changed(own, rungs["head"]),
        "tail": _changed(own, rungs["tail"]),
    }
    base = bundle_network(bundle).base
    biases = {**base.biases, base.head_weight: base.head_bias}
    before, classes = running(subject.image), bundle.manifest.classes
    return {
        rung: len(overlay_payload(before, {**own, **values}, biases, classes))
        for rung, values in learned.items()
    }


def _changed(own: Parameters, rung: Rung) -> Parameters:
    """The layers of a rung with other rows where it trains some, all where it trains all."""
    found = {}
    for layer in rung.layers:
        value = own[layer.weight].copy()
        rows = np.linspace(0, len(value) - 1, layer.rows or len(value)).astype(np.int64)
        value[rows] = np.flip(value[rows], axis=1)
        found[layer.weight] = value
    return found
