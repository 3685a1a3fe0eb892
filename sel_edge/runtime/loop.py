"""The loop: frames in, answers out, and everything that was decided and spent in the ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import (
    Decision,
    DecisionKind,
    Evaluation,
    LedgerWriter,
    Levels,
    Tick,
    Update,
)
from sel_edge.core.measurement import Energy, Meter
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Head, HeadStore
from sel_edge.runtime.learner import Learner, Plan
from sel_edge.runtime.normal import NormalLevels

if TYPE_CHECKING:
    from sel_edge.data.stream import FrameBatch

HEADS_DIRECTORY = "heads"
FLOAT_BYTES = 4


@dataclass(frozen=True)
class TickReport:
    """What happened in one batch of frames.

    Attributes:
        predictions: a class name per frame.
        tick, decisions, updates: as they stand in the ledger.
    """

    predictions: tuple[str, ...]
    tick: Tick
    decisions: tuple[Decision, ...]
    updates: tuple[Update, ...]


class Runtime:
    """A deployed network that goes on learning.

    A runtime that is opened on the ledger of an earlier one goes on with the head which that one
    kept last, and with what was normal for it. Everything else is in memory only, and a restart
    forgets it: the remembered labels (both those for training and those held out), the windows and
    the evidence in them, counts of labels of unknown classes, what was attempted, and a cool-down.
    So a change under way at the restart is noticed anew, from labels that come after it; and until
    labels of a class that was learned on the device have come again, no anchors of it guard it.

    Args:
        bundle: the network.
        ledger: where everything is recorded; heads are kept in a folder beside it.
        meter: the joules.
        config: settings; the defaults if left out.
        threads: threads of the engine; every core if left out.

    Raises:
        BundleError: the bundle's graph, anchors or classifier cannot be used.
        RunDirectoryError: the ledger belongs to another bundle, or its head is missing or damaged.
    """

    def __init__(
        self,
        bundle: Bundle,
        ledger: LedgerWriter,
        meter: Meter,
        config: RuntimeConfig | None = None,
        threads: int | None = None,
    ) -> None:
        manifest = bundle.manifest
        self._ledger, self._meter = ledger, meter
        self._engine = Engine(bundle, threads)
        base, anchors = Head(*bundle.head(), manifest.classes), bundle.anchors()
        # Only a bundle that can be used binds the ledger to itself.
        ledger.identify("bundle_hash", manifest.bundle_hash)
        self._store = HeadStore(ledger.path.parent / HEADS_DIRECTORY)
        stored = ledger.current_head()
        head = base if stored is None else self._store.load(stored)
        levels = ledger.current_levels(head.hash)
        self._recorded = None if levels is None else NormalLevels.recorded(levels)
        self._learner = Learner(
            head=head,
            base=base,
            anchors=Anchors(anchors.features, anchors.labels),
            anchors_held_out=manifest.anchors_held_out,
            standin=manifest.standin,
            config=config or RuntimeConfig(),
            normal=self._recorded,
        )
        self._frames = ledger.frames()
        self._commit = (0.0, 0.0)

    @property
    def head(self) -> Head:
        """The classifier in use."""
        return self._learner.head

    def process(self, batch: FrameBatch) -> TickReport:
        """Answer for a batch of frames, learn from its labels if need be, and record it all.

        The batch's true labels are used to score the answers and for nothing else.

        Raises:
            DataError: the frames do not have the bundle's shape.
            StorageError: the ledger or a head cannot be written.
        """
        stopwatch = _Stopwatch(self._meter)
        features = self._engine.features(batch.frames)
        predictions = self._learner.observe(features, batch.labels, self._frames)
        start, n = self._frames, len(predictions)
        self._frames += n
        decisions: list[Decision] = []
        if (reason := self._learner.wants_labels(self._frames)) is not None:
            decisions.append(Decision(self._frames, "wants_labels", reason, ()))
        plan = self._learner.plan(self._frames)
        joules, seconds = (
            spent + before for spent, before in zip(stopwatch.lap(), self._commit, strict=True)
        )
        tick = Tick(
            start=start,
            n=n,
            segment=batch.segment,
            scores=_scores(predictions, batch.truths),
            embarrassment=self._learner.embarrassment(self._frames),
            executed_flops=n * (self._engine.forward_flops + 2 * self.head.weight.size),
            energy=self._energy(joules),
            seconds=seconds,
        )
        updates = []
        if plan is not None:
            update, outcome = self._learn(plan, stopwatch)
            updates.append(update)
            decisions += [Decision(self._frames, "fire", plan.reason, plan.classes), outcome]
        self._ledger.record(tick, decisions, updates, self._new_levels())
        self._commit = stopwatch.lap()  # known only now: the next tick's record tells it
        return TickReport(predictions, tick, tuple(decisions), tuple(updates))

    def evaluate(self, name: str, subset: str, batches: Iterable[FrameBatch]) -> Evaluation:
        """Score the head as it is, without learning, and record the result.

        Args:
            name: of the moment, e.g. "before".
            subset: of the frames, e.g. "shifted".
            batches: frames; those whose truth is unknown are left out.
        """
        n = correct = 0
        for batch in batches:
            head = self.head
            answers = head.logits(self._engine.features(batch.frames)).argmax(axis=1)
            scores = _scores([head.classes[answer] for answer in answers], batch.truths)
            n += sum(frames for frames, _ in scores.values())
            correct += sum(right for _, right in scores.values())
        evaluation = Evaluation(name, subset, n, correct)
        self._ledger.record_evaluation(evaluation)
        return evaluation

    def _energy(self, joules: float) -> Energy:
        return Energy(joules, self._meter.origin)

    def _new_levels(self) -> Levels | None:
        """What is normal, if that has changed since it was last recorded."""
        normal = self._learner.normal
        if normal is None or normal is self._recorded:
            return None
        self._recorded = normal
        return normal.record(self._frames, self.head.hash)

    def _learn(self, plan: Plan, stopwatch: _Stopwatch) -> tuple[Update, Decision]:
        attempt = self._learner.learn(plan)
        if attempt.kept:
            # Durable before the ledger names it: a power cut in between leaves the old head in use.
            self._store.save(attempt.after)
        joules, seconds = stopwatch.lap()
        verdict = attempt.verdict
        update = Update(
            frame=self._frames,
            classes=plan.classes,
            kept=attempt.kept,
            labels=attempt.labels,
            held_out=verdict.held_out,
            held_out_before=verdict.held_out_before,
            held_out_after=verdict.held_out_after,
            anchors_before=verdict.anchors_before,
            anchors_after=verdict.anchors_after,
            executed_flops=attempt.executed_flops,
            energy=self._energy(joules),
            seconds=seconds,
            head_before=attempt.before.hash,
            head_after=attempt.after.hash,
            delta_bytes=_changed_bytes(attempt.before, attempt.after),
        )
        reason = f"{verdict.reason}; trained on {attempt.labels} labels"
        kind: DecisionKind = "keep" if attempt.kept else "reject"
        return update, Decision(self._frames, kind, reason, plan.classes)


class _Stopwatch:
    """Joules and seconds since it was last read."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._j, self._s = meter.read_j(), time.perf_counter()

    def lap(self) -> tuple[float, float]:
        last_j, last_s = self._j, self._s
        self._j, self._s = self._meter.read_j(), time.perf_counter()
        return self._j - last_j, self._s - last_s


def _scores(predictions: Iterable[str], truths: Iterable[str | None]) -> dict[str, tuple[int, int]]:
    """Class -> (frames, correct answers), over the frames whose truth is known."""
    frames: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for prediction, truth in zip(predictions, truths, strict=True):
        if truth is not None:
            frames[truth] += 1
            right[truth] += prediction == truth
    return {truth: (count, right[truth]) for truth, count in sorted(frames.items())}


def _changed_bytes(before: Head, after: Head) -> int:
    """Bytes of the rows, bias included, that are new or differ."""
    old = len(before.classes)
    same = (before.weight == after.weight[:old]).all(axis=1) & (before.bias == after.bias[:old])
    changed = int(np.count_nonzero(~same)) + len(after.classes) - old
    return changed * (int(after.weight.shape[1]) + 1) * FLOAT_BYTES
