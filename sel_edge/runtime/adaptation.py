"""Adaptation: from what was noticed over a plan and its execution to a network that is kept or not.

It reads nothing but features, frames and labels; what it decides and spends, it tells as records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.cost import Cost
from sel_edge.core.errors import StorageError
from sel_edge.core.ledger import Decision, DecisionKind, Update
from sel_edge.core.measurement import Energy
from sel_edge.core.wallet_file import WalletFile
from sel_edge.runtime.board import Board
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.climb import Climb, layers_updates
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.network import Network
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import CONFIRMATION_WRITES, Deferral, Planner, UpdatePlan
from sel_edge.runtime.predictor import Predictor, worst
from sel_edge.runtime.renormalize import RUNG as NORM
from sel_edge.runtime.slots import Slots
from sel_edge.runtime.spending import Done, carry_out
from sel_edge.runtime.surroundings import NormLesson, Surroundings
from sel_edge.runtime.updates.head import RUNG as HEAD
from sel_edge.runtime.updates.layers import LayersLesson
from sel_edge.runtime.updates.norm import norm_updates
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
        climb: which rung comes next where.
        board: the machine.
        overhead: what learning is measured apart from.
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
        climb: Climb,
        board: Board,
        overhead: Overhead,
        config: RuntimeConfig,
        threads: int | None,
    ) -> None:
        self._bundle, self._slots, self._threads = bundle, slots, threads
        self._classroom, self._surroundings = classroom, surroundings
        self._purse, self._predictor, self._climb = purse, predictor, climb
        self._board, self._overhead = board, overhead
        # The classifier's rows are learned without a graph, by every bundle.
        self._rungs = {*config.rungs} & {HEAD, *bundle.manifest.rungs}
        self._planner = Planner(purse.wallet, predictor)
        self._deferred: set[tuple[str, int]] = set()
        self._pause_frames = config.cool_down_frames
        self._paused_until: dict[str, int] = {}
        self._planning_flops = 0
        self.network: Network = slots.current()

    def advance(self, frame: int) -> Outcome:
        """Plan, and carry out what was planned.

        Args:
            frame: frames seen so far.

        Raises:
            StorageError: as `carry_out`.
        """
        choice = self._planner.choose(self._wanted(frame), self._board.clock())
        if choice is None:
            return Outcome()
        if isinstance(choice, Deferral):
            self._pause(choice.plan.proposal.rung, frame)
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
        """What could be learned from all labels and frames there are, whatever the triggers say,
        priced.

        Args:
            frame: frames seen so far.
        """
        heads = self._classroom.updates_now(frame, self.network) if HEAD in self._rungs else []
        return [self._planner.price(update) for update in self._told([*heads, *self._norms()])]

    def planning_flops(self) -> int:
        """Operations since this was asked last, of planning and of what could not be stored."""
        flops, self._planning_flops = self._planning_flops, 0
        return flops + self._surroundings.planning_flops()

    def _wanted(self, frame: int) -> list[Any]:
        """Everything that is wanted, could be done now, and was not put off a moment ago."""
        updates: list[Any] = []
        suspicious = NORM in self._rungs and self._surroundings.suspicious
        if HEAD in self._rungs and not self._is_paused(HEAD, frame):
            updates += self._classroom.updates(frame, self.network, suspicious)
        if HEAD in self._rungs and not suspicious:
            updates += self._layers(frame)
        if not self._is_paused(NORM, frame):
            updates += self._norms()
        return self._told(updates)

    def _pause(self, rung: str, frame: int) -> None:
        """Plan none of a rung for a while: what cannot be done now, cannot a moment later."""
        self._paused_until[rung] = frame + self._pause_frames

    def _is_paused(self, rung: str, frame: int) -> bool:
        return frame < self._paused_until.get(rung, 0)

    def _layers(self, frame: int) -> list[Any]:
        """The next rung of the ladder, in domains where it is wanted."""
        found = layers_updates(
            self._bundle,
            self.network,
            self._climb,
            self._classroom,
            self._surroundings,
            frame,
            self._threads,
            self._settle_layers,
        )
        return [update for update in found if not self._is_paused(update.proposal.rung, frame)]

    def _settle_layers(self, lesson: LayersLesson, features: NDArray[np.float32]) -> None:
        """What happens once layers of a domain are in use: labels and frames that were not seen
        with them are forgotten."""
        samples = replace(lesson.samples, features=features)
        self._classroom.begin_anew(lesson.domain, samples, lesson.frame)
        behind = self._climb.below(lesson.rung)
        self._surroundings.trained(lesson.domain, behind, samples.frames, features)

    def _norms(self) -> list[Any]:
        """What frames alone allow."""
        if NORM not in self._rungs:
            return []
        return norm_updates(
            self._bundle,
            self.network,
            self._surroundings.lessons(self.network),
            self._classroom.normal(),
            self._threads,
            self._settle_norm,
        )

    def _told(self, updates: list[Any]) -> list[Any]:
        """The same updates; what it took to propose them is told by the next tick."""
        self._planning_flops += sum(update.planning_flops for update in updates)
        return updates

    def _settle_norm(self, lesson: NormLesson, features: NDArray[np.float32] | None) -> None:
        """What happens once it is known whether a domain got statistics.

        A new domain is taught by the labels of those frames that its statistics are from, of which
        one pass told both. To see its other labelled frames, which are few, would take an inference
        each; they lie in the sample store, and come back with the next start. Labels of a known
        domain that are older than that keep what the network saw in their frames before.
        """
        forgotten = self._surroundings.settle(lesson, features)
        if features is None:
            return
        self._classroom.discard(lesson.members.union(forgotten))
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
            StorageError: the update could not be begun, or was good and could not be stored. The
                old network goes on, and the same can be tried again.
        """
        proposal, before = plan.proposal, self.network.hash
        shortfall = self._purse.wallet.can_afford(worst(plan.cost), self._board.clock())
        if shortfall is not None:
            return Outcome((_deferred(Deferral(plan, shortfall), frame),))
        delta_bytes, failure = 0, None

        def conclude(candidate: Candidate[Any]) -> int:
            nonlocal delta_bytes, failure
            written = self._slots.flash_writes
            try:
                delta_bytes = self._conclude(plan, candidate, frame)
            except StorageError as error:  # what it took is paid for all the same
                failure = error
            return self._slots.flash_writes - written + (CONFIRMATION_WRITES if delta_bytes else 0)

        work, purse = plan.update.work(), self._purse
        done = carry_out(work, plan, conclude, purse, self._predictor, self._board, self._overhead)
        if failure is not None:
            self._tell_of_failure(done.cost)
            self._pause(proposal.rung, frame)
            raise failure
        if done.result is None:
            plan.update.stopped()
        update = self._record(plan, done, frame, before, delta_bytes)
        self._predictor.learn(update)
        self._climb.tell(update)
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

    def _tell_of_failure(self, cost: Cost) -> None:
        """The next tick tells what an update took that no record tells of: it is tried again."""
        self._planning_flops += cost.flops
        self._overhead.tell(cost.energy_j, cost.seconds)

    def _record(
        self,
        plan: UpdatePlan,
        done: Done[Candidate[Any]],
        frame: int,
        before: str,
        delta_bytes: int,
    ) -> Update:
        proposal, verdict = plan.proposal, done.result.verdict if done.result else None
        # What was refused may have been refused before its last step.
        is_kept = self.network.hash != before
        expected: Cost = plan.cost if is_kept else done.expected
        return Update(
            frame=frame,
            rung=proposal.rung,
            domain=proposal.domain,
            classes=proposal.classes,
            kept=is_kept,
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
