"""The ladder: which rung of a domain comes next, and from how many labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import RUNGS, STEP
from sel_edge.core.ledger import Update
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.drill import HALVES
from sel_edge.runtime.guard_layers import can_prove
from sel_edge.runtime.network import Network
from sel_edge.runtime.session import Session
from sel_edge.runtime.surroundings import Surroundings
from sel_edge.runtime.training import FEATURES
from sel_edge.runtime.updates.head import RUNG as HEAD
from sel_edge.runtime.updates.layers import CHOOSING, LayersLesson, LayersUpdate, Settle

LEAST_LABELS = 64
"""Labels that taught nobody yet without which no layer below the classifier is trained."""


class Climb:
    """Climbs the rungs of each domain one by one, and only while the guard confirms gains.

    A rung is offered once the one below it was kept in the domain. One that was rejected, or
    stopped by the budget, is offered again once there are twice the labels.

    Args:
        rungs: to climb above `head`, from low to high.
        past: what was learned in earlier sessions.
    """

    def __init__(self, rungs: Sequence[str], past: Iterable[Update] = ()) -> None:
        self._ladder = (HEAD, *rungs)
        self._reached: dict[int, int] = {}
        self._wanted: dict[int, int] = {}
        for update in past:
            self.tell(update)

    def tell(self, update: Update) -> None:
        """What became of an update, of whatever rung, as the ledger keeps it."""
        if update.kept:
            self.kept(update.domain, update.rung)
        else:
            self.rejected(update.domain, update.rung, update.held_out)

    def kept(self, domain: int, rung: str) -> None:
        """The guard confirmed a gain; nothing for a rung that is not climbed."""
        if rung not in self._ladder:
            return
        height = self._ladder.index(rung)
        if height > self._reached.get(domain, -1):
            self._reached[domain] = height
            self._wanted.pop(domain, None)

    def rejected(self, domain: int, rung: str, labels: int) -> None:
        """An update of so many labels that taught nobody was of no use; nothing for another rung
        than the one to climb next."""
        if rung == self.rung(domain):
            self._wanted[domain] = 2 * max(labels, self.labels(domain))

    def rung(self, domain: int) -> str | None:
        """The rung to climb next; None before `head` was kept, and at the top."""
        height = self._reached.get(domain, -1) + 1
        return self._ladder[height] if 0 < height < len(self._ladder) else None

    def labels(self, domain: int) -> int:
        """How many labels that taught nobody the next rung takes."""
        return self._wanted.get(domain, LEAST_LABELS)

    def below(self, rung: str) -> tuple[str, ...]:
        """The rungs that lie below one, which start behind layers that it trains."""
        return self._ladder[: self._ladder.index(rung)]


def climbable(bundle: Bundle, rungs: Collection[str]) -> tuple[str, ...]:
    """The rungs above `head` that a bundle can climb, among those wanted, from low to high.

    Their steps must tell the features that the trained layers give, which those of older bundles
    do not, and where only some channels are trained there must be a graph to choose them by.
    """
    above = RUNGS[RUNGS.index(HEAD) + 1 :]
    return tuple(name for name in above if name in rungs and _can_climb(bundle, name))


def _can_climb(bundle: Bundle, name: str) -> bool:
    rung = bundle.manifest.rungs.get(name)
    if rung is None or STEP not in rung.graphs:
        return False
    if any(layer.rows is not None for layer in rung.layers) and CHOOSING not in rung.graphs:
        return False
    session = Session(bundle.member(rung.graphs[STEP].file), threads=1, keep_memory=False)
    return FEATURES in session.outputs


def layers_updates(
    bundle: Bundle,
    network: Network,
    climb: Climb,
    classroom: Classroom,
    surroundings: Surroundings,
    frame: int,
    threads: int | None,
    settle: Settle,
) -> list[LayersUpdate]:
    """The next rung of every domain in which what remains is embarrassing, and could be proved.

    Args:
        bundle, network, threads, settle: as `LayersUpdate` takes them.
        climb: which rung comes next.
        classroom: the learners.
        surroundings: where latents are remembered.
        frame: frames seen so far.
    """
    found: list[LayersUpdate] = []
    for domain in network.domains:
        rung, least = climb.rung(domain), climb.labels(domain)
        residue = None if rung is None else classroom.residue(domain, least)
        if rung is None or residue is None:
            continue
        usable = residue.where(surroundings.has_latents(rung, domain, residue.samples.frames))
        if not can_prove(usable.samples.folds[usable.fresh] % HALVES, least):
            continue
        head = network.head_in(domain)
        lesson = LayersLesson.of(domain, rung, usable, head, frame)
        if lesson is not None:
            recall = partial(surroundings.latents, rung, domain)
            update = LayersUpdate(bundle, network, lesson, recall, threads, settle)
            found += [update] if update.proposal.gain > 0 else []
    return found
