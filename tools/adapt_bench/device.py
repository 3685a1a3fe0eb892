"""The device's side: what the runtime's rooms do with a story, one rung at a time."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import Domain
from sel_edge.core.embarrassment import softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.discovery import Discovery, Environment
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.guard_norm import judge_norm
from sel_edge.runtime.moments import bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.recollection import Recollection
from sel_edge.runtime.renormalize import Renormalizer
from tools.adapt_bench.contestants import Stage
from tools.adapt_bench.outcome import Outcome

TICK_FRAMES = 16
REMEMBERED_FRAMES = 1024
REMEMBERED_BYTES = 2**25
THREADS = 1


class DomainsAlone:
    """Finds domains without labels and gives each its statistics; nothing else is learned.

    Args:
        stage: the story and the network.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage, bundle = stage, stage.subject.bundle
        self._model = bundle_moments(bundle)
        self._eyes = Eyes(bundle, self._model, THREADS)
        self._network = bundle_network(bundle)
        self._standin = bundle.manifest.standin
        anchors = bundle.anchors()
        seen = self._eyes.observe(anchors.frames)
        normal = self._displacements(seen.moments, seen.features)
        frames = bundle.manifest.rungs["norm"].batch
        self._discovery = Discovery(self._model, normal, frames)
        self._memory = Recollection(REMEMBERED_FRAMES, REMEMBERED_BYTES)
        self._labels: dict[int, str] = {}
        self.flops, self.wall_s, self.attempts, self.kept = 0, 0.0, 0, 0
        self.reasons: list[str] = []

    @property
    def network(self) -> Network:
        """As it is now."""
        return self._network

    def live(self, first: int, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Answer for the next frames, int64 [n], and learn from them if need be."""
        sight = self._eyes.look(frames, self._network)
        begun = time.perf_counter()
        answers: NDArray[np.int64] = self._network.head.logits(sight.features).argmax(axis=1)
        places = self._displacements(sight.moments, sight.features)
        self._discovery.add(first, places, sight.domains, self._network.domains)
        self._memory.add(first, frames, sight.features, places, sight.domains)
        self.flops += sight.watching_flops + self._model.flops(len(frames))
        if (since := self._discovery.since()) is not None:
            remembered = self._memory.since(since)
            lying = np.array([self._place(frame) for frame in remembered])
            found = self._discovery.find(remembered, lying, self._network.domains)
            if found is not None:
                self._learn(found)
        self.wall_s += time.perf_counter() - begun
        return answers

    def label(self, frame: int, name: str) -> None:
        """Take an answer."""
        self._labels[frame] = name

    def answers(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Answers alone, int64 [n], as the eyes route the frames."""
        parts = [
            self._network.head.logits(
                self._eyes.look(frames[start : start + TICK_FRAMES], self._network).features
            ).argmax(axis=1)
            for start in range(0, len(frames), TICK_FRAMES)
        ]
        return np.concatenate(parts)

    def _learn(self, found: Environment) -> None:
        bundle = self.stage.subject.bundle
        renormalizer = Renormalizer(bundle, self._network.effective(), THREADS)
        chosen = self._chosen(found, renormalizer.frames)
        seen = [self._memory.of(frame) for frame in chosen]
        frames: Frames = np.stack([one.frame for one in seen if one is not None])
        before = np.stack([one.feature for one in seen if one is not None])
        estimate = renormalizer.estimate(frames)
        assert estimate.features is not None  # noqa: S101 - the bundle was made a moment ago
        self.flops += renormalizer.executed_flops
        labels = [self._labels.get(frame) for frame in chosen]
        verdict = judge_norm(self._network.head, before, estimate.features, labels, self._standin)
        self.attempts += 1
        self.kept += verdict.accepted
        self.reasons.append(f"{found.reason}: {verdict.reason}")
        if verdict.accepted:
            number = max([0, *self._network.domains]) + 1
            domain = Domain(found.place, len(found.frames), estimate.norm)
            self._network = self._network.with_domains({number: domain})
        self._discovery.settle(verdict.accepted)

    def _chosen(self, found: Environment, count: int) -> list[int]:
        """Labelled frames first, half at most, then others spread over the time."""
        labelled = [frame for frame in found.frames if frame in self._labels][-count // 2 :]
        others = [frame for frame in found.frames if frame not in labelled]
        spread = np.linspace(0, len(others) - 1, count - len(labelled)).astype(np.int64)
        return [*labelled, *(others[index] for index in spread)]

    def _place(self, frame: int) -> NDArray[np.float64]:
        seen = self._memory.of(frame)
        assert seen is not None  # noqa: S101 - it was remembered a moment ago
        return seen.place

    def _displacements(
        self, moments: NDArray[np.float32], features: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        return self._model.displacements(moments, softmax(self._network.head.logits(features)))


def domains(stage: Stage) -> Outcome:
    """The rung `norm` alone, with domains found on the way."""
    device, story = DomainsAlone(stage), stage.story
    arriving = defaultdict(list)
    for label in story.labels:
        arriving[label.arrives // TICK_FRAMES].append(label)
    due = sorted(story.exams, key=lambda exam: exam.after)
    exams: dict[str, float] = {}
    right: list[bool] = []
    names = np.array(stage.classes)
    for start in range(0, len(story.frames), TICK_FRAMES):
        answers = device.live(start, story.frames[start : start + TICK_FRAMES])
        truths = np.array(story.truths[start : start + TICK_FRAMES])
        right += (names[answers] == truths).tolist()
        for label in arriving[start // TICK_FRAMES]:
            device.label(label.frame, label.name)
        while due and due[0].after <= start + TICK_FRAMES:
            exam = due.pop(0)
            exams[exam.name] = stage.score(exam, device.answers(exam.frames))
    return Outcome(
        exams,
        device.flops,
        device.wall_s,
        triggers=device.attempts,
        right=right,
        notes={"kept": device.kept, "reasons": device.reasons},
    )
