"""One step of training: forward, backward, update.

On a GPU nothing in it waits for the device, unless the recipe needs a number in between: the loss
for `loss_gain`, the share of zeroed gradients for the paper's count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sel_edge.core.errors import DivergenceError
from sel_edge.core.rng import generator
from sel_edge.pretrain.batches import Batch
from sel_edge.pretrain.flops import paper_flops
from sel_edge.pretrain.losses import as_the_loss_hears, sample_losses
from sel_edge.pretrain.model import parameter_count
from sel_edge.pretrain.muon import orthogonal_flops
from sel_edge.pretrain.practice import EpochWork
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.schedule import learning_rate
from sel_edge.pretrain.sparsity import mask_gradients
from sel_edge.pretrain.state import Setup, TrainState

# Comparing all weights before and after a step costs about as much as the optimizer.
CHANGED_EVERY_STEPS = 16

# A GPU that is asked for a number after every step waits for the host in between.
CHECKED_EVERY_STEPS = 16


class _Taken(NamedTuple):
    """A step whose loss has not been looked at."""

    step: int
    rate: float
    chosen: Tensor
    loss: Tensor


class Stepper:
    """Takes steps with a network, and looks after their losses.

    Args:
        setup: what stays the same.
        state: what changes; updated in place.
        network: of `state`, as the arithmetic and the processes want it called.
        ranks: the processes that take each step together.
    """

    def __init__(self, setup: Setup, state: TrainState, network: nn.Module, ranks: Ranks) -> None:
        self._setup, self._state, self._network, self._ranks = setup, state, network, ranks
        self._parameters = parameter_count(state.model)
        self._unchecked: list[_Taken] = []
        self._last: _Taken | None = None
        alone = ranks.world == 1 and setup.arithmetic.device.type == "cpu"
        self._check_every = 1 if alone else CHECKED_EVERY_STEPS

    def take(self, batch: Batch, work: EpochWork, done: float) -> bool:
        """One step; `done` is the share of the planned run that lies before its middle, 0..1.

        Returns:
            Whether the losses of all steps so far were looked at.

        Raises:
            DivergenceError: one of them was no number.
        """
        setup, state, sums = self._setup, self._state, self._state.sums
        assert sums is not None  # noqa: S101 - the loop made them
        first, frozen = work.practice.first, max(work.practice.stage.frozen, self._skipped())
        parts = batch.parts(work.practice.part_size(setup))
        passes = []
        for number, part in enumerate(parts):
            with self._ranks.sharing(self._network, last=number == len(parts) - 1):
                passes.append(self._pass(part, work, done, frozen))
        losses, logits = (torch.cat(values) for values in zip(*passes, strict=True))
        weights = work.weights[batch.chosen]
        loss = self._mean(weights * losses, batch.images)
        heard = as_the_loss_hears(logits, setup.recipe)
        state.remembered.note(batch.chosen, losses, heard)
        self._reweigh(frozen)
        sparsity: Tensor | float = 0.0
        if work.gamma is not None:
            sparsity = mask_gradients(state.model.parameters(), work.gamma)
        rate = self._update(done, loss, look=sums.steps % CHANGED_EVERY_STEPS == 0)
        sums.add_answers(heard, batch.labels, weights, losses)
        sums.add_step(batch.images, rate, sparsity)
        spent = state.spent
        spent.images += batch.images
        flops = setup.flops.at(work.practice.size).training(frozen, first)
        spent.executed_flops += flops * batch.images
        spent.paper_flops += paper_flops(self._parameters, float(sparsity), batch.images)
        self._last = _Taken(sums.steps, rate, batch.chosen, loss)
        self._unchecked.append(self._last)
        if len(self._unchecked) < self._check_every:
            return False
        self.check()
        return True

    def _pass(
        self, part: Batch, work: EpochWork, done: float, frozen: int
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward of a part of a step: losses float32 [n], logits float32 [n, K]."""
        setup = self._setup
        with setup.arithmetic.autocast():
            logits = self._network(part.x, work.practice.first, frozen).float()
        recalled = self._state.remembered.recalled(part.chosen, setup.recipe.recall * done)
        losses = sample_losses(logits, part.labels, setup.recipe, recalled)
        loss = self._mean(work.weights[part.chosen] * losses, part.images)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return losses.detach(), logits.detach()

    def _mean(self, losses: Tensor, images: int) -> Tensor:
        """This process's term: its mean over all processes is that over the images of the step."""
        return losses.sum() * (self._ranks.world / images)

    def _skipped(self) -> int:
        """How many parts of the network the next step passes no gradient to, by chance."""
        recipe, position = self._setup.recipe, self._state.position
        if recipe.skip == 0:
            return 0
        rng = generator(self._setup.seed, "skip", position.epoch, position.step)
        return recipe.skip_parts if rng.random() < recipe.skip else 0

    def _reweigh(self, frozen: int) -> None:
        """Let the gradients that other steps skip stand for those too."""
        recipe = self._setup.recipe
        if recipe.skip == 0 or frozen >= recipe.skip_parts:
            return
        for module in self._state.model.front(recipe.skip_parts):
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad /= 1 - recipe.skip

    def _update(self, done: float, loss: Tensor, look: bool) -> float:
        """Move the weights and return the learning rate; `look` at how many of them changed."""
        recipe, state = self._setup.recipe, self._state
        gained = float(self._ranks.sum(loss / self._ranks.world)) if recipe.loss_gain else 0.0
        rate = learning_rate(recipe, done, gained)
        if not math.isfinite(rate):
            return learning_rate(recipe, done, 0.0)  # the loss is no number; `check` will say so
        state.optimizer.param_groups[0]["lr"] = rate
        if recipe.optimizer == "muon":
            # Every process computes them.
            state.spent.executed_flops += orthogonal_flops(state.model) * self._ranks.world
        before = self._flat_weights().clone() if look else None
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if before is not None and state.sums is not None:
            state.sums.add_change((self._flat_weights() != before).double().mean())
        return rate

    def _flat_weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self._state.model.parameters()])

    def check(self) -> None:
        """Look at the losses of the steps since the last time.

        Raises:
            DivergenceError: one was no number; names the first such step.
        """
        if not self._unchecked:
            return
        losses = self._ranks.sum(torch.stack([taken.loss for taken in self._unchecked])).tolist()
        for taken, loss in zip(self._unchecked, losses, strict=True):
            if not math.isfinite(loss):
                raise self._divergence(taken, f"The loss became {loss}")
        self._unchecked.clear()

    def check_weights(self) -> None:
        """Look at the losses and at the weights and statistics, before they are saved.

        Raises:
            DivergenceError: the last step made one of them no number.
        """
        self.check()
        if self._last is None:
            return
        floats = [t for t in self._state.model.state_dict().values() if t.is_floating_point()]
        if not math.isfinite(float(torch.stack([t.abs().max() for t in floats]).max())):
            raise self._divergence(self._last, "A weight became infinite, or no number,")

    def _divergence(self, taken: _Taken, found: str) -> DivergenceError:
        epoch, images = self._state.position.epoch + 1, taken.chosen[:5].tolist()
        muon = self._setup.recipe.optimizer == "muon"
        rates = "learning_rate and conv_rate" if muon else "learning_rate or loss_gain"
        more = len(taken.chosen) - len(images)
        return DivergenceError(
            f"{found} in epoch {epoch}, step {taken.step}, at a learning rate of "
            f"{taken.rate:.3g}, on a batch of {', '.join(map(str, images))} and {more} more of the "
            "images that are trained on (counted from 0, in the order of the data, without "
            "held-out anchors).",
            "Finite numbers are expected; the checkpoint in --out is from before and stays.",
            f"Start a new run with a smaller {rates}; if it is always the same batch, look at its "
            "images.",
        )
