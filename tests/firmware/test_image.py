"""The device opens right images alone, and none of what it reads takes it beyond their bytes."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.mcu.image import Image
from sel_edge.mcu.layer import Layer, Operation
from sel_edge.mcu.payload import difference
from sel_edge.mcu.read import read_image
from sel_edge.mcu.running import Running, running
from tests.firmware.build import program
from tests.firmware.nets import (
    FAST,
    PLAIN,
    SOURCES,
    infer,
    network,
    open_image,
    parameters,
    rows,
)

CONV, LAYER = 0, 96
HEADER = 144


def image() -> Image:
    """Two convolutions, one of them grouped, and a pool."""
    draw = np.random.default_rng(0)
    shape, middle, half = (3, 6, 7), (6, 6, 7), (6, 3, 3)
    window = {"kernel": (3, 3), "padding": (1, 1, 1, 1), "groups": 1, "greatest": 255}
    first = Layer(
        *(Operation.CONV, 0, 0, shape, middle, 0.1),
        **{**window, "stride": (1, 1), "zero_in": 3, "weight": "a.weight"},
        rows=rows(draw, (6, 3, 3, 3)),
        parameters=parameters(draw.integers(-500, 500, 6), 7),
    )
    second = Layer(
        *(Operation.CONV, 0, 0, middle, middle, 0.1),
        **{**window, "stride": (1, 1), "groups": 2, "weight": "b.weight", "zero_out": 9},
        rows=rows(draw, (6, 3, 3, 3)),
        parameters=parameters(draw.integers(-500, 500, 6), 7),
    )
    pool = Layer(
        *(Operation.MAX_POOL, 0, 0, middle, half, 0.1),
        kernel=(2, 2),
        stride=(2, 2),
        zero_in=9,
        zero_out=9,
        greatest=255,
    )
    return network(first, second, pool, draw=draw)


RIGHT = image().content


def repaired(content: bytes | bytearray) -> bytes:
    """With a CRC that is right again."""
    fixed = bytearray(content)
    fixed[12:16] = struct.pack("<I", zlib.crc32(fixed[16:]))
    return bytes(fixed)


def edited(offset: int, layout: str, *values: int) -> bytes:
    content = bytearray(RIGHT)
    struct.pack_into("<" + layout, content, offset, *values)
    return repaired(content)


def layer_edited(number: int, offset: int, layout: str, *values: int) -> bytes:
    (layers_at,) = struct.unpack_from("<I", RIGHT, 112)
    return edited(layers_at + LAYER * number + offset, layout, *values)


def field(layout: str, offset: int) -> int:
    return int(struct.unpack_from("<" + layout, RIGHT, offset)[0])


@pytest.fixture(scope="module")
def probe() -> Path:
    """The program that opens images, and answers in both kernels, under sanitizers."""
    return program(SOURCES)


def ask(probe: Path, folder: Path, pairs: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """What becomes of images and payloads; a sanitizer's complaint fails the test."""
    path = folder / "pairs"
    path.write_bytes(b"".join(struct.pack("<II", len(a), len(b)) + a + b for a, b in pairs))
    done = subprocess.run([probe, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(pairs)
    return answers


def test_an_image_is_opened_and_its_hash_checked() -> None:
    assert open_image(RIGHT) == (0, True)
    content = bytearray(RIGHT)
    content[20] ^= 1
    assert open_image(repaired(content)) == (0, False)


@pytest.mark.parametrize(
    ("operation", "side", "window"),
    [
        (Operation.CONV, 6, {"kernel": (1, 1), "padding": (2, 1, 2, 1), "stride": (1, 1)}),
        (Operation.CONV, 6, {"kernel": (3, 3), "padding": (4, 3, 5, 6), "stride": (2, 1)}),
        (Operation.MAX_POOL, 256, {"kernel": (2, 2), "padding": (0, 0, 0, 0), "stride": (2, 2)}),
    ],
)
def test_the_host_reads_what_the_device_opens(
    operation: Operation, side: int, window: dict[str, tuple[int, ...]]
) -> None:
    draw = np.random.default_rng(0)
    kernel, pads, stride = (window[name] for name in ("kernel", "padding", "stride"))
    out = [(side + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2)]
    layer = Layer(operation, 0, 0, (1, side, side), (1, *out), 0.1, greatest=255, **window)
    if operation == Operation.CONV:
        own = {"rows": rows(draw, (1, 1, *kernel)), "parameters": parameters(np.array([9]), 7)}
        layer = replace(layer, groups=1, zero_in=7, weight="a.weight", **own)
    made = network(layer, draw=draw)
    assert open_image(made.content) == (0, True)
    assert read_image(made.content).content == made.content


def test_every_flipped_bit_is_noticed() -> None:
    draw = np.random.default_rng(1)
    for bit in draw.choice(8 * len(RIGHT), 1000, replace=False):
        content = bytearray(RIGHT)
        content[bit // 8] ^= 1 << bit % 8
        assert open_image(bytes(content))[0] in (1, 2), bit


def test_every_shorter_piece_is_refused() -> None:
    for count in range(len(RIGHT)):
        assert open_image(RIGHT[:count])[0] == 1, count


WRONG = {
    "magic": (edited(0, "B", 0), 1),
    "version": (edited(4, "H", 2), 1),
    "header": (edited(6, "H", 160), 1),
    "longer than it is": (edited(8, "I", len(RIGHT) + 16), 1),
    "no layers": (edited(88, "H", 0), 3),
    "entries": (edited(90, "H", field("H", 90) + 1), 3),
    "one class": (edited(104, "H", 1), 3),
    "more classes than room": (edited(104, "H", 6), 3),
    "form": (edited(98, "H", 2), 3),
    "not zero": (edited(140, "I", 1), 3),
    "layers outside": (edited(112, "I", len(RIGHT)), 4),
    "layers not aligned": (edited(112, "I", field("I", 112) - 4), 4),
    "names outside": (edited(128, "I", len(RIGHT)), 4),
    "scales outside": (edited(132, "I", len(RIGHT)), 4),
    "pixels that are not there": (edited(116, "I", HEADER), 4),
    "one knot": (edited(field("I", 120) + 4, "H", 1), 5),
    "knots outside": (edited(field("I", 120) + 4, "H", 33), 5),
    "knots that fall": (edited(field("I", 120) + 8, "H", 40_000), 5),
    "nats that fall": (edited(field("I", 120) + 16, "H", 40_000), 5),
    "an empty name": (edited(field("I", 124), "B", 0), 6),
    "names too many": (edited(128, "I", field("I", 128) - 2), 6),
    "scratch beyond the arena": (edited(84, "I", field("I", 80) + 4), 7),
    "input outside": (edited(100, "I", field("I", 80)), 7),
    "operation": (layer_edited(0, 0, "B", 8), 8),
    "least above greatest": (layer_edited(0, 44, "BB", 2, 1), 8),
    "reserved": (layer_edited(0, 95, "B", 1), 8),
    "entries out of order": (layer_edited(1, 2, "H", 5), 8),
    "last layer with zero point": (layer_edited(4, 42, "B", 1), 8),
    "stride of 0": (layer_edited(0, 30, "B", 0), 9),
    "kernel of 0": (layer_edited(0, 28, "B", 0), 9),
    "other height": (layer_edited(0, 24, "H", 5), 9),
    "padding of a pool": (layer_edited(2, 32, "BBBB", 2, 2, 2, 2), 9),
    "groups": (layer_edited(1, 36, "H", 4), 9),
    "bytes of a row": (layer_edited(0, 52, "I", 32), 9),
    "output outside": (layer_edited(0, 12, "I", field("I", 80)), 10),
    "output not aligned": (layer_edited(0, 12, "I", 170), 10),
    "output over the input": (layer_edited(0, 12, "I", 0), 10),
    "input that nothing made": (layer_edited(1, 4, "I", 4), 10),
    "zero point of nobody": (layer_edited(1, 40, "B", 7), 11),
    "pool that shifts": (layer_edited(2, 42, "B", 7), 11),
    "rows outside": (layer_edited(0, 48, "I", len(RIGHT) - 16), 12),
    "parameters outside": (layer_edited(0, 56, "I", len(RIGHT) - 16), 12),
    "shift of 0": (layer_edited(3, 72, "B", 0), 12),
    "sum too large": (layer_edited(3, 68, "i", 2**23), 12),
    "scratch too small": (edited(84, "I", field("I", 84) - 4), 13),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_format_forbids_is_refused_with_its_reason(name: str) -> None:
    content, reason = WRONG[name]
    assert open_image(content)[0] % 256 == reason


@pytest.mark.parametrize(
    ("value", "offset"), [(0, 0), (128, 0), (63, 3)], ids=["-64", "64", "filling"]
)
def test_weights_beyond_7_bits_are_refused(value: int, offset: int) -> None:
    rows_at = field("I", field("I", 112) + 48)
    assert open_image(edited(rows_at + offset, "B", value))[0] == 12


def test_sums_beyond_32_bits_are_refused_to_the_unit() -> None:
    parameters_at = field("I", field("I", 112) + 56)
    room = 2**31 - 1 - 255 * 64 * 36
    assert open_image(edited(parameters_at, "i", room))[0] == 0
    assert open_image(edited(parameters_at, "i", -room))[0] == 0
    assert open_image(edited(parameters_at, "i", room + 1))[0] == 12
    assert open_image(edited(parameters_at, "i", -room - 1))[0] == 12


edits = st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), min_size=1, max_size=4)


def damaged(content: bytes, places: Sequence[tuple[int, int]], end: int) -> bytearray:
    changed = bytearray(content)
    for place, value in places:
        if end:
            changed[place % end] = value
    return changed


@given(st.lists(edits, min_size=20, max_size=60), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_image_of_any_bytes_is_refused_or_answers(
    probe: Path, tmp_path: Path, cases: list[list[tuple[int, int]]], is_near_the_start: bool
) -> None:
    end = HEADER if is_near_the_start else len(RIGHT)
    layers_at = field("I", 112)
    pairs = [(repaired(damaged(RIGHT, case, end)), b"") for case in cases]
    for case in cases:
        records = damaged(RIGHT[layers_at : layers_at + 5 * LAYER], case, 5 * LAYER)
        with_them = RIGHT[:layers_at] + bytes(records) + RIGHT[layers_at + 5 * LAYER :]
        pairs.append((repaired(with_them), b""))
    for answer in ask(probe, tmp_path, pairs):
        assert answer == "answer" or answer == "large" or answer.startswith("image"), answer


def changed(before: Running, seed: int) -> Running:
    """The network with two more classes and other weights."""
    draw = np.random.default_rng(seed)
    new_rows = list(before.rows)
    new_parameters = [values + (values != 0) for values in before.parameters]
    new_parameters[-1] = parameters(draw.integers(-500, 500, 5), 3)
    new_rows[-1] = rows(draw, (5, 6, 1, 1))
    new_rows[0] = new_rows[0].copy()
    new_rows[0][2:4] = rows(draw, (2, 3, 3, 3))
    names = ("cat", "dog", "owl", "fox", "hen")
    return replace(
        before,
        classes=names,
        rows=tuple(new_rows),
        parameters=tuple(values.astype(np.int32) for values in new_parameters),
    )


PAYLOAD = difference(running(image()), changed(running(image()), 3))


def test_a_payload_brings_classes_and_weights() -> None:
    frame = np.random.default_rng(5).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    before = infer(image(), frame, FAST)
    found = [infer(image(), frame, kernels, PAYLOAD) for kernels in (FAST, PLAIN)]
    assert (before.answer.classes, found[0].answer.classes) == (3, 5)
    assert (found[0].logits == found[1].logits).all()
    assert (found[0].logits[:3] != before.logits).any()


@given(st.lists(edits, min_size=20, max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_payload_of_any_bytes_is_refused_or_answers(
    probe: Path, tmp_path: Path, cases: list[list[tuple[int, int]]]
) -> None:
    pairs = [(RIGHT, bytes(damaged(PAYLOAD, case, len(PAYLOAD)))) for case in cases]
    pairs += [(RIGHT, PAYLOAD[: case[0][0] % len(PAYLOAD)]) for case in cases]
    for answer in ask(probe, tmp_path, pairs):
        assert answer == "answer" or answer.startswith("payload"), answer


def run(layer: int, kind: int, first: int, count: int, data: bytes) -> bytes:
    return struct.pack("<HHHH", layer, kind, first, count) + data


SCALE = struct.pack("<iI", 5, 1 << 30 | 7)
ROW = bytes([64] * 8)
FIVE = b"".join(bytes([1]) + letter for letter in (b"a", b"b", b"c", b"d", b"e"))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (run(0, 1, 0, 1, SCALE[:-4]), 1),
        (run(0, 1, 0, 1, SCALE)[:-1], 1),
        (run(9, 1, 0, 1, SCALE), 1),
        (run(2, 1, 0, 1, SCALE), 1),
        (run(0, 4, 0, 1, SCALE), 1),
        (run(0, 1, 0, 0, b""), 1),
        (run(0, 1, 6, 1, SCALE), 1),
        (run(4, 3, 6, 10, bytes(16)), 1),
        (run(0, 1, 0, 2, 2 * SCALE) + run(0, 1, 1, 1, SCALE), 2),
        (run(4, 2, 0, 1, SCALE + ROW) + run(4, 1, 0, 1, SCALE), 2),
        (run(0, 1, 0, 1, struct.pack("<iI", 5, 31)), 3),
        (run(0, 1, 0, 1, struct.pack("<iI", 2**31 - 1, 7)), 3),
        (run(4, 2, 0, 1, SCALE + bytes(8)), 3),
        (run(4, 1, 3, 1, SCALE), 3),
        (run(4, 3, 5, 10, bytes(4) + FIVE + bytes(2)), 4),
        (run(4, 2, 3, 2, 2 * (SCALE + ROW)) + run(4, 3, 5, 10, bytes(4) + FIVE + b"\0\1"), 4),
        (run(4, 2, 3, 2, 2 * (SCALE + ROW)) + run(4, 3, 4, 10, bytes(4) + FIVE + bytes(2)), 4),
    ],
)
def test_what_a_payload_must_not_bring_is_refused(
    probe: Path, tmp_path: Path, payload: bytes, reason: int
) -> None:
    assert ask(probe, tmp_path, [(RIGHT, payload)]) == [f"payload {reason}"]


def test_new_classes_come_with_their_rows(probe: Path, tmp_path: Path) -> None:
    names = run(4, 3, 5, 10, bytes(4) + FIVE + bytes(2))
    both = run(4, 2, 3, 2, 2 * (SCALE + ROW)) + names
    assert ask(probe, tmp_path, [(RIGHT, both), (RIGHT, names)]) == ["answer", "payload 4"]
