"""The device's stand-in for embarrassment: docs/SPEC.md's integers, and what they stand for."""

from __future__ import annotations

import math
import re
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.build import CORE
from tests.firmware.nets import library

LOGITS = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=256)
CLOSE = st.lists(st.integers(-1500, 1500), min_size=2, max_size=256)
TABLES = {
    "coarse": [round(65536 * math.exp(-j / 6)) for j in range(64)],
    "fine": [round(65536 * math.exp(-j / 384)) for j in range(64)],
    "logarithms": [round(98304 * math.log(1 + j / 64)) for j in range(65)],
}


def inverse_of(classes: int) -> int:
    return round(2**32 / (98304 * math.log(classes)))


def device_uncertainty(logits: list[int]) -> int:
    packed = struct.pack(f"<{len(logits)}h", *logits)
    return int(library().sel_uncertainty(packed, len(logits), inverse_of(len(logits))))


def exact_uncertainty(logits: list[int]) -> int:
    """The rule of docs/SPEC.md, in integers of any size."""
    distances = [max(logits) - z for z in logits if max(logits) - z <= 4095]
    coarse, fine = TABLES["coarse"], TABLES["fine"]
    shares = [(coarse[d >> 6] * fine[d & 63]) >> 16 for d in distances]
    total = sum(shares)
    weighted = sum(share * d for share, d in zip(shares, distances, strict=True))
    exponent = total.bit_length() - 1
    f = (total * 2**16 >> exponent) - 65536
    j, r = f >> 10, f & 1023
    steps = TABLES["logarithms"]
    logarithm = (exponent - 16) * 68139 + steps[j] + ((steps[j + 1] - steps[j]) * r >> 10)
    h = 256 * weighted // total + logarithm
    return min(65535, max(h, 0) * inverse_of(len(logits)) >> 16)


def true_uncertainty(logits: list[int]) -> float:
    """Normalized entropy of the softmax at temperature 1.5."""
    scaled = np.array(logits) / (256 * 1.5)
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum()
    return float(entropy / math.log(len(logits)))


@given(LOGITS | CLOSE)
def test_uncertainty_follows_the_rule_to_the_bit(logits: list[int]) -> None:
    assert device_uncertainty(logits) == exact_uncertainty(logits)


@given(LOGITS | CLOSE)
def test_uncertainty_is_the_normalized_entropy(logits: list[int]) -> None:
    assert abs(device_uncertainty(logits) / 65536 - true_uncertainty(logits)) < 1e-3


@given(LOGITS | CLOSE)
def test_the_label_is_the_first_of_the_greatest(logits: list[int]) -> None:
    packed = struct.pack(f"<{len(logits)}h", *logits)
    assert library().sel_greatest(packed, len(logits)) == int(np.argmax(logits))


def test_a_network_that_knows_nothing_is_wholly_uncertain() -> None:
    for classes in range(2, 257):
        assert device_uncertainty([7] * classes) >= 65500, classes
        assert device_uncertainty([5000] + [-5000] * (classes - 1)) == 0, classes


@st.composite
def curves(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    knots = draw(st.sets(st.integers(0, 65535), min_size=2, max_size=32))
    nats = draw(
        st.lists(st.integers(0, 65535), min_size=len(knots), max_size=len(knots)).map(sorted)
    )
    return sorted(knots), nats


@given(curves(), st.integers(0, 65535))
def test_embarrassment_is_linear_between_knots(
    curve: tuple[list[int], list[int]], uncertainty: int
) -> None:
    knots, nats = curve
    packed = struct.pack(f"<IHH{2 * len(knots)}H", 1, len(knots), 0, *knots, *nats)
    found = library().sel_embarrassment(packed, uncertainty)
    if uncertainty <= knots[0]:
        assert found == nats[0]
    elif uncertainty >= knots[-1]:
        assert found == nats[-1]
    else:
        left = max(i for i, knot in enumerate(knots) if knot <= uncertainty)
        rise, run = nats[left + 1] - nats[left], knots[left + 1] - knots[left]
        assert found == nats[left] + rise * (uncertainty - knots[left]) // run


def test_the_tables_are_what_their_comments_say() -> None:
    source = (CORE / "sel_signal.c").read_text()
    for name, table in TABLES.items():
        numbers = re.search(rf"{name}\[\d+\] = {{(.*?)}};", source, re.DOTALL)
        assert numbers is not None
        line = 1024 if name == "logarithms" else 0
        above = 0 if name == "logarithms" else 1
        right = [entry - line * j - above for j, entry in enumerate(table)]
        assert [int(number) for number in re.findall(r"\d+", numbers[1])] == right
    assert f"LN2 {round(98304 * math.log(2))}u" in source
