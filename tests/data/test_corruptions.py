"""Corruptions keep shape and type, grow with severity, and agree with independent references."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.data.corruptions import BLUR_SIGMA_PIXELS, CORRUPTIONS, JPEG_QUALITY, corrupt

kinds = st.sampled_from(tuple(CORRUPTIONS))
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(
    st.integers(0, 5), st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 3))
)


def scenes(n: int, side: int, channels: int, seed: int) -> np.ndarray:
    """Images with slopes, edges and texture, as photographs have them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    angle, phase, edge = rng.uniform(0, 2 * np.pi, (3, n, 1, 1, channels))
    slope = np.cos(angle) * rows[..., None] + np.sin(angle) * columns[..., None]
    waves = np.sin(9 * slope + phase) + np.sign(np.sin(3 * slope + edge))
    return np.clip(120 + 50 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@given(shape=shapes, kind=kinds, severity=st.integers(1, 5), seed=seeds)
def test_shape_type_input_and_repeatability(
    shape: tuple[int, ...], kind: str, severity: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    before = images.copy()
    first, second = (corrupt(images, kind, severity, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(images, before)


@settings(deadline=None)
@given(
    kind=kinds, seed=seeds, side=st.sampled_from((8, 28, 32, 48)), channels=st.sampled_from((1, 3))
)
def test_severity_grows(kind: str, seed: int, side: int, channels: int) -> None:
    images = scenes(12, side, channels, seed)
    distances = [
        distance(corrupt(images, kind, severity, np.random.default_rng(seed)), images)
        for severity in range(1, 6)
    ]
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert distances[4] > 1.3 * distances[0]


@given(kind=st.sampled_from(("blur", "contrast", "brightness", "jpeg", "pixelate")), seed=seeds)
def test_kinds_without_chance_treat_every_image_alone(kind: str, seed: int) -> None:
    images = scenes(4, 16, 3, seed)
    together = corrupt(images, kind, 3, np.random.default_rng(0))
    alone = [corrupt(image[None], kind, 3, np.random.default_rng(1))[0] for image in images]
    assert np.abs(together.astype(int) - np.stack(alone)).max() <= 1


@given(
    seed=seeds,
    severity=st.integers(1, 5),
    side=st.sampled_from((16, 20, 32)),
    channels=st.sampled_from((1, 3)),
)
def test_jpeg_is_what_an_encoder_does(seed: int, severity: int, side: int, channels: int) -> None:
    images = scenes(20, side, channels, seed)
    mine = corrupt(images, "jpeg", severity, np.random.default_rng(0))
    reference = np.stack([through_pillow(image, JPEG_QUALITY[severity - 1]) for image in images])
    # Encoders compute in fixed point, so a coefficient on the edge between two steps may fall on
    # the other side: a few blocks differ, the others agree but for rounding.
    assert (np.abs(mine.astype(int) - reference) <= 3).mean() > 0.9
    assert distance(mine, reference) < 0.2 * distance(images, reference)


def through_pillow(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        file, "JPEG", quality=quality, subsampling=0
    )
    return np.asarray(Image.open(file)).reshape(image.shape)


@pytest.mark.parametrize("severity", range(1, 6))
def test_blur_equals_a_weighted_sum_of_neighbours(severity: int) -> None:
    images = scenes(2, 32, 3, severity).astype(np.float64)
    sigma = BLUR_SIGMA_PIXELS[severity - 1]
    radius = 16
    padded = np.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="edge")
    expected, total = np.zeros_like(images), 0.0
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            weight = np.exp(-(row**2 + column**2) / (2 * sigma**2))
            shifted = padded[:, radius + row :, radius + column :][:, :32, :32]
            expected, total = expected + weight * shifted, total + weight
    blurred = corrupt(images.astype(np.uint8), "blur", severity, np.random.default_rng(0))
    assert np.abs(blurred - expected / total).max() < 0.6


def test_pixelate_equals_block_means() -> None:
    images = scenes(3, 32, 3, 0)
    blocks = images.reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    expected = np.rint(blocks.repeat(2, axis=1).repeat(2, axis=2))
    assert np.array_equal(corrupt(images, "pixelate", 3, np.random.default_rng(0)), expected)


def test_occlusion_hides_one_square_inside_the_image() -> None:
    images = np.zeros((50, 20, 20, 1), dtype=np.uint8)
    hidden = corrupt(images, "occlusion", 3, np.random.default_rng(0))[..., 0] > 0
    assert (hidden.sum(axis=(1, 2)) == 8 * 8).all()
    assert (hidden.any(axis=1).sum(axis=1) == 8).all()
    assert len(np.unique(hidden.reshape(50, -1), axis=0)) > 30, "places differ between images"


def test_fog_differs_between_images_and_whitens() -> None:
    images = np.zeros((20, 32, 32, 1), dtype=np.uint8)
    fog = corrupt(images, "fog", 5, np.random.default_rng(0))
    assert len(np.unique(fog.reshape(20, -1), axis=0)) == 20
    assert 60 < fog.mean() < 180
    assert fog.std(axis=(1, 2)).min() > 3, "fog is thicker in some places than in others"


@pytest.mark.parametrize(("kind", "severity"), [("snow", 1), ("fog", 0), ("fog", 6)])
def test_unknown_corruption_is_refused(kind: str, severity: int) -> None:
    with pytest.raises(DataError, match=f"{kind}:{severity}"):
        corrupt(np.zeros((1, 8, 8, 1), dtype=np.uint8), kind, severity, np.random.default_rng(0))
