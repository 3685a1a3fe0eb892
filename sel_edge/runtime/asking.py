"""Why labels are wanted of frames of the bundle's own domain: strangers, and classes that come more
or less often than they did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Anchors
from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.prior import MAX_CLASSES, ON_SIGMA, SUBJECT, PriorMonitor, fit_prior
from sel_edge.runtime.strangers import Novel, Strangers
from sel_edge.runtime.trigger import Trigger


class Asking:
    """Asks for labels because of what the network's answers alone show.

    Args:
        head: in use in the bundle's own domain.
        anchors: of the bundle's classes.
        learned: labels of classes that were learned on the device.
        config: how patient to be.
    """

    def __init__(
        self, head: Head, anchors: Anchors, learned: Samples, config: RuntimeConfig
    ) -> None:
        self._anchors = anchors
        self._strangers = Strangers(head, anchors.features, learned)
        self._prior = _watched(head, anchors, learned)
        self._head, self._learned = head, learned
        # Both count as many when they are that unlikely.
        self._trigger = Trigger(ON_SIGMA, config.patience_ticks, config.cool_down_frames)

    def adopt(self, head: Head, learned: Samples) -> None:
        """Go on with another head, if it is another one.

        Args:
            head: in use from now on.
            learned: labels of classes that were learned on the device.
        """
        if head.hash != self._head.hash:
            self._strangers.adopt(head, learned)
            self._head, self._learned = head, learned
            self._prior = _watched(head, self._anchors, learned)

    def look(self, features: Features, logits: NDArray[np.float32], frames: Sequence[int]) -> Novel:
        """Look at frames of the bundle's own domain.

        Args:
            features: float32 [n, F].
            logits: float32 [n, K] of the head.
            frames: their n numbers.
        """
        if self._prior is not None:
            self._prior.add(softmax(logits))
        return self._strangers.look(features, logits, frames)

    def flops(self, frames: int) -> int:
        """Operations of `look`."""
        prior = 0 if self._prior is None else self._prior.flops(frames)
        return prior + self._strangers.flops(frames)

    def reasons(self, frame: int) -> list[str]:
        """What has just become reason enough; empty for nothing.

        Args:
            frame: frames of the stream so far.
        """
        signals = [self._strangers.signal()]
        if self._prior is not None:
            signals.append(self._prior.signal(frame))
        fired = self._trigger.fire(frame, signals)
        if any(signal.subject == SUBJECT for signal in fired):
            # It was told: how often the classes come now is normal from now on.
            self._prior = _watched(self._head, self._anchors, self._learned)
        return [signal.reason for signal in fired]


def _watched(head: Head, anchors: Anchors, learned: Samples) -> PriorMonitor | None:
    if not 2 <= len(head.classes) <= MAX_CLASSES:
        return None
    features = np.concatenate([anchors.features, learned.features])
    labels = np.concatenate([anchors.labels, head.index(learned.names)])
    return PriorMonitor(fit_prior(softmax(head.logits(features)), labels), head.classes)
