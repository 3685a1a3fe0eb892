"""What a learner wants to learn, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sel_edge.runtime.head import Head
from sel_edge.runtime.normal import NormalLevels
from sel_edge.runtime.trigger import Signal
from sel_edge.runtime.verdict import Verdict


@dataclass(frozen=True)
class Lesson:
    """What fired and what is to be learned.

    Attributes:
        classes: whose rows are to be trained, in the order of the grown head.
        new: those of them that the head does not know yet.
        onset: frame since which labels belong to the new situation.
        excess: nats of embarrassment above normal; of a new class, what guessing has.
        reason: what a person should read.
    """

    classes: tuple[str, ...]
    new: tuple[str, ...]
    onset: int
    excess: float
    reason: str

    @classmethod
    def of(cls, fired: Sequence[Signal], known: Sequence[str]) -> Lesson:
        """What signals ask for that fired together, at least one.

        Args:
            fired: the signals.
            known: the classes of the head, in its order.
        """
        named = {name for signal in fired for name in signal.classes}
        new = tuple(sorted(named.difference(known)))
        return cls(
            classes=(*(name for name in known if name in named), *new),
            new=new,
            onset=min(signal.onset for signal in fired),
            excess=max(signal.excess for signal in fired),
            reason="; ".join(signal.reason for signal in fired),
        )


@dataclass(frozen=True)
class Attempt:
    """What came of a lesson.

    Attributes:
        head: the candidate.
        verdict: of the guard.
        labels: labelled frames trained on.
        normal: what is normal from now on; None if that does not change or is not known.
    """

    head: Head
    verdict: Verdict
    labels: int
    normal: NormalLevels | None
