"""One learner: what it has seen, when it wants to learn, and what came of it.

Works on features and labels alone; it knows neither images nor files. The loop feeds it, measures
what it spends and writes down what it decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.core.standin import StandIn
from sel_edge.runtime.adapter import TrainingSet, adapt, balanced_weights
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Anchors, Guard, Verdict
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.memory import LabelMemory, Samples
from sel_edge.runtime.monitor import Monitor
from sel_edge.runtime.normal import WarmUp, normal_levels
from sel_edge.runtime.trigger import Signal, Trigger


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
        verdict: of the candidate that was kept, or of the last one looked at.
        labels: labelled frames trained on.
        steps: descending steps of the judged candidate.
        executed_flops: training and judging, everything included.
    """

    before: Head
    after: Head
    verdict: Verdict
    labels: int
    steps: int
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
    """

    first_frame: int
    labels: int = 0


class Learner:
    """Watches features and labels, and improves a head.

    Args:
        head: the classifier to begin with.
        base: the classifier of the bundle, which says what is normal.
        anchors: labelled features of the bundle's classes.
        anchors_held_out: whether the network never trained on them. If it did, they look better
            than normal, and the first `window_labels` labels of the stream say what is normal.
        standin: the bundle's label-free stand-in for embarrassment.
        config: settings.

    Attributes:
        head: the classifier in use.
    """

    def __init__(
        self,
        head: Head,
        base: Head,
        anchors: Anchors,
        anchors_held_out: bool,
        standin: StandIn,
        config: RuntimeConfig,
    ) -> None:
        self.head, self._base = head, base
        self._standin, self._config = standin, config
        self._replay, self._judged = anchors.halves()
        logits = base.logits(anchors.features)
        self._monitor = Monitor(
            normal_levels(logits, anchors.labels, base.classes, standin), config
        )
        self._warm_up = None if anchors_held_out else WarmUp(config.window_labels)
        self._memory = LabelMemory(
            head.weight.shape[1], config.memory_samples, config.held_out_every
        )
        rule = (config.on, config.off, config.patience_ticks, config.cool_down_frames)
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
        estimates = self._standin.estimate(logits)
        for position, name in enumerate(labels):
            frame, estimate = first_frame + position, float(estimates[position])
            if name is None:
                self._monitor.add_unlabelled(predicted[position], estimate, frame)
                continue
            self._label_frames.append(frame)
            self._memory.add(name, features[position], frame)
            if name in self.head.classes:
                label = self.head.index([name])
                loss = cross_entropy(logits[position : position + 1], label, TEMPERATURE)
                self._take_in_loss(name, float(loss[0]), estimate, frame)
            else:
                self._unknown.setdefault(name, UnknownClass(frame)).labels += 1
        return predicted

    def embarrassment(self) -> dict[str, ClassEmbarrassment]:
        """The present windows of every known class."""
        return self._monitor.embarrassment(self.head.classes)

    def plan(self, frame: int) -> Plan | None:
        """What to learn now, or None.

        Args:
            frame: frames seen so far.
        """
        signals = self._new_class_signals()
        if self._warm_up is None:
            signals += self._monitor.signals()
        fired = self._trigger.fire(frame, signals)
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
        if self._warm_up is not None or labels >= self._config.min_labels:
            return None
        fired = self._asking.fire(frame, [signal])
        return f"{fired[0].reason}; only {labels} labels" if fired else None

    def learn(self, plan: Plan) -> Attempt:
        """Carry out a plan: train, let the guard judge each candidate, keep the best or nothing."""
        before = self.head
        known = (*before.classes, *plan.new)
        training = self._memory.training(known)
        held_out = self._memory.held_out(plan.classes).since(plan.onset)
        guard = Guard(self._base, before, known, held_out, self._judged, self._config.tolerance)
        start = before.with_new_classes(
            plan.new, [training.of(name) for name in plan.new], self._replay.features
        )
        material = self._training_set(start, training, plan)
        judged = [
            (candidate, guard.judge(candidate.head))
            for candidate in adapt(
                start, plan.classes, material, self._config.adapter, len(plan.new)
            )
        ]
        best, verdict = max(judged, key=lambda pair: _rank(pair[1]))
        if verdict.accepted:
            self.head = best.head
            self._monitor.restart()
            for name in plan.new:
                del self._unknown[name]
        flops = sum(candidate.executed_flops for candidate, _ in judged) + guard.executed_flops
        return Attempt(before, self.head, verdict, len(training), best.steps, flops)

    def _take_in_loss(self, name: str, loss: float, estimate: float, frame: int) -> None:
        self._monitor.add_label(name, loss, frame)
        if (
            self._warm_up is not None
            and (levels := self._warm_up.add(name, loss, estimate)) is not None
        ):
            self._monitor, self._warm_up = Monitor(levels, self._config), None

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
            and len(self._memory.training((name,)))
        ]


def _rank(verdict: Verdict) -> tuple[bool, float]:
    """Accepted before rejected, then the least embarrassed on held-out labels and anchors."""
    return verdict.accepted, -(verdict.held_out_after + verdict.anchors_after)
