"""Who copes with a story, and how: torch on the one side, the device on the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.model import ResNet18
from sel_edge.pretrain.trained import load_trained
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import Exam, Story
from tools.adapt_bench.subject import Subject, normalization, torch_answers
from tools.adapt_bench.torch_tuning import (
    Lesson,
    Settings,
    Tuned,
    batch_statistics,
    best_full,
    fine_tune,
    tent,
)

STATISTICS_FRAMES = 64
BACKWARD = 3
"""Forward and backward pass of a sample together, in forward passes."""
LAST_LAYER = Settings(20, 0.01, batch_statistics=False, balanced=True)


@dataclass(frozen=True)
class Stage:
    """A story with the network that it happens to."""

    story: Story
    subject: Subject
    seed: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The network's, then those that appear."""
        seen = dict.fromkeys(label.name for label in self.story.labels)
        return tuple(dict.fromkeys((*self.subject.classes, *sorted(seen))))

    def model(self) -> ResNet18:
        """The network as torch has it."""
        return load_trained(self.subject.run).model

    def normalize(self) -> Normalization:
        """From pixels to its input."""
        return normalization(self.subject)

    def lesson(self, until: int) -> Lesson:
        """Labels that have arrived by a frame, and all anchors to replay."""
        labels = [label for label in self.story.labels if label.arrives < until]
        anchors, numbers = self.subject.anchors, {name: i for i, name in enumerate(self.classes)}
        frames = self.story.frames[[label.frame for label in labels]]
        return Lesson(
            np.concatenate([frames, anchors.images]),
            np.concatenate(
                [
                    np.array([numbers[label.name] for label in labels], np.int64),
                    np.array([numbers[anchors.classes[i]] for i in anchors.labels], np.int64),
                ]
            ),
            len(self.classes),
        )

    def score(self, exam: Exam, answers: NDArray[np.int64]) -> float:
        """Share of correct answers, given as numbers of `classes`."""
        names = np.array(self.classes)[answers]
        return float((names == np.array(exam.truths)).mean())

    def examine(self, model: torch.nn.Module, exam: Exam) -> float:
        """The share of an exam that a torch network has right."""
        return self.score(exam, torch_answers(model, self.normalize(), exam.frames))


def none(stage: Stage) -> Outcome:
    """No adaptation."""
    model = stage.model()
    return Outcome({exam.name: stage.examine(model, exam) for exam in stage.story.exams}, 0.0, 0.0)


def full(stage: Stage) -> Outcome:
    """The best full fine-tuning, at its own cost; learned anew for every moment of an exam."""
    return _tuned(stage, lambda lesson, exam: _best_full(stage, lesson, exam))


def last_layer(stage: Stage) -> Outcome:
    """The classifier alone, at the cost of a forward pass per sample and epoch."""

    def tune(lesson: Lesson, _: Exam) -> Tuned:
        return fine_tune(
            stage.model(),
            stage.normalize(),
            lesson,
            LAST_LAYER,
            stage.seed,
            lambda model: list(model.fc.parameters()),  # type: ignore[union-attr]
        )

    return _tuned(stage, tune, passes=1)


def statistics_only(stage: Stage) -> Outcome:
    """The statistics of the first frames after a change that somebody else noticed."""
    onset = stage.story.onset
    begun = time.perf_counter()
    model = batch_statistics(
        stage.model(), stage.normalize(), stage.story.frames[onset : onset + STATISTICS_FRAMES]
    )
    wall_s = time.perf_counter() - begun
    exams = {exam.name: stage.examine(model, exam) for exam in stage.story.exams}
    return Outcome(exams, STATISTICS_FRAMES * stage.subject.forward_flops, wall_s)


def entropy(stage: Stage) -> Outcome:
    """TENT over the whole stream."""
    tuned, _ = tent(stage.model(), stage.normalize(), stage.story.frames)
    exams = {exam.name: stage.examine(tuned.model, exam) for exam in stage.story.exams}
    # The forward pass is the inference that the stream needs anyway.
    flops = (BACKWARD - 1) * tuned.samples * stage.subject.forward_flops
    return Outcome(exams, flops, tuned.wall_s)


def _tuned(stage: Stage, tune: Callable[[Lesson, Exam], Tuned], passes: int = BACKWARD) -> Outcome:
    """A torch network that learns from all labels so far before every moment of an exam."""
    exams: dict[str, float] = {}
    samples, wall_s = 0, 0.0
    for moment in sorted({exam.after for exam in stage.story.exams}):
        held = [exam for exam in stage.story.exams if exam.after == moment]
        tuned = tune(stage.lesson(moment), held[0])
        exams |= {exam.name: stage.examine(tuned.model, exam) for exam in held}
        samples, wall_s = samples + tuned.samples, wall_s + tuned.wall_s
    return Outcome(exams, passes * samples * stage.subject.forward_flops, wall_s)


def _best_full(stage: Stage, lesson: Lesson, exam: Exam) -> Tuned:
    _, tuned = best_full(
        lambda settings: fine_tune(stage.model(), stage.normalize(), lesson, settings, stage.seed),
        lambda tuned: stage.examine(tuned.model, exam),
    )
    return tuned


CONTESTANTS: Mapping[str, Callable[[Stage], Outcome]] = {
    "none": none,
    "full": full,
    "last_layer": last_layer,
    "statistics_only": statistics_only,
    "tent": entropy,
}
"""Name -> contestant, torch's side."""
