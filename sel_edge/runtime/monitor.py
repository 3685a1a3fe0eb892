"""How embarrassed the network is right now: windows for the reader, evidence for the trigger."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import numpy as np

from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.cusum import Cusum
from sel_edge.runtime.normal import Normal, NormalLevels
from sel_edge.runtime.trigger import Signal

ALL_CLASSES = "all classes"
UNLABELLED = "frames without a label"


class Monitor:
    """Exact embarrassment where there are labels, the stand-in elsewhere; never mixed.

    Args:
        normal: the levels that count as no change.
        config: window lengths and the slack and limits of the evidence.
    """

    def __init__(self, normal: NormalLevels, config: RuntimeConfig) -> None:
        self._normal, self._config = normal, config
        self._together = self._cusum(normal.together)
        self._standin = self._cusum(normal.standin)
        self._classes: dict[str, Cusum] = {}
        self._exact: dict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=config.window_labels)
        )
        self._estimates: dict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=config.window_frames)
        )

    def add_label(self, name: str, loss: float, frame: int) -> None:
        """Take in the cross-entropy (nats, T = 1.5) of a frame whose true class is known."""
        normal = self._normal.of(name)
        self._exact[name].append(loss)
        self._classes.setdefault(name, self._cusum(normal)).add(loss, frame)
        self._together.add(loss, frame, normal)

    def add_unlabelled(self, predicted: str, estimate: float, frame: int) -> None:
        """Take in the stand-in (nats) of a frame without a label."""
        self._estimates[predicted].append(estimate)
        self._standin.add(estimate, frame)

    def embarrassment(self, classes: Iterable[str]) -> dict[str, ClassEmbarrassment]:
        """The windows of these classes, for the ledger."""
        return {
            name: ClassEmbarrassment(
                exact=_mean(self._exact[name]),
                standin=_mean(self._estimates[name]),
                labels=len(self._exact[name]),
            )
            for name in classes
        }

    def signals(self) -> list[Signal]:
        """Evidence from labels: one signal per class, and one of all classes together.

        Whichever of them fires, the classes that are suspect themselves are learned with it.
        """
        classes = self._classes
        embarrassed = [name for name in classes if classes[name].level > classes[name].normal.level]
        suspects = [name for name in classes if classes[name].score >= self._config.off]
        signals = [_signal(ALL_CLASSES, self._together, embarrassed)]
        signals += [_signal(name, cusum, [*suspects, name]) for name, cusum in classes.items()]
        return signals

    def unlabelled_signal(self) -> Signal:
        """Evidence from frames without labels, by the stand-in."""
        return _signal(UNLABELLED, self._standin, (), "stand-in E", "frames")

    def restart(self) -> None:
        """Begin anew after the network changed: old losses say nothing about the new one."""
        for cusum in (self._together, self._standin, *self._classes.values()):
            cusum.restart(self._config.off / 2)
        self._exact.clear()
        self._estimates.clear()

    def _cusum(self, normal: Normal) -> Cusum:
        return Cusum(normal, self._config.slack, limit=2 * self._config.on)


def _mean(values: deque[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _signal(
    subject: str, cusum: Cusum, classes: Sequence[str], measure: str = "E", unit: str = "labels"
) -> Signal:
    reason = (
        f"{subject}: {measure} {cusum.level:.1f} over {cusum.samples} {unit}, "
        f"was {cusum.normal.level:.1f}"
    )
    return Signal(subject, cusum.score, cusum.samples, cusum.onset, tuple(classes), reason)
