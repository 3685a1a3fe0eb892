"""How embarrassed the network is right now: windows for the reader, evidence for the trigger."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.cusum import Cusum
from sel_edge.runtime.normal import Normal, NormalLevels
from sel_edge.runtime.trigger import Signal

ALL_CLASSES = "all classes"
UNLABELLED = "frames without a label"

SUSPECT_SAMPLES = 2
"""Samples since the onset from which on a class with any evidence against it is a suspect."""
DIGITS = 4
"""Of reported embarrassment in nats, behind the point: far finer than it can be known."""


class Monitor:
    """Exact embarrassment where there are labels, the stand-in elsewhere; never mixed.

    Args:
        normal: the levels that count as no change.
        config: window lengths and the slack and limits of the evidence.

    Attributes:
        normal: the levels in force.
    """

    def __init__(self, normal: NormalLevels, config: RuntimeConfig) -> None:
        self.normal, self._config = normal, config
        self._together = self._cusum(normal.together)
        self._standin = self._cusum(normal.standin)
        self._classes: dict[str, Cusum] = {}
        self._exact: dict[str, _Window] = {}
        self._estimates: dict[str, _Window] = {}

    def add_label(self, name: str, loss: float, frame: int) -> None:
        """Take in the cross-entropy (nats, T = 1.5) of a frame whose true class is known."""
        normal = self.normal.of(name)
        self._exact.setdefault(name, _Window(self._config.window_labels)).add(loss, frame)
        self._classes.setdefault(name, self._cusum(normal)).add(loss, frame)
        self._together.add(loss, frame, normal)

    def add_unlabelled(self, predicted: str, estimate: float, frame: int) -> None:
        """Take in the stand-in (nats) of a frame without a label."""
        window = self._estimates.setdefault(predicted, _Window(self._config.window_frames))
        window.add(estimate, frame)
        self._standin.add(estimate, frame)

    def embarrassment(self, frame: int) -> dict[str, ClassEmbarrassment]:
        """The windows of all classes that had any value since the network changed.

        Args:
            frame: frames seen so far; what is older than the windows' age is dropped.
        """
        oldest = frame - self._config.window_age_frames
        found = {}
        for name in dict.fromkeys((*self._exact, *self._estimates)):
            exact, labels = _read(self._exact.get(name), oldest)
            standin, _ = _read(self._estimates.get(name), oldest)
            found[name] = ClassEmbarrassment(exact, standin, labels)
        return found

    def seen_last(self, name: str) -> int:
        """Frame of the newest value in the windows of a class; -1 without any."""
        windows = (self._exact.get(name), self._estimates.get(name))
        return max((window.newest for window in windows if window is not None), default=-1)

    def signals(self) -> list[Signal]:
        """Evidence from labels: of all classes together, and of each class, if it is not weak.

        Whichever of them fires, the classes that are suspect themselves are learned with it. When
        all classes together fire, suspicion is a matter of any evidence since the class was last
        well; for a single class to be learned along with another, it takes more.
        """
        strong = {name: c for name, c in self._classes.items() if c.score >= self._config.off}
        signals = [_signal(name, cusum, tuple(strong)) for name, cusum in strong.items()]
        if self._together.score >= self._config.off:
            suspects = [
                name
                for name, cusum in self._classes.items()
                if cusum.score > 0 and cusum.measured >= SUSPECT_SAMPLES
            ]
            signals.insert(0, _signal(ALL_CLASSES, self._together, suspects))
        return signals

    def unlabelled_signal(self) -> Signal:
        """Evidence from frames without labels, by the stand-in."""
        return _signal(UNLABELLED, self._standin, (), "stand-in E", "frames")

    def restart(self, normal: NormalLevels) -> None:
        """Begin anew after the network changed: old losses say nothing about the new one.

        Args:
            normal: what is normal for the new network.
        """
        self._measure_by(normal, self._config.off / 2)
        self._exact.clear()
        self._estimates.clear()

    def settle(self, normal: NormalLevels) -> None:
        """Take other levels as normal for the same network; the evidence was against the old."""
        self._measure_by(normal, 0.0)

    def _measure_by(self, normal: NormalLevels, score: float) -> None:
        self.normal = normal
        self._together.restart(normal.together, score)
        self._standin.restart(normal.standin, score)
        for name, cusum in self._classes.items():
            cusum.restart(normal.of(name), score)

    def _cusum(self, normal: Normal) -> Cusum:
        return Cusum(normal, self._config.slack, limit=2 * self._config.on)


class _Window:
    """The mean of the newest values; the sum is kept up, not computed again at every tick.

    Attributes:
        newest: the latest frame of any value so far.
    """

    def __init__(self, length: int) -> None:
        self._length, self.newest = length, -1
        self._values: deque[tuple[int, float]] = deque()
        self._sum = 0.0

    def add(self, value: float, frame: int) -> None:
        self._values.append((frame, value))
        self.newest = max(self.newest, frame)
        self._sum += value
        if len(self._values) > self._length:
            self._drop()

    def read(self, oldest: int) -> tuple[float | None, int]:
        """Mean and number of the values that came at frame `oldest` or later."""
        while self._values and self._values[0][0] < oldest:
            self._drop()
        if not self._values:
            self._sum = 0.0  # rounding errors end here at the latest
            return None, 0
        return round(self._sum / len(self._values), DIGITS), len(self._values)

    def _drop(self) -> None:
        self._sum -= self._values.popleft()[1]


def _read(window: _Window | None, oldest: int) -> tuple[float | None, int]:
    return (None, 0) if window is None else window.read(oldest)


def _signal(
    subject: str,
    cusum: Cusum,
    classes: Sequence[str],
    measure: str = "E",
    unit: str = "labels",
) -> Signal:
    reason = (
        f"{subject}: {measure} {cusum.level:.1f} over {cusum.measured} {unit}, "
        f"was {cusum.normal.level:.1f}"
    )
    excess = max(0.0, cusum.level - cusum.normal.level)
    return Signal(subject, cusum.score, cusum.samples, cusum.onset, tuple(classes), excess, reason)
