"""Who copes with a story, and how: torch's side but for the yardstick, which is in `yardstick`.

No torch contestant tells its seconds or joules itself: they follow from its operations and from
the pace of a full fine-tuning step, timed beside the device (`pace`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.model import ResNet18
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import Exam, Frames, Story
from tools.adapt_bench.subject import Subject
from tools.adapt_bench.torch_tuning import (
    FORWARD_BATCH,
    TENT_BATCH,
    TENT_LEARNING_RATE,
    Lesson,
    Settings,
    Tent,
    batch_statistics,
    fine_tune_classifier,
)
from tools.adapt_bench.way import PLAIN, Way

STATISTICS_FRAMES = 64
BACKWARD = 3
"""Forward and backward pass of a sample together, in forward passes."""
LAST_LAYER = Settings(20, 0.01, batch_statistics=False, balanced=True)


@dataclass(frozen=True)
class Stage:
    """A story with the network that it happens to.

    Attributes:
        way: how torch computes.
    """

    story: Story
    subject: Subject
    seed: int
    way: Way = PLAIN

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The network's, then those that appear."""
        seen = dict.fromkeys(label.name for label in self.story.labels)
        return tuple(dict.fromkeys((*self.subject.classes, *sorted(seen))))

    def inputs(self, frames: Frames) -> Tensor:
        """Frames as the network takes them, float32 [N, C, H, W]."""
        return self.subject.normalize.of_arrays(frames)

    def lesson(self, until: int) -> Lesson:
        """Labels that have arrived by a frame, and all anchors to replay."""
        labels = [label for label in self.story.labels if label.arrives < until]
        anchors: Dataset = self.subject.anchors
        names = [label.name for label in labels] + [anchors.classes[i] for i in anchors.labels]
        frames = self.story.frames[[label.frame for label in labels]]
        return Lesson(
            self.inputs(np.concatenate([frames, anchors.images])),
            torch.tensor([self.classes.index(name) for name in names]),
            len(self.classes),
        )

    def moments(self) -> Iterator[tuple[int, tuple[Exam, ...]]]:
        """Frames after which exams are held, with these."""
        exams = self.story.exams
        for moment in sorted({exam.after for exam in exams}):
            yield moment, tuple(exam for exam in exams if exam.after == moment)

    def score(self, exam: Exam, answers: NDArray[np.int64]) -> float:
        """Share of correct answers, given as numbers of `classes`."""
        names = np.array(self.classes)[answers]
        return float((names == np.array(exam.truths)).mean())

    def examine(self, model: ResNet18, exam: Exam, way: Way | None = None) -> float:
        """The share of an exam that a torch network has right, exactly if no way is named."""
        way = way or self.way.exactly
        with torch.inference_mode(), way.autocast():
            parts = [
                model(way.inputs(x)).argmax(1).numpy()
                for x in torch.split(self.inputs(exam.frames), FORWARD_BATCH)
            ]
        return self.score(exam, np.concatenate(parts))


@dataclass(frozen=True)
class Contestant:
    """A way to cope with a story.

    Attributes:
        run: tells what comes of it.
        settings: all that its outcome depends on beside the stage, as JSON has it.
    """

    run: Callable[[Stage], Outcome]
    settings: Mapping[str, Any] = field(default_factory=dict)


def none(stage: Stage) -> Outcome:
    """No adaptation."""
    return _examined(stage, stage.subject.model, 0.0)


def last_layer(stage: Stage) -> Outcome:
    """The classifier alone, before every moment of an exam, for one forward pass per sample."""
    exams: dict[str, float] = {}
    samples = 0
    for moment, held in stage.moments():
        lesson = stage.lesson(moment)
        model = stage.subject.model
        tuned = fine_tune_classifier(model, lesson, LAST_LAYER, stage.seed, stage.way)
        exams |= {exam.name: stage.examine(tuned.model, exam) for exam in held}
        samples += tuned.samples
    return Outcome(exams, float(samples * stage.subject.forward_flops), 0.0)


def statistics_only(stage: Stage) -> Outcome:
    """The statistics of the first frames after a change that somebody else noticed."""
    onset = stage.story.onset
    frames = stage.story.frames[onset : onset + STATISTICS_FRAMES]
    if not len(frames):
        return none(stage)
    model = batch_statistics(stage.subject.model, stage.inputs(frames))
    return _examined(stage, model, float(len(frames) * stage.subject.forward_flops))


def entropy(stage: Stage) -> Outcome:
    """TENT over the whole stream."""
    tent, seen = Tent(stage.subject.model, stage.way), 0
    exams: dict[str, float] = {}
    for moment, held in stage.moments():
        tent.learn(stage.inputs(stage.story.frames[seen:moment]))
        exams |= {exam.name: stage.examine(tent.model, exam) for exam in held}
        seen = moment
    # The forward pass is the inference that the stream needs anyway, and no weight of a
    # convolution needs its gradient.
    return Outcome(exams, float(seen * stage.subject.forward_flops), 0.0)


def _examined(stage: Stage, model: ResNet18, flops: float) -> Outcome:
    exams = {exam.name: stage.examine(model, exam) for exam in stage.story.exams}
    return Outcome(exams, flops, 0.0)


CONTESTANTS: Mapping[str, Contestant] = {
    "none": Contestant(none),
    "last_layer": Contestant(last_layer, asdict(LAST_LAYER)),
    "statistics_only": Contestant(statistics_only, {"frames": STATISTICS_FRAMES}),
    "tent": Contestant(entropy, {"batch": TENT_BATCH, "learning_rate": TENT_LEARNING_RATE}),
}
"""Name -> contestant; what they do is fixed."""
