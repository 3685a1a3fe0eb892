"""What a board has seen becomes what the runtime takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.preprocessing import ImagePreprocessing, SignalPreprocessing
from sel_edge.cli.export_mcu import device_frames
from sel_edge.core.errors import LinkError
from sel_edge.gateway.feed import Feed
from tools.small_network import CHANNELS, INPUT_BYTES, SIDE, small_image

IMAGES = ImagePreprocessing(SIDE, SIDE, CHANNELS, (0.5,) * CHANNELS, (0.25,) * CHANNELS)
LENGTH = 16


@given(st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=25)
def test_images_come_back_bit_for_bit(seed: int, count: int) -> None:
    shape = (count, SIDE, SIDE, CHANNELS)
    frames = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    image, feed = small_image(), Feed(small_image(), IMAGES)
    inputs = feed.inputs([one.tobytes() for one in device_frames(image, IMAGES, frames)])
    assert inputs.dtype == np.uint8 and np.array_equal(inputs, frames)
    assert np.array_equal(feed.frames(inputs), frames)


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=25)
def test_signals_come_back_within_half_a_step(seed: int, count: int) -> None:
    """Of the board's quantization, in the sensor's units; the board sees them as the same again."""
    image = replace(small_image(), input_shape=(2, 1, LENGTH), pixels=None, input_scale=1 / 32)
    view = SignalPreprocessing(2, LENGTH, (3.0, -40.0), (2.0, 10.0))
    spread = np.array(view.std)[:, np.newaxis]
    draw = np.random.default_rng(seed).uniform(-3.5, 3.5, (count, 2, LENGTH))
    signals = (draw * spread + np.array(view.mean)[:, np.newaxis]).astype(np.float32)
    feed, sent = Feed(image, view), device_frames(image, view, signals)
    inputs = feed.inputs([one.tobytes() for one in sent])
    found = feed.frames(inputs)
    assert found.dtype == np.float32 and found.shape == signals.shape
    assert (np.abs(found - signals) <= spread * (1 / 64 + 1e-5)).all()
    assert np.array_equal(device_frames(image, view, found), inputs)


@pytest.mark.parametrize("size", [0, INPUT_BYTES - 1, INPUT_BYTES + 1])
def test_a_frame_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(LinkError, match=f"{size} bytes") as found:
        Feed(small_image(), IMAGES).inputs([bytes(INPUT_BYTES), bytes(size)])
    assert f"frames of {INPUT_BYTES}" in found.value.expected
