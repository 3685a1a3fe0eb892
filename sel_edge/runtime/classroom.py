"""The learners of all domains: one for each, so that what is learned in one harms no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import ClassEmbarrassment, Levels
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.learner import Learner
from sel_edge.runtime.lesson import Lesson
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.normal import NormalLevels
from sel_edge.runtime.residue import Residue
from sel_edge.runtime.updates.head import HeadUpdate


class Classroom:
    """Learners by domain.

    Args:
        bundle: an open bundle.
        network: in use.
        config: settings.
        normal: domain -> what was normal there in an earlier session, as far as it is known.
        taught: domain -> frames whose labels may have taught the network there.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: Network,
        config: RuntimeConfig,
        normal: Mapping[int, NormalLevels],
        taught: Mapping[int, int],
    ) -> None:
        anchors, self._manifest = bundle.anchors(), bundle.manifest
        self._anchors = Anchors(anchors.features, anchors.labels)
        self._base, self._config = bundle_network(bundle).head, config
        self._recorded, self._taught = dict(normal), dict(taught)
        self._recorded_of = network.hash
        self._learners: dict[int, Learner] = {}
        self._told: dict[str, ClassEmbarrassment] = {}
        self.adopt(network)

    def adopt(self, network: Network) -> None:
        """Go on with another network: learners for its domains, with the heads they have there."""
        numbers = (OWN, *network.domains)
        for gone in self._learners.keys() - numbers:
            del self._learners[gone]
        # Labels that move to a new domain may have taught the rows that it begins with.
        inherited = max((one.taught_until for one in self._learners.values()), default=0)
        for number in numbers:
            head = network.head_in(number)
            if number in self._learners:
                self._learners[number].adopt(head)
            else:
                normal, taught = self._recorded.get(number), self._taught.get(number, inherited)
                self._learners[number] = self._learner(head, normal, taught)

    def begin_anew(self, domain: int, samples: Samples, frame: int) -> None:
        """Go on in a domain of which other layers than the classifier were trained.

        As after a restart: what is normal stays, evidence and windows begin anew, and of the labels
        those are remembered whose frames were seen with the new layers.

        Args:
            domain: its number.
            samples: what the network sees in labelled frames now.
            frame: frames seen so far: all labels up to here may have taught it.
        """
        before = self._learners[domain]
        learner = self._learner(before.head, before.normal, frame)
        for name, feature, number in zip(
            samples.names, samples.features, samples.frames.tolist(), strict=True
        ):
            learner.remember(name, feature, number)
        self._learners[domain] = learner

    def residue(self, domain: int, least: int) -> Residue | None:
        """What there is in a domain for those who train other layers; see `Learner.residue`."""
        return self._learners[domain].residue(least)

    def normal(self) -> float:
        """Embarrassment by the stand-in in the bundle's own domain, in nats."""
        levels = self._learners[OWN].normal
        return 0.0 if levels is None else levels.standin.level

    def normal_by_class(self) -> dict[str, float]:
        """Class -> its exact level in the bundle's own domain, in nats; empty while unknown."""
        own = self._learners[OWN]
        if own.normal is None:
            return {}
        return {name: own.normal.of(name).level for name in own.head.classes}

    def observe(
        self,
        features: Features,
        domains: NDArray[np.int64],
        labels: Sequence[str | None],
        first: int,
    ) -> NDArray[np.float32]:
        """Answer for frames, each in its domain, then take in their labels.

        Args:
            features: float32 [n, F].
            domains: int64 [n].
            labels: n class names, None where there is none.
            first: number of the first frame.

        Returns:
            Logits float32 [n, K].
        """
        classes = len(self._learners[OWN].head.classes)
        found = np.zeros((len(features), classes), np.float32)
        for number in np.unique(domains):
            at = np.flatnonzero(domains == number)
            given = [labels[int(index)] for index in at]
            found[at] = self._learners[int(number)].observe(features[at], given, first + at)
        return found

    def label(self, domain: int, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Take in a label that came later than its frame; nothing for a domain that is no more."""
        if domain in self._learners:
            self._learners[domain].label(name, feature, frame)

    def remember(self, domain: int, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Take back a label of an earlier session: to learn from, and no news."""
        if domain in self._learners:
            self._learners[domain].remember(name, feature, frame)

    def renew(self, domain: int, feature: NDArray[np.float32], frame: int) -> None:
        """Put what the network sees in a labelled frame now in place of what it saw."""
        self._learners[domain].renew(feature, frame)

    def retract(self, frame: int) -> None:
        """Forget the label of a frame, which holds no longer."""
        for learner in self._learners.values():
            learner.retract(frame)

    def discard(self, frames: Collection[int]) -> None:
        """Forget what was said of frames that turned out to be of another domain."""
        for learner in self._learners.values():
            learner.discard(frames)

    def learned(self) -> Samples:
        """What is remembered, in the bundle's own domain, of labels of classes that it lacks."""
        own = self._learners[OWN]
        return own.labels(own.head.classes[len(self._base.classes) :])

    def updates(self, frame: int, network: Network, suspicious: bool) -> list[HeadUpdate]:
        """What the learners want to learn.

        Args:
            frame: frames seen so far.
            network: in use.
            suspicious: whether the newest frames may be of an unknown domain; then nothing that
                they say of a known one is believed.
        """
        if suspicious:
            return []
        return [
            self._update(number, lesson, network, frame)
            for number, learner in self._learners.items()
            if (lesson := learner.lesson(frame)) is not None
        ]

    def updates_now(self, frame: int, network: Network) -> list[HeadUpdate]:
        """What could be learned from all labels there are, whatever the triggers say."""
        return [
            self._update(number, lesson, network, frame)
            for number, learner in self._learners.items()
            if (lesson := learner.lesson_now()) is not None
        ]

    def wants_labels(self, frame: int) -> str | None:
        """Why labels are wanted, if unlabelled frames raise an alarm that labels cannot settle.

        Every domain is asked, and all their reasons are told: none is asked twice in vain.
        """
        reasons = [
            reason if number == OWN else f"domain {number}: {reason}"
            for number, learner in self._learners.items()
            if (reason := learner.wants_labels(frame)) is not None
        ]
        return "; ".join(reasons) or None

    def embarrassment(self, frame: int) -> dict[str, ClassEmbarrassment]:
        """The windows of those classes for which they differ from what was last told.

        A class that is watched in several domains is told of by the one it was seen in last.
        """
        now = dict.fromkeys(self._told, ClassEmbarrassment(None, None, 0))
        newest: dict[str, int] = {}
        for learner in self._learners.values():
            for name, windows in learner.embarrassment(frame).items():
                if (seen := learner.seen_last(name)) >= newest.get(name, seen):
                    now[name], newest[name] = windows, seen
        told, self._told = self._told, now
        return {name: windows for name, windows in now.items() if windows != told.get(name)}

    def levels(self, frame: int, network: Network) -> list[Levels]:
        """What is normal, where that has changed since it was last recorded; of another network all
        of it, since it is looked for by the network."""
        if network.hash != self._recorded_of:
            self._recorded, self._recorded_of = {}, network.hash
        changed = []
        for number, learner in self._learners.items():
            normal = learner.normal
            if normal is not None and normal is not self._recorded.get(number):
                self._recorded[number] = normal
                changed.append(normal.record(frame, network.hash, number))
        return changed

    def _learner(self, head: Head, normal: NormalLevels | None, taught_until: int) -> Learner:
        return Learner(
            head=head,
            base=self._base,
            anchors=self._anchors,
            anchors_held_out=self._manifest.anchors_held_out,
            standin=self._manifest.standin,
            config=self._config,
            normal=normal,
            taught_until=taught_until,
        )

    def _update(self, number: int, lesson: Lesson, network: Network, frame: int) -> HeadUpdate:
        """A lesson of a domain; what is taught in the bundle's own concerns the others too."""
        labels = {
            other: learner.labels(network.classes)
            for other, learner in self._learners.items()
            if number == OWN and other != OWN
        }
        return HeadUpdate(self._learners[number], lesson, network, number, frame, labels)
