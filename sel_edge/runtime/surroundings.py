"""What the device sees around it: the newest frames, and whether they are of a domain it knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.embarrassment import softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.activations import Activations
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.discovery import Discovery
from sel_edge.runtime.eyes import Sight
from sel_edge.runtime.frame_choice import Numbered, balanced, blend, spread
from sel_edge.runtime.head import Head
from sel_edge.runtime.latents import Latents
from sel_edge.runtime.lens import fit_lens, lens_flops, spectrum
from sel_edge.runtime.moments import MomentModel, anchor_moments
from sel_edge.runtime.network import Network
from sel_edge.runtime.recollection import Recollection, Seen

LEAST_BLEND = 0.1
"""Below it, statistics are not worth estimating."""
RENEWAL_PASSES = 2
"""A known domain is estimated anew from so many times the frames that it was found by."""
MAX_DOMAINS = 16
"""Beside the bundle's own. Each takes memory and time to be told from the others."""


@dataclass(frozen=True)
class NormLesson:
    """Statistics that could be estimated.

    Attributes:
        domain: its number.
        is_new: whether it gets its first statistics.
        place: where its frames lie, float32 [2C].
        known_frames: from how many frames it is known.
        members: frames that were taken for those of other domains until now.
        chosen: the frames to estimate from, with their numbers, none twice. They are a multiple of
            what one estimate takes, or all members where these are fewer than that.
        gains: by which frames are to be filtered; None if they need not be.
        blend: weight of the frames' statistics against those of the training, 0..1.
        reason: what a person should read.
        gives_up: number of the domain whose place a new one takes; None if there is room.
    """

    domain: int
    is_new: bool
    place: NDArray[np.float32]
    known_frames: int
    members: frozenset[int]
    chosen: tuple[Numbered, ...]
    gains: NDArray[np.float32] | None
    blend: float
    reason: str
    gives_up: int | None = None


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
        self._model, self._frames, self._lenses = model, frames, config.lenses
        anchors = bundle.anchors()
        answers = softmax(head.logits(anchors.features))
        normal = model.displacements(anchor_moments(bundle), answers)
        self._discovery = Discovery(model, normal, frames)
        self._spectrum = spectrum(anchors.frames)
        self._memory = Recollection(config.remembered_frames, config.remembered_bytes)
        self._activations = Activations(
            config.remembered_frames, config.memory_samples, config.remembered_bytes
        )
        self._remembers_enough = self._memory.room(anchors.frames[0].nbytes) >= frames
        self._wanted: dict[int, int] = {}
        self._last_seen: dict[int, int] = {}
        self._newly_labelled: set[int] = set()
        self._new: NormLesson | None = None
        self._better: NormLesson | None = None
        self._spectrum_flops, self._told_flops = 0, 0

    @property
    def suspicious(self) -> bool:
        """Whether the newest frames may be of a domain that is not known, and is still to be tried.

        What is learned meanwhile might be learned of the wrong domain. Where fewer frames are
        remembered than it takes to learn one, there is nothing to wait for.
        """
        return self._remembers_enough and self._discovery.pending

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
        self._activations.add(first, sight.domains, sight.latents)
        numbers = range(first, first + len(frames))
        self._last_seen.update(zip(sight.domains.tolist(), numbers, strict=True))
        return self._model.flops(len(frames))

    def label(self, frame: int, name: str | None) -> None:
        """Remember what a frame shows; None takes that back."""
        self._memory.label(frame, name)
        if name is not None:
            self._activations.label(frame)
        if (seen := self._memory.of(frame)) is not None:
            self._newly_labelled.add(seen.domain)

    def recall(self, frame: int) -> Seen | None:
        """What is remembered of a frame; None as well if the network sees it otherwise by now."""
        return self._memory.of(frame)

    def latents(
        self, rung: str, domain: int, frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], Latents]:
        """What a rung starts from in a domain: of which frames, int64 [N], it is known, bool [N],
        and the latents of those."""
        return self._activations.of(rung, domain, frames)

    def has_latents(self, rung: str, domain: int, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which frames, int64 [N], it is known what a rung starts from, bool [N]."""
        return self._activations.has(rung, domain, frames)

    def lessons(self, network: Network) -> list[NormLesson]:
        """What could be learned from frames alone.

        A lesson is the same until it is settled, but for labels that have come, or until frames
        enough have come to look for a better one.

        Args:
            network: in use.
        """
        since = self._discovery.since()
        if since is None:
            self._new = None
        elif self._discovery.due:
            self._new = self._new_domain(network, since)
        if self._better is None or self._better.domain not in network.domains:
            self._better = self._better_known(network)
        found = (self._new, self._better)
        return [self._with_labels(lesson) for lesson in found if lesson is not None]

    def planning_flops(self) -> int:
        """Operations that `lessons` has executed since this was asked last."""
        total = self._discovery.executed_flops + self._spectrum_flops
        found, self._told_flops = total - self._told_flops, total
        return found

    def settle(self, lesson: NormLesson, features: NDArray[np.float32] | None) -> list[int]:
        """Go on after a lesson.

        Of its frames, what the network sees now is remembered. Others whose domain does not hold
        any longer are forgotten: whoever needs one looks at it again.

        Args:
            lesson: as it was proposed.
            features: float32 [n, F], what the network sees in the lesson's frames now; None if
                nothing has changed.

        Returns:
            Numbers of the frames that were forgotten.
        """
        if lesson.is_new:
            self._new = None
            self._discovery.settle(features is not None)
        else:
            self._better = None
            self._wanted[lesson.domain] = 2 * self._wanted[lesson.domain]
        if features is None:
            return []
        for number in (lesson.domain, lesson.gives_up):
            if number is not None:
                self._activations.forget(number)
        outdated = self._outdated(lesson)
        self._memory.forget(outdated)
        for (number, _), feature in zip(lesson.chosen, features, strict=True):
            self._memory.renew(number, feature, lesson.domain)
        if lesson.is_new:
            self._last_seen[lesson.domain] = max(lesson.members)
            self._better = None  # some of its frames may be of the new domain
        if lesson.gives_up is not None:
            self._wanted.pop(lesson.gives_up, None)
            self._last_seen.pop(lesson.gives_up, None)
        return outdated

    def trained(
        self,
        domain: int,
        rungs: Collection[str],
        frames: NDArray[np.int64],
        features: NDArray[np.float32],
    ) -> None:
        """Go on after layers of a domain were trained: what these do not hold for is forgotten.

        Args:
            domain: its number.
            rungs: that start behind a trained layer.
            frames: int64 [N], of which it is known what the network sees now.
            features: float32 [N, F], what it sees.
        """
        self._activations.forget(domain, rungs)
        renewed = frozenset(frames.tolist())
        self._memory.forget(
            number
            for number, seen in self._memory.since(0)
            if seen.domain == domain and number not in renewed
        )
        for number, feature in zip(frames.tolist(), features, strict=True):
            self._memory.renew(number, feature, domain)
        if self._better is not None and self._better.domain == domain:
            self._better = None

    def _new_domain(self, network: Network, since: int) -> NormLesson | None:
        """An environment that is not known yet gets a domain of its own."""
        remembered = self._memory.since(since)
        places = np.array([seen.place for _, seen in remembered])
        found = self._discovery.find([n for n, _ in remembered], places, network.domains)
        if found is None:
            return None
        members = frozenset(found.frames)
        seen = [pair for pair in remembered if pair[0] in members]
        gains, weight = self._gains(seen), blend(seen, len(network.classes))
        if gains is None and weight < LEAST_BLEND:
            self._discovery.settle(learned=False)
            return None
        gives_up, reason = self._seen_longest_ago(network), found.reason
        if gives_up is not None:
            reason += f"; domain {gives_up}, seen longest ago, is given up for it"
        return NormLesson(
            domain=max([OWN, *network.domains]) + 1,
            is_new=True,
            place=found.place,
            known_frames=len(seen),
            members=members,
            chosen=spread(seen, self._frames),
            gains=gains,
            blend=weight,
            reason=reason,
            gives_up=gives_up,
        )

    def _better_known(self, network: Network) -> NormLesson | None:
        """A domain of which many more labels came gets better statistics.

        Statistics of few frames depend on what happens to be in them. Labels tell what is, so that
        as many frames can be taken of each class; they take no part beyond that. Where layers of a
        domain were trained, that was done with the statistics it has, and they stay.
        """
        for number in sorted(self._newly_labelled & network.domains.keys()):
            self._newly_labelled.remove(number)
            if not network.domains[number].rows.keys() <= set(network.base.head_names):
                continue
            wanted = self._wanted.setdefault(number, RENEWAL_PASSES * self._frames)
            seen = [pair for pair in self._memory.since(0) if pair[1].domain == number]
            labelled = [pair for pair in seen if pair[1].label is not None]
            if len(labelled) < wanted:
                continue
            chosen = balanced(labelled, RENEWAL_PASSES * self._frames)
            return NormLesson(
                domain=number,
                is_new=False,
                place=network.domains[number].place,
                known_frames=len(seen),
                members=frozenset(),
                chosen=chosen,
                gains=self._gains(seen),
                blend=blend(chosen, len(network.classes)),
                reason=f"domain {number} is known by {len(labelled)} labels",
            )
        return None

    def _seen_longest_ago(self, network: Network) -> int | None:
        """The domain that must go for a new one; None if there is room.

        Those that were not seen since the start count as seen before it, in the order in which they
        were found.
        """
        if len(network.domains) < MAX_DOMAINS:
            return None
        return min(network.domains, key=lambda number: (self._last_seen.get(number, -1), number))

    def _outdated(self, lesson: NormLesson) -> list[int]:
        """Remembered frames, beside those of a lesson that was kept, whose domain does not hold any
        longer.

        What came after the newest member of a new domain, while its lesson waited, may be of it.
        Frames of a domain that has better statistics now stay: what the network saw in them before
        is near enough, and to look at each again would take an inference.
        """
        chosen = {number for number, _ in lesson.chosen}
        newest = max(lesson.members, default=None)
        return [
            number
            for number, seen in self._memory.since(0)
            if number not in chosen
            and (
                number in lesson.members
                or seen.domain == lesson.gives_up
                or (newest is not None and number > newest)
            )
        ]

    def _with_labels(self, lesson: NormLesson) -> NormLesson:
        """With the labels that came since it was made."""
        chosen = tuple((number, self._memory.of(number) or seen) for number, seen in lesson.chosen)
        return replace(lesson, chosen=chosen)

    def _gains(self, seen: Sequence[tuple[int, Seen]]) -> NDArray[np.float32] | None:
        """Gains that bring frames to the spectrum of the training; None if they have it."""
        if not self._lenses:
            return None
        frames: Frames = np.stack([one.frame for _, one in seen])
        # A lens transforms there and back.
        self._spectrum_flops += len(frames) * lens_flops(frames.shape[1:]) // 2
        return fit_lens(self._spectrum, spectrum(frames))
