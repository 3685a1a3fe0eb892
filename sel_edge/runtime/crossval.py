"""Training a head, and trying the training on labels that it did not learn from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.adapter import (
    AdapterSettings,
    TrainingSet,
    adapt,
    balanced_weights,
    demands,
)
from sel_edge.runtime.guard import Anchors, Trial
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import FOLDS, Samples
from sel_edge.runtime.work import Work, product, repeated, together


@dataclass(frozen=True)
class Course:
    """How a head is taught.

    Attributes:
        start: the head to begin with.
        classes: whose rows are trained; those that `start` does not know come last.
        onset: frame since which labels belong to the new situation.
        replay: anchors that are practised along with the labels.
        settings: how it descends.
    """

    start: Head
    classes: tuple[str, ...]
    onset: int
    replay: Anchors
    settings: AdapterSettings

    def taught(self, samples: Samples) -> Work[Head]:
        """The head after learning from some labels; classes without any are left out."""
        there = set(samples.names)
        new = [n for n in self.classes if n not in self.start.positions and n in there]
        head = self.start.with_new_classes(
            new, [samples.of(name) for name in new], self.replay.features
        )
        classes = [name for name in self.classes if name in head.positions]
        if not classes:
            return head
        return (
            yield from adapt(head, classes, self._material(head, samples), self.settings, len(new))
        )

    def tried(self, samples: Samples, known: Sequence[str]) -> Work[Trial]:
        """Every fold of some labels answered by a head that learned from the others.

        Args:
            samples: the labels.
            known: the classes that the taught head knows.
        """
        before = _Answered(len(samples))
        after = _Answered(len(samples))
        for fold in np.unique(samples.folds):
            out = samples.folds == fold
            head = yield from self.taught(samples.where(~out))
            yield product(int(out.sum()), samples.features.shape[1], 2 * len(known))
            for answered, one in ((before, self.start), (after, head)):
                answered.take(out, one, samples.where(out), len(known))
        return Trial(samples.names, before.losses, after.losses, before.right, after.right)

    def demand(self, samples: int) -> GraphCost:
        """What teaching, and trying it on all folds, takes at most."""
        width = self.start.weight.shape[1]
        known = len({*self.start.classes, *self.classes})
        preparing, step = demands(
            samples + len(self.replay.labels), width, known, len(self.classes)
        )
        once = together(preparing, repeated(step, self.settings.steps))
        return together(repeated(once, FOLDS + 1), product(samples, width, 2 * known))

    def _material(self, head: Head, samples: Samples) -> TrainingSet:
        """Replayed anchors and labels, with those since the onset as a group."""
        anchors = len(self.replay.labels)
        labels = np.concatenate([self.replay.labels, head.index(samples.names)])
        recent = np.concatenate([np.zeros(anchors), samples.frames >= self.onset])
        return TrainingSet(
            features=np.concatenate([self.replay.features, samples.features]),
            labels=labels,
            weights=balanced_weights(labels, recent.astype(np.int64)),
            replayed=np.arange(len(labels)) < anchors,
        )


class _Answered:
    """Losses and right answers of samples, as they are found fold by fold."""

    def __init__(self, count: int) -> None:
        self.losses = np.zeros(count)
        self.right = np.zeros(count, np.bool_)

    def take(self, at: NDArray[np.bool_], head: Head, samples: Samples, guesses: int) -> None:
        """Let a head answer; a class that it lacks counts as guessing among `guesses`."""
        losses = np.full(len(samples), np.log(guesses))
        right = np.zeros(len(samples), np.bool_)
        known = np.array([name in head.positions for name in samples.names], np.bool_)
        if known.any():
            logits = head.logits(samples.features[known])
            numbers = head.index([name for name in samples.names if name in head.positions])
            losses[known] = cross_entropy(logits, numbers, TEMPERATURE)
            right[known] = logits.argmax(axis=1) == numbers
        self.losses[at], self.right[at] = losses, right


def newest_of(trial: Trial, classes: Collection[str], count: int) -> Trial:
    """The part of a trial with the last `count` labels of each of some classes."""
    left = dict.fromkeys(classes, count)
    chosen = np.zeros(len(trial), np.bool_)
    for index in reversed(range(len(trial))):
        if left.get(trial.names[index], 0) > 0:
            left[trial.names[index]] -= 1
            chosen[index] = True
    return trial.where(chosen)
