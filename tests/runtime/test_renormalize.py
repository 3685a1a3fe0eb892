"""The rung `norm`: statistics of new frames in place of those of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import BundleError, ConfigError, DataError, DivergenceError
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.renormalize import Renormalizer
from tests.runtime.trainable import FRAMES, HEAD, bundle, engine, images, latents, same, training
from tests.runtime.trainable import labels as answers


def estimator(parameters: dict[str, Any] | None = None) -> Renormalizer:
    return Renormalizer(
        bundle(), bundle().parameters() if parameters is None else parameters, threads=1
    )


def pale(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a third of the contrast, and brighter."""
    return (frames / 3 + 150).astype(np.uint8)


def normalized() -> set[str]:
    layers = bundle().manifest.rungs["norm"].layers
    return {name for layer in layers for name in (layer.weight, layer.bias)}


def test_a_blend_of_nothing_changes_nothing() -> None:
    own = bundle().parameters()
    found = estimator().estimate(pale(images(FRAMES)), blend=0.0)
    assert set(found) == normalized()
    for name, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, own[name], rtol=1e-5, atol=1e-6)


def test_frames_as_in_training_change_less_than_others() -> None:
    again, own = estimator(), bundle().parameters()
    usual, other = (again.estimate(frames) for frames in (images(FRAMES), pale(images(FRAMES))))

    def distance(found: Mapping[str, NDArray[np.float32]]) -> float:
        return sum(float(np.square(value - own[name]).sum()) for name, value in found.items())

    assert 2 * distance(usual) < distance(other)


def test_the_blend_goes_from_the_old_to_the_new() -> None:
    again, own = estimator(), bundle().parameters()
    half, whole = (again.estimate(pale(images(FRAMES)), blend) for blend in (0.5, 1.0))
    name = "body.0.0.bias"
    assert (np.abs(half[name] - own[name]) < np.abs(whole[name] - own[name])).all()


def test_the_network_sees_pale_frames_as_it_saw_clear_ones() -> None:
    """On average, and on other frames than those that were estimated from."""
    adapted, unseen = Engine(bundle(), threads=1), images(FRAMES, FRAMES)
    adapted.load(estimator().estimate(pale(images(FRAMES))))
    clear = engine().features(unseen).mean(axis=0)
    before, after = (e.features(pale(unseen)).mean(axis=0) for e in (engine(), adapted))
    assert np.abs(after - clear).mean() < 0.6 * np.abs(before - clear).mean()


def test_it_goes_on_from_the_weights_as_they_are_now() -> None:
    step = training("full")
    for _ in range(5):
        step.step(step.prepare(latents("full")), answers(8), learning_rate=0.05)
    learned = step.applied(bundle().parameters())
    kept = {name: value.copy() for name, value in learned.items()}
    again = estimator(learned)
    for name, value in again.estimate(images(FRAMES), blend=0.0).items():
        np.testing.assert_allclose(value, learned[name], rtol=1e-5, atol=1e-6)
    assert same(learned, kept)
    new, name = again.estimate(images(FRAMES)), "body.2.conv2.bias"
    assert np.abs(new[name] - estimator().estimate(images(FRAMES))[name]).max() > 0.01


def test_parameters_that_are_left_out_are_the_bundles() -> None:
    frames = pale(images(FRAMES))
    assert same(estimator({}).estimate(frames), estimator().estimate(frames))


def test_frames_without_contrast_give_finite_weights() -> None:
    found = estimator().estimate(np.zeros_like(images(FRAMES)))
    assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("size", [1e30, 3e38])
def test_statistics_that_overflow_are_not_used(size: float) -> None:
    huge = {"body.0.0.weight": np.full((8, 3, 3, 3), size, np.float32)}
    with pytest.raises(DivergenceError, match="left as they were"):
        estimator(huge).estimate(images(FRAMES))


@pytest.mark.parametrize("count", [0, 1, FRAMES - 1, FRAMES + 1])
def test_another_number_of_frames_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"{FRAMES} frames and a blend from 0 to 1"):
        estimator().estimate(images(count))


@pytest.mark.parametrize("blend", [-0.1, 1.1, np.nan, np.inf])
def test_a_blend_out_of_range_is_refused(blend: float) -> None:
    with pytest.raises(DataError, match="blend"):
        estimator().estimate(images(FRAMES), blend)


@pytest.mark.parametrize(
    "frames", [images(FRAMES)[..., :1], images(FRAMES).astype(np.float32), images(FRAMES)[:, 1:]]
)
def test_frames_of_another_kind_are_refused(frames: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="made for uint8"):
        estimator().estimate(frames)


def test_a_bundle_without_the_rung_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="has no rung norm"):
        Renormalizer(bundle, bundle.parameters())


@pytest.mark.parametrize(
    "parameters",
    [
        {"nothing": np.zeros(3, np.float32)},
        {HEAD: np.zeros((5, 11), np.float32)},
        {"fc.bias": np.zeros(5)},
        {"fc.bias": np.full(5, np.nan, np.float32)},
    ],
)
def test_parameters_of_another_network_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        estimator(parameters)
