"""Moments of frames: what they are, when they have shifted, and what does not count as a shift."""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.engine import MAX_BATCH, Engine
from sel_edge.runtime.moments import (
    LIMIT_SIGMA,
    MIN_FRAMES,
    WINDOW_FRAMES,
    MomentModel,
    ShiftMonitor,
    bundle_moments,
    fit_moments,
    input_moments,
)
from sel_edge.runtime.preprocess import Preprocessor
from tests.runtime.conftest import Patterns

CLASSES_N, CHANNELS, TICK = 6, 10, 8


class World:
    """Frames of classes whose channels differ in mean and spread, like those of a stem."""

    def __init__(self, seed: int = 0, apart: float = 0.2) -> None:
        rng = np.random.default_rng(seed)
        self.mixing = rng.normal(0, 1, (CHANNELS, CHANNELS)) / 3
        self.means = rng.normal(0, apart, (CLASSES_N + 1, CHANNELS)) @ self.mixing
        self.spreads = rng.normal(0, 0.06, (CLASSES_N + 1, CHANNELS))

    def draw(self, labels, rng, shift=0.0, scale=1.0):
        """Moments float32 [n, 2, C] and probabilities that are mostly right."""
        n = len(labels)
        mean = self.means[labels] + rng.normal(0, 1, (n, CHANNELS)) @ self.mixing + shift
        deviation = scale * np.exp(self.spreads[labels] + rng.normal(0, 0.3, (n, CHANNELS)))
        moments = np.stack([mean, mean**2 + deviation**2], axis=1).astype(np.float32)
        logits = rng.normal(0, 1, (n, CLASSES_N))
        known = labels < CLASSES_N
        logits[known, labels[known]] += 4
        return moments, softmax(logits)


WORLD = World()


@pytest.fixture(scope="module")
def model() -> MomentModel:
    labels = np.repeat(np.arange(CLASSES_N), 20)
    return fit_moments(WORLD.draw(labels, np.random.default_rng(1))[0], labels, CLASSES_N)


def drawn(model, labels, rng, **change):
    """Displacements of frames with these labels."""
    return model.displacements(*WORLD.draw(labels, rng, **change))


def known(rng, frames):
    """Labels of frames of all known classes."""
    return rng.integers(0, CLASSES_N, frames)


def most(model, labels, **change) -> float:
    """The largest sigma over a stream of these labels."""
    monitor, found = ShiftMonitor(model), 0.0
    rng = np.random.default_rng(2)
    for start in range(0, len(labels), TICK):
        monitor.add(drawn(model, labels[start : start + TICK], rng, **change))
        found = max(found, monitor.sigma)
    return found


def delay(model, **change) -> int:
    """Frames from a change to its notice."""
    rng, monitor = np.random.default_rng(3), ShiftMonitor(model)
    monitor.add(drawn(model, known(rng, 200), rng))
    for frames in range(TICK, 400, TICK):
        monitor.add(drawn(model, known(rng, TICK), rng, **change))
        if monitor.shifted:
            return frames
    return 400


class TestMonitor:
    def test_20000_frames_of_no_change(self, model):
        labels = np.random.default_rng(4).integers(0, CLASSES_N, 20_000)
        assert most(model, labels) < LIMIT_SIGMA

    def test_frames_sorted_by_class(self, model):
        assert most(model, np.repeat(np.arange(CLASSES_N), 400)) < LIMIT_SIGMA

    def test_a_class_that_nobody_knows(self, model):
        assert most(model, np.full(400, CLASSES_N)) < LIMIT_SIGMA

    @pytest.mark.parametrize("change", [{"shift": 2.0}, {"shift": -2.0}, {"scale": 0.3}])
    def test_a_shift_is_noticed_within_a_window(self, model, change):
        assert delay(model, **change) <= WINDOW_FRAMES

    def test_a_larger_shift_is_noticed_sooner(self, model):
        assert delay(model, scale=0.1) < delay(model, scale=0.4) <= WINDOW_FRAMES

    def test_a_few_frames_say_nothing(self, model):
        rng, monitor = np.random.default_rng(0), ShiftMonitor(model)
        monitor.add(drawn(model, np.zeros(MIN_FRAMES - 1, int), rng, scale=0.01))
        assert (monitor.sigma, monitor.shifted) == (0.0, False)
        monitor.add(drawn(model, np.zeros(1, int), rng, scale=0.01))
        assert monitor.shifted
        assert monitor.reason() == f"moments of stem moved {monitor.sigma:.1f} sigma"

    def test_it_ends_only_well_below_the_limit(self, model):
        rng, ticks = np.random.default_rng(0), []
        monitor = ShiftMonitor(model)
        for scale in np.concatenate([np.linspace(1, 0.2, 100), np.linspace(0.2, 1, 100)]):
            monitor.add(drawn(model, known(rng, TICK), rng, scale=scale))
            ticks.append((monitor.sigma, monitor.shifted))
        started = next(sigma for sigma, shifted in ticks if shifted)
        ended = next(
            sigma
            for (_, before), (sigma, after) in itertools.pairwise(ticks)
            if before and not after
        )
        assert ended < 0.8 * LIMIT_SIGMA <= LIMIT_SIGMA <= started

    def test_in_a_domain_that_is_known_its_frames_are_normal_and_others_are_not(self, model):
        rng, monitor = np.random.default_rng(0), ShiftMonitor(model)
        learned = drawn(model, known(rng, WINDOW_FRAMES), rng, scale=0.2)
        monitor.add(learned)
        assert monitor.shifted
        monitor.restart()
        place = learned.mean(axis=0)
        monitor.add(drawn(model, known(rng, WINDOW_FRAMES), rng, scale=0.2) - place)
        assert not monitor.shifted
        monitor.add(drawn(model, known(rng, WINDOW_FRAMES), rng) - place)
        assert monitor.shifted

    def test_frames_of_several_known_domains_are_normal_together(self, model):
        rng, monitor = np.random.default_rng(0), ShiftMonitor(model)
        changes = [{}, {"shift": 2.0}, {"scale": 0.2}]
        places = [drawn(model, known(rng, 600), rng, **c).mean(axis=0) for c in changes]
        for number in rng.integers(0, len(changes), 300):
            monitor.add(drawn(model, known(rng, 1), rng, **changes[number]) - places[number])
            assert not monitor.shifted

    def test_only_the_newest_frames_count(self, model):
        rng, one, other = np.random.default_rng(0), ShiftMonitor(model), ShiftMonitor(model)
        one.add(drawn(model, known(rng, 200), rng, scale=0.2))
        newest = drawn(model, known(rng, WINDOW_FRAMES), rng)
        one.add(newest)
        other.add(newest)
        assert one.sigma == other.sigma

    def test_after_a_restart_only_frames_to_come_count(self, model):
        rng, monitor = np.random.default_rng(0), ShiftMonitor(model)
        monitor.add(drawn(model, known(rng, WINDOW_FRAMES), rng, scale=0.2))
        monitor.restart()
        assert (monitor.sigma, monitor.shifted) == (0.0, False)
        monitor.add(drawn(model, known(rng, MIN_FRAMES - 1), rng, scale=0.2))
        assert (monitor.sigma, monitor.shifted) == (0.0, False)
        monitor.add(drawn(model, known(rng, 1), rng, scale=0.2))
        assert monitor.shifted

    @given(st.lists(st.integers(0, 90), min_size=1, max_size=12))
    @settings(max_examples=20)
    def test_it_says_what_its_definition_says_of_the_newest_frames(self, model, sizes):
        rng, monitor = np.random.default_rng(sum(sizes)), ShiftMonitor(model)
        seen = np.zeros((0, len(model.normal)))
        for size in sizes:
            change = {"scale": 0.5} if size % 2 else {}
            part = drawn(model, known(rng, size), rng, **change)
            monitor.add(part)
            seen = np.concatenate([seen, part])[-WINDOW_FRAMES:]
            if len(seen) >= MIN_FRAMES:
                moved = model.distance(seen.mean(axis=0), len(seen), model.normal, model.frames)
                squares = np.square(model.scaled(seen)).sum(axis=1)
                expected = max(model.sigma(moved), model.scatter.sigma(squares))
                assert monitor.sigma == pytest.approx(expected, abs=1e-9)

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    @settings(max_examples=20)
    def test_ticks_of_any_size_give_the_same(self, sizes):
        labels = np.random.default_rng(5).integers(0, CLASSES_N, sum(sizes))
        moments, shares = WORLD.draw(labels, np.random.default_rng(6))
        anchors = np.repeat(np.arange(CLASSES_N), 5)
        model = fit_moments(WORLD.draw(anchors, np.random.default_rng(7))[0], anchors, CLASSES_N)
        one, many = ShiftMonitor(model), ShiftMonitor(model)
        placed = model.displacements(moments, shares)
        one.add(placed)
        for end, size in zip(np.cumsum(sizes), sizes, strict=True):
            many.add(placed[end - size : end])
        assert many.sigma == pytest.approx(one.sigma)
        one.add(placed[:TICK])
        many.add(placed[:TICK])
        assert many.sigma == pytest.approx(one.sigma)


class TestModel:
    def test_the_anchors_are_normal(self, model):
        labels = np.repeat(np.arange(CLASSES_N), 20)
        moments = WORLD.draw(labels, np.random.default_rng(1))[0]
        placed = model.displacements(moments, np.eye(CLASSES_N)[labels])
        np.testing.assert_allclose(placed.mean(axis=0), model.normal, atol=1e-9)

    def test_classes_that_the_bundle_lacks_are_taken_for_the_mean_of_all(self, model):
        moments, shares = WORLD.draw(np.zeros(9, int), np.random.default_rng(0))
        wider = np.concatenate([shares / 2, np.full((9, 2), 0.25)], axis=1)
        mean = model.centres[:-1].mean(axis=0)
        np.testing.assert_allclose(model.centres[-1], mean)
        moved = model.displacements(moments, shares) - model.displacements(moments, wider)
        np.testing.assert_allclose(moved, mean / 2 - shares / 2 @ model.centres[:-1], atol=1e-9)

    def test_chance_is_about_no_sigma(self, model):
        """Windows that differ as the model says are, in sigma, what a normal number is."""
        rng = np.random.default_rng(0)
        colour = np.linalg.inv(model.whiten)
        variance = 1 / 64 + 1 / 100 + model.content
        sigmas = [
            model.sigma(
                model.distance(
                    colour @ (rng.standard_normal(2 * CHANNELS) * np.sqrt(variance)),
                    64,
                    model.normal,
                    100,
                )
            )
            for _ in range(2000)
        ]
        assert np.mean(np.array(sigmas) > 1) == pytest.approx(NormalDist().cdf(-1), abs=0.03)
        assert np.mean(np.array(sigmas) > 2) == pytest.approx(NormalDist().cdf(-2), abs=0.015)

    def test_a_channel_that_never_varies_does_no_harm(self):
        labels = np.repeat(np.arange(3), 5)
        moments = np.random.default_rng(0).normal(1, 0.1, (15, 2, 4)).astype(np.float32)
        moments[:, 1] += moments[:, 0] ** 2
        moments[:, :, 2] = 0.0
        model = fit_moments(moments, labels, 3)
        placed = model.displacements(moments, np.eye(3)[labels])
        assert np.isfinite(model.whiten @ placed.T).all()

    def test_two_frames_of_two_classes_are_enough(self):
        moments = np.random.default_rng(0).random((4, 2, 8), np.float32) + [[[0]], [[1]]] * 2
        labels = np.array([0, 0, 1, 1])
        model = fit_moments(moments.astype(np.float32), labels, 2)
        assert np.isfinite(model.distance(model.normal + 1, 16, model.normal, 4))
        assert model.flops(8) > 0


class TestPoints:
    @pytest.mark.parametrize("apart", [0.0, 0.2, 3.0])
    @pytest.mark.parametrize("shift", [0.0, 2.0])
    def test_frames_of_one_domain_vary_by_about_1_in_every_direction(self, apart, shift):
        """However far apart the classes are, and wherever the domain is."""
        world, labels = World(seed=4, apart=apart), np.arange(6000) % CLASSES_N
        moments = world.draw(labels, np.random.default_rng(1))[0]
        model = fit_moments(moments, labels, CLASSES_N)
        points = model.points(world.draw(labels, np.random.default_rng(2), shift=shift)[0])
        directions = np.linalg.eigvalsh(np.cov(points.T))
        assert directions.min() > 0.7 and directions.max() < 1.3

    def test_a_direction_in_which_frames_hardly_differ_does_not_count_more(self):
        labels = np.arange(6000) % CLASSES_N
        model = fit_moments(WORLD.draw(labels, np.random.default_rng(1))[0], labels, CLASSES_N)
        points = model.points(WORLD.draw(labels, np.random.default_rng(2))[0])
        directions = np.linalg.eigvalsh(np.cov(points.T))
        assert np.linalg.cond(WORLD.mixing) > 50
        assert directions.min() < 0.5 and directions.max() < 1.3

    def test_few_anchors_are_enough_for_that_on_average(self, model):
        labels = np.arange(3000) % CLASSES_N
        points = model.points(WORLD.draw(labels, np.random.default_rng(2))[0])
        assert points.var(axis=0).mean() == pytest.approx(1, abs=0.3)

    def test_they_are_displacements_from_the_mean_of_all_classes(self, model):
        moments = WORLD.draw(np.arange(CLASSES_N), np.random.default_rng(0))[0]
        unknown = np.eye(CLASSES_N + 1)[np.full(CLASSES_N, CLASSES_N)]
        expected = model.scaled(model.displacements(moments, unknown))
        np.testing.assert_allclose(model.points(moments), expected, atol=1e-9)

    def test_a_place_lies_where_the_frames_of_its_domain_do(self, model):
        rng, labels = np.random.default_rng(0), np.arange(3000) % CLASSES_N
        moments, shares = WORLD.draw(labels, rng, shift=1.0)
        place = model.displacements(moments, shares).mean(axis=0)
        found = model.points(moments).mean(axis=0)
        np.testing.assert_allclose(model.scaled(place), found, atol=0.1)
        assert np.linalg.norm(found) > 1

    def test_frames_are_nearest_to_their_own_place(self, model):
        rng, labels = np.random.default_rng(0), np.arange(600) % CLASSES_N
        places = np.stack([model.normal, drawn(model, labels, rng, shift=1.0).mean(axis=0)])
        points = model.points(WORLD.draw(labels, rng, shift=1.0)[0])
        distances = np.square(points[:, None] - model.scaled(places)).sum(axis=2)
        assert (distances.argmin(axis=1) == 1).mean() > 0.9


class TestObservation:
    def test_without_an_output_they_are_the_inputs(self, bundle: Bundle, patterns: Patterns):
        frames = patterns.draw(MAX_BATCH + 3, seed=0)[0]
        engine = Engine(bundle, threads=1)
        seen = engine.observe(frames)
        pixels = Preprocessor(bundle.manifest.preprocessing)(frames).astype(np.float64)
        np.testing.assert_allclose(seen.moments[:, 0], pixels.mean(axis=(2, 3)), atol=1e-5)
        np.testing.assert_allclose(seen.moments[:, 1], (pixels**2).mean(axis=(2, 3)), rtol=1e-4)
        features, logits = engine.infer(frames)
        np.testing.assert_array_equal(seen.features, features)
        np.testing.assert_array_equal(seen.logits, logits)
        assert engine.moment_flops == 0

    def test_of_signals(self):
        found = input_moments(np.arange(12, dtype=np.float32).reshape(1, 2, 6))
        np.testing.assert_allclose(found[0, 0], [2.5, 8.5])
        assert found.shape == (1, 2, 2)

    def test_a_bundle_without_them_has_a_model_all_the_same(
        self, bundle: Bundle, patterns: Patterns
    ):
        model, engine = bundle_moments(bundle), Engine(bundle, threads=1)
        monitor = ShiftMonitor(model)
        seen = engine.observe(patterns.draw(WINDOW_FRAMES, seed=5)[0])
        monitor.add(model.displacements(seen.moments, softmax(seen.logits)))
        assert not monitor.shifted
        dark = engine.observe(patterns.draw(WINDOW_FRAMES, seed=6)[0] // 4)
        monitor.add(model.displacements(dark.moments, softmax(dark.logits)))
        assert monitor.shifted
