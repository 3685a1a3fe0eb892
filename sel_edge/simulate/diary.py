"""What is recorded of simulated days: a row for every batch of frames."""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from sel_edge.core.ledger import Decision, DecisionKind, Update

ACCURACY_FRAMES = 200
"""Frames of known truth over which accuracy is told, the newest ones."""
KINDS: tuple[DecisionKind, ...] = tuple(
    kind for kind in get_args(DecisionKind) if kind != "rollback"
)
"""What a device decides by itself."""
_MEASURES = ("time_s", "is_on", "charge_j", "watts_in", "watts_out", "celsius", "accuracy")
COLUMNS = (*_MEASURES, "answered", "missed", *KINDS, "deferred_because")


@dataclass(frozen=True)
class Moment:
    """One batch of frames.

    Attributes:
        time_s: seconds from the start to the end of it.
        seconds: that it lasted.
        is_on: whether the device was on; else the frames were missed.
        charge_j: of the battery at its end.
        watts_in: mean power of the sun, also where the battery was full.
        watts_out: mean power drawn.
        celsius: of the processor at its end.
        frames: in the batch.
        scored, correct: answers whose truth is known, and those of them that were right.
        decisions, updates: made after it.
    """

    time_s: float
    seconds: float
    is_on: bool
    charge_j: float
    watts_in: float
    watts_out: float
    celsius: float
    frames: int
    scored: int = 0
    correct: int = 0
    decisions: tuple[Decision, ...] = ()
    updates: tuple[Update, ...] = ()


class Diary:
    """The moments of a device, in their order.

    Attributes:
        moments: all of them.
        accuracy: for each, the share of right answers among the newest frames of known truth, at
            least `ACCURACY_FRAMES` of them once there are so many; None before the first, and
            while the device is off.
    """

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.accuracy: list[float | None] = []
        self._window: deque[Moment] = deque()
        self._scored = self._correct = 0

    def add(self, moment: Moment) -> None:
        """Write down the next moment."""
        self.moments.append(moment)
        if moment.scored:
            self._window.append(moment)
            self._scored += moment.scored
            self._correct += moment.correct
        while self._window and self._scored - self._window[0].scored >= ACCURACY_FRAMES:
            gone = self._window.popleft()
            self._scored -= gone.scored
            self._correct -= gone.correct
        is_known = moment.is_on and self._scored > 0
        self.accuracy.append(self._correct / self._scored if is_known else None)

    def decisions(self) -> Iterator[tuple[float, Decision]]:
        """Every decision, with the seconds from the start to it."""
        for moment in self.moments:
            yield from ((moment.time_s, decision) for decision in moment.decisions)

    @property
    def updates(self) -> list[Update]:
        """Every update."""
        return [update for moment in self.moments for update in moment.updates]

    def csv(self) -> bytes:
        """The moments as a table; times in seconds, charge in joules, `accuracy` a share of 1."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for moment, accuracy in zip(self.moments, self.accuracy, strict=True):
            kinds = Counter(decision.kind for decision in moment.decisions)
            writer.writerow(
                [
                    *(moment.time_s, int(moment.is_on), moment.charge_j),
                    *(moment.watts_in, moment.watts_out, moment.celsius),
                    "" if accuracy is None else accuracy,
                    *((moment.frames, 0) if moment.is_on else (0, moment.frames)),
                    *(kinds[kind] for kind in KINDS),
                    "; ".join(d.reason for d in moment.decisions if d.kind == "defer"),
                ]
            )
        return text.getvalue().encode("utf-8", "replace")
