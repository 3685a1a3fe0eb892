"""One learner: what it has seen of one domain, when it wants to learn, and what came of it.

Works on features and labels alone; it knows neither images nor files. The loop feeds it, carries
its lessons out within the budget and tells it what became of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.core.standin import StandIn
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.crossval import Course, newest_of
from sel_edge.runtime.evidence import MIN_HELD_OUT
from sel_edge.runtime.guard import Anchors, Heads, can_be_judged, judge, judging
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.lesson import Attempt, Lesson
from sel_edge.runtime.memory import FOLDS, LabelMemory, Samples
from sel_edge.runtime.monitor import Monitor
from sel_edge.runtime.normal import NormalLevels, WarmUp
from sel_edge.runtime.practice import practice
from sel_edge.runtime.residue import Residue
from sel_edge.runtime.settling import is_vain, normal_of, remainder
from sel_edge.runtime.trigger import Signal, Trigger
from sel_edge.runtime.unknown import UnknownClasses
from sel_edge.runtime.verdict import Verdict
from sel_edge.runtime.work import Work, product, together

UNPROVED = Verdict(False, "the labels that could prove it are gone", True, 0, 0.0, 0.0)


class Learner:
    """Watches features and labels of one domain, and improves the head that is used there.

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
        taught_until: labels of earlier frames may have taught `head`, and prove nothing to it.

    Attributes:
        head: the classifier in use.
        normal: what is normal for it; None as long as that is not known.
        taught_until: labels of earlier frames may have taught `head`.
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
        taught_until: int = 0,
    ) -> None:
        self.head, self._base = head, base
        self._standin, self._config = standin, config
        self._anchors_held_out = anchors_held_out
        self._replay, self._judged = anchors.halves()
        on_anchors = normal_of(head, anchors.features, anchors.labels, standin)
        self.normal = on_anchors if normal is None and anchors_held_out else normal
        self._monitor = Monitor(self.normal or on_anchors, config)
        self._warm_up = WarmUp(config.window_labels)
        self._memory = LabelMemory(
            head.weight.shape[1], config.memory_samples, config.fold_block_frames
        )
        self.taught_until = taught_until
        self._taught_by: dict[str, int] = {}
        rule = (config.on, config.patience_ticks, config.cool_down_frames)
        self._trigger, self._asking = Trigger(*rule), Trigger(*rule)
        self._unknown = UnknownClasses(
            config.unknown_classes, config.new_class_labels, self._memory
        )
        self._label_frames: deque[int] = deque(maxlen=config.min_labels)
        self._lesson: Lesson | None = None

    def observe(
        self, features: Features, labels: Sequence[str | None], frames: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Answer for frames, then take in their labels.

        Args:
            features: float32 [n, F].
            labels: n class names, None where there is none.
            frames: int64 [n], their numbers, rising.

        Returns:
            Logits float32 [n, K], computed before any of the labels was looked at.
        """
        logits = self.head.logits(features)
        predicted = logits.argmax(axis=1).tolist()
        estimates = self._standin.estimate(logits).tolist()
        losses = self._losses(logits, labels)
        for position, (name, frame) in enumerate(zip(labels, frames.tolist(), strict=True)):
            if name is None:
                said = self.head.classes[predicted[position]]
                self._monitor.add_unlabelled(said, estimates[position], frame)
            else:
                loss = losses.get(position)
                self._take_in(name, features[position], loss, estimates[position], frame)
        return logits

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

    def remember(self, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Take back a label of an earlier session; arguments as of `label`."""
        if name not in self.head.positions:
            self._hear(name, frame)
        elif name in self._learned and frame < self.taught_until:
            self._taught_by[name] = self._taught_by.get(name, 0) + 1
        self._memory.add(name, feature, frame)

    def retract(self, frame: int) -> None:
        """Forget the label of a frame, which holds no longer."""
        self._memory.discard((frame,))

    def embarrassment(self, frame: int) -> dict[str, ClassEmbarrassment]:
        """The present windows of all classes that have any.

        Args:
            frame: frames seen so far.
        """
        return self._monitor.embarrassment(frame)

    def seen_last(self, name: str) -> int:
        """Frame of the newest value in the windows of a class; -1 without any."""
        return self._monitor.seen_last(name)

    def labels(self, names: Collection[str]) -> Samples:
        """What is remembered of labels of some classes."""
        return self._memory.samples(names)

    def residue(self, least: int) -> Residue | None:
        """What there is for those who train other layers; None with fewer than so many labels that
        taught nobody, or as long as it is not known what is normal."""
        names, since = self.head.classes, self.taught_until
        fresh = sum(self._memory.count(name, since) for name in names)
        if self.normal is None or fresh < least:
            return None
        samples = self.labels(names)
        return Residue(samples, samples.frames >= since, self.normal.together)

    def lesson(self, frame: int) -> Lesson | None:
        """What to learn now, or None; the same again until it is kept, rejected or dropped.

        Nothing is learned whose gain could not be proved: a signal waits until enough labels of its
        situation are held out.

        Args:
            frame: frames seen so far.
        """
        if self._lesson is not None and self._still_judged(self._lesson):
            return self._lesson
        signals = self._unknown.signals(self._config.on, len(self.head.classes))
        if self.normal is not None:
            signals += self._monitor.signals()
        now = {name: self._memory.count(name) for name in self._taught_by}
        signals += practice(self._taught_by, now, self._config.on, self.taught_until)
        fired = self._trigger.fire(frame, signals, may_fire=self._can_be_judged)
        self._lesson = Lesson.of(fired, self.head.classes) if fired else None
        return self._lesson

    def lesson_now(self) -> Lesson | None:
        """What could be learned from all labels there are, whatever the trigger says; or None."""
        ready = self._unknown.ready()
        labels = self._fresh((*self.head.classes, *ready), 0)
        new = tuple(n for n in ready if can_be_judged(labels.names, labels.folds, (n,)))
        known = tuple(name for name in self.head.classes if name in labels.names)
        if not can_be_judged(labels.names, labels.folds, (*known, *new)):
            return None
        excess = max((signal.excess for signal in self._monitor.signals()), default=0.0)
        return Lesson((*known, *new), new, 0, excess, "asked for")

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

    @property
    def steps(self) -> int:
        """That a lesson takes, the trials included."""
        return (FOLDS + 1) * self._config.adapter.steps

    def material(self, lesson: Lesson) -> Samples:
        """The labels that a lesson would be taught by, those that are replayed included."""
        return self.labels((*self.head.classes, *lesson.new))

    def demand(self, lesson: Lesson) -> GraphCost:
        """What a lesson takes at most."""
        samples, width = len(self.material(lesson)), self.head.weight.shape[1]
        known = len(self.head.classes) + len(lesson.new)
        # Judged by the bundle's head, the one in use and the candidate; then what is normal.
        looks = product(len(self._judged.labels) + samples, width, 4 * known)
        return together(self._course(lesson).demand(samples), looks)

    def learn(self, lesson: Lesson) -> Work[Attempt]:
        """Train a candidate, and let the guard judge it; changes nothing here.

        A lesson whose labels were taken back since it was planned is rejected without a step.

        Returns:
            What `keep` or `reject` is to be told.
        """
        if not self._still_judged(lesson):
            return Attempt(self.head, UNPROVED, 0, None)
        course, samples = self._course(lesson), self.material(lesson)
        known = (*self.head.classes, *lesson.new)
        trial = yield from course.tried(samples, known)
        head = yield from course.taught(samples)
        heads = Heads(self._base, self.head, head)
        yield judging(heads, self._judged)
        fresh = samples.frames >= max(lesson.onset, self.taught_until)
        per_class = len(self._judged.labels) // len(self._base.classes)
        learned = newest_of(trial, self._learned, max(per_class, MIN_HELD_OUT))
        verdict = judge(
            heads,
            lesson.classes,
            trial.where(fresh),
            learned,
            self._judged,
            self._config.tolerance,
        )
        normal = None
        if verdict.accepted and self._anchors_held_out:
            yield product(len(self._judged.labels), *head.weight.T.shape)
            normal = normal_of(head, self._judged.features, self._judged.labels, self._standin)
        elif not verdict.accepted and self._anchors_held_out and is_vain(lesson, verdict):
            normal = yield from remainder(self.head, self._judged, samples, fresh, self._standin)
        return Attempt(head, verdict, len(samples), normal)

    def keep(self, attempt: Attempt, frame: int) -> None:
        """Go on with the candidate, for which what its anchors say is normal.

        A network that was trained on its anchors waits for the next labels to tell.

        Args:
            attempt: that was accepted.
            frame: frames seen so far: all labels up to here may have taught the candidate.
        """
        self.head, self._lesson, self.taught_until = attempt.head, None, frame
        self._unknown.learned(attempt.head.classes)
        self._taught_by = {name: self._memory.count(name) for name in self._learned}
        self.normal = attempt.normal
        if self.normal is None:
            self._warm_up = WarmUp(self._config.window_labels)
        self._monitor.restart(self.normal or self._monitor.normal)

    def reject(self, attempt: Attempt) -> None:
        """Go on with the head in use; if practice helps no more, what remains is normal."""
        self._lesson = None
        if attempt.normal is not None:
            self.normal = attempt.normal
            self._monitor.settle(attempt.normal)

    def drop(self) -> None:
        """Forget the lesson that was wanted; the next one in this situation takes more labels."""
        self._lesson = None

    def renew(self, feature: NDArray[np.float32], frame: int) -> None:
        """Put what the network sees in a labelled frame now, float32 [F], for what it saw."""
        self._memory.renew(feature, frame)

    def adopt(self, head: Head) -> None:
        """Go on with a head that was changed elsewhere: by another domain, or by a rollback."""
        if head.hash == self.head.hash:
            return
        self.head, self._lesson = head, None
        self._unknown.learned(head.classes)
        self._taught_by = {n: count for n, count in self._taught_by.items() if n in head.positions}

    def discard(self, frames: Collection[int]) -> None:
        """Forget what was said of frames that turned out to be of another domain."""
        if not frames:
            return
        self._memory.discard(frames)
        self._lesson = None
        self._monitor.settle(self._monitor.normal)

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
            self._hear(name, frame)
        else:
            self._take_in_loss(name, loss, estimate, frame)
        self._memory.add(name, feature, frame)

    def _hear(self, name: str, frame: int) -> None:
        """A label of a class that the head does not know is about to be remembered."""
        forgotten = self._unknown.hear(name, frame)
        if forgotten is not None:
            self._memory.forget(forgotten)
            if self._lesson is not None and forgotten in self._lesson.new:
                self._lesson = None

    def _take_in_loss(self, name: str, loss: float, estimate: float, frame: int) -> None:
        self._monitor.add_label(name, loss, frame)
        if self.normal is None:
            self.normal = self._warm_up.add(name, loss, estimate)
            if self.normal is not None:
                self._monitor.settle(self.normal)

    def _course(self, lesson: Lesson) -> Course:
        return Course(self.head, lesson.classes, lesson.onset, self._replay, self._config.adapter)

    def _fresh(self, names: Collection[str], onset: int) -> Samples:
        """Labels since an onset that the head in use has never learned from."""
        samples = self.labels(names)
        return samples.where(samples.frames >= max(onset, self.taught_until))

    @property
    def _learned(self) -> tuple[str, ...]:
        """The classes that the bundle lacks."""
        return self.head.classes[len(self._base.classes) :]

    def _still_judged(self, lesson: Lesson) -> bool:
        """Whether the labels that could judge an open lesson are still there."""
        fresh = self._fresh((*self.head.classes, *lesson.new), lesson.onset)
        return can_be_judged(fresh.names, fresh.folds, lesson.new or lesson.classes)

    def _can_be_judged(self, signal: Signal) -> bool:
        fresh = self._fresh({*self.head.classes, *signal.classes}, signal.onset)
        return can_be_judged(fresh.names, fresh.folds, signal.classes)
