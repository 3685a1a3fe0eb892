"""Labels, whenever they come: with a frame, later from a person or a file, or never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.frames import Frames
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.eyes import Sight
from sel_edge.runtime.recollection import Seen
from sel_edge.runtime.samples.records import LABELLED_LIMIT, Labelled, Source
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
        self._given = _Given()
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
        values = teaching_value(logits, classes, self._given.counts, novelty)
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

    @property
    def has_answers(self) -> bool:
        """Whether anything was answered at desks since the last time."""
        return self._store.has_answers(self._last_answer)

    def take_answers(self) -> int:
        """Take what was answered at desks since the last time; how many answers could be used."""
        taken = self._store.take_answers(self._last_answer)
        self._last_answer = taken.last
        useful = 0
        for sample in taken.samples:
            self._note(sample)
            if sample.label is None:
                self._classroom.retract(sample.number)
                continue
            useful += 1
            self._teach(sample, sample.label)
        return useful

    def _restore(self, limit: int) -> None:
        """Show the learners again what they knew before the process ended; the newest of it."""
        total = sum(self._store.counts().labels.values())
        for position, sample in enumerate(self._store.labelled()):
            self._given.take(sample)
            if sample.label is not None and position >= total - limit:
                domain, feature = self._seen(sample)
                self._classroom.remember(domain, sample.label, feature, sample.number)

    def _keep(self, frame: int, name: str, source: Source) -> Labelled | None:
        """Keep a label, if anything is known of its frame."""
        sample = self._store.label(frame, name, source=source)
        if sample is not None:
            self._note(sample)
        return sample

    def _note(self, sample: Labelled) -> None:
        """Let an answer take the place of the one that its frame had."""
        self._given.take(sample)
        if self._recalled(sample) is not None:
            self._surroundings.label(sample.number, sample.label)

    def _teach(self, sample: Labelled, name: str) -> None:
        self._classroom.retract(sample.number)  # it may have had another label
        domain, feature = self._seen(sample)
        self._classroom.label(domain, name, feature, sample.number)

    def _seen(self, sample: Labelled) -> tuple[int, NDArray[np.float32]]:
        """The domain of a frame, and its feature there: as remembered, else looked at again."""
        if (seen := self._recalled(sample)) is not None:
            return seen.domain, seen.feature
        self.looks += 1
        sight = self._look(sample.frame[None])
        return int(sight.domains[0]), sight.features[0]

    def _recalled(self, sample: Labelled) -> Seen | None:
        """What is remembered of a frame; its number may stand for another one by now."""
        seen = self._surroundings.recall(sample.number)
        return seen if seen is not None and np.array_equal(seen.frame, sample.frame) else None


class _Given:
    """The labels that hold, of as many frames as a store may keep.

    Attributes:
        counts: class name -> frames of that label.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._names: dict[str, str] = {}

    def take(self, sample: Labelled) -> None:
        """Take the label of a frame in place of the one it had."""
        self._forget(sample.id)
        if sample.label is not None:
            self._names[sample.id] = sample.label
            self.counts[sample.label] += 1
        if len(self._names) > LABELLED_LIMIT:
            self._forget(next(iter(self._names)))

    def _forget(self, name: str) -> None:
        before = self._names.pop(name, None)
        if before is not None:
            self.counts[before] -= 1
