"""One learner: what it has seen, when it wants to learn, and what came of it.

Works on features and labels alone; it knows neither images nor files. The loop feeds it, measures
what it spends and writes down what it decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.core.standin import StandIn
from sel_edge.runtime.adapter import TrainingSet, adapt, balanced_weights
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.evidence import MIN_HELD_OUT
from sel_edge.runtime.guard import (
    MINIMUM_GAIN,
    Anchors,
    Evidence,
    Verdict,
    can_be_judged,
    judge,
)
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.memory import LabelMemory, Samples
from sel_edge.runtime.monitor import Monitor
from sel_edge.runtime.normal import NormalLevels, WarmUp, normal_levels
from sel_edge.runtime.trigger import Signal, Trigger

SETTLE_SAMPLES = 16
"""Held-out labels that it takes to call a situation one that cannot be learned."""


@dataclass(frozen=True)
class Plan:
    """What fired and what is to be learned.

    Attributes:
        classes: whose rows are to be trained, in the order of the grown head.
        new: those of them that the head does not know yet.
        onset: frame since which labels belong to the new situation.
        reason: what a person should read.
    """

    classes: tuple[str, ...]
    new: tuple[str, ...]
    onset: int
    reason: str


@dataclass(frozen=True)
class Attempt:
    """What came of a plan.

    Attributes:
        before, after: heads; the same object if nothing was kept.
        verdict: of the candidate.
        labels: labelled frames trained on.
        executed_flops: matrix products of training and judging; elementwise work is not counted.
    """

    before: Head
    after: Head
    verdict: Verdict
    labels: int
    executed_flops: int

    @property
    def kept(self) -> bool:
        """Whether the head changed."""
        return self.after is not self.before


@dataclass
class UnknownClass:
    """A class name that the head does not know.

    Attributes:
        first_frame: when its first label came.
        labels: how many came.
        last_frame: when the last one came.
    """

    first_frame: int
    labels: int = 0
    last_frame: int = 0


class Learner:
    """Watches features and labels, and improves a head.

    What is normal comes from the bundle's anchors, if the network was not trained on them. If it
    was, they look better than normal, and the first `window_labels` labels of the stream say it;
    until then nothing but new classes is learned. After a kept update it is measured again.
    As long as a situation is still embarrassing it is practised, on ever more labels; once that
    helps no more, what remains is normal.

    Args:
        head: the classifier to begin with.
        base: the classifier of the bundle.
        anchors: labelled features of the bundle's classes.
        anchors_held_out: whether the network never trained on them.
        standin: the bundle's label-free stand-in for embarrassment.
        config: settings.
        normal: what was normal for `head` in an earlier session, if that is known.

    Attributes:
        head: the classifier in use.
        normal: what is normal for it; None as long as that is not known.
    """

    def __init__(
        self,
        head: Head,
        base: Head,
        anchors: Anchors,
        anchors_held_out: bool,
        standin: StandIn,
        config: RuntimeConfig,
        normal: NormalLevels | None = None,
    ) -> None:
        self.head, self._base = head, base
        self._standin, self._config = standin, config
        self._anchors_held_out = anchors_held_out
        self._replay, self._judged = anchors.halves()
        on_anchors = self._normal_of(anchors.features, anchors.labels)
        self.normal = on_anchors if normal is None and anchors_held_out else normal
        self._monitor = Monitor(self.normal or on_anchors, config)
        self._warm_up = WarmUp(config.window_labels)
        self._memory = LabelMemory(
            head.weight.shape[1],
            config.memory_samples,
            config.held_out_every,
            config.held_out_block_frames,
        )
        rule = (config.on, config.patience_ticks, config.cool_down_frames)
        self._trigger, self._asking = Trigger(*rule), Trigger(*rule)
        self._unknown: dict[str, UnknownClass] = {}
        self._label_frames: deque[int] = deque(maxlen=config.min_labels)

    def observe(
        self, features: Features, labels: Sequence[str | None], first_frame: int
    ) -> tuple[str, ...]:
        """Answer for a batch, then take in its labels.

        Args:
            features: float32 [n, F].
            labels: n class names, None where there is none.
            first_frame: number of the first frame.

        Returns:
            n predicted class names, made before any of the labels was looked at.
        """
        logits = self.head.logits(features)
        predicted = tuple(self.head.classes[number] for number in logits.argmax(axis=1))
        estimates = self._standin.estimate(logits).tolist()
        losses = self._losses(logits, labels)
        for position, name in enumerate(labels):
            frame, estimate = first_frame + position, estimates[position]
            if name is None:
                self._monitor.add_unlabelled(predicted[position], estimate, frame)
            else:
                self._take_in(name, features[position], losses.get(position), estimate, frame)
        return predicted

    def label(self, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Take in a label that came later than its frame.

        Args:
            name: the class.
            feature: float32 [F], as the network in use sees the frame.
            frame: its number.
        """
        logits = self.head.logits(feature[None])
        estimate = float(self._standin.estimate(logits)[0])
        self._take_in(name, feature, self._losses(logits, [name]).get(0), estimate, frame)

    def embarrassment(self, frame: int) -> dict[str, ClassEmbarrassment]:
        """The present windows of those classes for which they differ from what was last told.

        Args:
            frame: frames seen so far.
        """
        return self._monitor.embarrassment(frame)

    def plan(self, frame: int) -> Plan | None:
        """What to learn now, or None.

        Nothing is learned whose gain could not be proved: a signal waits until enough labels of its
        situation are held out.

        Args:
            frame: frames seen so far.
        """
        signals = self._new_class_signals()
        if self.normal is not None:
            signals += self._monitor.signals()
        fired = self._trigger.fire(frame, signals, may_fire=self._can_be_judged)
        if not fired:
            return None
        named = {name for signal in fired for name in signal.classes}
        new = tuple(sorted(named - set(self.head.classes)))
        known = tuple(name for name in self.head.classes if name in named)
        return Plan(
            classes=(*known, *new),
            new=new,
            onset=min(signal.onset for signal in fired),
            reason="; ".join(signal.reason for signal in fired),
        )

    def wants_labels(self, frame: int) -> str | None:
        """Why labels are wanted, if unlabelled frames raise an alarm that labels cannot settle.

        Args:
            frame: frames seen so far.
        """
        signal = self._monitor.unlabelled_signal()
        labels = sum(1 for seen in self._label_frames if seen >= signal.onset)
        if self.normal is None or labels >= self._config.min_labels:
            return None
        fired = self._asking.fire(frame, [signal])
        return f"{fired[0].reason}; only {labels} labels" if fired else None

    def learn(self, plan: Plan) -> Attempt:
        """Carry out a plan: train, let the guard judge the outcome, and keep it or nothing."""
        before = self.head
        known = (*before.classes, *plan.new)
        training, held_out = self._memory.training(known), self._memory.held_out(known)
        start = before.with_new_classes(
            plan.new, [training.of(name) for name in plan.new], self._replay.features
        )
        material = self._training_set(start, training, plan)
        candidate, flops = adapt(start, plan.classes, material, self._config.adapter, len(plan.new))
        evidence = Evidence(held_out.since(plan.onset), self._judged, self._learned_anchors())
        verdict = judge(
            candidate, before, self._base, plan.classes, evidence, self._config.tolerance
        )
        flops += verdict.executed_flops
        if verdict.accepted:
            self._keep(candidate, plan)
        elif self._is_vain(plan, verdict):
            flops += self._settle(held_out, plan.onset)
        return Attempt(before, self.head, verdict, len(training), flops)

    def _losses(
        self, logits: NDArray[np.float32], labels: Sequence[str | None]
    ) -> dict[int, float]:
        """Position -> cross-entropy, where there is a label of a known class."""
        known = [
            (position, self.head.positions[name])
            for position, name in enumerate(labels)
            if name is not None and name in self.head.positions
        ]
        positions = [position for position, _ in known]
        numbers = np.array([number for _, number in known], dtype=np.int64)
        losses = cross_entropy(logits[positions], numbers, TEMPERATURE)
        return dict(zip(positions, losses.tolist(), strict=True))

    def _take_in(
        self,
        name: str,
        feature: NDArray[np.float32],
        loss: float | None,
        estimate: float,
        frame: int,
    ) -> None:
        """Take in a label; `loss` is None for a class that the head does not know."""
        self._label_frames.append(frame)
        if loss is None:
            self._count_unknown(name, frame)
        else:
            self._take_in_loss(name, loss, estimate, frame)
        self._memory.add(name, feature, frame, is_new=loss is None)

    def _take_in_loss(self, name: str, loss: float, estimate: float, frame: int) -> None:
        self._monitor.add_label(name, loss, frame)
        if self.normal is None:
            self.normal = self._warm_up.add(name, loss, estimate)
            if self.normal is not None:
                self._monitor.settle(self.normal)

    def _count_unknown(self, name: str, frame: int) -> None:
        if name not in self._unknown and len(self._unknown) == self._config.unknown_classes:
            oldest = min(self._unknown, key=lambda other: self._unknown[other].last_frame)
            del self._unknown[oldest]
            self._memory.forget(oldest)
        unknown = self._unknown.setdefault(name, UnknownClass(frame))
        unknown.labels += 1
        unknown.last_frame = frame

    def _learned_anchors(self) -> Samples:
        """Held-out labels of classes that the bundle lacks, as many of each as it has anchors."""
        learned = self.head.classes[len(self._base.classes) :]
        per_class = len(self._judged.labels) // len(self._base.classes)
        return self._memory.held_out(learned).newest(max(per_class, MIN_HELD_OUT))

    def _keep(self, head: Head, plan: Plan) -> None:
        """Go on with a new head, for which what its anchors say is normal.

        A network that was trained on its anchors waits for the next labels to tell.
        """
        self.head = head
        for name in plan.new:
            del self._unknown[name]
        if self._anchors_held_out:
            self.normal = self._normal_of(self._judged.features, self._judged.labels)
        else:
            self.normal, self._warm_up = None, WarmUp(self._config.window_labels)
        self._monitor.restart(self.normal or self._monitor.normal)

    def _is_vain(self, plan: Plan, verdict: Verdict) -> bool:
        """Whether training did not even help on average, on labels enough to tell."""
        gain = verdict.held_out_before - verdict.held_out_after
        is_known = not plan.new and verdict.held_out >= SETTLE_SAMPLES
        return is_known and gain < MINIMUM_GAIN and self._anchors_held_out

    def _settle(self, held_out: Samples, onset: int) -> int:
        """Take as normal what remains of a situation once practice helps no more.

        That is the embarrassment on what was held out in the situation, on all that is remembered
        of any situation, and on the anchors, whichever is the highest: so neither the remainder
        nor a return to an older situation is a change.

        Returns:
            Executed operations.
        """
        normal = self._normal_of(self._judged.features, self._judged.labels)
        parts = (held_out, held_out.since(onset))
        for part in parts:
            normal = normal.or_higher(self._normal_of(part.features, self.head.index(part.names)))
        self.normal = normal
        self._monitor.settle(normal)
        samples = len(self._judged.labels) + sum(map(len, parts))
        return 2 * self.head.weight.size * samples

    def _normal_of(self, features: Features, labels: NDArray[np.int64]) -> NormalLevels:
        return normal_levels(self.head.logits(features), labels, self.head.classes, self._standin)

    def _training_set(self, head: Head, samples: Samples, plan: Plan) -> TrainingSet:
        """Replayed anchors and remembered labels, with those since the onset as a group."""
        anchors = len(self._replay.labels)
        labels = np.concatenate([self._replay.labels, head.index(samples.names)])
        recent = np.concatenate([np.zeros(anchors), samples.frames >= plan.onset]).astype(np.int64)
        return TrainingSet(
            features=np.concatenate([self._replay.features, samples.features]),
            labels=labels,
            weights=balanced_weights(labels, recent),
            replayed=np.arange(len(labels)) < anchors,
        )

    def _can_be_judged(self, signal: Signal) -> bool:
        known = {*self.head.classes, *signal.classes}
        return can_be_judged(self._memory.held_out(known).since(signal.onset), signal.classes)

    def _new_class_signals(self) -> list[Signal]:
        return [
            Signal(
                subject=f"new class {name}",
                score=self._config.on * unknown.labels / self._config.new_class_labels,
                samples=unknown.labels,
                onset=unknown.first_frame,
                classes=(name,),
                reason=f"{name}: {unknown.labels} labels of a class never learned",
            )
            for name, unknown in self._unknown.items()
            if unknown.labels >= self._config.new_class_labels
        ]
