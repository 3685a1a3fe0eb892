"""Surroundings that a network looks at, under a clear, a dim or a bright light."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.moments import MomentModel
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.surroundings import NormLesson, Surroundings
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.faded import FRAMES, bundle, faded

CLEAR = 64


class World:
    """Surroundings that a network looks at; frames are numbered on."""

    def __init__(
        self,
        model: MomentModel,
        eyes: Eyes,
        network: Network,
        memory: int,
        memory_bytes: int = 1 << 24,
    ) -> None:
        config = replace(RuntimeConfig(), remembered_frames=memory, remembered_bytes=memory_bytes)
        head = bundle_network(bundle()).head
        self.surroundings = Surroundings(bundle(), model, head, config, FRAMES)
        self.network, self._eyes, self.seen = network, eyes, 0
        self.spent = 0

    def show(self, images: NDArray[np.uint8], names: list[str] | None = None) -> range:
        """Let it see frames, each with a label or none; their numbers."""
        sight = self._eyes.look(images, self.network, self._eyes.router())
        heads = [self.network.head_in(int(number)) for number in sight.domains]
        rows = zip(heads, sight.features, strict=True)
        logits = np.concatenate([head.logits(row[None]) for head, row in rows])
        first = self.seen
        self.spent += self.surroundings.add(first, images, sight, logits, self.network)
        self.seen += len(images)
        for number, name in enumerate(names or [], first):
            self.surroundings.label(number, name)
        return range(first, self.seen)

    def clear(self, n: int = CLEAR) -> range:
        return self.show(Patterns().draw(n, 1000 + self.seen)[0])

    def dim(
        self, n: int = CLEAR, labelled: bool = False, names: tuple[str, ...] = CLASSES
    ) -> range:
        images, truths = Patterns().draw(n, 2000 + self.seen, names)
        return self.show(faded(images), truths if labelled else None)

    def bright(self, n: int = CLEAR, names: tuple[str, ...] = CLASSES) -> range:
        """Labelled frames with the spectrum of clear ones."""
        images, truths = Patterns().draw(n, 3000 + self.seen, names)
        return self.show(np.clip(images.astype(np.int64) + 90, 0, 255).astype(np.uint8), truths)

    def places(self) -> Counter[int]:
        """How many remembered frames are of each domain."""
        seen = [self.surroundings.recall(number) for number in range(self.seen)]
        return Counter(one.domain for one in seen if one is not None)

    def lesson(self) -> NormLesson:
        (found,) = self.surroundings.lessons(self.network)
        return found
