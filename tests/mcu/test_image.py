"""Model images: what is written is read again, and nothing else."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import Image, pack_texts, unpack_texts
from sel_edge.mcu.layer import Layer, Operation, pack_rows, rows_are_right, unpack_rows
from sel_edge.mcu.read import read_image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from sel_edge.mcu.standin import curve_of
from tests.mcu.networks import base

CONTENT = base()[0].content


def sealed(content: bytes) -> bytes:
    """The bytes with a right hash and CRC-32, as an attacker would write them."""
    rest = hashlib.sha256(content[48:]).digest() + content[48:]
    return content[:12] + zlib.crc32(rest).to_bytes(4, "little") + rest


def assert_same(one: object, other: object) -> None:
    """Two dataclasses have the same fields, arrays included."""
    for field in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and np.array_equal(a, b), field.name
        elif field.name != "layers":
            assert np.float32(a) == np.float32(b) if isinstance(a, float) else a == b, field.name


def test_an_image_is_read_as_it_was_written():
    image = base()[0]
    found = read_image(image.content)
    assert_same(found, image)
    for one, other in zip(found.layers, image.layers, strict=True):
        assert_same(one, other)
    assert found.content == image.content
    assert found.hash == hashlib.sha256(CONTENT[48:]).hexdigest()


def test_an_image_of_signals_has_no_pixel_table():
    image = replace(base()[0], pixels=None)
    assert read_image(image.content).pixels is None
    signals = np.array([[[0.0, 1.0, -1.0, 99.0]]], np.float32)
    steps = image.quantize_signals(signals)
    assert steps.shape == (1, 1, 4, 1)
    assert steps.ravel().tolist() == [128, 255, 0, 255]


@given(st.integers(0, 8 * len(CONTENT) - 1))
def test_every_flipped_bit_is_found(bit: int):
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BundleError):
        read_image(bytes(damaged))


@given(st.integers(0, len(CONTENT) - 1))
def test_a_part_of_an_image_is_none(size: int):
    with pytest.raises(BundleError):
        read_image(CONTENT[:size])
    with pytest.raises(BundleError):
        read_image(CONTENT + CONTENT[:size] + b"\0")


@given(st.lists(st.tuples(st.integers(48, len(CONTENT) - 1), st.integers(0, 255)), max_size=3))
def test_what_is_opened_can_be_run(changes: list[tuple[int, int]]):
    """Bytes of an attacker, with right hashes: refused, or a network that answers."""
    content = bytearray(CONTENT)
    for place, value in changes:
        content[place] = value
    try:
        image = read_image(sealed(bytes(content)))
    except BundleError:
        return
    channels, height, width = image.input_shape
    answers = infer(running(image), np.zeros((1, height, width, channels), np.uint8))
    assert answers.logits.shape == (1, len(image.classes))


def with_layer(number: int, **changes: object) -> Image:
    """The image with one layer changed."""
    image = base()[0]
    layers = list(image.layers)
    layers[number] = replace(layers[number], **changes)  # type: ignore[arg-type]
    return replace(image, layers=tuple(layers))


CONV = base()[0].layers[0]
BAD = {
    "input outside the arena": with_layer(0, source=2**20),
    "input that nobody wrote": with_layer(1, source=4),
    "another zero point than was written": with_layer(1, zero_in=1),
    "output outside the arena": with_layer(0, target=2**20),
    "output over the scratch": replace(base()[0], scratch_bytes=base()[0].arena_bytes),
    "output over the input": with_layer(0, target=4),
    "unaligned output": with_layer(0, target=258),
    "no stride": with_layer(0, stride=(0, 1)),
    "another output than the kernel gives": with_layer(0, stride=(2, 2)),
    "groups that do not divide": with_layer(0, groups=2),
    "clamped to nothing": with_layer(0, least=5, greatest=4),
    "average beyond 32 bits": with_layer(1, constant=2**24),
    "shift of 0": with_layer(1, shift=0),
    "features of another layer": replace(base()[0], features_layer=0),
    "no layer": replace(base()[0], features_layer=9),
    "too many classes": replace(base()[0], most_classes=257),
    "scale of 0": with_layer(0, scale=0.0),
    "weight of -64": with_layer(0, rows=np.zeros_like(CONV.rows)),
    "a shift of a channel": with_layer(0, parameters=np.zeros_like(CONV.parameters)),
    "a bias beyond 32 bits": with_layer(
        0, parameters=CONV.parameters | np.array([0x7FFFFFFF, 0], np.int32)
    ),
    "the last layer no LINEAR": replace(base()[0], layers=base()[0].layers[:2]),
    "too little scratch": replace(
        base()[0], scratch_bytes=base()[0].scratch_bytes - 4, arena_bytes=base()[0].arena_bytes - 4
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_board_cannot_run_is_refused(name: str):
    with pytest.raises(BundleError) as error:
        read_image(BAD[name].content)
    assert error.value.action


def test_another_version_is_named():
    content = CONTENT[:4] + (2).to_bytes(2, "little") + CONTENT[6:]
    with pytest.raises(BundleError, match="version 2"):
        read_image(content)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_rows_come_back(channels: int, height: int, width: int, seed: int):
    shape = (channels, height, width)
    weights = np.random.default_rng(seed).integers(-63, 64, (3, *shape))
    rows = pack_rows(weights)
    assert rows.shape == (3, height * width * -(-channels // 4) * 4)
    assert np.array_equal(unpack_rows(rows, shape), weights)
    assert rows_are_right(rows, shape)
    if channels % 4:
        rows[0, -1] = 65
        assert not rows_are_right(rows, shape)


@given(st.lists(st.text(min_size=1, max_size=20), max_size=5))
def test_names_come_back(names: list[str]):
    assert unpack_texts(pack_texts(names), len(names)) == names
    with pytest.raises(BundleError):
        unpack_texts(pack_texts(names), len(names) + 1)


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(BundleError, match="255"):
        pack_texts(["x" * 256])


def test_curves_rise_and_keep_their_ends():
    curve = curve_of((0.5, 0.5, 1.0), (1.0, 2.0, 300.0))
    assert (curve.uncertainty, curve.nats) == ((32768, 65535), (512, 65535))
    assert curve_of((0.3,), (2.0,)).nats == (512, 512)
    many = curve_of(tuple(np.linspace(0, 1, 99)), tuple(np.linspace(0, 2, 99)))
    assert len(many.uncertainty) == 32
    assert (many.nats[0], many.nats[-1]) == (0, 512)


def test_operations_have_the_numbers_of_the_format():
    assert [operation.value for operation in Operation] == list(range(1, 8))
    assert isinstance(CONV, Layer)
