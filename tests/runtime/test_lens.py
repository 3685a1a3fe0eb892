"""A lens brings the spectrum of frames back to that of the training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.bundle.domain import INPUT, LENS_RINGS, MAX_GAIN, Domain
from sel_edge.core.errors import BundleError
from sel_edge.data.corruptions import corrupt
from sel_edge.runtime.lens import Lens, fit_lens, lens_flops, spectrum
from sel_edge.runtime.network import bundle_network
from tests.runtime import trainable

SIDE = 24


def scenes(n: int, seed: int) -> NDArray[np.uint8]:
    """Images whose power falls with the square of the frequency, as that of photographs does."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    fall = 1 / np.maximum(np.hypot(rows, columns), 1 / SIDE)
    noise = np.fft.rfft2(rng.normal(size=(n, 3, SIDE, SIDE)))
    images = np.fft.irfft2(noise * fall, s=(SIDE, SIDE))
    images *= 40 / images.std()
    return np.moveaxis(np.clip(128 + images, 0, 255), 1, -1).astype(np.uint8)


NORMAL = spectrum(scenes(200, 0))


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.square(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("kind", ["gaussian_noise", "contrast", "blur"])
def test_what_was_done_to_frames_is_undone_in_part(kind: str) -> None:
    rng = np.random.default_rng(1)
    clear = scenes(64, 1)
    spoiled = corrupt(clear, kind, 5, rng)
    gains = fit_lens(NORMAL, spectrum(corrupt(scenes(32, 2), kind, 5, rng)))
    assert gains is not None
    assert distance(Lens(gains)(spoiled), clear) < 0.8 * distance(spoiled, clear)


def test_frames_as_they_were_need_no_lens() -> None:
    assert all(fit_lens(NORMAL, spectrum(scenes(32, seed))) is None for seed in range(3, 8))


def test_gains_of_one_change_nothing() -> None:
    frames = scenes(5, 9)
    assert np.array_equal(Lens(np.ones(LENS_RINGS, np.float32))(frames), frames)


def test_the_mean_of_every_channel_stays() -> None:
    frames = scenes(5, 10)
    found = Lens(np.full(LENS_RINGS, 0.3, np.float32))(frames)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), frames.mean(axis=(1, 2)), atol=0.6)


def test_frames_do_not_depend_on_their_neighbours() -> None:
    frames, lens = scenes(6, 11), Lens(np.linspace(2, 0, LENS_RINGS, dtype=np.float32))
    alone = np.concatenate([lens(frames[number : number + 1]) for number in range(6)])
    assert np.array_equal(lens(frames), alone)


def test_how_frames_lie_in_memory_makes_no_difference() -> None:
    frames, lens = scenes(20, 12), Lens(np.linspace(2, 0, LENS_RINGS, dtype=np.float32))
    for laid_out in (np.asfortranarray(frames), np.repeat(frames, 2, axis=0)[::2]):
        assert np.array_equal(lens(laid_out), lens(frames))
        assert np.array_equal(spectrum(laid_out), spectrum(frames))


def test_the_spectrum_is_the_mean_power_of_the_coefficients_of_a_ring() -> None:
    frames = scenes(40, 13)
    planes = np.moveaxis(frames.astype(np.float64), -1, 1)
    planes -= planes.mean(axis=(2, 3), keepdims=True)
    power = np.square(np.abs(np.fft.rfft2(planes))).mean(axis=(0, 1))
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
    ring = np.rint(radius / radius.max() * (LENS_RINGS - 1))
    there = np.unique(ring[radius > 0]).astype(int)
    expected = [power[(ring == number) & (radius > 0)].mean() for number in there]
    np.testing.assert_allclose(spectrum(frames)[there], expected, rtol=1e-3)


def test_signals_are_filtered_along_time() -> None:
    time = np.arange(128) / 128
    slow, fast = np.sin(2 * np.pi * 3 * time), np.sin(2 * np.pi * 60 * time)
    gains = np.ones(LENS_RINGS, np.float32)
    gains[LENS_RINGS // 2 :] = 0
    found = Lens(gains)(np.float32([[slow + fast]]))
    assert found.dtype == np.float32 and found.shape == (1, 1, 128)
    np.testing.assert_allclose(found[0, 0], slow, atol=1e-3)


@settings(max_examples=40)
@given(st.integers(2, 17), st.integers(2, 17), st.sampled_from([1, 3]), st.integers(0, 99))
def test_images_of_any_size(height: int, width: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (3, height, width, channels), np.uint8)
    found = spectrum(frames)
    assert found.shape == (LENS_RINGS,) and np.isfinite(found).all() and (found >= 0).all()
    gains = fit_lens(found, spectrum(frames // 8))
    filtered = Lens(np.ones(LENS_RINGS, np.float32) if gains is None else gains)(frames)
    assert filtered.shape == frames.shape and filtered.dtype == np.uint8
    assert lens_flops(frames.shape[1:]) > 0


@given(
    st.lists(st.floats(0, 1e12), min_size=LENS_RINGS, max_size=LENS_RINGS),
    st.lists(st.floats(0, 1e12), min_size=LENS_RINGS, max_size=LENS_RINGS),
)
def test_gains_are_bounded(one: list[float], other: list[float]) -> None:
    gains = fit_lens(np.array(one), np.array(other))
    if gains is not None:
        assert gains.dtype == np.float32 and (gains >= 0).all() and (gains <= MAX_GAIN).all()


@pytest.mark.parametrize(
    ("gains", "shift"),
    [
        (np.full(LENS_RINGS, -0.1), np.zeros(LENS_RINGS)),
        (np.full(LENS_RINGS, MAX_GAIN + 0.1), np.zeros(LENS_RINGS)),
        (np.full(LENS_RINGS, np.nan), np.zeros(LENS_RINGS)),
        (np.ones(LENS_RINGS), np.ones(LENS_RINGS)),
        (np.ones(LENS_RINGS - 1), np.zeros(LENS_RINGS - 1)),
    ],
)
def test_a_lens_that_comes_from_outside_is_checked(
    gains: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    network = bundle_network(trainable.bundle())
    norm = {INPUT: (gains.astype(np.float32), shift.astype(np.float32))}
    with pytest.raises(BundleError):
        network.with_domains({1: Domain(np.zeros(6, np.float32), 1, norm)})
