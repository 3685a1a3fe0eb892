"""Payloads: what leads from one network to another, and nothing that does not."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import inverse_of
from sel_edge.mcu.payload import difference, overlay_payload, quantized_network
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Kind, Running, parse_payload, running
from tests.mcu.networks import BIASES, WIDTH, Parameters, base, normal

CLASSES = base()[0].classes
SEEDS = st.integers(0, 2**32 - 1)


def assert_same(one: Running, other: Running) -> None:
    """The same, but for rows of classes that one of them no longer has."""
    assert one.classes == other.classes
    for number in range(len(one.rows)):
        count = len(one.classes) if number == len(one.rows) - 1 else None
        assert np.array_equal(one.rows[number][:count], other.rows[number][:count])
        assert np.array_equal(one.parameters[number][:count], other.parameters[number][:count])


def kinds(payload: bytes) -> list[tuple[int, Kind, range]]:
    return [(run.layer, run.kind, run.channels) for run in parse_payload(base()[0], payload)]


def with_norm(parameters: Mapping[str, np.ndarray], seed: int) -> Parameters:
    """A new normalization of the convolution."""
    draw = np.random.default_rng(seed)
    scale = draw.uniform(0.5, 2.0, WIDTH).astype(np.float32)
    found = dict(parameters)
    found["conv.weight"] = parameters["conv.weight"] * scale[:, np.newaxis]
    found["conv.bias"] = parameters["conv.bias"] * scale + normal(draw, WIDTH)
    return found


def changed(seed: int) -> tuple[Parameters, tuple[str, ...]]:
    """Some rows, a normalization and some new classes, as a learner makes them."""
    draw = np.random.default_rng(seed)
    found = with_norm(base()[1], seed) if draw.random() < 0.5 else dict(base()[1])
    rows = draw.random(WIDTH) < draw.random()
    found["conv.weight"] = np.where(
        rows[:, np.newaxis],
        found["conv.weight"] + 0.1 * normal(draw, WIDTH, 27),
        found["conv.weight"],
    ).astype(np.float32)
    new = int(draw.integers(0, 3))
    found["fc.weight"] = np.concatenate([found["fc.weight"], normal(draw, new, WIDTH)])
    found["fc.bias"] = np.concatenate([found["fc.bias"], normal(draw, new)])
    return found, (*CLASSES, *("fox", "hen")[:new])


def test_the_bundles_own_network_is_the_image():
    image, parameters = base()
    assert_same(quantized_network(image, parameters, BIASES, CLASSES), running(image))
    assert overlay_payload(running(image), parameters, BIASES, CLASSES) == b""


def test_a_norm_costs_eight_bytes_a_channel():
    image, parameters = base()
    payload = overlay_payload(running(image), with_norm(parameters, 1), BIASES, CLASSES)
    assert kinds(payload) == [(0, Kind.SCALE, range(WIDTH))]
    assert len(payload) == 8 + 8 * WIDTH


@given(st.lists(SEEDS, min_size=1, max_size=3))
def test_payloads_one_after_the_other_give_the_network_itself(seeds: list[int]):
    """Wherever a board is, it ends at what quantizing the last network gives."""
    image = base()[0]
    network = running(image)
    for seed in seeds:
        target, classes = changed(seed)
        network = network.apply(overlay_payload(network, target, BIASES, classes))
        assert_same(network, quantized_network(image, target, BIASES, classes))
    back = network.apply(overlay_payload(network, base()[1], BIASES, CLASSES))
    assert_same(back, running(image))


def test_a_new_class_comes_with_its_row_and_its_name():
    image, parameters = base()
    target = dict(parameters)
    target["fc.weight"] = np.concatenate([target["fc.weight"], np.ones((1, WIDTH), np.float32)])
    target["fc.bias"] = np.append(target["fc.bias"], np.float32(9.0))
    payload = overlay_payload(running(image), target, BIASES, (*CLASSES, "fox"))
    assert kinds(payload) == [(2, Kind.WHOLE, range(3, 4)), (2, Kind.CLASSES, range(0))]
    network = running(image).apply(payload)
    assert network.inverse == inverse_of(4)
    answers = infer(network, np.full((1, 8, 8, 3), 128, np.uint8))
    assert answers.logits.shape == (1, 4)
    assert network.classes[answers.labels[0]] == "fox"


def test_only_rows_that_differ_are_sent():
    image, parameters = base()
    target = dict(parameters)
    target["conv.weight"] = parameters["conv.weight"].copy()
    target["conv.weight"][[1, 2, 5]] *= np.linspace(-1, 2, 27, dtype=np.float32)
    payload = overlay_payload(running(image), target, BIASES, CLASSES)
    assert kinds(payload) == [(0, Kind.WHOLE, range(1, 3)), (0, Kind.WHOLE, range(5, 6))]
    assert difference(running(image).apply(payload), running(image).apply(payload)) == b""


@given(st.binary(max_size=64))
def test_bytes_that_are_no_payload_are_refused(content: bytes):
    try:
        running(base()[0]).apply(content)
    except BundleError:
        return
    assert content == b"" or kinds(content)


@given(SEEDS, st.data())
def test_a_damaged_payload_is_refused_or_gives_a_network(seed: int, data: st.DataObject):
    network = running(base()[0])
    target, classes = changed(seed)
    payload = bytearray(overlay_payload(network, target, BIASES, classes))
    if not payload:
        return
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = network.apply(bytes(payload))
    except BundleError:
        return
    assert infer(found, np.zeros((1, 8, 8, 3), np.uint8)).logits.shape == (1, len(found.classes))


def run(layer: int, kind: int, first: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<HHHH", layer, kind, first, count) + data


GOOD = struct.pack("<ii", 5, (1 << 30) | 4)
ROW = bytes([64]) * WIDTH
NAMES = inverse_of(4).to_bytes(4, "little") + b"\3cat\3dog\3owl\3fox"
HOSTILE = {
    "a layer that is not there": run(3, 1, 0, 1, GOOD),
    "a layer without weights": run(1, 1, 0, 1, GOOD),
    "a channel that is not there": run(0, 1, WIDTH, 1, GOOD),
    "no channel": run(0, 1, 0, 0),
    "an unknown kind": run(0, 4, 0, 1, GOOD),
    "too few bytes": run(0, 1, 0, 2, GOOD),
    "half a header": b"\0" * 4,
    "a channel twice": 2 * run(0, 1, 0, 1, GOOD),
    "a shift of 0": run(0, 1, 0, 1, struct.pack("<ii", 5, 1 << 30)),
    "a bias beyond 32 bits": run(0, 1, 0, 1, struct.pack("<ii", 2**31 - 1, (1 << 30) | 4)),
    "a weight of -64": run(2, 2, 0, 1, GOOD + bytes(WIDTH)),
    "a scale without a row": run(2, 1, 3, 1, GOOD),
    "a class without a row": run(2, 3, 4, 16, NAMES),
    "classes of another layer": run(0, 3, 4, 16, NAMES),
    "fewer classes than the image": run(2, 3, 2, 8, NAMES[:12]),
    "a class twice": run(2, 2, 3, 1, GOOD + ROW) + run(2, 3, 4, 16, NAMES[:16] + b"\3cat"),
    "a stand-in of other classes": run(2, 2, 3, 1, GOOD + ROW)
    + run(2, 3, 4, 16, b"\0\0\0\0" + NAMES[4:]),
    "more names than it says": run(2, 2, 3, 1, GOOD + ROW) + run(2, 3, 4, 12, NAMES[:16]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_are_refused(name: str):
    with pytest.raises(BundleError):
        running(base()[0]).apply(HOSTILE[name])


def test_the_hostile_parts_are_good_elsewhere():
    network = running(base()[0])
    assert network.apply(run(0, 1, 0, 1, GOOD)).parameters[0][0, 0] == 5
    assert len(network.apply(run(2, 2, 3, 1, GOOD + ROW) + run(2, 3, 4, 16, NAMES)).classes) == 4


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("conv.weight",), CLASSES, "parameters"),
        ((), CLASSES[:2], "2 classes"),
        ((), (*CLASSES, "a", "b", "c"), "room for 5"),
        ((), ("cat", "dog", "ape"), "classes"),
    ],
)
def test_networks_of_another_bundle_are_refused(
    names: tuple[str, ...], classes: tuple[str, ...], message: str
):
    image, parameters = base()
    target = {name: value for name, value in parameters.items() if name not in names}
    with pytest.raises(BundleError, match=message):
        overlay_payload(running(image), target, BIASES, classes)


def test_numbers_that_are_not_finite_are_refused():
    target = dict(base()[1])
    target["conv.bias"] = np.full(WIDTH, np.nan, np.float32)
    with pytest.raises(BundleError, match="finite"):
        overlay_payload(running(base()[0]), target, BIASES, CLASSES)
