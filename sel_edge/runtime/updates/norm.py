"""The rung `norm`: a domain that was found gets statistics of its own, by a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import INPUT, OWN, Domain, Norm
from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.errors import BundleError, DivergenceError
from sel_edge.core.frames import Frames
from sel_edge.core.standin import StandIn
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.guard_norm import judge_norm, refuse_norm
from sel_edge.runtime.lens import Lens
from sel_edge.runtime.network import Network
from sel_edge.runtime.renormalize import RUNG, Renormalizer
from sel_edge.runtime.surroundings import NormLesson
from sel_edge.runtime.updates.update import Candidate, Proposal, Update
from sel_edge.runtime.work import Work, product, repeated, together

Settle = Callable[[NormLesson, NDArray[np.float32] | None], None]
"""Told of a lesson and what the network sees in its frames now, float32 [n, F]; None if nothing has
changed."""

RECOVERED_SHARE = 0.7
"""Of the embarrassment above normal, what new statistics usually take away."""
REFINED_SHARE = 0.05
"""The same of better statistics for a domain that has some."""


class NormUpdate(Update[NDArray[np.float32]]):
    """Statistics for a domain, its first ones or better ones.

    Args:
        bundle: an open bundle.
        network: in use.
        lesson: what to estimate, and from which frames.
        normal: embarrassment by the stand-in where nothing has changed, in nats.
        threads: of onnxruntime.
        settle: told afterwards what came of the lesson.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: Network,
        lesson: NormLesson,
        normal: float,
        threads: int | None,
        settle: Settle,
    ) -> None:
        self._bundle, self._network, self._lesson = bundle, network, lesson
        self._seen = [seen for _, seen in lesson.chosen]
        self._threads, self._settle = threads, settle
        self._standin: StandIn = bundle.manifest.standin
        self._before = self._logits_before()
        features, classes = bundle.manifest.features, len(network.classes)
        self.planning_flops = product(len(self._seen), features, classes).executed_flops
        excess = float(self._standin.estimate(self._before).mean()) - normal
        self._rung = bundle.manifest.rungs[RUNG]
        self._passes = math.ceil(len(lesson.chosen) / self._rung.batch)
        share = RECOVERED_SHARE if lesson.is_new else REFINED_SHARE
        self.proposal = Proposal(
            rung=RUNG,
            domain=lesson.domain,
            classes=(),
            frames=len(lesson.chosen),
            labels=0,
            steps=self._passes,
            demand=repeated(self._demand(), self._passes),
            gain=max(0.0, share * excess),
            reason=lesson.reason,
        )

    def work(self) -> Work[Candidate[NDArray[np.float32]]]:
        """Estimate the statistics, and judge them on the very frames, whose labels took no part.

        What is kept is the mean of the estimates; each is judged by what it makes of its own
        frames, and the mean of them is surer than any. Frames so odd that their statistics give
        numbers that are not finite change nothing.
        """
        network, lesson = self._network, self._lesson
        renormalizer = Renormalizer(self._bundle, network.effective(OWN), self._threads)
        try:
            norm, seen = yield from self._estimates(renormalizer)
            candidate = network.with_domains(self._domains(norm))
        except (DivergenceError, BundleError) as error:
            verdict = refuse_norm(self._before, self._standin, error.found.rstrip("."))
            return Candidate(network, verdict, np.stack([seen.feature for seen in self._seen]))
        labels = [one.label for one in self._seen]
        after = candidate.head_in(lesson.domain).logits(seen)
        verdict = judge_norm(network.classes, self._before, after, labels, self._standin)
        return Candidate(candidate, verdict, seen)

    def _estimates(self, renormalizer: Renormalizer) -> Work[tuple[Norm, NDArray[np.float32]]]:
        """Scales and shifts, and what the network sees in the lesson's frames with them.

        Where there are fewer frames than an estimate takes, some count twice in it.
        """
        frames: Frames = np.stack([seen.frame for seen in self._seen])
        norm: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        if (gains := self._lesson.gains) is not None:
            frames = Lens(gains)(frames)
            norm[INPUT] = (gains, np.zeros_like(gains))
        whole: Frames = np.resize(frames, (self._passes * self._rung.batch, *frames.shape[1:]))
        estimates, features = [], []
        for part in np.split(whole, self._passes):
            yield self._rung.main.cost
            estimate = renormalizer.estimate(part, self._lesson.blend)
            estimates.append(estimate.norm)
            if estimate.features is not None:
                features.append(estimate.features)
            else:  # bundles of before they were told
                engine = Engine(self._bundle, self._threads, estimate)
                yield GraphCost(len(part) * engine.forward_flops, 0, 0)
                features.append(engine.features(part))
        seen = np.concatenate(features)[: len(frames)]
        if not np.isfinite(seen).all():
            raise DivergenceError(
                "With the new statistics, the network sees numbers that are not finite.",
                "Finite features are expected; the statistics are left as they were.",
                "Use other frames.",
            )
        return {**_mean(estimates), **norm}, seen

    def kept(self, candidate: Candidate[NDArray[np.float32]]) -> None:
        """The frames are of the domain now."""
        self._settle(self._lesson, candidate.attempt)

    def rejected(self, candidate: Candidate[NDArray[np.float32]]) -> None:
        """It is tried again on more frames."""
        self._settle(self._lesson, None)

    def stopped(self) -> None:
        """It is tried again on more frames."""
        self._settle(self._lesson, None)

    def _demand(self) -> GraphCost:
        """Of one pass at most. Graphs of old bundles do not tell what the network sees, and the
        frames are looked at again; bundles that tell moments are newer than that."""
        manifest, cost = self._bundle.manifest, self._rung.main.cost
        if manifest.moments is not None:
            return cost
        look = GraphCost(2 * self._rung.batch * manifest.model.forward_macs, 0, 0)
        return together(cost, look)

    def _domains(self, norm: Norm) -> dict[int, Domain | None]:
        """The domains that change, as they would be; one that is known keeps its rows."""
        lesson = self._lesson
        known = self._network.domains.get(lesson.domain, Domain(lesson.place, 1))
        domain = replace(known, frames=lesson.known_frames, norm=norm)
        if lesson.gives_up is None:
            return {lesson.domain: domain}
        return {lesson.gives_up: None, lesson.domain: domain}

    def _logits_before(self) -> NDArray[np.float32]:
        rows = [
            self._network.head_in(seen.domain).logits(seen.feature[None])[0] for seen in self._seen
        ]
        return np.stack(rows)


def norm_updates(
    bundle: Bundle,
    network: Network,
    lessons: Iterable[NormLesson],
    normal: float,
    threads: int | None,
    settle: Settle,
) -> list[NormUpdate]:
    """The updates that some lessons make.

    Better statistics for a domain that is not embarrassed would gain nothing: such a lesson is
    settled without any work. A new domain gets its first ones all the same, since a network may be
    certain where it errs.

    Args:
        bundle, network, normal, threads, settle: as `NormUpdate` takes them.
        lessons: what could be estimated.
    """
    found = []
    for lesson in lessons:
        update = NormUpdate(bundle, network, lesson, normal, threads, settle)
        if lesson.is_new or update.proposal.gain > 0:
            found.append(update)
        else:
            settle(lesson, None)
    return found


def _mean(norms: Sequence[Norm]) -> Norm:
    """Scales and shifts that are the means of several."""
    return {
        name: (
            np.mean([norm[name][0] for norm in norms], axis=0, dtype=np.float32),
            np.mean([norm[name][1] for norm in norms], axis=0, dtype=np.float32),
        )
        for name in norms[0]
    }
