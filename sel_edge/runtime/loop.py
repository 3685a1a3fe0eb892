"""The loop: frames in, answers out, and everything that was decided and spent in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.budget import Budget
from sel_edge.core.closing import Closing
from sel_edge.core.embarrassment import TEMPERATURE, softmax
from sel_edge.core.frames import Frames
from sel_edge.core.ledger import Decision, Evaluation, LedgerWriter, Tick, Update
from sel_edge.core.resources import Balance, Resource
from sel_edge.core.shortfall import Shortfall
from sel_edge.core.wallet_file import WALLET_FILE, WalletFile
from sel_edge.runtime.account import (
    asked_for,
    found_at_start,
    normal_at_start,
    of_network,
    scored,
    taught_at_start,
)
from sel_edge.runtime.adaptation import Adaptation, Outcome
from sel_edge.runtime.asking import Asking
from sel_edge.runtime.board import Board
from sel_edge.runtime.books import Books
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.climb import Climb, climbable
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.domains import Router
from sel_edge.runtime.eyes import Eyes, Sight
from sel_edge.runtime.moments import bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import UpdatePlan
from sel_edge.runtime.predictor import Predictor
from sel_edge.runtime.renormalize import RUNG as NORM
from sel_edge.runtime.said import Said, said
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from sel_edge.runtime.samples.records import Counts
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.slots import open_slots
from sel_edge.runtime.surroundings import Surroundings
from sel_edge.runtime.teaching import Teaching
from sel_edge.runtime.tick_report import TickReport

if TYPE_CHECKING:
    from sel_edge.data.stream import FrameBatch

NORM_FRAMES = 64
"""That an environment takes where the bundle cannot give it statistics anyway."""


class Runtime(Closing):
    """A deployed network that goes on learning.

    Everything durable lies beside the ledger: the slots with the network and every kept update, the
    frames that wait for a label and those that have one, and the wallet. A runtime that is opened
    there again goes on with the network that was kept last, with what was normal for it and with
    the labels it had; windows of embarrassment, evidence and frames seen begin anew.

    Args:
        bundle: the network.
        ledger: where everything is recorded.
        board: the machine.
        budget: what learning may cost; nothing limits it if left out.
        config: settings; the defaults if left out.
        threads: threads of the engine; every core if left out.

    Raises:
        BundleError: the bundle's graph, anchors or classifier cannot be used.
        RunDirectoryError: the directory belongs to another bundle, or something in it is damaged.
        StorageError: the disk is full, read-only or failing.
    """

    def __init__(
        self,
        bundle: Bundle,
        ledger: LedgerWriter,
        board: Board,
        budget: Budget | None = None,
        config: RuntimeConfig | None = None,
        threads: int | None = None,
    ) -> None:
        self._ledger, self._board, self._overhead = ledger, board, Overhead(board)
        self._looked_flops = 0
        config, state = config or RuntimeConfig(), ledger.path.parent
        model = bundle_moments(bundle)
        rungs = climbable(bundle, config.rungs)
        self._eyes = Eyes(bundle, model, threads, rungs=rungs)
        start = bundle_network(bundle)
        # Only a bundle that can be used binds the ledger to itself.
        ledger.identify("bundle_hash", bundle.manifest.bundle_hash)
        rung = bundle.manifest.rungs.get(NORM)
        frames = NORM_FRAMES if rung is None else rung.batch
        self._surroundings = Surroundings(bundle, model, start.head, config, frames)
        with ExitStack() as undo:
            self._slots = undo.enter_context(open_slots(state, bundle))
            network = self._slots.current()
            past, normal = ledger.updates(), normal_at_start(ledger, network)
            taught = taught_at_start(past, network, self._slots.made_at)
            self._classroom = Classroom(bundle, network, config, normal, taught)
            store = undo.enter_context(SampleStore(state / SAMPLES_FILE))
            purse = WalletFile(state / WALLET_FILE, budget or Budget(), board.clock())
            predictor = Predictor(board.rates, past)
            self._adaptation = Adaptation(
                bundle=bundle,
                slots=self._slots,
                classroom=self._classroom,
                surroundings=self._surroundings,
                purse=purse,
                predictor=predictor,
                climb=Climb(rungs, of_network(past, network)),
                board=board,
                overhead=self._overhead,
                config=config,
                threads=threads,
            )
            self._teaching = Teaching(
                store, self._classroom, self._surroundings, self._look_again, config.restored_labels
            )
            self._store = store
            self._to_close = undo.pop_all()
        learned = self._classroom.learned()
        self._asking = Asking(network.head, bundle.anchors(), learned, config)
        self._frames, self._was_asked = ledger.frames(), False
        found = found_at_start(ledger, network)
        self._books = Books(ledger, purse, board, self._overhead, found)

    @property
    def network(self) -> Network:
        """In use."""
        return self._adaptation.network

    @property
    def notes(self) -> tuple[str, ...]:
        """Full sentences on what was found damaged at the start, and what is used instead."""
        return self._slots.notes

    @property
    def frames(self) -> int:
        """Seen so far, those of earlier sessions included."""
        return self._frames

    @property
    def normal(self) -> dict[str, float]:
        """Class -> the embarrassment that is normal for it, in nats, in the bundle's own domain;
        empty as long as that is not known."""
        return self._classroom.normal_by_class()

    def balances(self) -> dict[Resource, Balance]:
        """What is in the wallet now; empty if nothing limits it."""
        return self._books.balances()

    def samples(self) -> Counts:
        """What the sample store holds; it and the ledger are written first if that is due.

        Raises:
            RunDirectoryError: it is damaged, or another process held it for long.
            StorageError: the disk is full, read-only or failing.
        """
        self._books.flush_if_due()
        self._store.flush_if_due()
        return self._store.counts()

    @property
    def has_answers(self) -> bool:
        """Whether labels wait that the next batch, even an empty one, will teach."""
        return self._teaching.has_answers

    def process(self, batch: FrameBatch) -> TickReport:
        """Answer for a batch of frames, learn if need be, and record it all.

        The batch's true labels are used to score the answers and for nothing else.

        Raises:
            DataError: the frames do not have the bundle's shape.
            StorageError: something cannot be written. Go on with the next batch once it can be:
                what was answered and decided until then is recorded with it, or when the ledger
                is closed.
        """
        with self._overhead.working():
            return self._process(batch)

    def _process(self, batch: FrameBatch) -> TickReport:
        first, network = self._frames, self.network
        self._teaching.take_answers()  # where that fails, no frame was seen yet
        self._was_asked |= len(batch.frames) > 0
        sight = self._eyes.look(batch.frames, network)
        logits = self._classroom.observe(sight.features, sight.domains, batch.labels, first)
        predictions = tuple(network.classes[number] for number in logits.argmax(axis=1))
        self._frames += len(batch.frames)
        strange, watching_flops = self._watch(batch, sight, logits, first)
        wanted = self._wanted_labels()
        executed_flops = len(batch.frames) * self._answer_flops(network)
        self._board.worked(GraphCost(executed_flops + watching_flops, 0, 0))
        energy, seconds = self._books.spent()
        tick = Tick(
            start=first,
            n=len(batch.frames),
            segment=batch.segment,
            scores=scored(predictions, batch.truths),
            embarrassment=self._classroom.embarrassment(self._frames),
            domains={str(k): int((sight.domains == k).sum()) for k in np.unique(sight.domains)},
            novel=int(strange.sum()),
            executed_flops=executed_flops,
            watching_flops=watching_flops,
            energy=energy,
            seconds=seconds,
        )
        outcome = Outcome()
        try:
            self._books.care_for_wallet()
            outcome = self._adapt(network, is_proven=len(predictions) > 0)
        finally:
            decisions = self._record(tick, (*wanted, *outcome.decisions), outcome.updates)
        return TickReport(
            predictions=predictions,
            confidences=tuple(softmax(logits / TEMPERATURE).max(axis=1).tolist()),
            domains=tuple(sight.domains.tolist()),
            strange=tuple(strange.tolist()),
            tick=tick,
            decisions=decisions,
            updates=outcome.updates,
            inference_s=sight.inference_s,
        )

    def label(self, frame: int, name: str) -> bool:
        """Take a label that comes later than its frame; whether anything is known of the frame.

        Args:
            frame: its number in the ledger.
            name: class name.
        """
        with self._overhead.working():
            return self._teaching.label(frame, name)

    def plans(self) -> list[UpdatePlan]:
        """What could be learned now from all labels and frames there are, with prices."""
        with self._overhead.working():
            return self._adaptation.plans(self._frames)

    def objection(self, plan: UpdatePlan) -> Shortfall | None:
        """The limit that is in the way of a plan's worst case now; None if none is."""
        return self._books.objection(plan)

    def carry_out(self, plan: UpdatePlan) -> Outcome:
        """Carry out one of `plans`, and record it.

        Raises:
            StorageError: something cannot be written. What was learned is recorded with the next
                batch, or when the ledger is closed.
        """
        with self._overhead.working():
            self._books.care_for_wallet()
            outcome = Outcome()
            try:
                outcome = self._adaptation.carry_out(plan, self._frames)
                self._asking.adopt(self.network.head, self._classroom.learned())
            finally:
                self._record(self._asked_for(), outcome.decisions, outcome.updates)
            # A person has asked for it, and sees what came of it.
            if self._slots.pending and any(update.kept for update in outcome.updates):
                self._slots.confirm()
        return outcome

    def _asked_for(self) -> Tick:
        """A tick without frames: what it took to do what a person asked for."""
        watching_flops = self._flops_since()
        self._board.worked(GraphCost(watching_flops, 0, 0))
        energy, seconds = self._books.spent()
        return asked_for(self._frames, watching_flops, energy, seconds)

    def evaluate(self, name: str, subset: str, batches: Iterable[FrameBatch]) -> Evaluation:
        """Score the network as it is, without learning, and record the result.

        Args:
            name: of the moment, e.g. "before".
            subset: of the frames, e.g. "shifted".
            batches: frames, in the order of a stream; those whose truth is unknown are left out.
        """
        n = correct = 0
        router = self._eyes.router()
        for batch in batches:
            answers = self._said(batch.frames, router)
            scores = scored([answer.prediction for answer in answers], batch.truths)
            n += sum(frames for frames, _ in scores.values())
            correct += sum(right for _, right in scores.values())
        evaluation = Evaluation(name, subset, n, correct)
        self._ledger.record_evaluation(evaluation)
        return evaluation

    def answers(self, frames: Frames, domain: int | None = None) -> list[str]:
        """Answer for frames in the order of a stream, and neither learn nor remember anything.

        Args:
            frames: uint8 [n, H, W, C] or float32 [n, channels, length].
            domain: that all of them are known to be of; None if that is to be seen.
        """
        answers = self._said(frames, self._eyes.router(domain))
        return [answer.prediction for answer in answers]

    def say(self, frames: Frames) -> list[Said]:
        """As `answers`, and how sure the network is of them."""
        with self._overhead.working():
            return self._said(frames, self._eyes.router())

    def test(self, frames: Frames) -> list[Said]:
        """As `say`; a network in use that could answer is known to work from now on.

        Args:
            frames: at least one.

        Raises:
            BundleError: it answers with numbers that are not finite.
            StorageError: it cannot be written that it works.
        """
        answers = self.say(frames)
        if self._slots.pending:
            self._slots.confirm()
        return answers

    def close(self) -> None:
        """Save what is still in memory, and let another process go on."""
        with self._to_close:
            try:
                with self._overhead.working():
                    if not self._was_asked:
                        self._slots.spare()
            finally:
                self._books.close()

    def _said(self, frames: Frames, router: Router) -> list[Said]:
        self._was_asked |= len(frames) > 0
        return said(self._eyes, self.network, frames, router)

    def _answer_flops(self, network: Network) -> int:
        return self._eyes.forward_flops + 2 * network.head.weight.size

    def _watch(
        self, batch: FrameBatch, sight: Sight, logits: NDArray[np.float32], first: int
    ) -> tuple[NDArray[np.bool_], int]:
        """Remember frames and labels; which are novel, and what was executed for watching."""
        network, teaching, frames = self.network, self._teaching, batch.frames
        flops = sight.watching_flops
        flops += self._surroundings.add(first, frames, sight, logits, network)
        own = np.flatnonzero(sight.domains == OWN)
        share, strange = np.zeros(len(frames)), np.zeros(len(frames), dtype=bool)
        if len(own):
            found = self._asking.look(sight.features[own], logits[own], (first + own).tolist())
            share[own], strange[own] = found.share, found.strange
            flops += self._asking.flops(len(own))
        teaching.observe(first, frames, sight, logits, share, network.classes)
        teaching.told(first, batch.labels)
        return strange, flops + self._flops_since()

    def _flops_since(self) -> int:
        """Operations since the tick before: planning, and frames that were looked at again."""
        looked, self._looked_flops = self._looked_flops, 0
        return looked + self._adaptation.planning_flops()

    def _wanted_labels(self) -> list[Decision]:
        """Why labels are wanted: by the stand-in, or by what the answers alone show."""
        reasons = [self._classroom.wants_labels(self._frames)]
        if not self._surroundings.suspicious:
            reasons += self._asking.reasons(self._frames)
        return [Decision(self._frames, "wants_labels", reason, ()) for reason in reasons if reason]

    def _adapt(self, network: Network, is_proven: bool) -> Outcome:
        if is_proven and self._slots.pending:  # it has answered for a whole batch
            self._slots.confirm()
        outcome = self._adaptation.advance(self._frames)
        if self.network is not network:
            self._asking.adopt(self.network.head, self._classroom.learned())
        return outcome

    def _record(
        self, tick: Tick, decisions: Sequence[Decision], updates: Sequence[Update]
    ) -> tuple[Decision, ...]:
        """Tell the ledger, and the store if that is due; all that was decided."""
        levels = self._classroom.levels(self._frames, self.network)
        all_decisions = self._books.record(tick, decisions, updates, levels)
        self._store.flush_if_due()
        return all_decisions

    def _look_again(self, frames: Frames) -> Sight:
        """See frames that are not the newest: where they came from tells nothing of the stream."""
        with self._overhead.working():
            sight = self._eyes.look(frames, self.network, self._eyes.router())
        answers = len(frames) * self._answer_flops(self.network)
        self._looked_flops += answers + sight.watching_flops
        return sight
