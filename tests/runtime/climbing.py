"""Coloured frames in a domain of a small network, whose steps tell features: layers to train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import Domain
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.activations import Activations
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.memory import FOLDS, Samples
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.updates.layers import LayersLesson
from tests.runtime.networks import PLACE, norm

RUNGS = ("tail", "deep", "full")
DOMAIN, BLOCK = 1, 4


def network_of(bundle: Bundle) -> Network:
    """With a domain of other statistics."""
    return bundle_network(bundle).with_domains({DOMAIN: Domain(PLACE, 64, norm(low=0.8))})


def coloured(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Frames whose class is their colour, uint8 [n, 8, 8, 3], and their classes."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(7).integers(40, 216, (5, 3))
    classes = np.arange(count) % 5
    frames = colours[classes][:, None, None] + rng.normal(0, 25, (count, 8, 8, 3))
    return np.clip(frames, 0, 255).astype(np.uint8), classes.astype(np.int64)


class Place:
    """What a device knows of labelled frames in a domain."""

    def __init__(self, bundle: Bundle, count: int = 90) -> None:
        self.bundle, self.network = bundle, network_of(bundle)
        self.frames, self.classes = coloured(count)
        seen = Engine(bundle, 1, self.network.effective(DOMAIN)).look_inside(self.frames, RUNGS)
        self.features, self.activations = seen.features, Activations(count, count, 1 << 26)
        self.activations.add(0, np.full(count, DOMAIN), seen.latents)

    def lesson(self, rung: str, fresh_from: int = 10) -> LayersLesson:
        head, numbers = self.network.head_in(DOMAIN), np.arange(len(self.frames))
        names = tuple(head.classes[number] for number in self.classes)
        samples = Samples(self.features, names, numbers, numbers // BLOCK % FOLDS)
        losses = cross_entropy(head.logits(self.features), self.classes, TEMPERATURE)
        fresh = numbers >= fresh_from
        return LayersLesson(DOMAIN, rung, samples, fresh, losses, 1.0, len(numbers), "coloured")

    def forgetful(self, rung: str) -> LayersLesson:
        """Of a frame more than there are latents of."""
        lesson = self.lesson(rung)
        numbers = lesson.samples.frames + 1
        return replace(lesson, samples=replace(lesson.samples, frames=numbers))
