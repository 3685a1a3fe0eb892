"""Whether a candidate is worth keeping: proved better on held-out labels, harmless elsewhere.

An attempt judges one candidate: the best of several on the same few samples would look better than
it is. No label may prove anything to a head that learned from it, and labels are too few to be set
aside; so they are divided into folds, each fold is answered by a head that learned from the others
only (cross-validation, Stone 1974), and the candidate that may be kept learned from all. Attempts
in the same situation share labels, so the 5 % hold for each attempt; each takes twice the labels of
the one before, which keeps them few.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.evidence import MIN_HELD_OUT, class_means, proved_gain
from sel_edge.runtime.head import Head
from sel_edge.runtime.verdict import Verdict
from sel_edge.runtime.work import product

MINIMUM_GAIN = 0.005
"""Nats by which embarrassment must fall for certain; less is no reason to change."""
SURVIVING_SHARE = 0.5
"""Of its right answers on the anchors, every single class keeps at least this share."""


@dataclass(frozen=True)
class Tolerance:
    """What all updates together may cost on the anchors.

    Attributes:
        embarrassment: nats by which the mean may rise.
        accuracy: share of the anchors that may be lost, beyond one standard error of the count.
    """

    embarrassment: float = 0.2
    accuracy: float = 0.04


@dataclass(frozen=True)
class Anchors:
    """Labelled features that stay with the network for life.

    Attributes:
        features: float32 [A, F].
        labels: int64 [A], numbers of the bundle's classes, which every head keeps in front.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    def halves(self) -> tuple[Anchors, Anchors]:
        """Every other anchor of each class: one part to replay, one that only the guard sees."""
        seen = np.zeros(int(self.labels.max()) + 1, dtype=np.int64)
        odd = np.zeros(len(self.labels), dtype=np.bool_)
        for position, label in enumerate(self.labels):
            odd[position] = seen[label] % 2
            seen[label] += 1
        return (
            Anchors(self.features[~odd], self.labels[~odd]),
            Anchors(self.features[odd], self.labels[odd]),
        )


@dataclass(frozen=True)
class Heads:
    """What is compared.

    Attributes:
        base: the head of the bundle.
        before: the head in use; it may lack the candidate's last classes.
        candidate: the head to judge.
    """

    base: Head
    before: Head
    candidate: Head


@dataclass(frozen=True)
class Trial:
    """How samples were answered, each by heads that never learned from it.

    Attributes:
        names: N class names.
        before, after: losses float64 [N] in nats, by the head in use and by candidates.
        right_before, right_after: bool [N], whether the answers were right.
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    right_before: NDArray[np.bool_]
    right_after: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    def where(self, mask: NDArray[np.bool_]) -> Trial:
        """Those samples for which `mask`, bool [N], holds."""
        return Trial(
            tuple(name for name, keep in zip(self.names, mask, strict=True) if keep),
            self.before[mask],
            self.after[mask],
            self.right_before[mask],
            self.right_after[mask],
        )


def can_be_judged(names: Sequence[str], folds: NDArray[np.int64], taught: Collection[str]) -> bool:
    """Whether labels of a situation suffice to prove a gain in the classes `taught`.

    Args:
        names: N class names, of labels that the head in use never learned from.
        folds: int64 [N].
        taught: classes to be learned.
    """
    is_taught = np.array([name in taught for name in names], dtype=np.bool_)
    return int(is_taught.sum()) >= MIN_HELD_OUT and len(np.unique(folds[is_taught])) > 1


def judge(
    heads: Heads,
    taught: Collection[str],
    trial: Trial,
    learned: Trial,
    anchors: Anchors,
    tolerance: Tolerance,
) -> Verdict:
    """Judge a candidate by what others, made in the same way, made of labels unknown to them.

    It helps if embarrassment on the labels of the new situation falls by more than MINIMUM_GAIN,
    all classes counted alike, at a confidence of 95 % (`proved_gain`): a class that thrives at the
    expense of the others is no gain. A class that the head in use lacks has no embarrassment there:
    it cannot be answered at all. Where one is taught, it is also enough that it is answered better
    than by guessing; that makes two tests, each at 97.5 %, so that the 95 % hold for both together
    (Bonferroni). It is harmless if the anchors keep within the tolerance on the whole, and no class
    loses more than half of its right answers on them (and more than one). Anchors of the bundle's
    classes are compared with the bundle's own head, so that many small losses cannot add up;
    classes learned since, with the head in use.

    Args:
        heads: that are compared.
        taught: names of the classes that were learned.
        trial: on labels of the new situation, enough of them (`can_be_judged`).
        learned: on labels, of any time, of classes that were learned on the device: what anchors
            are for the bundle's classes.
        anchors: of the bundle's classes, of which nobody learned.
        tolerance: what may be lost on the anchors.
    """
    candidate = heads.candidate
    names = candidate.index(trial.names)
    is_taught = np.array([name in taught for name in trial.names], np.bool_)
    is_new = np.array([name not in heads.before.positions for name in trial.names], np.bool_)
    gain = _proved(trial, names, is_taught, is_taught & is_new, len(candidate.classes))
    e_before, e_after = (
        float(class_means(losses, names).mean()) for losses in (trial.before, trial.after)
    )
    since = candidate.index(learned.names)
    base, in_use, after = (
        _answers(head, anchors) for head in (heads.base, heads.before, candidate)
    )
    reference = _Answers(
        np.concatenate([base.losses, learned.before]),
        np.concatenate([base.right, learned.right_before]),
    )
    now = _Answers(
        np.concatenate([after.losses, learned.after]),
        np.concatenate([after.right, learned.right_after]),
    )
    labels = np.concatenate([anchors.labels, since])
    harm = _harm(reference, now, labels, candidate.classes, tolerance)
    reason = (
        f"E on {len(names)} held-out labels of {len(set(trial.names))} classes {e_before:.2f} "
        f"-> {e_after:.2f}, {_for_sure(gain)}; on {len(anchors.labels)} anchors E "
        f"{in_use.mean:.2f} -> {after.mean:.2f}, accuracy {100 * in_use.right.mean():.1f} % -> "
        f"{100 * after.right.mean():.1f} %"
    )
    return Verdict(
        accepted=gain > MINIMUM_GAIN and harm is None,
        reason=reason if harm is None else f"{reason}; {harm}",
        exact=True,
        held_out=len(names),
        held_out_before=e_before,
        held_out_after=e_after,
        anchors_before=in_use.mean,
        anchors_after=after.mean,
    )


def _proved(
    trial: Trial,
    names: NDArray[np.int64],
    taught: NDArray[np.bool_],
    new: NDArray[np.bool_],
    classes: int,
) -> float:
    """By how much the candidate is better at least: in nats, or in right answers to new classes.

    Args:
        trial: on N labels.
        names: int64 [N], numbers of their classes.
        taught, new: bool [N], which are of classes that were taught, and that were not known.
        classes: among which one could guess.
    """
    drops = trial.before - trial.after
    right = trial.right_after[new].astype(np.float64) - 1 / classes
    if len(right) < MIN_HELD_OUT:
        return proved_gain(drops, names, taught)
    everyone = np.zeros(len(right), np.int64)
    return max(
        proved_gain(drops, names, taught, tests=2),
        proved_gain(right, everyone, everyone == 0, tests=2),
    )


def judging(heads: Heads, anchors: Anchors) -> GraphCost:
    """The demand of `judge` with the same arguments."""
    classes = sum(len(head.classes) for head in (heads.base, heads.before, heads.candidate))
    return product(len(anchors.labels), heads.base.weight.shape[1], classes)


@dataclass(frozen=True)
class _Answers:
    """A head's losses (nats, T = 1.5) and right answers on anchors."""

    losses: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def mean(self) -> float:
        return float(self.losses.mean())


def _answers(head: Head, anchors: Anchors) -> _Answers:
    logits = head.logits(anchors.features)
    losses = cross_entropy(logits, anchors.labels, TEMPERATURE)
    return _Answers(losses, logits.argmax(axis=1) == anchors.labels)


def _harm(
    reference: _Answers,
    after: _Answers,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    tolerance: Tolerance,
) -> str | None:
    """What is wrong on the anchors, or None."""
    if (risen := after.mean - reference.mean) > tolerance.embarrassment:
        return f"E on the anchors would be {risen:.2f} above the bundle's"
    lost = int((reference.right & ~after.right).sum())
    won = int((~reference.right & after.right).sum())
    # The difference of two counts of rare events has the standard error of their sum.
    if lost - won > tolerance.accuracy * len(labels) + (lost + won) ** 0.5:
        return f"{lost - won} right answers on the anchors would be lost"
    had = np.bincount(labels, reference.right, len(classes))
    has = np.bincount(labels, after.right, len(classes))
    # A single answer is no proof of harm, whatever share of a class with few anchors it is.
    fallen = (has < SURVIVING_SHARE * had) & (had - has > 1)
    if fallen.any():
        worst = int(np.argmax(fallen * (had - has)))
        return f"{classes[worst]} would keep {int(has[worst])} of {int(had[worst])} right answers"
    return None


def _for_sure(gain: float) -> str:
    return f"better by at least {gain:.2f}" if gain > 0 else "not proved better"
