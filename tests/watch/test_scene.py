"""Light moves nothing; what moves is found where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.watch.scene import LIT_LEVELS, Box, Scene

HEIGHT, WIDTH, FPS = 120, 160, 5.0
THING = 30


def place(seed: int = 0) -> np.ndarray:
    """A textured place, float64 [120, 160, 3], from 40 to 160."""
    coarse = np.random.default_rng(seed).uniform(40, 160, (12, 16, 3))
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


def taken(scene: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2.0, scene.shape)
    return np.clip(np.rint(scene + noise), 0, 255).astype(np.uint8)


def with_thing(scene: np.ndarray, left: int, top: int = 40) -> np.ndarray:
    shown = scene.copy()
    shown[top : top + THING, left : left + THING] = (250, 10, 250)
    return shown


def settled(frames: int = 30) -> Scene:
    scene = Scene(WIDTH, HEIGHT, FPS)
    for number in range(frames):
        assert scene.see(taken(place(), number)) == []
    return scene


@settings(max_examples=20)
@given(st.floats(0.5, 1.5), st.floats(-0.2, 0.2), st.floats(0.9, 1.1), st.integers(0, 9))
def test_neither_clouds_nor_a_lamp_move(level: float, tilt: float, warm: float, seed: int):
    scene = settled(5)
    across = 1 + tilt * np.linspace(-1, 1, WIDTH)[np.newaxis, :, np.newaxis]
    lit = place() * level * across * np.array([warm, 1, 1 / warm])
    for number in range(6):
        assert scene.see(taken(lit, 100 + seed + number)) == []


@given(st.integers(2, WIDTH - THING - 2), st.integers(2, HEIGHT - THING - 2), st.floats(0.6, 1.3))
@settings(max_examples=20)
def test_a_thing_is_found_where_it_is_in_whatever_light(left: int, top: int, level: float):
    scene = settled(5)
    (box,) = scene.see(taken(with_thing(place() * level, left, top), 50))
    wanted = Box(left, top, left + THING, top + THING)
    edges = (("left", 4), ("top", 4), ("right", 4), ("bottom", 4))
    for edge, pixels in edges:
        assert abs(getattr(box, edge) - getattr(wanted, edge)) <= pixels


def test_what_stays_belongs_to_the_place():
    scene = settled()
    found = [scene.see(taken(with_thing(place(), 60), number)) for number in range(50)]
    assert found[0]
    assert found[-1] == []


def test_a_thing_that_goes_on_moving_is_seen_all_the_time():
    scene = settled()
    for number in range(100):
        left = 5 + abs(number * 5 % 200 - 100)
        assert len(scene.see(taken(with_thing(place(), left), number))) >= 1


def test_another_place_is_the_whole_frame_and_soon_usual():
    scene = settled()
    found = [scene.see(taken(place(7)[::-1], number)) for number in range(20)]
    assert found[0] == [Box(0, 0, WIDTH, HEIGHT)]
    assert found[-1] == []


def test_noise_in_the_dark_is_no_motion():
    scene = Scene(WIDTH, HEIGHT, FPS)
    for number in range(20):
        assert scene.see(taken(np.zeros((HEIGHT, WIDTH, 3)), number)) == []


@pytest.mark.parametrize("level", [0.5, 1.4])
def test_a_thing_looks_the_same_in_another_light(level: float):
    scene = settled(120)
    first = scene.usual_light(taken(place(), 0)).mean(axis=(0, 1))
    for number in range(120):
        scene.see(taken(place() * level, number))
    again = scene.usual_light(taken(place() * level, 1)).mean(axis=(0, 1))
    np.testing.assert_allclose(again, first, rtol=0.12)
    assert LIT_LEVELS[0] * 0.85 < again.mean() < LIT_LEVELS[1] * 1.15
