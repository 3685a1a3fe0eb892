"""When to act: hysteresis, patience and cool-down over scores that say why they rose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FORGET_FRAMES = 10_000
"""Frames after which an attempt no longer counts, if its subject was not heard of again."""


@dataclass(frozen=True)
class Signal:
    """A reason to act that grows with the evidence for it.

    Attributes:
        subject: what it is about; one state of the trigger per subject.
        score: strength of the evidence, >= 0.
        samples: how many samples came since the onset.
        onset: frame since which it has been so; a later onset is another situation, an earlier one
            the same that labels told late show to have begun before.
        classes: the classes to learn if it fires.
        excess: nats of embarrassment above normal.
        reason: what a person should read.
    """

    subject: str
    score: float
    samples: int
    onset: int
    classes: tuple[str, ...]
    excess: float
    reason: str


@dataclass
class _State:
    """What is known of a subject.

    Attributes:
        onset: the situation it is about.
        above: ticks in a row that the score was high enough.
        needed: samples that the next attempt in this situation takes.
        attempted: frame of the last attempt.
    """

    onset: int
    above: int = 0
    needed: int = 0
    attempted: int = 0


class Trigger:
    """Turns signals into firings.

    A subject fires when its score has been at least `on` for `patience_ticks` ticks in a row. In
    the same situation it fires again only on twice as many samples as the last time, whether the
    network was changed or not: what cannot be helped is tried ever more rarely. A situation is over
    once the evidence has fallen to zero, which gives the next one a later onset.

    Args:
        on: score at which a subject fires.
        patience_ticks: ticks in a row that the score must stay at `on` or above.
        cool_down_frames: frames after a firing in which nothing else fires.
    """

    def __init__(self, on: float, patience_ticks: int, cool_down_frames: int) -> None:
        self._on = on
        self._patience_ticks, self._cool_down_frames = patience_ticks, cool_down_frames
        self._states: dict[str, _State] = {}
        self._silent_until = 0

    def fire(
        self,
        frame: int,
        signals: Sequence[Signal],
        may_fire: Callable[[Signal], bool] = lambda _: True,
    ) -> list[Signal]:
        """The signals that fire at this tick; empty for none.

        Whatever is learned along with what fires counts as attempted too.

        Args:
            frame: frames seen so far.
            signals: every subject that has evidence now; patience with one left out begins anew.
            may_fire: asked of those that would fire; whoever may not stays ready.
        """
        self._rest(frame, {signal.subject for signal in signals})
        ready = [signal for signal in signals if self._is_ready(signal)]
        if frame < self._silent_until:
            return []
        ready = [signal for signal in ready if may_fire(signal)]
        if not ready:
            return []
        self._silent_until = frame + self._cool_down_frames
        learned = {name for signal in ready for name in signal.classes}
        for signal in signals:
            if signal in ready or (signal.classes and learned.issuperset(signal.classes)):
                state = self._states[signal.subject]
                state.needed = 2 * max(signal.samples, state.needed)
                state.attempted = frame
        return ready

    def _rest(self, frame: int, present: set[str]) -> None:
        for subject in self._states.keys() - present:
            state = self._states[subject]
            state.above = 0
            if state.needed == 0 or frame - state.attempted > FORGET_FRAMES:
                del self._states[subject]

    def _is_ready(self, signal: Signal) -> bool:
        state = self._states.get(signal.subject)
        if state is None or signal.onset > state.onset:
            state = self._states[signal.subject] = _State(signal.onset)
        state.onset = signal.onset
        state.above = state.above + 1 if signal.score >= self._on else 0
        return state.above >= self._patience_ticks and signal.samples >= state.needed
