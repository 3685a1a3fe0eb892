"""The rungs above `head`: layers of the network, in a domain other than the bundle's own.

What the features of a domain cannot tell apart, no classifier can; only deeper layers can mend it.
They are trained on latents that inference came by anyway. No anchors take part: the rows that a
domain has to itself change nothing for the frames of any other. For the same reason the bundle's
own domain, whose rows are everybody's, is not climbed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import Selected
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.errors import DivergenceError
from sel_edge.runtime.drill import HALVES, Drill, Timetable
from sel_edge.runtime.evidence import class_means
from sel_edge.runtime.guard_layers import judge_layers, refuse_layers
from sel_edge.runtime.head import Head
from sel_edge.runtime.importance import Importance
from sel_edge.runtime.latents import Latents
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.network import Network
from sel_edge.runtime.probe import mendable, mendable_flops
from sel_edge.runtime.residue import Residue
from sel_edge.runtime.training import Channels, TrainingStep
from sel_edge.runtime.updates.update import Candidate, Proposal, Update
from sel_edge.runtime.verdict import Verdict
from sel_edge.runtime.work import Work, product, repeated, together

MENDED_SHARE = 0.3
"""Of what a classifier cannot mend, what deeper layers are expected to. A guess to begin with: too
low, and they are tried late; too high, and the guard refuses more of them."""
CHOOSING_BATCHES = 2
"""Batches of the most embarrassing samples by which channels are chosen."""
CHOOSING = "importance"
"""Role of the graph that scores channels."""


@dataclass(frozen=True)
class LayersLesson:
    """Layers that could be trained.

    Attributes:
        domain: in which; not the bundle's own.
        rung: to train.
        samples: labels of known classes, of all of which there are latents.
        fresh: bool [N], which of them taught nobody.
        losses: float64 [N] in nats, by the network in use.
        excess: nats of embarrassment above normal.
        frame: frames seen so far.
        reason: what a person should read.
    """

    domain: int
    rung: str
    samples: Samples
    fresh: NDArray[np.bool_]
    losses: NDArray[np.float64]
    excess: float
    frame: int
    reason: str

    @classmethod
    def of(
        cls, domain: int, rung: str, residue: Residue, head: Head, frame: int
    ) -> LayersLesson | None:
        """What remains to be learned; None if labels that taught nobody are no more embarrassing
        than is normal, as far as that is known.

        Args:
            domain, rung, frame: as the attributes.
            residue: with a fresh label at least.
            head: in use there.
        """
        samples, fresh, normal = residue.samples, residue.fresh, residue.normal
        labels = head.index(samples.names)
        losses = cross_entropy(head.logits(samples.features), labels, TEMPERATURE)
        level = float(class_means(losses[fresh], labels[fresh]).mean())
        if level <= normal.level + 2 * normal.error:
            return None
        labelled = f"{int(fresh.sum())} labels"
        reason = f"domain {domain}: E {level:.1f} over {labelled}, was {normal.level:.1f}"
        excess = level - normal.level
        return cls(domain, rung, samples, fresh, losses, excess, frame, reason)


Recall = Callable[[NDArray[np.int64]], tuple[NDArray[np.bool_], Latents]]
"""Frames, int64 [N], to which of them there are latents of, bool [N], and the latents."""
Settle = Callable[[LayersLesson, NDArray[np.float32]], None]
"""Told of a lesson whose layers are in use now, and of their features of its samples, [N, F]."""


class LayersUpdate(Update[NDArray[np.float32]]):
    """Trains a rung for a domain.

    Its gain is what is embarrassing beyond normal, without the share that the classifier could
    mend by itself: features that can be told apart need no other layers.

    Args:
        bundle: an open bundle, with the rung.
        network: in use.
        lesson: what to train, and on what.
        recall: where the latents are.
        threads: of onnxruntime; None for every core.
        settle: told if the layers are kept.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: Network,
        lesson: LayersLesson,
        recall: Recall,
        threads: int | None,
        settle: Settle,
    ) -> None:
        self._bundle, self._network, self._lesson = bundle, network, lesson
        self._recall, self._threads, self._settle = recall, threads, settle
        self._rung = bundle.manifest.rungs[lesson.rung]
        samples, head = lesson.samples, network.head_in(lesson.domain)
        self._labels = head.index(samples.names)
        self._timetable = Timetable(self._rung, samples.folds)
        batches = -(-len(samples) // self._rung.batch)
        choosing = repeated(self._timetable.cost(CHOOSING), min(CHOOSING_BATCHES, batches))
        self.proposal = Proposal(
            rung=lesson.rung,
            domain=lesson.domain,
            classes=(),
            frames=0,
            labels=len(samples),
            steps=self._timetable.steps,
            demand=together(choosing, self._timetable.demand()),
            gain=MENDED_SHARE * lesson.excess * (1 - mendable(samples, head)),
            reason=lesson.reason,
        )
        known, features = head.weight.shape
        looks = product(len(samples), features, known).executed_flops
        self.planning_flops = looks + mendable_flops(
            len(samples), features, known, len(set(samples.names))
        )

    def work(self) -> Work[Candidate[NDArray[np.float32]]]:
        """Train the layers on each half, judge them on the other, then train them on all.

        Which channels are trained is chosen once, by all labels; how, each half learns by itself.
        Numbers that are not finite are a rejection, and latents that are gone by now are too.
        """
        there, latents = self._recall(self._lesson.samples.frames)
        if not there.all():
            return self._refused("latents to learn from are gone")
        try:
            return (yield from self._learned(latents))
        except DivergenceError as error:
            return self._refused(error.found.rstrip("."))

    def kept(self, candidate: Candidate[NDArray[np.float32]]) -> None:
        """What the labelled frames look like to the new layers is told."""
        self._settle(self._lesson, candidate.attempt)

    def rejected(self, candidate: Candidate[NDArray[np.float32]]) -> None:
        """Nothing has changed."""

    def stopped(self) -> None:
        """Nothing has changed."""

    def _learned(self, latents: Latents) -> Work[Candidate[NDArray[np.float32]]]:
        lesson, network = self._lesson, self._network
        parameters = network.whole(lesson.domain)
        channels = None
        if CHOOSING in self._rung.graphs:
            channels = yield from self._channels(parameters, latents)
        yield self._timetable.cost("select")
        step = TrainingStep(self._bundle, lesson.rung, parameters, channels, self._threads)
        groups = lesson.fresh.astype(np.int64)
        drill = Drill(step, parameters, self._timetable, latents, self._labels, groups)
        yield from drill.make_ready()
        verdict = yield from self._tried(drill)
        if not verdict.accepted:
            return Candidate(network, verdict, lesson.samples.features)
        yield from drill.train(self._timetable.lots)
        features, _ = yield from drill.look(self._timetable.lots)
        return Candidate(self._with_rows(step), verdict, features)

    def _channels(
        self, parameters: dict[str, NDArray[np.float32]], latents: Latents
    ) -> Work[Channels]:
        """The channels that matter most for what is most embarrassing, int64 by layer."""
        importance = Importance(self._bundle, self._lesson.rung, parameters, self._threads)
        worst, size = np.argsort(-self._lesson.losses, kind="stable"), self._rung.batch
        total: dict[str, NDArray[np.float32]] = {}
        for start in range(0, min(len(worst), CHOOSING_BATCHES * size), size):
            at = worst[start : start + size]
            yield self._timetable.cost(CHOOSING)
            part = latents.where(at)
            scores = importance.of(part.floats(0, len(part)), self._labels[at])
            total = {name: total.get(name, 0) + score for name, score in scores.items()}
        return {
            layer.weight: np.sort(np.argsort(-total[layer.weight], kind="stable")[: layer.rows])
            for layer in self._rung.layers
            if layer.follows == layer.weight
        }

    def _tried(self, drill: Drill) -> Work[Verdict]:
        """What layers that learned from one half make of the fresh labels of the other."""
        fresh, after = self._lesson.fresh, self._lesson.losses.copy()
        for half in range(HALVES):
            judged = [lot for lot in self._timetable.of(half) if fresh[lot.at].any()]
            yield from drill.train(self._timetable.of(1 - half))
            _, logits = yield from drill.look(judged)
            at = np.concatenate([lot.at for lot in judged])
            after[at] = cross_entropy(logits[at], self._labels[at], TEMPERATURE)
        return judge_layers(self._labels[fresh], self._lesson.losses[fresh], after[fresh])

    def _with_rows(self, step: TrainingStep) -> Network:
        """The network with the trained rows as the domain's own."""
        network, domain, base = self._network, self._lesson.domain, self._network.base
        rows = step.rows()
        own: dict[str, Selected] = {}
        classifier: dict[str, Selected] = {}
        for layer in self._rung.layers:
            for name in (layer.weight, layer.bias):
                value = rows[name]
                chosen = step.channels.get(layer.weight, np.arange(len(value)))
                (classifier if name in base.head_names else own)[name] = (chosen, value)
        taught = network.with_rows_in(domain, own)
        if not classifier:
            return taught
        head = network.head_in(domain)
        weight, bias = head.weight.copy(), head.bias.copy()
        for whole, name in zip((weight, bias), base.head_names, strict=True):
            chosen, value = classifier[name]
            whole[chosen] = value
        return taught.with_head_in(domain, Head(weight, bias, head.classes))

    def _refused(self, why: str) -> Candidate[NDArray[np.float32]]:
        lesson = self._lesson
        fresh = lesson.fresh
        verdict = refuse_layers(self._labels[fresh], lesson.losses[fresh], why)
        return Candidate(self._network, verdict, lesson.samples.features)
