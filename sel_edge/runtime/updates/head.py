"""The rung `head`: rows of the classifier, on features that inference has computed already."""

from __future__ import annotations

from collections.abc import Mapping

from sel_edge.runtime.learner import Learner
from sel_edge.runtime.lesson import Attempt, Lesson
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.network import Network
from sel_edge.runtime.probe import mendable, mendable_flops
from sel_edge.runtime.updates.elsewhere import comparing, spared
from sel_edge.runtime.updates.update import Candidate, Proposal, Update
from sel_edge.runtime.work import Work, together

RUNG = "head"


class HeadUpdate(Update[Attempt]):
    """A lesson of the learner of one domain.

    Args:
        learner: of the domain.
        lesson: what it wants to learn.
        network: in use.
        domain: its number.
        frame: frames seen so far.
        elsewhere: domains that share the rows to be trained -> what is remembered of their labels.
    """

    def __init__(
        self,
        learner: Learner,
        lesson: Lesson,
        network: Network,
        domain: int,
        frame: int,
        elsewhere: Mapping[int, Samples],
    ) -> None:
        self._learner, self._lesson, self._network = learner, lesson, network
        self._frame, self._elsewhere = frame, elsewhere
        material = learner.material(lesson)
        self.proposal = Proposal(
            rung=RUNG,
            domain=domain,
            classes=lesson.classes,
            frames=0,
            labels=len(material),
            steps=learner.steps,
            demand=together(learner.demand(lesson), comparing(network, lesson.new, elsewhere)),
            gain=lesson.excess * mendable(material, learner.head),
            reason=lesson.reason,
        )
        known, features = learner.head.weight.shape
        classes = len(set(material.names))
        self.planning_flops = mendable_flops(len(material), features, known, classes)

    def work(self) -> Work[Candidate[Attempt]]:
        """Train the rows, judge them on held-out labels and on the anchors."""
        attempt = yield from self._learner.learn(self._lesson)
        network = self._network.with_head_in(self.proposal.domain, attempt.head)
        if attempt.verdict.accepted:
            network = yield from spared(self._network, network, self._elsewhere)
        return Candidate(network, attempt.verdict, attempt)

    def kept(self, candidate: Candidate[Attempt]) -> None:
        """The learner goes on with the new rows."""
        self._learner.keep(candidate.attempt, self._frame)

    def rejected(self, candidate: Candidate[Attempt]) -> None:
        """The learner goes on as it was, and may take what remains as normal."""
        self._learner.reject(candidate.attempt)

    def stopped(self) -> None:
        """The learner lets go of the lesson."""
        self._learner.drop()
