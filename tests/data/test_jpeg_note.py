"""The JPEG note is read from the files: quality, subsampling, and how many they are."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sel_edge.data.jpeg_note import JpegCensus

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def note(*encoded: bytes) -> str:
    census = JpegCensus()
    for data in encoded:
        census.add(Image.open(io.BytesIO(data)))
    return census.note()


@given(
    quality=st.integers(1, 100),
    sampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    gray=st.booleans(),
)
def test_quality_and_subsampling_of_any_file(quality: int, sampling: str, gray: bool) -> None:
    file = io.BytesIO()
    image = Image.fromarray(PIXELS[..., 0] if gray else PIXELS)
    image.save(file, "JPEG", quality=quality, subsampling=sampling)
    expected = f"JPEG, quality {quality}" + ("" if gray else f", {sampling}")
    assert note(file.getvalue()) == expected


def test_mixtures(encode: Callable[..., bytes]) -> None:
    low = encode(PIXELS, "JPEG", quality=50, subsampling=0)
    high = encode(PIXELS, "JPEG", quality=90, subsampling=2)
    assert note(low, high) == "JPEG, quality 50 to 90, 4:4:4 and 4:2:0"
    assert note(low, encode(PIXELS)) == "JPEG, quality 50, 4:4:4, 1 of 2 images"
    assert note(encode(PIXELS)) == ""


@pytest.mark.parametrize("tables", [[[7] * 64, [7] * 64], [[7] * 64]])
def test_tables_of_its_own(tables: list[list[int]], encode: Callable[..., bytes]) -> None:
    data = encode(PIXELS, "JPEG", qtables=tables, subsampling=0)
    assert note(data) == "JPEG, unusual quantization tables, 4:4:4"
