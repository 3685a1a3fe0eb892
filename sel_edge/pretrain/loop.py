"""The one training loop: stages of epochs of steps, for every recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import torch

from sel_edge.core.errors import GateError
from sel_edge.core.runlog import HistoryRow
from sel_edge.data.bad_images import BadImages
from sel_edge.pretrain.batches import Order
from sel_edge.pretrain.cold import score_cold
from sel_edge.pretrain.compiled import compiled_network, warm_up
from sel_edge.pretrain.curriculum import has_settled
from sel_edge.pretrain.evaluate import accuracy, predict
from sel_edge.pretrain.frozen import freeze
from sel_edge.pretrain.history import history_row
from sel_edge.pretrain.practice import Practice, begin_stage, epoch_work
from sel_edge.pretrain.progress import EpochSums, Position
from sel_edge.pretrain.ranks import ALONE, Ranks
from sel_edge.pretrain.recipe import Recipe, Stage
from sel_edge.pretrain.state import Setup, TrainState
from sel_edge.pretrain.step import Stepper

# Energy counters wrap around; a long epoch must not outlast one.
MAX_SECONDS_BETWEEN_READINGS = 60.0

# Epochs may be shorter than it takes to save one, or longer than anybody wants to lose.
MIN_SECONDS_BETWEEN_CHECKPOINTS = 5.0
MAX_SECONDS_BETWEEN_CHECKPOINTS = 300.0


class RunInterruptedError(Exception):
    """The user asked to stop; the checkpoint is written and `--resume` goes on from it."""


class Observer(Protocol):
    """What a progress display is told."""

    def images_skipped(self, skipped: BadImages) -> None:
        """The run begins, or goes on, without these images."""

    def run_started(self, recipe: Recipe) -> None:
        """A run of this recipe begins, or goes on after `--resume`."""

    def stage_started(self, index: int, stage: Stage, images: int) -> None:
        """A stage begins, or goes on after `--resume`."""

    def step_done(self, position: Position, steps: int, sums: EpochSums) -> None:
        """One step, or some, of the `steps` of an epoch are complete."""

    def epoch_done(self, row: HistoryRow) -> None:
        """An epoch is complete and evaluated."""

    def gate_checked(self, stage: Stage, first_100: float, passed: bool) -> None:
        """A stage with a threshold has ended."""


class Trainer:
    """Runs a recipe from wherever `state` stands.

    Args:
        setup: what stays the same.
        state: what changes; updated in place.
        observer: told of progress.
        save: called whenever `state` should be made durable.
        stop_requested: asked whenever the losses of all steps so far have been looked at.
        ranks: the processes that train together; only the leader saves.
    """

    def __init__(
        self,
        setup: Setup,
        state: TrainState,
        observer: Observer,
        save: Callable[[], None],
        stop_requested: Callable[[], bool],
        ranks: Ranks = ALONE,
    ) -> None:
        self.setup, self.state, self.observer = setup, state, observer
        self._save, self._stop_requested, self._ranks = save, stop_requested, ranks
        self._network = compiled_network(setup, state.model, ranks)
        self._stepper = Stepper(setup, state, self._network, ranks)
        self._clock, self._joules = (time.perf_counter(), setup.meter.read_j()), 0.0
        self._saved = time.perf_counter()

    def run(self) -> None:
        """Train to the end.

        Raises:
            RunInterruptedError: `stop_requested` said so; the state is saved.
            GateError: a stage missed its threshold and may not be repeated again.
        """
        self.observer.run_started(self.setup.recipe)
        if self.state.scores is None:
            score_cold(self.setup, self.state, self._ranks)
            self._checkpoint()
        stages = self.setup.recipe.stages
        while self.state.position.stage < len(stages):
            stage = stages[self.state.position.stage]
            self._run_stage(stage)
            self.state.position.saved += max(0, stage.epochs - self.state.position.stage_epoch)
            self.state.position.stage += 1
            self.state.position.stage_epoch = 0
            self.state.curve = []
            self._checkpoint()

    def _run_stage(self, stage: Stage) -> None:
        """Train a stage from where the state stands to its end."""
        begins = self.state.begins_stage
        practice = begin_stage(self.setup, self.state, stage, self._ranks)
        if begins:
            self._charge()
        self.state.spent.compile_seconds += warm_up(
            self.setup, self.state.model, self._network, practice, self._ranks
        )
        self._clock = (time.perf_counter(), self.setup.meter.read_j())
        self.observer.stage_started(self.state.position.stage, stage, len(practice.pool))
        while not self._is_over(stage):
            self._run_epoch(practice)
            self._finish_epoch(practice)

    def _run_epoch(self, practice: Practice) -> None:
        """Train over the stage's pool once, from the step where the state stands."""
        setup, state, position = self.setup, self.state, self.state.position
        if state.sums is None:
            state.sums = EpochSums(len(setup.train.data.classes), setup.arithmetic.device)
            state.remembered.begin_epoch()
        work = epoch_work(setup, state, practice, self._ranks)
        order = Order(
            setup.train,
            work.pool,
            setup.recipe,
            setup.seed,
            position.epoch,
            self._ranks,
            full=setup.arithmetic.compiled,  # another size would be compiled for once more
        )
        frames = partial(practice.frames, setup, position.epoch)
        freeze(state.model, practice.stage.frozen)
        checked = True
        for batch in order.batches(position.step, frames):
            done = (position.epoch + (position.step + 0.5) / order.steps) / setup.recipe.epochs
            checked = self._stepper.take(batch, work, min(1.0, done))  # extra epochs are beyond
            position.step += 1
            if checked:
                self._look_up(order.steps)
        self._ranks.as_the_leader(state.model)
        if not checked:
            self._stepper.check()
            self._look_up(order.steps)

    def _look_up(self, steps: int) -> None:
        """Between two of the `steps` of an epoch: tell, read the meter, save, stop if asked to."""
        assert self.state.sums is not None  # noqa: S101 - the epoch made them
        self.observer.step_done(self.state.position, steps, self.state.sums)
        if time.perf_counter() - self._clock[0] > MAX_SECONDS_BETWEEN_READINGS:
            self._charge()
        if self._ranks.any(self._stop_requested()):
            self._checkpoint()
            raise RunInterruptedError
        if self._ranks.any(time.perf_counter() - self._saved > MAX_SECONDS_BETWEEN_CHECKPOINTS):
            self._checkpoint()

    def _finish_epoch(self, practice: Practice) -> None:
        """Evaluate, write the history row, save."""
        setup, state = self.setup, self.state
        self._stepper.check_weights()
        self._charge()
        trained = state.spent.seconds
        # What has learned small images cannot read whole ones yet.
        size = None if practice.stage is setup.recipe.stages[-1] else practice.size
        logits = predict(state.model, setup.test, setup.arithmetic, self._ranks, size)
        reached = accuracy(logits, setup.test.data.labels)
        self._charge()
        state.spent.evaluation_seconds += state.spent.seconds - trained
        self._gather()
        losses = state.remembered.last_losses().cpu().numpy()[practice.pool]
        state.curve.append(float(losses[np.isfinite(losses)].mean(dtype=np.float64)))
        state.position.epoch += 1
        state.position.stage_epoch += 1
        state.position.step = 0
        row = history_row(setup, state, practice.stage, reached)
        state.history.append(row)
        state.sums = None
        self.observer.epoch_done(row)
        lasted = time.perf_counter() - self._saved
        if self._ranks.any(lasted > MIN_SECONDS_BETWEEN_CHECKPOINTS):
            self._write()  # all of it has been looked at and gathered above

    def _is_over(self, stage: Stage) -> bool:
        """Whether the stage has had its epochs, or settled, and its gate lets the run go on."""
        extra = self.state.position.stage_epoch - self._due(stage)
        return extra >= 0 and self._may_pass(stage, extra)

    def _due(self, stage: Stage) -> int:
        """Epochs after which the stage ends: fewer if it has settled, more if others had."""
        position = self.state.position
        if stage is self.setup.recipe.stages[-1]:
            return stage.epochs + position.saved
        if has_settled(self.state.curve, self.setup.recipe.settled):
            return min(stage.epochs, position.stage_epoch)
        return stage.epochs

    def _may_pass(self, stage: Stage, extra: int) -> bool:
        """Whether the gate lets the run go on after so many extra epochs of the stage.

        Raises:
            GateError: gate "repeat", and the extra epochs are used up below the threshold.
        """
        recipe = self.setup.recipe
        if recipe.gate == "none" or stage.threshold == 0:
            return True
        first_100 = float(self.state.history[-1]["test_100_acc"])
        passed = first_100 >= stage.threshold
        self.observer.gate_checked(stage, first_100, passed)
        if passed or recipe.gate == "report":
            return True
        if extra < recipe.extra_epochs_max:
            return False
        self._checkpoint()
        raise GateError(
            f"{stage.name!r} reached {first_100:.1%} on the first 100 test images of each class "
            f"after {self.state.position.stage_epoch} epochs.",
            f"Its threshold is {stage.threshold:.0%}, with at most {recipe.extra_epochs_max} "
            "extra epochs.",
            "In a new run, allow more (extra_epochs_max), lower the threshold, or set "
            'gate = "report".',
        )

    def _charge(self) -> None:
        """Add the time since the last call to what was spent, and keep its energy for `_gather`."""
        now = (time.perf_counter(), self.setup.meter.read_j())
        self.state.spent.seconds += now[0] - self._clock[0]
        # What measures a whole machine counts all of its processes, and is read by one of them.
        if self._ranks.local == 0 or self.setup.meter_is_own:
            self._joules += now[1] - self._clock[1]
        self._clock = now

    def _gather(self) -> None:
        """Make what every process learned and spent known to all of them."""
        state, device = self.state, self.setup.arithmetic.device
        state.remembered.gather(self._ranks)
        if state.sums is not None:
            state.sums.gather(self._ranks)
        joules = torch.tensor([self._joules], dtype=torch.float64, device=device)
        state.spent.joules += float(self._ranks.sum(joules))
        self._joules = 0.0

    def _checkpoint(self) -> None:
        self._stepper.check_weights()
        self._charge()
        self._gather()
        self._write()

    def _write(self) -> None:
        """Let the leader save what all know."""
        self._ranks.led(self._save)
        self._saved = time.perf_counter()
