"""The closed loop beside one board: its samples teach the runtime, whose network it then runs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.errors import BundleError, LinkError, RefusedError
from sel_edge.core.ledger import Decision, Update
from sel_edge.data.stream import FrameBatch
from sel_edge.gateway.courier import Courier, Delivery, require_image
from sel_edge.gateway.feed import Feed
from sel_edge.gateway.target import board_network
from sel_edge.link.client import Client
from sel_edge.link.messages.sample import Form, Sample
from sel_edge.mcu.image import Image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running
from sel_edge.runtime.loop import Runtime

TICK_FRAMES = 16
"""Samples that are learned from at once."""
RECENT_FRAMES = 48
"""Newest samples: they say which domain the board is in, and whether integers do the same there."""
MIN_FRAMES = 8
"""Fewer say nothing, and nothing is sent."""
DOMAIN_SHARE = 0.6
"""Of the newest samples, to take their domain for the board's."""
AGREEMENT = 0.8
"""Of the answers in integers with those in floats: below it a network is not sent. On CIFAR-10 all
but two in a hundred agree; at random, one in ten."""


@dataclass(frozen=True)
class Sampling:
    """Which frames a board is to keep for a label.

    Attributes:
        least_embarrassment: 1/256 nat, 0 to 65535.
        per_minute: at most so many, 0 to 65535.
    """

    least_embarrassment: int
    per_minute: int


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
        runtime: opened on the bundle, without lenses: the board cannot filter its frames.
        client: of the board.
        courier: of the board.
        sampling: that the board is told, again after each of its restarts.
    """

    def __init__(
        self, bundle: Bundle, runtime: Runtime, client: Client, courier: Courier, sampling: Sampling
    ) -> None:
        self._image: Image = bundle.mcu_image()
        self._feed = Feed(self._image, bundle.manifest.preprocessing)
        self._runtime, self._client = runtime, client
        self._courier, self._sampling = courier, sampling
        self._nonce = self._running = b""
        self._recent: deque[tuple[NDArray[np.uint8], int]] = deque(maxlen=RECENT_FRAMES)
        self._domain, self._settled = OWN, ("", OWN)

    def step(self) -> Step:
        """Have the board run what was learned; or else take the samples that wait, and learn.

        Raises:
            ConfigError: the board has another image.
            LinkError: the board does not answer, or it is another one.
            StorageError: something cannot be written.
        """
        self._greet()
        if self._is_due() and (step := self._bring_up_to_date()) != Step():
            return step
        samples = self._samples()
        return self._learn(samples) if samples or self._runtime.has_answers else Step()

    def _greet(self) -> None:
        """See that it is the same board. One that has restarted has another nonce, and forgotten
        the time and what it is to sample."""
        self._client.hello()
        status = self._client.status()
        if status.nonce != self._nonce:
            require_image(status, self._image)
            self._client.set_time()
            self._client.set_sampling(self._sampling.least_embarrassment, self._sampling.per_minute)
            self._nonce = status.nonce
        if status.network != self._running:
            self._running, self._settled = status.network, ("", OWN)

    def _samples(self) -> list[Sample]:
        found: list[Sample] = []
        try:
            for sample in self._client.samples(TICK_FRAMES):
                found.append(sample)
        except LinkError:
            # What has come is on the board no more. That it is gone shows at the next look.
            if not found:
                raise
        return [sample for sample in found if sample.form == Form.FRAME]

    def _learn(self, samples: list[Sample]) -> Step:
        unknown = (None,) * len(samples)
        inputs = self._feed.inputs([sample.content for sample in samples])
        frames = self._feed.frames(inputs)
        report = self._runtime.process(FrameBatch(0, frames, unknown, unknown, "board"))
        self._recent.extend(zip(inputs, report.domains, strict=True))
        if len(self._recent) >= MIN_FRAMES:
            numbers, counts = np.unique([number for _, number in self._recent], return_counts=True)
            if counts.max() >= DOMAIN_SHARE * len(self._recent):
                self._domain = int(numbers[counts.argmax()])
        return Step(len(samples), report.decisions, report.updates)

    def _is_due(self) -> bool:
        """Whether the board may run something else than the runtime would have it run, and enough
        samples say where it is."""
        known = any(number == self._domain for _, number in self._recent)
        is_new = (self._runtime.network.hash, self._domain) != self._settled
        return known and is_new and len(self._recent) >= MIN_FRAMES

    def _bring_up_to_date(self) -> Step:
        """Have the board run the network of its domain, if integers do it justice."""
        network = self._runtime.network
        self._settled = (network.hash, self._domain)
        # An update that was undone may have taken the domain along.
        domain = self._domain if self._domain in network.domains else OWN
        try:
            target = board_network(self._image, network, domain)
            if self._courier.is_running(target):
                return Step()
            share = self._agreement(target, domain)
            if share >= AGREEMENT:
                return Step(delivery=self._courier.deliver(target))
        except (BundleError, RefusedError) as error:
            return Step(note=f"not sent: {error}")
        return Step(
            note=f"not sent: in integers the network gives the same answer to {share:.0%} of the "
            f"newest samples only, and {AGREEMENT:.0%} are expected"
        )

    def _agreement(self, target: Running, domain: int) -> float:
        """Share of the newest samples of the board's domain on which integers and floats agree.

        Args:
            target: a network in integers.
            domain: in which the runtime is to answer for them.
        """
        inputs = np.stack([one for one, number in self._recent if number == self._domain])
        answers = self._runtime.answers(self._feed.frames(inputs), domain)
        found = infer(target, inputs).labels
        same = [target.classes[label] == name for label, name in zip(found, answers, strict=True)]
        return float(np.mean(same))
