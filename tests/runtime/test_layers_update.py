"""Layers of a domain: what they learn, what it costs, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.errors import DivergenceError
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime import drill
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.deltas import apply, between
from sel_edge.runtime.drill import Timetable
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.moments import bundle_moments
from sel_edge.runtime.normal import Normal
from sel_edge.runtime.residue import Residue
from sel_edge.runtime.training import TrainingStep
from sel_edge.runtime.updates.layers import LayersLesson, LayersUpdate
from sel_edge.runtime.updates.update import Candidate
from sel_edge.runtime.work import together
from tests.frozen.write import freeze_bundle, freeze_trainable
from tests.runtime.climbing import DOMAIN, RUNGS, Place, coloured
from tests.runtime.faded import fade
from tests.runtime.living import Lived, stream
from tests.runtime.test_adaptation import clear_then_dim

Told = list[tuple[LayersLesson, NDArray[np.float32]]]


@pytest.fixture(scope="module")
def climbing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of `tests.runtime.trainable`, as the compiler makes it by now."""
    return freeze_trainable(tmp_path_factory.mktemp("climbing"))


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of `tests.runtime.faded`, as the compiler makes it by now."""
    return freeze_bundle(tmp_path_factory.mktemp("gratings"))


@pytest.fixture(scope="module")
def place(climbing: Bundle) -> Place:
    return Place(climbing)


def update(
    place: Place, rung: str, lesson: LayersLesson | None = None, told: Told | None = None
) -> LayersUpdate:
    def settle(lesson: LayersLesson, features: NDArray[np.float32]) -> None:
        (told if told is not None else []).append((lesson, features))

    return LayersUpdate(
        place.bundle,
        place.network,
        lesson or place.lesson(rung),
        partial(place.activations.of, rung, DOMAIN),
        1,
        settle,
    )


def made(of: LayersUpdate) -> Candidate[NDArray[np.float32]]:
    """The candidate, within what was promised."""
    work, demands = of.work(), []
    while True:
        try:
            demands.append(next(work))
        except StopIteration as done:
            spent, promised = together(*demands), of.proposal.demand
            assert spent.executed_flops <= promised.executed_flops
            assert spent.moved_bytes <= promised.moved_bytes
            assert spent.peak_bytes <= promised.peak_bytes
            if done.value.verdict.accepted:  # nothing that was promised was left out
                assert spent == promised
            return done.value


@pytest.mark.parametrize("rung", RUNGS)
class TestKept:
    def test_the_engine_sees_what_the_memory_is_told(self, place: Place, rung: str) -> None:
        """Of the frames that were learned from, to the rounding of latents; and it is new."""
        told: Told = []
        one = update(place, rung, told=told)
        candidate = made(one)
        assert candidate.verdict.accepted, candidate.verdict.reason
        one.kept(candidate)
        ((lesson, features),) = told
        assert lesson.rung == rung and np.array_equal(features, candidate.attempt)
        engine = Engine(place.bundle, 1, candidate.network.effective(DOMAIN))
        seen, scale = engine.features(place.frames), np.abs(features).max()
        np.testing.assert_allclose(features, seen, atol=0.02 * scale)
        assert np.abs(features - place.features).max() > 0.1 * scale

    def test_other_frames_of_the_domain_are_told_apart_better(
        self, place: Place, rung: str
    ) -> None:
        frames, classes = coloured(200, seed=5)
        right = []
        for network in (place.network, made(update(place, rung)).network):
            features = Engine(place.bundle, 1, network.effective(DOMAIN)).features(frames)
            answers = network.head_in(DOMAIN).logits(features).argmax(axis=1)
            right.append(float(np.mean(answers == classes)))
        assert right[1] > right[0] + 0.1

    def test_no_other_domain_changes(self, place: Place, rung: str) -> None:
        network = made(update(place, rung)).network
        assert network.body_hash(OWN) == place.network.body_hash(OWN)
        assert network.head.hash == place.network.head.hash
        assert network.body_hash(DOMAIN) != place.network.body_hash(DOMAIN)
        delta = between(place.network, network, 1, 90)
        assert apply(place.network, delta).hash == network.hash

    def test_it_is_the_same_every_time(self, place: Place, rung: str) -> None:
        one, other = made(update(place, rung)), made(update(place, rung))
        assert one.network.hash == other.network.hash
        assert one.attempt.tobytes() == other.attempt.tobytes()


class TestRefused:
    @pytest.mark.parametrize("rung", RUNGS)
    def test_what_is_proved_by_no_label_changes_nothing(self, place: Place, rung: str) -> None:
        """Where nothing was wrong, nothing can become better."""
        before, lesson = place.network.hash, place.lesson(rung)
        nothing = replace(lesson, losses=np.zeros_like(lesson.losses))
        candidate = made(update(place, rung, nothing))
        assert not candidate.verdict.accepted and "not proved better" in candidate.verdict.reason
        assert candidate.verdict.held_out == nothing.fresh.sum()
        assert candidate.network.hash == place.network.hash == before

    def test_numbers_that_are_not_finite_are_a_rejection(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drill, "LEARNING_RATE", 1e30)
        candidate = made(update(place, "tail"))
        assert not candidate.verdict.accepted and "not finite" in candidate.verdict.reason
        assert candidate.network is place.network and candidate.verdict.held_out == 0

    def test_one_that_diverges_at_the_end_is_a_rejection_too(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = []

        def late(self: TrainingStep, *_: object, **__: object) -> None:
            steps.append(self)
            raise DivergenceError("Not finite.", "", "")

        monkeypatch.setattr(TrainingStep, "look", late)
        candidate = made(update(place, "tail"))
        assert steps and candidate.network is place.network and not candidate.verdict.accepted

    def test_latents_that_are_gone_are_a_rejection_without_a_step(self, place: Place) -> None:
        one = update(place, "tail", place.forgetful("tail"))
        with pytest.raises(StopIteration) as done:
            next(one.work())
        assert not done.value.value.verdict.accepted
        assert done.value.value.network is place.network


class TestMemory:
    def test_batches_that_do_not_fit_are_paid_for_at_every_use(self, place: Place) -> None:
        rung, folds = place.bundle.manifest.rungs["tail"], np.arange(90) // 4
        whole, none = Timetable(rung, folds), Timetable(rung, folds, cache_bytes=0)
        assert all(lot.stays for lot in whole.lots) and not any(lot.stays for lot in none.lots)
        assert none.demand().executed_flops > whole.demand().executed_flops
        assert none.demand().peak_bytes < whole.demand().peak_bytes

    def test_what_stays_ready_changes_costs_and_nothing_else(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = made(update(place, "tail")).network.hash
        room = 3 * place.bundle.manifest.rungs["tail"].cache_bytes
        monkeypatch.setattr(
            "sel_edge.runtime.updates.layers.Timetable", partial(Timetable, cache_bytes=room)
        )
        assert made(update(place, "tail")).network.hash == expected

    def test_every_sample_lies_in_one_batch_of_its_half(self, place: Place) -> None:
        folds = np.random.default_rng(0).integers(0, 4, 90)
        lots = Timetable(place.bundle.manifest.rungs["tail"], folds).lots
        assert sorted(np.concatenate([lot.at for lot in lots]).tolist()) == list(range(90))
        assert all((folds[lot.at] % 2 == lot.half).all() for lot in lots)


def test_what_is_normal_is_no_lesson(place: Place) -> None:
    head, lesson = place.network.head_in(DOMAIN), place.lesson("tail")

    def of(level: float, samples: Samples = lesson.samples) -> LayersLesson | None:
        residue = Residue(samples, lesson.fresh, Normal(level, 0.3, 0.01))
        return LayersLesson.of(DOMAIN, "tail", residue, head, 90)

    found = of(0.0)
    assert found is not None and found.excess > 0 and "was 0.0" in found.reason
    assert of(found.excess + 0.1) is None


def test_eyes_tell_the_latents_of_other_domains_and_none_by_default(place: Place) -> None:
    model = bundle_moments(place.bundle)
    told = Eyes(place.bundle, model, 1, rungs=("tail", "full"))
    silent, network = Eyes(place.bundle, model, 1), place.network
    sight, plain = (eyes.look(place.frames, network, _Always()) for eyes in (told, silent))
    assert plain.latents == {} and set(sight.latents) == {"tail", "full"}
    assert sight.features.tobytes() == plain.features.tobytes()
    engine = Engine(place.bundle, 1, network.effective(DOMAIN))
    own = np.arange(len(place.frames)) % 2 == 0
    for rung, found in sight.latents.items():
        assert np.array_equal(found[~own], engine.latents(place.frames[~own], rung))
        assert not found[own].any()


class _Always:
    """A router that takes every other frame for one of the domain."""

    def route(self, moments: NDArray[np.float32], _: object) -> NDArray[np.int64]:
        return np.arange(len(moments)) % 2 * DOMAIN

    def flops(self, *_: int) -> int:
        return 0


def dim_then_tilted(count: int = 500) -> Iterator[FrameBatch]:
    """Dim frames become a domain, in which the camera is tilted."""
    yield from clear_then_dim(1.0)
    yield from fade(stream(count, 4, 1.0, tilted=True))


class TestInARun:
    """The ladder is climbed in the domain of dim frames, from `head` on."""

    def test_rungs_come_one_after_the_other_and_help(
        self, gratings: Bundle, tmp_path: Path
    ) -> None:
        lived = Lived(tmp_path / "run", gratings, RuntimeConfig(rungs=("norm", "head", *RUNGS)))
        with lived.runtime() as runtime:
            for batch in dim_then_tilted():
                runtime.process(batch)
            network = runtime.network
            samples = runtime._classroom._learners[DOMAIN].labels(network.classes)
            remembered = [runtime._surroundings.recall(n) for n in samples.frames.tolist()]
            pairs = [
                (feature, seen)
                for feature, seen in zip(samples.features, remembered, strict=True)
                if seen is not None and seen.domain == DOMAIN
            ]
            numbers = np.arange(runtime._frames)
            there = {
                rung: runtime._surroundings.has_latents(rung, DOMAIN, numbers)
                for rung in ("tail", "full")
            }
        kept = {row.rung: row.frame for row in lived.ledger.updates if row.kept}
        rows = [row for row in lived.ledger.updates if row.domain == DOMAIN]
        rungs = list(dict.fromkeys(row.rung for row in rows if row.kept))
        assert rungs == ["norm", "head", "tail", "full"]  # this network has no `deep`
        for row in lived.ledger.updates:
            if row.kept and row.rung in RUNGS:
                assert row.held_out >= 64 and row.held_out_after < row.held_out_before
                assert row.executed_flops <= row.predicted_flops and row.anchors_after is None
        # What starts behind trained layers is forgotten; statistics under them stay as they are.
        assert not there["tail"][: kept["full"]].any() and there["full"][: kept["full"]].any()
        assert all(row.frame <= kept["tail"] for row in rows if row.rung == "norm")
        engine, lens = Engine(gratings, 1, network.effective(DOMAIN)), network.lens(DOMAIN)
        frames = np.stack([seen.frame for _, seen in pairs])
        features = engine.features(frames if lens is None else lens(frames))
        for (told, seen), feature in zip(pairs, features, strict=True):
            np.testing.assert_allclose(told, seen.feature, atol=1e-6)
            np.testing.assert_allclose(told, feature, atol=0.02 * np.abs(features).max())
        assert len(pairs) > 64

    def test_a_later_session_goes_on_where_it_was(self, gratings: Bundle, tmp_path: Path) -> None:
        config = RuntimeConfig(rungs=("norm", "head", "tail"))
        lived = Lived(tmp_path / "run", gratings, config)
        lived.run(dim_then_tilted())
        assert "tail" in {row.rung for row in lived.ledger.updates if row.kept}
        with lived.runtime() as runtime:
            assert runtime._adaptation._climb.rung(DOMAIN) is None
        further = Lived(lived.path, gratings, RuntimeConfig(rungs=("norm", "head", *RUNGS)))
        with further.runtime() as runtime:
            assert runtime._adaptation._climb.rung(DOMAIN) == "full"

    def test_with_the_default_rungs_nothing_is_kept(self, gratings: Bundle, tmp_path: Path) -> None:
        lived = Lived(tmp_path / "run", gratings)
        with lived.runtime() as runtime:
            for batch in dim_then_tilted(200):
                runtime.process(batch)
            assert runtime.network.domains and len(runtime._surroundings._activations) == 0
        assert {row.rung for row in lived.ledger.updates} == {"norm", "head"}
