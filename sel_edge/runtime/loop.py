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
from sel_edge.core.ledger import (
    Balances,
    Decision,
    Evaluation,
    LedgerWriter,
    Tick,
    Update,
)
from sel_edge.core.measurement import Energy
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
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.climb import Climb, climbable
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import MAX_BATCH
from sel_edge.runtime.eyes import Eyes, Sight
from sel_edge.runtime.moments import bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import UpdatePlan
from sel_edge.runtime.predictor import Predictor
from sel_edge.runtime.renormalize import RUNG as NORM
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.slots import open_slots
from sel_edge.runtime.surroundings import Surroundings
from sel_edge.runtime.teaching import Teaching
from sel_edge.runtime.tick_report import TickReport

if TYPE_CHECKING:
    from sel_edge.data.stream import FrameBatch

BALANCES_EVERY_FRAMES = 256
"""How often the wallet is told to the ledger when nothing is learned."""
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
            self._purse = WalletFile(state / WALLET_FILE, budget or Budget(), board.clock())
            predictor = Predictor(board.rates, past)
            self._adaptation = Adaptation(
                bundle=bundle,
                slots=self._slots,
                classroom=self._classroom,
                surroundings=self._surroundings,
                purse=self._purse,
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
        self._frames, self._told, self._was_asked = ledger.frames(), 0, False
        self._found = found_at_start(ledger, network)

    @property
    def network(self) -> Network:
        """In use."""
        return self._adaptation.network

    @property
    def notes(self) -> tuple[str, ...]:
        """Full sentences on what was found damaged at the start, and what is used instead."""
        return self._slots.notes

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
        joules, seconds = self._overhead.told()
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
            energy=Energy(joules, self._board.meter.origin),
            seconds=seconds,
        )
        outcome = Outcome()
        try:
            self._care_for_wallet()
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

    def carry_out(self, plan: UpdatePlan) -> Outcome:
        """Carry out one of `plans`, and record it.

        Raises:
            StorageError: something cannot be written. What was learned is recorded with the next
                batch, or when the ledger is closed.
        """
        with self._overhead.working():
            self._care_for_wallet()
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
        joules, seconds = self._overhead.told()
        energy = Energy(joules, self._board.meter.origin)
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
            scores = scored(self._seen(batch.frames, router), batch.truths)
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
        router = self._eyes.router(domain)
        return [
            answer
            for start in range(0, len(frames), MAX_BATCH)
            for answer in self._seen(frames[start : start + MAX_BATCH], router)
        ]

    def close(self) -> None:
        """Save what is still in memory, and let another process go on."""
        with self._to_close:
            try:
                with self._overhead.working():
                    if not self._was_asked:
                        self._slots.spare()
            finally:
                now_s = self._board.clock()
                self._purse.wallet.draw(self._overhead.drawn(), now_s)
                self._purse.save(now_s)

    def _seen(self, frames: Frames, router: Router) -> list[str]:
        self._was_asked |= len(frames) > 0
        sight = self._eyes.look(frames, self.network, router)
        heads = [self.network.head_in(int(number)) for number in sight.domains]
        logits = [
            head.logits(row[None])[0] for head, row in zip(heads, sight.features, strict=True)
        ]
        return [self.network.classes[int(row.argmax())] for row in logits]

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

    def _care_for_wallet(self) -> None:
        """Tell the wallet the time, the temperature and what was drawn from the battery."""
        now_s, heat = self._board.clock(), self._board.heat()
        self._purse.wallet.observe(heat.celsius, heat.throttled)
        self._purse.wallet.draw(self._overhead.drawn(), now_s)
        self._purse.save_if_due(now_s)

    def _record(
        self, tick: Tick, decisions: Sequence[Decision], updates: Sequence[Update]
    ) -> tuple[Decision, ...]:
        """Tell the ledger; the decisions, behind what was found at the start."""
        all_decisions, self._found = (*self._found, *decisions), ()
        levels = self._classroom.levels(self._frames, self.network)
        is_due = updates or self._frames - self._told >= BALANCES_EVERY_FRAMES
        balances = self._balances() if is_due else None
        self._ledger.record(tick, all_decisions, updates, levels, balances)
        self._store.flush_if_due()
        return all_decisions

    def _balances(self) -> Balances | None:
        """What is in the wallet; None if it has no limits."""
        self._told = self._frames
        balances, heat = self._purse.wallet.balances(), self._board.heat()
        if not balances:
            return None
        return Balances(
            frame=self._frames,
            utc_s=self._board.clock(),
            celsius=heat.celsius,
            throttled=heat.throttled,
            balances={name: (one.left, one.size) for name, one in balances.items()},
        )

    def _look_again(self, frames: Frames) -> Sight:
        """See frames that are not the newest: where they came from tells nothing of the stream."""
        with self._overhead.working():
            sight = self._eyes.look(frames, self.network, self._eyes.router())
        answers = len(frames) * self._answer_flops(self.network)
        self._looked_flops += answers + sight.watching_flops
        return sight
