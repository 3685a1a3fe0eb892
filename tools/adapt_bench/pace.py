"""How long a step of full fine-tuning takes on this machine now, and what that makes of the rest.

Wall time is comparable only with what ran beside it. So the step is timed before and after the
device lives through a story, and all of torch's contestants are told at that pace: their executed
operations over those of a step, times its seconds and its estimated joules.
"""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from sel_edge.energy.meter import EstimatedMeter
from sel_edge.energy.profile import DEFAULT_PROFILE, load_profile
from sel_edge.pretrain.precision import BF16_MIN_SPEEDUP
from tools.adapt_bench.contestants import BACKWARD, Stage
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.subject import Subject
from tools.adapt_bench.torch_tuning import BATCH, gradient_descent, step
from tools.adapt_bench.way import WAYS, Way

WARM_UP = 2
ROUNDS = 8


class Pace:
    """Times a step of full fine-tuning.

    Args:
        stage: the network and how torch computes.
        batch_statistics: whether batch normalization is in training mode.
    """

    def __init__(self, stage: Stage, batch_statistics: bool) -> None:
        self._flops_of_step = BACKWARD * BATCH * stage.subject.forward_flops
        self._stepper = _Stepper(stage.subject, stage.way, batch_statistics)
        self._meter = EstimatedMeter(load_profile(DEFAULT_PROFILE))
        self._seconds: list[float] = []
        self._joules: list[float] = []

    def time(self) -> None:
        """Time some more steps."""
        for number in range(WARM_UP + ROUNDS):
            drawn_j = self._meter.read_j()
            seconds = self._stepper.seconds()
            if number >= WARM_UP:
                self._seconds.append(seconds)
                self._joules.append(self._meter.read_j() - drawn_j)

    @property
    def step_s(self) -> float:
        """Median seconds of a step, of all that were timed."""
        return statistics.median(self._seconds)

    def priced(self, outcome: Outcome) -> Outcome:
        """The same outcome with its seconds and joules at this pace."""
        steps = outcome.flops / self._flops_of_step
        joules = steps * statistics.median(self._joules)
        return replace(outcome, wall_s=steps * self.step_s, energy_j=joules)


class _Stepper:
    """A step that can be repeated for ever: on a copy, at a learning rate of zero."""

    def __init__(self, subject: Subject, way: Way, batch_statistics: bool) -> None:
        self._model = way.network(copy.deepcopy(subject.model)).train(batch_statistics)
        self._optimizer, self._way = gradient_descent(self._model.parameters(), 0.0), way
        chosen = np.arange(BATCH) % len(subject.anchors)
        self._inputs = way.inputs(subject.normalize.of_arrays(subject.anchors.images[chosen]))
        self._labels = torch.from_numpy(subject.anchors.labels[chosen])

    def seconds(self) -> float:
        """Of one step."""
        begun = time.perf_counter()
        step(self._model, self._optimizer, self._inputs, self._labels, self._way)
        return time.perf_counter() - begun


def fastest(subject: Subject) -> tuple[Way, dict[str, float]]:
    """The way to compute that trains fastest here; bf16 only if it wins clearly, as pretraining has
    it.

    Returns:
        The way, and by which medians it was chosen: milliseconds of a step.
    """
    steppers = {way: _Stepper(subject, way, True) for way in WAYS}
    rounds = [
        {way: stepper.seconds() for way, stepper in steppers.items()}
        for _ in range(WARM_UP + ROUNDS)
    ]
    times = {way: statistics.median(turn[way] for turn in rounds[WARM_UP:]) for way in WAYS}
    best = {
        number: min((way for way in WAYS if way.precision == number), key=times.__getitem__)
        for number in ("fp32", "bf16")
    }
    wins = times[best["fp32"]] / times[best["bf16"]] >= BF16_MIN_SPEEDUP
    return best["bf16" if wins else "fp32"], {str(way): 1e3 * times[way] for way in WAYS}
