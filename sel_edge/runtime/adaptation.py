"""Adaptation: from what was noticed over a plan and its execution to a network that is kept or not.

It reads nothing but features, frames and labels; what it decides and spends, it tells as records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.cost import Cost
from sel_edge.core.ledger import Decision, DecisionKind, Update
from sel_edge.core.measurement import Energy
from sel_edge.core.wallet_file import WalletFile
from sel_edge.runtime.board import Board
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.network import Network
from sel_edge.runtime.planner import COMMIT_WRITES, Deferral, Planner, UpdatePlan
from sel_edge.runtime.predictor import Predictor, worst
from sel_edge.runtime.renormalize import RUNG as NORM
from sel_edge.runtime.slots import Slots
from sel_edge.runtime.spending import Done, carry_out
from sel_edge.runtime.surroundings import NormLesson, Surroundings
from sel_edge.runtime.updates.head import RUNG as HEAD
from sel_edge.runtime.updates.norm import NormUpdate
from sel_edge.runtime.updates.update import Candidate


@dataclass(frozen=True)
class Outcome:
    """What was decided after some frames.

    Attributes:
        decisions, updates: as the ledger takes them.
    """

    decisions: tuple[Decision, ...] = ()
    updates: tuple[Update, ...] = ()


class Adaptation:
    """Decides when to learn and what, does it within the wallet, and keeps what helped.

    Args:
        bundle: an open bundle.
        slots: where kept networks are made durable.
        classroom: the learners.
        surroundings: what was seen.
        purse: the wallet.
        predictor: what updates will take.
        board: the machine.
        config: settings.
        threads: of onnxruntime; None for every core.

    Attributes:
        network: in use.
    """

    def __init__(
        self,
        bundle: Bundle,
        slots: Slots,
        classroom: Classroom,
        surroundings: Surroundings,
        purse: WalletFile,
        predictor: Predictor,
        board: Board,
        config: RuntimeConfig,
        threads: int | None,
    ) -> None:
        self._bundle, self._slots, self._threads = bundle, slots, threads
        self._classroom, self._surroundings = classroom, surroundings
        self._purse, self._predictor, self._board = purse, predictor, board
        # The classifier's rows are learned without a graph, by every bundle.
        self._rungs = {*config.rungs} & {HEAD, *bundle.manifest.rungs}
        self._planner = Planner(purse.wallet, predictor)
        self._deferred: set[tuple[str, int]] = set()
        self._pause_frames, self._paused_until = config.cool_down_frames, 0
        self.network: Network = slots.current()

    def advance(self, frame: int) -> Outcome:
        """Plan, and carry out what was planned.

        Args:
            frame: frames seen so far.

        Raises:
            StorageError: the update was good and could not be stored; the old network goes on.
        """
        if frame < self._paused_until:
            return Outcome()
        choice = self._planner.choose(self._updates(frame), self._board.clock())
        if choice is None:
            return Outcome()
        if isinstance(choice, Deferral):
            self._paused_until = frame + self._pause_frames
            return self._defer(choice, frame)
        self._deferred.clear()
        return self.carry_out(choice, frame)

    def _defer(self, choice: Deferral, frame: int) -> Outcome:
        """Tell once of an update that must wait, until another one was carried out."""
        key = (choice.plan.proposal.rung, choice.plan.proposal.domain)
        if key in self._deferred:
            return Outcome()
        self._deferred.add(key)
        return Outcome((_deferred(choice, frame),))

    def plans(self, frame: int) -> list[UpdatePlan]:
        """What could be learned from all labels there are, whatever the triggers say, priced.

        Args:
            frame: frames seen so far.
        """
        updates = self._classroom.updates_now(frame, self.network)
        return [self._planner.price(update) for update in updates]

    def _updates(self, frame: int) -> list[Any]:
        """Everything that could be done now."""
        updates: list[Any] = []
        if HEAD in self._rungs:
            suspicious = NORM in self._rungs and self._surroundings.suspicious
            updates += self._classroom.updates(frame, self.network, suspicious)
        if NORM in self._rungs:
            updates += [
                NormUpdate(
                    self._bundle,
                    self.network,
                    lesson,
                    self._classroom.normal(),
                    self._threads,
                    self._settle_norm,
                )
                for lesson in self._surroundings.lessons(self.network)
            ]
        return updates

    def _settle_norm(self, lesson: NormLesson, features: NDArray[np.float32] | None) -> None:
        """What happens once it is known whether a domain got statistics."""
        self._surroundings.settle(lesson, features)
        if features is None:
            return
        self._classroom.discard(lesson.members)
        for (frame, seen), feature in zip(lesson.chosen, features, strict=True):
            if seen.label is not None and lesson.is_new:
                self._classroom.label(lesson.domain, seen.label, feature, frame)
            elif seen.label is not None:
                self._classroom.renew(lesson.domain, feature, frame)

    def carry_out(self, plan: UpdatePlan, frame: int) -> Outcome:
        """Carry a plan out, if the wallet can pay for it, and keep what it makes if it helps.

        Args:
            plan: made for the network in use.
            frame: frames seen so far.

        Raises:
            StorageError: the update was good and could not be stored; the old network goes on.
        """
        proposal, before = plan.proposal, self.network.hash
        shortfall = self._purse.wallet.can_afford(worst(plan.cost), self._board.clock())
        if shortfall is not None:
            return Outcome((_deferred(Deferral(plan, shortfall), frame),))
        delta_bytes = 0

        def conclude(candidate: Candidate[Any]) -> int:
            nonlocal delta_bytes
            delta_bytes = self._conclude(plan, candidate, frame)
            return COMMIT_WRITES if delta_bytes else 0

        work = plan.update.work()
        done = carry_out(work, plan, conclude, self._purse, self._predictor, self._board)
        if done.result is None:
            plan.update.stopped()
        update = self._record(plan, done, frame, before, delta_bytes)
        self._predictor.learn(update)
        fire = Decision(frame, "fire", proposal.reason, proposal.classes)
        return Outcome((fire, _conclusion(plan, done, update)), (update,))

    def _conclude(self, plan: UpdatePlan, candidate: Candidate[Any], frame: int) -> int:
        """Keep a candidate or not; the bytes of what it changed."""
        changed = candidate.network.hash != self.network.hash
        if not candidate.verdict.accepted or not changed:
            plan.update.rejected(candidate)
            return 0
        delta = self._slots.commit(candidate.network, frame)
        self.network = candidate.network
        self._classroom.adopt(self.network)
        plan.update.kept(candidate)
        return delta.file_bytes

    def _record(
        self,
        plan: UpdatePlan,
        done: Done[Candidate[Any]],
        frame: int,
        before: str,
        delta_bytes: int,
    ) -> Update:
        proposal, verdict = plan.proposal, done.result.verdict if done.result else None
        expected: Cost = done.expected if verdict is None else plan.cost
        return Update(
            frame=frame,
            rung=proposal.rung,
            domain=proposal.domain,
            classes=proposal.classes,
            kept=self.network.hash != before,
            frames=proposal.frames,
            labels=proposal.labels,
            steps=done.steps,
            held_out=verdict.held_out if verdict else 0,
            exact=verdict.exact if verdict else False,
            held_out_before=verdict.held_out_before if verdict else None,
            held_out_after=verdict.held_out_after if verdict else None,
            anchors_before=verdict.anchors_before if verdict else None,
            anchors_after=verdict.anchors_after if verdict else None,
            predicted_flops=expected.flops,
            predicted_energy_j=expected.energy_j,
            predicted_seconds=expected.seconds,
            predicted_gain=proposal.gain,
            executed_flops=done.cost.flops,
            energy=Energy(done.cost.energy_j, self._board.meter.origin),
            seconds=done.cost.seconds,
            network_before=before,
            network_after=self.network.hash,
            delta_bytes=delta_bytes,
        )


def _deferred(choice: Deferral, frame: int) -> Decision:
    proposal = choice.plan.proposal
    reason = f"{proposal.rung}: {choice.shortfall}"
    return Decision(frame, "defer", reason, proposal.classes)


def _conclusion(plan: UpdatePlan, done: Done[Candidate[Any]], update: Update) -> Decision:
    proposal, candidate = plan.proposal, done.result
    if candidate is None:
        reason = f"{proposal.rung} stopped after {done.steps} steps and undone: {done.stopped}"
        return Decision(update.frame, "stop", reason, proposal.classes)
    kind: DecisionKind = "keep" if update.kept else "reject"
    learned = f"{proposal.labels} labels" if proposal.labels else f"{proposal.frames} frames"
    reason = f"{proposal.rung}: {candidate.verdict.reason}; learned from {learned}"
    return Decision(update.frame, kind, reason, proposal.classes)
