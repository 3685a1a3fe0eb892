"""The yardstick: torch's full fine-tuning, as good as it gets, and plain replay at equal cost.

`full` trains all parameters on the same labels and the same replay as every other contestant, and
is tuned with the exams in view, in its favour: what counts is the mean score of the exams held at
the moment, and the best network of the search counts, at its own cost alone.

The search of a story and moment: with the first seed all of `Search.grid` at five epochs, then the
best two of it at twenty epochs as well. With later seeds only the best three of these fourteen,
told by the first seed, and again the best of the three counts. The reason: the same story with
another seed wants the same settings, most of the fourteen are far from winning (some diverge), and
trying them all again costs hours; the best three still leave a choice with the exam in view.

`uniform_replay` trains all parameters on uniformly drawn labels and replay until it has executed as
many operations as the device spent on the same story; the best of three learning rates and both
modes of batch normalization counts. Where exams are held at two moments it may spend that at each.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tools.adapt_bench.contestants import BACKWARD, Contestant, Stage
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.stories import Exam
from tools.adapt_bench.torch_tuning import Lesson, Settings, Tuned, fine_tune

RATES = (0.003, 0.01, 0.03)
MODES = (False, True)
"""Whether batch normalization is in training mode."""
MOMENTS = "moments"
"""The note of an outcome that holds all that was tried, per moment and best first."""


@dataclass(frozen=True)
class Search:
    """How long to look for the best settings.

    Attributes:
        grid: all settings to try with the first seed.
        finalists: how many of them to try for longer.
        epochs: how long that is.
        kept: how many of all these later seeds try.
        rates: learning rates of plain replay at equal cost.
    """

    grid: tuple[Settings, ...] = tuple(
        Settings(5, rate, mode, balanced)
        for rate in RATES
        for mode in MODES
        for balanced in (False, True)
    )
    finalists: int = 2
    epochs: int = 20
    kept: int = 3
    rates: tuple[float, ...] = RATES


QUICK_SEARCH = Search(
    tuple(Settings(2, 0.01, mode, False) for mode in MODES), finalists=0, rates=(0.01,)
)


@dataclass(frozen=True)
class Trial:
    """What came of some settings at one moment."""

    settings: Settings
    tuned: Tuned
    exams: Mapping[str, float]

    @property
    def score(self) -> float:
        """What trials are ranked by."""
        return statistics.fmean(self.exams.values())

    def note(self) -> dict[str, Any]:
        """As JSON has it, without the network."""
        return {"settings": asdict(self.settings), "exams": dict(self.exams)}


def full(search: Search, first: Outcome | None) -> Contestant:
    """The best full fine-tuning, learned anew for every moment of an exam.

    Args:
        search: how to look for it.
        first: its outcome with the first seed of the story; None with the first seed.
    """
    known: dict[str, tuple[Settings, ...]] | None = None
    settings: dict[str, Any] = asdict(search)
    if first is not None:
        known = {moment: found[: search.kept] for moment, found in best_first(first).items()}
        settings = {moment: [asdict(one) for one in kept] for moment, kept in known.items()}

    def run(stage: Stage) -> Outcome:
        trials = {}
        for moment, exams in stage.moments():
            lesson = stage.lesson(moment)
            if known is None:
                trials[str(moment)] = _searched(stage, lesson, exams, search)
            else:
                trials[str(moment)] = _ranked(_tried(stage, lesson, exams, known[str(moment)]))
        return _outcome(stage, trials)

    return Contestant(run, settings)


def uniform_replay(flops: float, rates: tuple[float, ...] = RATES) -> Contestant:
    """Full fine-tuning by plain replay, as long as so many operations allow; one step at least."""
    modes = [(rate, mode) for rate in rates for mode in MODES]

    def run(stage: Stage) -> Outcome:
        samples = max(1, math.ceil(flops / (BACKWARD * stage.subject.forward_flops)))
        trials = {}
        for moment, exams in stage.moments():
            lesson = stage.lesson(moment)
            epochs = math.ceil(samples / (len(lesson.labels) - 1))
            candidates = [Settings(epochs, rate, mode, False) for rate, mode in modes]
            trials[str(moment)] = _ranked(_tried(stage, lesson, exams, candidates, samples))
        return _outcome(stage, trials)

    return Contestant(run, {"tried": modes, "flops": flops})


def _searched(stage: Stage, lesson: Lesson, exams: tuple[Exam, ...], search: Search) -> list[Trial]:
    ranked = _ranked(_tried(stage, lesson, exams, search.grid))
    longer = [replace(t.settings, epochs=search.epochs) for t in ranked[: search.finalists]]
    return _ranked([*ranked, *_tried(stage, lesson, exams, longer)])


def _tried(
    stage: Stage,
    lesson: Lesson,
    exams: tuple[Exam, ...],
    candidates: Iterable[Settings],
    samples: int | None = None,
) -> list[Trial]:
    found = []
    for settings in candidates:
        tuned = fine_tune(stage.subject.model, lesson, settings, stage.seed, stage.way, samples)
        scores = {exam.name: stage.examine(tuned.model, exam, stage.way) for exam in exams}
        found.append(Trial(settings, tuned, scores))
    return found


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: -trial.score)


def _outcome(stage: Stage, trials: Mapping[str, list[Trial]]) -> Outcome:
    """That of the best trial of every moment, examined exactly."""
    exams = {
        exam.name: stage.examine(trials[str(moment)][0].tuned.model, exam)
        for moment, held in stage.moments()
        for exam in held
    }
    samples = sum(ranked[0].tuned.samples for ranked in trials.values())
    notes = {moment: [trial.note() for trial in ranked] for moment, ranked in trials.items()}
    flops = float(BACKWARD * samples * stage.subject.forward_flops)
    return Outcome(exams, flops, 0.0, notes={MOMENTS: notes})


def best_first(outcome: Outcome) -> dict[str, tuple[Settings, ...]]:
    """The settings that a search tried, per moment."""
    moments: Any = outcome.notes[MOMENTS]
    return {
        moment: tuple(Settings(**trial["settings"]) for trial in trials)
        for moment, trials in moments.items()
    }
