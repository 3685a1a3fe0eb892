"""A picture of any size becomes a frame of the network, or an error that says why not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.data.decode import Decoder
from sel_edge.data.jpeg_note import JpegCensus
from sel_edge.serve.pictures import fit

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, st.sampled_from([1, 3]), SIDES, SIDES, st.sampled_from([1, 3]))
def test_every_picture_fits_every_network(h, w, c, height, width, channels) -> None:
    picture = np.full((h, w, c), 77, np.uint8)
    frame = fit(picture, (height, width, channels))
    assert frame.shape == (height, width, channels) and frame.dtype == np.uint8
    assert (frame == 77).all()  # an even gray stays what it is


@given(arrays.arrays(np.uint8, (8, 8, 3)))
def test_a_frame_that_fits_is_left_alone(picture) -> None:
    assert fit(picture, (8, 8, 3)) is picture


def test_it_is_cropped_around_the_centre() -> None:
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 40:80] = (200, 100, 50)
    assert (fit(picture, (10, 10, 3)) == (200, 100, 50)).all()
    assert (fit(picture.transpose(1, 0, 2).copy(), (10, 10, 3)) == (200, 100, 50)).all()


def test_fine_detail_becomes_gray_and_not_a_new_pattern() -> None:
    """A plain choice of pixels would show a checkerboard of a camera as black or white."""
    rows, columns = np.indices((640, 480))
    picture = (255 * ((rows + columns) % 2)).astype(np.uint8)[..., np.newaxis]
    frame = fit(picture, (32, 32, 1)).astype(int)
    assert abs(frame - 127).max() <= 4


def test_it_is_what_a_folder_of_pictures_becomes_in_training(tmp_path) -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    expected = Decoder("a", 32, "rgb", JpegCensus()).decode("a.png", data)
    assert (fit(picture, (32, 32, 3)) == expected).all()


@pytest.mark.parametrize(
    ("found", "expected"), [((8, 8, 3), (1, 140)), ((1, 140), (8, 8, 3)), ((1, 100), (1, 140))]
)
def test_signals_and_images_are_not_mixed(found, expected) -> None:
    with pytest.raises(DataError, match="The source brings"):
        fit(np.zeros(found, np.uint8 if len(found) == 3 else np.float32), expected)
