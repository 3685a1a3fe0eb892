"""The closed loop beside one board: its samples teach the runtime, whose network it then runs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Decision, Update
from sel_edge.data.stream import FrameBatch
from sel_edge.gateway.courier import Courier, Delivery
from sel_edge.gateway.feed import Feed
from sel_edge.gateway.target import board_network
from sel_edge.link.client import Client
from sel_edge.link.messages.sample import Sample
from sel_edge.mcu.image import Image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running
from sel_edge.runtime.loop import Runtime, TickReport

TICK_FRAMES = 16
"""Samples that are learned from at once."""
RECENT_FRAMES = 48
"""Newest samples: they say which domain the board is in, and whether integers do the same there."""
MIN_FRAMES = 8
"""Fewer say nothing."""
DOMAIN_SHARE = 0.6
"""Of the newest samples, to take their domain for the board's."""
AGREEMENT = 0.8
"""Of the answers in integers with those in floats: below it a network is not sent. On CIFAR-10 all
but two in a hundred agree; at random, one in ten."""


@dataclass(frozen=True)
class Step:
    """What one look at a board brought.

    Attributes:
        samples: how many came up.
        decisions, updates: of the runtime.
        delivery: what went down, if anything did.
        note: why nothing was sent though the network has changed; "" otherwise.
    """

    samples: int = 0
    decisions: tuple[Decision, ...] = ()
    updates: tuple[Update, ...] = ()
    delivery: Delivery | None = None
    note: str = ""


class Gateway:
    """Serves one board.

    Args:
        bundle: with a model image, which is what the board has.
        image: that one.
        runtime: opened on the bundle, without lenses: the board cannot filter its frames.
        client: of the board.
        courier: of the board.
    """

    def __init__(
        self, bundle: Bundle, image: Image, runtime: Runtime, client: Client, courier: Courier
    ) -> None:
        self._image, self._runtime = image, runtime
        self._client, self._courier = client, courier
        self._feed = Feed(image, bundle.manifest.preprocessing)
        self._recent: deque[tuple[NDArray[np.uint8], int]] = deque(maxlen=RECENT_FRAMES)
        self._domain, self._settled = OWN, ("", OWN)

    def step(self) -> Step:
        """Take the samples that wait, learn if need be, and have the board run the result.

        Raises:
            LinkError: the board does not answer, or refuses.
            StorageError: something cannot be written; go on once it can be.
        """
        samples, learned = self._samples(), Step()
        if samples or self._runtime.has_answers:
            report = self._learn(samples)
            learned = Step(len(samples), report.decisions, report.updates)
        if not self._is_due():
            return learned
        delivery, note = self._bring_up_to_date()
        return replace(learned, delivery=delivery, note=note)

    def _samples(self) -> list[Sample]:
        found: list[Sample] = []
        for sample in self._client.samples():
            found.append(sample)
            if len(found) == TICK_FRAMES:
                break
        return found

    def _learn(self, samples: list[Sample]) -> TickReport:
        unknown = (None,) * len(samples)
        frames = self._feed.frames([sample.content for sample in samples])
        report = self._runtime.process(FrameBatch(0, frames, unknown, unknown, "board"))
        inputs = self._feed.inputs(frames)
        self._recent.extend(zip(inputs, report.domains, strict=True))
        if len(self._recent) >= MIN_FRAMES:
            numbers, counts = np.unique([number for _, number in self._recent], return_counts=True)
            if counts.max() >= DOMAIN_SHARE * len(self._recent):
                self._domain = int(numbers[counts.argmax()])
        return report

    def _is_due(self) -> bool:
        """Whether the board may run something else than the runtime would have it run."""
        return (self._runtime.network.hash, self._domain) != self._settled

    def _bring_up_to_date(self) -> tuple[Delivery | None, str]:
        """Have the board run the network of its domain, if integers do it justice."""
        network = self._runtime.network
        domain = self._domain if self._domain in network.domains else OWN
        target = board_network(self._image, network, domain)
        if (share := self._agreement(target, domain)) < AGREEMENT:
            self._settled = (network.hash, self._domain)
            return None, (
                f"not sent: in integers the network gives the same answer to {share:.0%} of the "
                f"newest samples only, and {AGREEMENT:.0%} are expected"
            )
        delivery = self._courier.deliver(target)
        self._settled = (network.hash, self._domain)
        return delivery, ""

    def _agreement(self, target: Running, domain: int) -> float:
        """Share of the newest samples of a domain on which integers and floats agree; 1 of none."""
        inputs = [one for one, number in self._recent if number == domain]
        if not inputs:
            return 1.0
        frames = self._feed.frames([one.tobytes() for one in inputs])
        answers = self._runtime.answers(frames, domain)
        found = infer(target, np.stack(inputs)).labels
        same = [target.classes[label] == name for label, name in zip(found, answers, strict=True)]
        return float(np.mean(same))
