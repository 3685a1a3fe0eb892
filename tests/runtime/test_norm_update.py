"""Statistics for a domain: from which frames, in whose place, and what odd frames may do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.core.errors import BundleError, DivergenceError
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.deltas import apply, between
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.moments import bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.recollection import Seen
from sel_edge.runtime.renormalize import Renormalized, Renormalizer
from sel_edge.runtime.surroundings import NormLesson
from sel_edge.runtime.updates.norm import NormUpdate, norm_updates
from sel_edge.runtime.updates.update import Candidate
from sel_edge.runtime.work import finish
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.faded import FRAMES, bundle, fade, faded
from tests.runtime.living import Lived, stream

PLACE = np.zeros(2, np.float32)
SURE = 1e6
"""Nats that are normal: nothing could be gained."""


class Told:
    """Remembers what became of lessons."""

    def __init__(self) -> None:
        self.lessons: list[tuple[int, NDArray[np.float32] | None]] = []

    def __call__(self, lesson: NormLesson, features: NDArray[np.float32] | None) -> None:
        self.lessons.append((lesson.domain, features))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(bundle(), threads=1)


def network(*domains: int) -> Network:
    return bundle_network(bundle()).with_domains(dict.fromkeys(domains, Domain(PLACE, 64)))


def lesson(engine: Engine, count: int = FRAMES, **changes: object) -> NormLesson:
    """On so many dim frames, all of them labelled."""
    images, names = Patterns().draw(count, 5)
    frames = faded(images)
    features = engine.features(frames)
    chosen = tuple(
        (number, Seen(frames[number], features[number], PLACE.astype(np.float64), OWN, name))
        for number, name in enumerate(names)
    )
    first = NormLesson(1, True, PLACE, count, frozenset(range(count)), chosen, None, 0.5, "dim")
    return replace(first, **changes)  # type: ignore[arg-type]


def made(of: NormLesson, start: Network) -> Candidate[NDArray[np.float32]]:
    candidate, _ = finish(NormUpdate(bundle(), start, of, 0.0, 1, Told()).work())
    return candidate


class TestFewFrames:
    def test_they_are_filled_up_for_the_estimate_and_judged_once(self, engine: Engine) -> None:
        """As of a group that is smaller than what one estimate takes."""
        few = lesson(engine, FRAMES - 5)
        candidate = made(few, network())
        assert candidate.verdict.held_out == FRAMES - 5
        assert candidate.attempt.shape == (FRAMES - 5, bundle().manifest.features)
        twice = replace(few, chosen=(*few.chosen, *few.chosen[:5]))
        assert candidate.network.hash == made(twice, network()).network.hash

    def test_a_multiple_is_estimated_in_as_many_passes(self, engine: Engine) -> None:
        update = NormUpdate(bundle(), network(), lesson(engine, 2 * FRAMES), 0.0, 1, Told())
        assert update.proposal.steps == 2 and update.proposal.frames == 2 * FRAMES
        once = NormUpdate(bundle(), network(), lesson(engine), 0.0, 1, Told())
        assert update.planning_flops == 2 * once.planning_flops > 0


class TestProposed:
    def test_what_would_gain_nothing_for_a_known_domain_is_settled_without_work(
        self, engine: Engine
    ) -> None:
        known = lesson(engine, domain=3, is_new=False, members=frozenset())
        told = Told()
        assert norm_updates(bundle(), network(3), [known], SURE, 1, told) == []
        assert told.lessons == [(3, None)]
        (update,) = norm_updates(bundle(), network(3), [known], 0.0, 1, told)
        assert update.proposal.gain > 0 and len(told.lessons) == 1

    def test_a_new_domain_gets_its_first_all_the_same(self, engine: Engine) -> None:
        told = Told()
        (update,) = norm_updates(bundle(), network(), [lesson(engine)], SURE, 1, told)
        assert update.proposal.gain == 0 and told.lessons == []


class TestGivenUp:
    def test_one_goes_and_one_comes_in_one_step_that_can_be_undone(self, engine: Engine) -> None:
        before = network(2, 5)
        head = before.head_in(2)
        weight = head.weight.copy()
        weight[1] += 1
        before = before.with_head_in(2, replace(head, weight=weight))
        after = made(lesson(engine, domain=6, gives_up=2), before).network
        assert list(after.domains) == [5, 6] and after.norm(6)
        for one, other in ((before, after), (after, before)):
            assert apply(one, between(one, other, 1, 0)).hash == other.hash

    def test_nobody_asks_for_the_one_that_is_gone(self, engine: Engine) -> None:
        """Neither its learner nor what says what to expect of the next frames."""
        images = faded(Patterns().draw(FRAMES, 8)[0])
        model = bundle_moments(bundle())
        shares = np.full((FRAMES, len(CLASSES)), 1 / len(CLASSES))
        place = model.displacements(engine.moments(images), shares).mean(axis=0)
        before = network().with_domains({2: Domain(place.astype(np.float32), FRAMES)})
        eyes, router = Eyes(bundle(), model, threads=1), Router(model)
        room = Classroom(bundle(), before, RuntimeConfig(), {}, {})
        sight = eyes.look(images, before, router)
        assert set(sight.domains.tolist()) == {2}
        room.observe(sight.features, sight.domains, [CLASSES[0]] * FRAMES, 0)
        after = before.with_domains({2: None, 3: before.domains[2]})
        room.adopt(after)
        sight = eyes.look(images, after, router)
        assert set(sight.domains.tolist()) == {3}
        assert len(room.observe(sight.features, sight.domains, [None] * FRAMES, 16)) == FRAMES
        room.label(2, CLASSES[0], sight.features[0], 0)  # of no use, and no harm
        assert {one.domain for one in room.levels(32, after)} == {OWN, 3}


def diverges(_: Renormalizer, *__: object) -> Renormalized:
    raise DivergenceError("Re-estimating gave weights that are not finite.", "", "")


def refuses(_: Renormalizer, *__: object) -> Renormalized:
    raise BundleError("The network answers with numbers that are not finite.", "", "")


ESTIMATE = Renormalizer.estimate


def blind(one: Renormalizer, frames: NDArray[np.uint8], blend: float) -> Renormalized:
    found = ESTIMATE(one, frames, blend)
    seen = np.full((FRAMES, bundle().manifest.features), np.nan, np.float32)
    return replace(found, features=seen)


@pytest.mark.parametrize("odd", [diverges, refuses, blind])
class TestOddFrames:
    """Statistics that nothing can be computed with are refused, and the run goes on."""

    def test_they_are_a_rejection(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, odd: object
    ) -> None:
        monkeypatch.setattr(Renormalizer, "estimate", odd)
        start = network()
        candidate = made(lesson(engine), start)
        verdict = candidate.verdict
        assert candidate.network is start and not verdict.accepted
        assert "of no use" in verdict.reason and "not finite" in verdict.reason
        assert verdict.held_out == 0 and np.isfinite(verdict.held_out_after)

    def test_they_end_no_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: object
    ) -> None:
        monkeypatch.setattr(Renormalizer, "estimate", odd)
        lived = Lived(tmp_path / "run", bundle(), RuntimeConfig(rungs=("norm",)))
        lived.run(clear_then_dim())
        row = lived.ledger.updates[0]
        assert (row.kept, row.stopped, row.delta_bytes) == (False, False, 0)
        kinds = [one.kind for one in lived.ledger.decisions if one.kind != "wants_labels"]
        assert kinds[:2] == ["fire", "reject"]


def test_a_graph_that_cannot_be_opened_is_no_matter_of_the_frames(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise BundleError("onnxruntime cannot use the graph.", "", "")

    monkeypatch.setattr(Renormalizer, "__init__", missing)
    with pytest.raises(BundleError):
        made(lesson(engine), network())


def test_in_a_run_every_frame_is_settled_once(tmp_path: Path) -> None:
    """Also where all are labelled: the learner of the new domain has each label once."""
    lived = Lived(tmp_path / "run", bundle(), RuntimeConfig(rungs=("norm",)))
    with lived.runtime() as runtime:
        for batch in clear_then_dim(labels=1.0):
            report = runtime.process(batch)
            if report.updates:
                break
        (update,) = report.updates
        assert update.kept
        samples = runtime._classroom._learners[1]._memory.samples(CLASSES)
    assert len(samples) == len(set(samples.frames.tolist())) == FRAMES


def test_a_late_label_of_a_member_teaches_the_new_domain(tmp_path: Path) -> None:
    """Also of one that the statistics are not from: the network looks at it again."""
    lived = Lived(tmp_path / "run", bundle(), RuntimeConfig(rungs=("norm",)))
    with lived.runtime() as runtime:
        for batch in clear_then_dim(labels=0.0):
            if runtime.process(batch).updates:
                break
        forgotten = [n for n in range(100, 120) if runtime._surroundings.recall(n) is None]
        assert forgotten and list(runtime.network.domains) == [1]
        known = [number for number in forgotten if runtime.label(number, CLASSES[0])]
        learners = runtime._classroom._learners
        assert known and runtime._teaching.looks == len(known)
        assert learners[1]._memory.samples(CLASSES).frames.tolist() == known
        assert len(learners[OWN]._memory) == 0


def clear_then_dim(labels: float = 0.3) -> Iterator[FrameBatch]:
    yield from stream(100, 1, labels)
    yield from fade(stream(100, 2, labels))
