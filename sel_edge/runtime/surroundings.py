"""What the device sees around it: the newest frames, and whether they are of a domain it knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.embarrassment import softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.discovery import Discovery
from sel_edge.runtime.eyes import Sight
from sel_edge.runtime.guard_norm import ENOUGH
from sel_edge.runtime.head import Head
from sel_edge.runtime.lens import fit_lens, spectrum
from sel_edge.runtime.moments import MomentModel, anchor_moments
from sel_edge.runtime.network import Network
from sel_edge.runtime.recollection import Recollection, Seen

BLEND = 0.5
"""Weight of the statistics of frames of all classes. Those of few frames are uncertain, and those
of the training are better than none (Schneider et al. 2020, arXiv 2006.16971); on four corruptions
of CIFAR-10 everything from 0.4 to 0.7 was better than 1, with 32 frames as with 256."""
LEAST_BLEND = 0.1
"""Below it, statistics are not worth estimating."""
RENEWAL_PASSES = 2
"""A known domain is estimated anew from so many times the frames that it was found by."""


@dataclass(frozen=True)
class NormLesson:
    """Statistics that could be estimated.

    Attributes:
        domain: its number.
        is_new: whether it gets its first statistics.
        place: where its frames lie, float32 [2C].
        known_frames: from how many frames it is known.
        members: frames that were taken for those of other domains until now.
        chosen: the frames to estimate from, with their numbers: a multiple of what one estimate
            takes.
        gains: by which frames are to be filtered; None if they need not be.
        blend: weight of the frames' statistics against those of the training, 0..1.
        reason: what a person should read.
    """

    domain: int
    is_new: bool
    place: NDArray[np.float32]
    known_frames: int
    members: frozenset[int]
    chosen: tuple[tuple[int, Seen], ...]
    gains: NDArray[np.float32] | None
    blend: float
    reason: str


class Surroundings:
    """Remembers what was seen, and finds environments in it that are of no known domain.

    Args:
        bundle: an open bundle.
        model: of its moments.
        head: the bundle's classifier.
        config: how much is remembered.
        frames: how many frames of an environment it takes to learn it.
    """

    def __init__(
        self, bundle: Bundle, model: MomentModel, head: Head, config: RuntimeConfig, frames: int
    ) -> None:
        self._model, self._frames = model, frames
        anchors = bundle.anchors()
        answers = softmax(head.logits(anchors.features))
        normal = model.displacements(anchor_moments(bundle), answers)
        self._discovery = Discovery(model, normal, frames)
        self._spectrum = spectrum(anchors.frames)
        self._memory = Recollection(config.remembered_frames, config.remembered_bytes)
        self._wanted: dict[int, int] = {}

    @property
    def suspicious(self) -> bool:
        """Whether the newest frames may be of a domain that is not known, and is still to be tried.

        What is learned meanwhile might be learned of the wrong domain.
        """
        return self._discovery.pending

    def add(
        self,
        first: int,
        frames: Frames,
        sight: Sight,
        logits: NDArray[np.float32],
        network: Network,
    ) -> int:
        """Take in the next frames.

        Args:
            first: number of the first.
            frames: uint8 [n, H, W, C] or float32 [n, channels, length].
            sight: what was seen in them.
            logits: float32 [n, K], the answers to them.
            network: that answered.

        Returns:
            Executed operations.
        """
        places = self._model.displacements(sight.moments, softmax(logits))
        self._discovery.add(first, places, sight.domains, network.domains)
        self._memory.add(first, frames, sight.features, places, sight.domains)
        return self._model.flops(len(frames))

    def label(self, frame: int, name: str) -> None:
        """Remember what a frame shows."""
        self._memory.label(frame, name)

    def recall(self, frame: int) -> Seen | None:
        """What is remembered of a frame."""
        return self._memory.of(frame)

    def lessons(self, network: Network) -> list[NormLesson]:
        """What could be learned from frames alone.

        Args:
            network: in use.
        """
        found = (self._new_domain(network), self._better_known(network))
        return [lesson for lesson in found if lesson is not None]

    def settle(self, lesson: NormLesson, features: NDArray[np.float32] | None) -> None:
        """Go on after a lesson.

        Args:
            lesson: as it was proposed.
            features: float32 [n, F], what the network sees in the lesson's frames now; None if
                nothing has changed.
        """
        if lesson.is_new:
            self._discovery.settle(features is not None)
        else:
            self._wanted[lesson.domain] = 2 * self._wanted[lesson.domain]
        if features is not None:
            for (number, _), feature in zip(lesson.chosen, features, strict=True):
                self._memory.renew(number, feature, lesson.domain)

    def _new_domain(self, network: Network) -> NormLesson | None:
        """An environment that is not known yet gets a domain of its own."""
        since = self._discovery.since()
        if since is None:
            return None
        remembered = self._memory.since(since)
        if len(remembered) < self._frames:
            return None
        places = np.array([seen.place for _, seen in remembered])
        found = self._discovery.find([n for n, _ in remembered], places, network.domains)
        if found is None:
            return None
        members = frozenset(found.frames)
        seen = [pair for pair in remembered if pair[0] in members]
        gains, blend = self._gains(seen), _blend(seen, len(network.classes))
        if gains is None and blend < LEAST_BLEND:
            return None
        return NormLesson(
            domain=max([OWN, *network.domains]) + 1,
            is_new=True,
            place=found.place,
            known_frames=len(seen),
            members=members,
            chosen=_spread(seen, self._frames),
            gains=gains,
            blend=blend,
            reason=found.reason,
        )

    def _better_known(self, network: Network) -> NormLesson | None:
        """A domain of which many more labels came gets better statistics.

        Statistics of few frames depend on what happens to be in them. Labels tell what is, so that
        as many frames can be taken of each class; they take no part beyond that.
        """
        for number, domain in network.domains.items():
            wanted = self._wanted.setdefault(number, RENEWAL_PASSES * self._frames)
            seen = [pair for pair in self._memory.since(0) if pair[1].domain == number]
            labelled = [pair for pair in seen if pair[1].label is not None]
            if len(labelled) < wanted:
                continue
            chosen = _balanced(labelled, RENEWAL_PASSES * self._frames)
            return NormLesson(
                domain=number,
                is_new=False,
                place=domain.place,
                known_frames=len(seen),
                members=frozenset(),
                chosen=chosen,
                gains=self._gains(seen),
                blend=_blend(chosen, len(network.classes)),
                reason=f"domain {number} is known by {len(labelled)} labels",
            )
        return None

    def _gains(self, seen: Sequence[tuple[int, Seen]]) -> NDArray[np.float32] | None:
        """Gains that bring frames to the spectrum of the training; None if they have it."""
        return fit_lens(self._spectrum, spectrum(np.stack([one.frame for _, one in seen])))


def _spread(seen: Sequence[tuple[int, Seen]], count: int) -> tuple[tuple[int, Seen], ...]:
    """Labelled frames first, half at most, then others that are spread over the time."""
    labelled = [pair for pair in seen if pair[1].label is not None][-count // 2 :]
    others = [pair for pair in seen if pair[1].label is None] or labelled
    spread = np.linspace(0, len(others) - 1, count - len(labelled)).astype(np.int64)
    return (*labelled, *(others[index] for index in spread))


def _blend(seen: Sequence[tuple[int, Seen]], classes: int) -> float:
    """How much the statistics of some frames are worth, by how many classes their labels name.

    Statistics of frames that all show the same are those of what they show. The share is that of
    the effective number of classes, exp(entropy), in the largest there could be; the entropy of few
    labels is corrected for their number (Miller 1955). Without labels enough, all is taken to be
    there.

    Args:
        seen: frames with their numbers.
        classes: of the network.
    """
    labels = [one.label for _, one in seen if one.label is not None]
    if len(labels) < ENOUGH:
        return BLEND
    counts = np.unique(labels, return_counts=True)[1]
    shares = counts / len(labels)
    entropy = -float(shares @ np.log(shares)) + (len(counts) - 1) / (2 * len(labels))
    most = min(classes, len(labels))
    return BLEND * min(1.0, (math.exp(entropy) - 1) / max(most - 1, 1))


def _balanced(labelled: Sequence[tuple[int, Seen]], count: int) -> tuple[tuple[int, Seen], ...]:
    """The newest frames, as many of each label as possible, at least `count` being there."""
    by_label: dict[str | None, list[tuple[int, Seen]]] = {}
    for pair in labelled:
        by_label.setdefault(pair[1].label, []).append(pair)
    chosen: list[tuple[int, Seen]] = []
    while len(chosen) < count:
        for pairs in by_label.values():
            if pairs and len(chosen) < count:
                chosen.append(pairs.pop())
    return tuple(chosen)
