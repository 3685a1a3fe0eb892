"""The one training loop: stages of epochs of steps, for every recipe."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sel_edge.core.embarrassment import class_embarrassment
from sel_edge.core.embarrassment import cross_entropy as sample_losses
from sel_edge.core.errors import DivergenceError, GateError
from sel_edge.core.frames import Frames, channels_first
from sel_edge.core.rng import generator
from sel_edge.core.runlog import HistoryRow
from sel_edge.pretrain.batches import Batch, steps_per_epoch, training_batches
from sel_edge.pretrain.curriculum import stage_pool
from sel_edge.pretrain.evaluate import Accuracy, accuracy, predict
from sel_edge.pretrain.flops import count_flops, paper_flops
from sel_edge.pretrain.model import parameter_count
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.progress import EpochSums, Position
from sel_edge.pretrain.recipe import Recipe, Stage
from sel_edge.pretrain.resolution import resized, side_at
from sel_edge.pretrain.schedule import learning_rate
from sel_edge.pretrain.sparing import epoch_weights
from sel_edge.pretrain.sparsity import initial_threshold, mask_gradients, stage_threshold
from sel_edge.pretrain.state import EpochWork, Setup, TrainState

# Comparing all weights before and after a step costs about as much as the optimizer.
CHANGED_EVERY_STEPS = 16

# Energy counters wrap around; a long epoch must not outlast one.
MAX_SECONDS_BETWEEN_READINGS = 60.0


class RunInterruptedError(Exception):
    """The user asked to stop; the checkpoint is written and `--resume` goes on from it."""


class Observer(Protocol):
    """What a progress display is told."""

    def stage_started(self, index: int, stage: Stage, images: int) -> None:
        """A stage begins, or goes on after `--resume`."""

    def step_done(self, position: Position, steps: int, sums: EpochSums) -> None:
        """One step of the `steps` of an epoch is complete."""

    def epoch_done(self, row: HistoryRow) -> None:
        """An epoch is complete and evaluated."""

    def gate_checked(self, stage: Stage, first_100: float, passed: bool) -> None:
        """A stage with a threshold has ended."""


def new_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all weights, fused into one pass."""
    weights, rate, decay = model.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        return torch.optim.Adam(weights, rate, weight_decay=decay, fused=True)
    momentum = recipe.momentum
    nesterov = momentum > 0
    return torch.optim.SGD(weights, rate, momentum, 0, decay, nesterov=nesterov, fused=True)


class Trainer:
    """Runs a recipe from wherever `state` stands.

    Args:
        setup: what stays the same.
        state: what changes; updated in place.
        observer: told of progress.
        save: called whenever `state` should be made durable.
        stop_requested: asked after every step.
    """

    def __init__(
        self,
        setup: Setup,
        state: TrainState,
        observer: Observer,
        save: Callable[[], None],
        stop_requested: Callable[[], bool],
    ) -> None:
        self.setup, self.state, self.observer = setup, state, observer
        self._save, self._stop_requested = save, stop_requested
        self._parameters = parameter_count(state.model)
        if state.losses is None:
            state.losses = np.full((2, len(setup.train.labels)), np.inf, dtype=np.float32)
        self._losses = state.losses
        self._channels, *self._sides = channels_first(setup.train.frames.shape[1:])
        self._flops = {tuple(self._sides): setup.flops}
        self._clock = (time.perf_counter(), setup.meter.read_j())

    def run(self) -> None:
        """Train to the end.

        Raises:
            RunInterruptedError: `stop_requested` said so; the state is saved.
            GateError: a stage missed its threshold and may not be repeated again.
        """
        if self.state.scores is None:
            self._score_curriculum()
            self._find_gamma_0()
            self._checkpoint()
        stages = self.setup.recipe.stages
        while self.state.position.stage < len(stages):
            stage = stages[self.state.position.stage]
            pool = self._pool(stage)
            self.observer.stage_started(self.state.position.stage, stage, len(pool))
            while not self._check_stage(stage):
                self._run_epoch(pool)
                self._finish_epoch(stage)
            self.state.position.stage += 1
            self.state.position.stage_epoch = 0
            self._checkpoint()

    def _score_curriculum(self) -> None:
        """Let the cold model score every training image, where the recipe needs it."""
        setup, state = self.setup, self.state
        if not setup.recipe.selects:
            state.scores = np.zeros(0, dtype=np.float32)
            return
        # In bf16 many images would tie, and the curriculum would depend on the precision.
        exact = Arithmetic(setup.arithmetic.device, "fp32")
        logits = predict(state.model, setup.train, setup.normalization, exact)
        state.scores = sample_losses(logits, setup.train.labels).astype(np.float32)
        state.spent.executed_flops += setup.flops.forward * len(setup.train.labels)

    def _find_gamma_0(self) -> None:
        """Take the gradient threshold from one batch, on a copy: fresh weights stay fresh."""
        setup, mask = self.setup, self.setup.recipe.gradient_mask
        if mask is None:
            return
        count = min(mask.batch_size, len(setup.train.labels))
        rng = generator(setup.seed, "gamma_0")
        chosen = rng.choice(len(setup.train.labels), count, replace=False)
        fresh = copy.deepcopy(self.state.model).train()
        logits = self._forward(fresh, setup.train.frames[chosen])
        labels = torch.from_numpy(setup.train.labels[chosen]).to(setup.arithmetic.device)
        cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        self.state.gamma_0 = initial_threshold(fresh, mask.percentile)
        self.state.spent.executed_flops += setup.flops.training * count

    def _pool(self, stage: Stage) -> NDArray[np.int64]:
        train, scores = self.setup.train, self.state.scores
        if scores is None or len(scores) == 0:
            return np.arange(len(train.labels), dtype=np.int64)
        return stage_pool(scores, train.labels, stage, self.setup.recipe.images_per_class_max)

    def _run_epoch(self, pool: NDArray[np.int64]) -> None:
        """Train over the pool once, from the step where the state stands."""
        setup, position = self.setup, self.state.position
        if self.state.sums is None:
            self.state.sums = EpochSums(len(setup.train.classes))
            self._losses[0] = self._losses[1]
        epochs = sum(stage.epochs for stage in setup.recipe.stages)
        work = self._work(pool, position.epoch / epochs)
        steps = steps_per_epoch(len(work.pool), setup.recipe.batch_size)
        batches = training_batches(
            setup.train, work.pool, setup.recipe, setup.seed, position.epoch, position.step
        )
        self.state.model.train()
        for batch in batches:
            done = (position.epoch + (position.step + 0.5) / steps) / epochs
            self._step(batch, work, done)
            position.step += 1
            self.observer.step_done(position, steps, self.state.sums)
            if time.perf_counter() - self._clock[0] > MAX_SECONDS_BETWEEN_READINGS:
                self._charge()
            if self._stop_requested():
                self._checkpoint()
                raise RunInterruptedError

    def _work(self, pool: NDArray[np.int64], done: float) -> EpochWork:
        """What an epoch trains on; `done` is the share of the run before it."""
        setup, recipe, epoch = self.setup, self.setup.recipe, self.state.position.epoch
        share = recipe.spare if done < recipe.spare_until else 0.0
        rng = generator(setup.seed, "spare", epoch)
        weights = epoch_weights(self._losses[0], pool, share, rng)
        size = tuple(
            side_at(side, recipe.first_side, recipe.whole_from, done) for side in self._sides
        )
        return EpochWork(pool[weights[pool] > 0], weights, size, self._gamma())

    def _gamma(self) -> float | None:
        """The gradient threshold of the running stage, None without a mask."""
        recipe, stage = self.setup.recipe, self.state.position.stage
        if recipe.gradient_mask is None:
            return None
        return stage_threshold(recipe.gradient_mask, self.state.gamma_0, stage, len(recipe.stages))

    def _forward(
        self, model: nn.Module, frames: Frames, size: tuple[int, ...] | None = None
    ) -> Tensor:
        """Logits in float32, of frames with their sides at a size or as they are."""
        x = self.setup.normalization(frames, self.setup.arithmetic.device)
        if size is not None:
            x = resized(x, size)
        with self.setup.arithmetic.autocast():
            logits: Tensor = model(x)
        return logits.float()

    def _step(self, batch: Batch, work: EpochWork, done: float) -> None:
        recipe, state, sums = self.setup.recipe, self.state, self.state.sums
        assert sums is not None  # noqa: S101 - _run_epoch made them
        labels = batch.labels
        logits = self._forward(state.model, batch.frames, work.size)
        targets = torch.from_numpy(labels).to(logits.device)
        weights = torch.from_numpy(work.weights[batch.chosen]).to(logits.device)
        losses = cross_entropy(
            logits, targets, reduction="none", label_smoothing=recipe.label_smoothing
        )
        loss = (weights * losses).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._losses[1, batch.chosen] = losses.detach().cpu().numpy()
        loss_value = float(loss.detach())
        if not math.isfinite(loss_value):
            raise DivergenceError(
                f"The loss became {loss_value} in epoch {state.position.epoch + 1}, step "
                f"{sums.steps + 1}, at a learning rate of about {recipe.learning_rate:g}.",
                "A finite loss is expected; the last checkpoint is from before.",
                "Start a new run with a smaller learning_rate or loss_gain.",
            )
        sparsity = 0.0
        if work.gamma is not None:
            sparsity = float(mask_gradients(state.model.parameters(), work.gamma))
        rate = learning_rate(recipe, done, loss_value)
        state.optimizer.param_groups[0]["lr"] = rate
        look = sums.steps % CHANGED_EVERY_STEPS == 0
        before = self._flat_weights().clone() if look else None
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if before is not None:
            sums.changed += float((self._flat_weights() != before).float().mean())
            sums.changed_steps += 1
        scores = logits.detach().cpu().numpy()
        sums.add_classes(class_embarrassment(scores, labels, len(self.setup.train.classes)))
        sums.correct += int((scores.argmax(axis=1) == labels).sum())
        sums.steps += 1
        sums.images += len(labels)
        sums.loss += loss_value * len(labels)
        sums.sparsity += sparsity
        sums.learning_rate += rate
        state.spent.images += len(labels)
        state.spent.paper_flops += paper_flops(self._parameters, sparsity, len(labels))
        state.spent.executed_flops += self._training_flops(work.size) * len(labels)

    def _training_flops(self, size: tuple[int, ...]) -> int:
        """Of one frame with its sides at a size."""
        if size not in self._flops:
            self._flops[size] = count_flops(self.state.model, (self._channels, *size))
        return self._flops[size].training

    def _flat_weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.state.model.parameters()])

    def _finish_epoch(self, stage: Stage) -> None:
        """Evaluate, write the history row, save."""
        setup, state = self.setup, self.state
        logits = predict(state.model, setup.test, setup.normalization, setup.arithmetic)
        reached = accuracy(logits, setup.test.labels)
        self._charge()
        state.position.epoch += 1
        state.position.stage_epoch += 1
        state.position.step = 0
        assert state.sums is not None  # noqa: S101 - an epoch has just run
        row = self._history_row(stage, reached, state.sums)
        state.history.append(row)
        state.sums = None
        self.observer.epoch_done(row)
        self._checkpoint()

    def _check_stage(self, stage: Stage) -> bool:
        """Whether the stage is over: it has had its epochs, and its gate lets the run go on.

        Raises:
            GateError: gate "repeat", and the extra epochs are used up below the threshold.
        """
        recipe, done = self.setup.recipe, self.state.position.stage_epoch
        if done < stage.epochs:
            return False
        if recipe.gate == "none" or stage.threshold == 0:
            return True
        first_100 = float(self.state.history[-1]["test_100_acc"])
        passed = first_100 >= stage.threshold
        self.observer.gate_checked(stage, first_100, passed)
        if passed or recipe.gate == "report":
            return True
        if done < stage.epochs + recipe.extra_epochs_max:
            return False
        raise GateError(
            f"{stage.name!r} reached {first_100:.1%} on the first 100 test images of each class "
            f"after {done} epochs.",
            f"Its threshold is {stage.threshold:.0%}, with at most {recipe.extra_epochs_max} "
            "extra epochs.",
            "In a new run, allow more (extra_epochs_max), lower the threshold, or set "
            'gate = "report".',
        )

    def _history_row(self, stage: Stage, reached: Accuracy, sums: EpochSums) -> HistoryRow:
        spent, steps = self.state.spent, sums.steps
        embarrassment, confidence = sums.class_means()
        row: HistoryRow = {
            "epoch": self.state.position.epoch,
            "stage": self.state.position.stage + 1,
            "stage_name": stage.name,
            "train_acc": sums.correct / sums.images,
            "train_loss": sums.loss / sums.images,
            "test_full_acc": reached.full,
            "test_100_acc": reached.first_100,
            "sparsity": sums.sparsity / steps,
            "flops_T": spent.paper_flops / 1e12,
            "time_s": spent.seconds,
            "executed_flops_T": spent.executed_flops / 1e12,
            "changed_fraction": sums.changed / max(1, sums.changed_steps),
            "energy_j": spent.joules,
            "energy_origin": self.setup.meter.origin,
            "images": spent.images,
            "learning_rate_mean": sums.learning_rate / steps,
        }
        for index, name in enumerate(self.setup.train.classes):
            row[f"E_{name}"] = float(embarrassment[index])
            row[f"C_{name}"] = float(confidence[index])
            row[f"acc_{name}"] = reached.per_class[index]
        return row

    def _charge(self) -> None:
        """Add the time and energy since the last call to what was spent."""
        now = (time.perf_counter(), self.setup.meter.read_j())
        self.state.spent.seconds += now[0] - self._clock[0]
        self.state.spent.joules += now[1] - self._clock[1]
        self._clock = now

    def _checkpoint(self) -> None:
        self._charge()
        self._save()
