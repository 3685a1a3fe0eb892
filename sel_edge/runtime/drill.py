"""Training layers on latents, batch by batch, at a price that is told before every step.

What a batch needs of the frozen channels is computed once, as far as memory allows; what does not
fit is computed again at every use, and paid for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import STEP, GraphCost, Rung
from sel_edge.core.errors import DataError
from sel_edge.runtime.adapter import balanced_weights
from sel_edge.runtime.latents import Latents
from sel_edge.runtime.step_inputs import Parameters
from sel_edge.runtime.training import Prepared, TrainingStep
from sel_edge.runtime.work import NO_DEMAND, Work, together

EPOCHS = 4
"""Times that every batch is trained on."""
LEARNING_RATE = 0.01
"""Of the first step; it falls linearly to zero."""
CACHE_BYTES = 64 * 2**20
"""Memory for batches that stay ready."""
HALVES = 2
"""Parts in which labels are divided, of which each is answered by layers that learned from the
other. Half of a learner's, because each costs a training of its own."""


@dataclass(frozen=True)
class Lot:
    """A batch.

    Attributes:
        at: which samples, int64 [n], at most a batch of the rung.
        half: that all of them are of.
        stays: whether it stays ready.
    """

    at: NDArray[np.int64]
    half: int
    stays: bool


class Timetable:
    """How samples are cut into batches, none with samples of both halves, and what these cost.

    Args:
        rung: to train.
        folds: int64 [N], of the samples.
        cache_bytes: memory for batches that stay ready.

    Attributes:
        lots: the batches, each with a mixture of its half.
    """

    def __init__(self, rung: Rung, folds: NDArray[np.int64], cache_bytes: int = CACHE_BYTES):
        self._costs = {role: graph.cost for role, graph in rung.graphs.items()}
        halves, mixed = folds % HALVES, np.random.default_rng(0)
        parts: list[tuple[NDArray[np.int64], int]] = []
        for half in np.unique(halves).tolist():
            at = mixed.permutation(np.flatnonzero(halves == half))
            parts += [(at[i : i + rung.batch], half) for i in range(0, len(at), rung.batch)]
        room = cache_bytes // max(rung.cache_bytes, 1)
        self.lots = tuple(Lot(*part, number < room) for number, part in enumerate(parts))
        self._held_bytes = sum(lot.stays for lot in self.lots) * rung.cache_bytes

    def of(self, half: int) -> list[Lot]:
        """The batches of one half."""
        return [lot for lot in self.lots if lot.half == half]

    def cost(self, role: str) -> GraphCost:
        """One run of a graph beside the batches that stay ready; nothing if there is none."""
        cost = self._costs.get(role)
        if cost is None:
            return NO_DEMAND
        return GraphCost(cost.executed_flops, cost.moved_bytes, cost.peak_bytes + self._held_bytes)

    def use(self, lot: Lot) -> GraphCost:
        """A step, or a look, at a batch."""
        return self.cost(STEP) if lot.stays else together(self.cost("fill"), self.cost(STEP))

    def demand(self) -> GraphCost:
        """Of making ready, of trying both halves, and of training and looking at all of it."""
        filled = [self.cost("fill") for lot in self.lots if lot.stays]
        # Each batch is trained on for the other half and for all, and looked at as often.
        used = [self.use(lot) for lot in self.lots for _ in range(HALVES * (EPOCHS + 1))]
        return together(self.cost("select"), *filled, *used)

    @property
    def steps(self) -> int:
        """Of training, at most."""
        return HALVES * EPOCHS * len(self.lots)


class Drill:
    """Trains the layers of a step on labelled latents.

    Args:
        step: the layers.
        parameters: that it was made with.
        timetable: of the samples.
        latents: of N samples.
        labels: int64 [N], what they show.
        groups: int64 [N]; in each class, every group has a like say.
    """

    def __init__(
        self,
        step: TrainingStep,
        parameters: Parameters,
        timetable: Timetable,
        latents: Latents,
        labels: NDArray[np.int64],
        groups: NDArray[np.int64],
    ) -> None:
        self._step, self._parameters = step, parameters
        self._timetable, self._latents = timetable, latents
        self._labels, self._groups = labels, groups
        self._ready: dict[int, Prepared] = {}

    def make_ready(self) -> Work[None]:
        """Compute once what the batches that stay need."""
        for lot in self._timetable.lots:
            if lot.stays:
                yield self._timetable.cost("fill")
                self._ready[id(lot)] = self._prepared(lot)

    def train(self, lots: Sequence[Lot]) -> Work[None]:
        """Begin anew, and descend the loss on some batches.

        Classes have a like say. A batch whose samples weigh less takes a shorter step, so that
        each sample counts what it weighs, in whichever batch it lies.

        Raises:
            DivergenceError: the numbers are not finite any longer.
        """
        self._step.reset(self._parameters)
        at = np.concatenate([lot.at for lot in lots])
        weights = np.zeros(len(self._labels), np.float32)
        weights[at] = balanced_weights(self._labels[at], self._groups[at])
        order, taken, total = np.random.default_rng(0), 0, EPOCHS * len(lots)
        for _ in range(EPOCHS):
            for number in order.permutation(len(lots)).tolist():
                lot = lots[number]
                yield self._timetable.use(lot)
                own = weights[lot.at]
                share = len(lots) * float(own.sum())
                rate = LEARNING_RATE * (1 - taken / total) * share
                self._step.step(self._batch(lot), self._labels[lot.at], own, learning_rate=rate)
                taken += 1

    def look(self, lots: Iterable[Lot]) -> Work[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """What the network with the layers as they are now sees in some batches.

        Returns:
            Features float32 [N, F] and logits float32 [N, K]; zeros for other samples.

        Raises:
            DivergenceError: what it sees is not finite.
            DataError: the step tells no features.
        """
        found: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]] = []
        for lot in lots:
            yield self._timetable.use(lot)
            seen = self._step.look(self._batch(lot))
            if seen.features is None:
                raise DataError(
                    "The training step does not tell features.",
                    "The steps of bundles of this version do.",
                    "Export the bundle again.",
                )
            found.append((lot.at, seen.features, seen.logits))
        features, logits = (
            np.zeros((len(self._labels), found[0][kind].shape[1]), np.float32) for kind in (1, 2)
        )
        for at, some_features, some_logits in found:
            features[at], logits[at] = some_features, some_logits
        return features, logits

    def _batch(self, lot: Lot) -> Prepared:
        return self._ready[id(lot)] if lot.stays else self._prepared(lot)

    def _prepared(self, lot: Lot) -> Prepared:
        part = self._latents.where(lot.at)
        return self._step.prepare(part.floats(0, len(part)))
