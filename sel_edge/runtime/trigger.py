"""When to act: hysteresis, patience and cool-down over scores that say why they rose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """A reason to act that grows with the evidence for it.

    Attributes:
        subject: what it is about; one state of the trigger per subject.
        score: strength of the evidence, >= 0.
        samples: how many samples it rests on.
        onset: frame since which it has been so.
        classes: the classes to learn if it fires.
        reason: what a person should read.
    """

    subject: str
    score: float
    samples: int
    onset: int
    classes: tuple[str, ...]
    reason: str


@dataclass
class _State:
    above: int = 0
    fired_at_samples: int | None = None


class Trigger:
    """Turns signals into firings.

    A subject fires when its score has been at least `on` for `patience_ticks` ticks in a row. It
    then stays silent until the score falls under `off`, or until twice as many samples speak for
    it as when it fired: what could not be helped is tried again, but ever more rarely.

    Args:
        on: score at which a subject fires.
        off: score under which it is armed again; less than `on`.
        patience_ticks: ticks in a row that the score must stay at `on` or above.
        cool_down_frames: frames after a firing in which nothing else fires.
    """

    def __init__(self, on: float, off: float, patience_ticks: int, cool_down_frames: int) -> None:
        self._on, self._off = on, off
        self._patience_ticks, self._cool_down_frames = patience_ticks, cool_down_frames
        self._states: dict[str, _State] = {}
        self._silent_until = 0

    def fire(self, frame: int, signals: Sequence[Signal]) -> list[Signal]:
        """The signals that fire at this tick; empty for none.

        Args:
            frame: frames seen so far.
            signals: every subject that has a score now; one left out counts as zero.
        """
        for subject in self._states.keys() - {signal.subject for signal in signals}:
            del self._states[subject]
        ready = [signal for signal in signals if self._is_ready(signal)]
        if frame < self._silent_until or not ready:
            return []
        self._silent_until = frame + self._cool_down_frames
        for signal in ready:
            self._states[signal.subject].fired_at_samples = signal.samples
        return ready

    def _is_ready(self, signal: Signal) -> bool:
        state = self._states.setdefault(signal.subject, _State())
        state.above = state.above + 1 if signal.score >= self._on else 0
        fired = state.fired_at_samples
        if fired is not None and (signal.score < self._off or signal.samples >= 2 * fired):
            state.fired_at_samples = fired = None
        return fired is None and state.above >= self._patience_ticks
