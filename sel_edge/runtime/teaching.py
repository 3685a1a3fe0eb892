"""Labels, whenever they come: with a frame, later from a person or a file, or never."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.frames import Frames
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.eyes import Sight
from sel_edge.runtime.samples.records import Labelled, Source
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.samples.value import teaching_value
from sel_edge.runtime.surroundings import Surroundings

Look = Callable[[Frames], Sight]


class Teaching:
    """Brings labels to the learners, and frames to those who could label them.

    Args:
        store: the sample store.
        classroom: the learners.
        surroundings: what was seen.
        look: sees frames that are no longer remembered, at the price of an inference.
        restored: how many labelled frames of earlier sessions are looked at again at the start.

    Attributes:
        looks: how often it looked.
    """

    def __init__(
        self,
        store: SampleStore,
        classroom: Classroom,
        surroundings: Surroundings,
        look: Look,
        restored: int,
    ) -> None:
        self._store, self._classroom = store, classroom
        self._surroundings, self._look = surroundings, look
        self._counts: dict[str, int] = dict(store.counts().labels)
        self._last_answer = store.last_answer
        self.looks = 0
        self._restore(restored)

    def observe(
        self,
        first: int,
        frames: Frames,
        sight: Sight,
        logits: NDArray[np.float32],
        novelty: NDArray[np.float64],
        classes: Sequence[str],
    ) -> None:
        """Let those frames wait for a label that would teach most.

        Args:
            first: number of the first frame.
            frames: uint8 [n, H, W, C] or float32 [n, channels, length].
            sight: what was seen in them.
            logits: float32 [n, K].
            novelty: float64 [n], the share of known frames that are less strange.
            classes: K names.
        """
        self._store.name_classes(classes)
        values = teaching_value(logits, classes, self._counts, novelty)
        predicted = [classes[number] for number in logits.argmax(axis=1)]
        self._store.observe(first, frames, predicted, values, sight.features)

    def told(self, first: int, labels: Sequence[str | None]) -> None:
        """Keep the labels that came with frames; the learners have seen them already."""
        for position, name in enumerate(labels):
            if name is not None:
                self._keep(first + position, name, "stream")

    def label(self, frame: int, name: str, source: Source = "stream") -> bool:
        """Take a label that came later than its frame; whether anything is known of the frame."""
        sample = self._keep(frame, name, source)
        if sample is not None:
            self._teach(sample, name)
        return sample is not None

    def take_answers(self) -> int:
        """Take what was answered at desks since the last time; how many answers could be used."""
        taken = self._store.take_answers(self._last_answer)
        self._last_answer = taken.last
        useful = 0
        for sample in taken.samples:
            if sample.label is None:
                self._classroom.retract(sample.number)
                continue
            useful += 1
            self._count(sample.label)
            self._surroundings.label(sample.number, sample.label)
            self._teach(sample, sample.label)
        return useful

    def _restore(self, limit: int) -> None:
        """Show the learners again what they knew before the process ended; the newest of it."""
        total = sum(self._counts.values())
        for sample in islice(self._store.labelled(), max(0, total - limit), None):
            if sample.label is not None:
                domain, feature = self._seen(sample)
                self._classroom.remember(domain, sample.label, feature, sample.number)

    def _keep(self, frame: int, name: str, source: Source) -> Labelled | None:
        self._count(name)
        self._surroundings.label(frame, name)
        return self._store.label(frame, name, source=source)

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1

    def _teach(self, sample: Labelled, name: str) -> None:
        self._classroom.retract(sample.number)  # it may have had another label
        domain, feature = self._seen(sample)
        self._classroom.label(domain, name, feature, sample.number)

    def _seen(self, sample: Labelled) -> tuple[int, NDArray[np.float32]]:
        """The domain of a frame, and its feature there: as remembered, else looked at again."""
        seen = self._surroundings.recall(sample.number)
        if seen is not None and np.array_equal(seen.frame, sample.frame):
            return seen.domain, seen.feature
        self.looks += 1
        sight = self._look(sample.frame[None])
        return int(sight.domains[0]), sight.features[0]
