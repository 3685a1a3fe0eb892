"""Deltas as bytes: one way to write each, and nothing else is read."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.canonical import MAX_TEXT_BYTES, network_hash
from sel_edge.bundle.delta import Delta, OwnRows, Rows, open_delta, parse_delta, peek_counter
from sel_edge.bundle.domain import Domain
from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.core.errors import BundleError

A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)

FROZEN = (
    "18c12f688696e44555c0127bcd1a630f8e31ffd0f0ef6d047794c2d0ab450fab",
    "8690750ee0dc6dbf3d31e9d544a7dbb7285df572af38188cca6729a4c3573917",
    "4f54253ffc30ca8be8fa176d9ad6a242e27796898ed01b28329542c6b48e4f8a",
)


NONE = np.zeros(0, np.int64)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sample() -> Delta:
    return Delta(
        base=A,
        parent=B,
        new=C,
        counter=7,
        frame=1234,
        learned=("größe", "x"),
        rows={
            "conv": Rows(np.array([0, 5]), floats(2, 3, 3), 8),
            "bias": Rows(np.arange(4), floats(4), 4),
        },
        domains={2: Domain(floats(6), 64, {"conv": (floats(8), floats(8, seed=1))}), 5: None},
        own_rows={
            2: {
                "conv": OwnRows(Rows(np.array([3]), floats(1, 3, 3), 8), np.array([1, 7])),
                "bias": OwnRows(Rows(np.arange(4), floats(4), 4), NONE),
            },
            9: {"conv": OwnRows(Rows(NONE, floats(0, 3, 3), 8), np.arange(8))},
        },
    )


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_TEXT_BYTES // 4)


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = {}
    for name in draw(st.sets(names, max_size=4)):
        shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
        chosen = np.sort(rng.permutation(shape[0])[: rng.integers(0, shape[0] + 1)])
        values = rng.normal(size=(len(chosen), *shape[1:])).astype(np.float32)
        rows[name] = Rows(chosen, values, shape[0])
    norm = {
        name: (floats(c := int(rng.integers(1, 5))), floats(c, seed=1))
        for name in draw(st.sets(names, max_size=3))
    }
    known = st.sampled_from([None, Domain(floats(int(rng.integers(0, 4))), 32, norm)])
    own = {}
    for number in draw(st.sets(st.integers(1, 2**32 - 1), max_size=3)):
        own[number] = {
            name: drawn_rows(rng, draw) for name in draw(st.sets(names, min_size=1, max_size=3))
        }
    return Delta(
        base=rng.bytes(32).hex(),
        parent=rng.bytes(32).hex(),
        new=rng.bytes(32).hex(),
        counter=draw(st.integers(0, 2**64 - 1)),
        frame=draw(st.integers(0, 2**64 - 1)),
        learned=tuple(draw(st.lists(names, max_size=3, unique=True))),
        rows=rows,
        domains=draw(st.dictionaries(st.integers(1, 2**32 - 1), known, max_size=3)),
        own_rows=own,
    )


def drawn_rows(rng: np.random.Generator, draw: st.DrawFn) -> OwnRows:
    """Rows of which some change, some go, some stay."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    fate = rng.integers(0, 3, shape[0])
    fate[0] = rng.integers(1, 3)
    changed, gone = np.flatnonzero(fate == 1), np.flatnonzero(fate == 2)
    values = rng.normal(size=(len(changed), *shape[1:])).astype(np.float32)
    return OwnRows(Rows(changed, values, shape[0]), gone)


def told(delta: Delta) -> tuple:
    """All of a delta, to be compared."""
    rows = {name: told_rows(found) for name, found in delta.rows.items()}
    own = {
        number: {n: (told_rows(o.rows), o.gone.tolist()) for n, o in changes.items()}
        for number, changes in delta.own_rows.items()
    }
    domains = {
        number: domain
        and (
            domain.place.tobytes(),
            domain.frames,
            {n: [v.tobytes() for v in pair] for n, pair in domain.norm.items()},
        )
        for number, domain in delta.domains.items()
    }
    names = (delta.base, delta.parent, delta.new, delta.counter, delta.frame, delta.learned)
    return (*names, rows, domains, own)


def told_rows(rows: Rows) -> tuple:
    return rows.indices.tolist(), rows.values.tobytes(), rows.values.shape, rows.count


@given(deltas())
def test_what_is_written_is_read(delta: Delta) -> None:
    again = parse_delta(delta.content)
    assert told(again) == told(delta) and again.content == delta.content
    assert peek_counter(delta.content[:24]) == delta.counter


def test_equal_deltas_give_equal_bytes_whatever_the_order_of_their_parts(key: PrivateKey) -> None:
    delta = sample()
    turned = replace(
        delta,
        rows=dict(reversed(delta.rows.items())),
        own_rows={n: dict(reversed(rows.items())) for n, rows in reversed(delta.own_rows.items())},
    )
    assert turned.content == delta.content and turned.signed(key) == delta.signed(key)


def test_normalization_costs_two_floats_per_channel_and_rows_their_numbers() -> None:
    bare = replace(sample(), learned=(), rows={}, domains={}, own_rows={})
    channels = 512
    domain = Domain(floats(64), 32, {"w": (floats(channels), floats(channels))})
    normed = replace(bare, domains={1: domain})
    expected = 8 * channels + 2 + 3 + 4 + 8 + 4 + 4 * 64
    assert len(normed.content) - len(bare.content) == expected
    some = replace(bare, rows={"w": Rows(np.array([1, 9]), floats(2, 27), 64)})
    assert len(some.content) - len(bare.content) == 2 * (4 + 4 * 27) + 3 + 9 + 4
    every = replace(bare, rows={"w": Rows(np.arange(64), floats(64, 27), 64)})
    assert len(every.content) - len(bare.content) == 4 * 64 * 27 + 3 + 9 + 4
    of_domain = replace(bare, own_rows={1: {"w": OwnRows(some.rows["w"], np.array([3]))}})
    more = len(of_domain.content) - len(some.content)
    assert more == 2 + 4 + 2 + 4 + 4  # two counts, the domain, and which row is gone


def test_only_what_has_rows_of_domains_needs_the_newer_version() -> None:
    delta = sample()
    older = replace(delta, own_rows={})
    assert [d.content[4] for d in (delta, older)] == [2, 1]
    renamed = bytearray(older.content)
    renamed[4] = 2
    with pytest.raises(BundleError, match="ends too early"):
        parse_delta(bytes(renamed))
    with pytest.raises(BundleError, match="no such domain at all"):
        parse_delta(bytes(renamed) + bytes(2))
    renamed = bytearray(delta.content)
    renamed[4] = 1
    with pytest.raises(BundleError, match="goes on after its end"):
        parse_delta(bytes(renamed))


def test_domains_that_are_out_of_order_or_repeated_are_refused() -> None:
    bare = replace(sample(), learned=(), rows={}, domains={}, own_rows={}).content[:-2]
    for numbers in ((2, 1), (1, 1), (0,)):
        listed = b"".join(struct.pack("<II", number, 0) for number in numbers)
        with pytest.raises(BundleError, match="not in order or are repeated"):
            parse_delta(bare + struct.pack("<H", len(numbers)) + listed)


@given(st.data(), deltas())
def test_hostile_bytes_end_in_our_error_or_in_a_delta_with_these_bytes(
    data: st.DataObject, delta: Delta
) -> None:
    content = bytearray(delta.content)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=8))
        content[start : start + data.draw(st.integers(0, 8))] = piece
        content = content or bytearray(b"x")
    with contextlib.suppress(BundleError):
        assert parse_delta(bytes(content)).content == bytes(content)


@given(deltas(), st.integers(0, 2**16))
def test_a_delta_that_is_cut_off_or_goes_on_is_refused(delta: Delta, place: int) -> None:
    content = delta.content
    for bad in (content[: place % len(content)], content + b"\0"):
        with pytest.raises(BundleError):
            parse_delta(bad)


def entry(name: bytes, count: int, rest: tuple[int, ...], number: int, tail: bytes) -> bytes:
    shape = struct.pack(f"<B{1 + len(rest)}I", 1 + len(rest), count, *rest)
    return struct.pack("<H", len(name)) + name + shape + struct.pack("<I", number) + tail


HUGE = 2**32 - 1
ONE = struct.pack("<f", 1.0)
TWO = struct.pack("<2I", 1, 1) + 2 * ONE


@pytest.mark.parametrize(
    "entries",
    [
        [entry(b"w", HUGE, (), HUGE, ONE)],
        [entry(b"w", HUGE, (0,), HUGE, b"")],
        [entry(b"w", HUGE, (HUGE, HUGE, HUGE), 1, struct.pack("<I", 0) + ONE)],
        [entry(b"w", HUGE, (HUGE,), HUGE - 1, ONE)],
        [entry(b"w", 2, (), 3, 3 * ONE)],
        [entry(b"w", 3, (), 2, TWO)],
        [entry(b"w", 3, (), 2, struct.pack("<2I", 2, 1) + 2 * ONE)],
        [entry(b"w", 3, (), 1, struct.pack("<I", 3) + ONE)],
        [entry(b"w", 1, (), 1, struct.pack("<f", float("nan")))],
        [entry(b"w", 1, (), 1, struct.pack("<f", float("inf")))],
        [entry(b"w", 1, (), 1, ONE)] * 2,
        [entry(b"w", 1, (), 1, ONE), entry(b"v", 1, (), 1, ONE)],
        [entry(b"", 1, (), 1, ONE)],
        [entry(b"\xff", 1, (), 1, ONE)],
        [entry(b"w" * (MAX_TEXT_BYTES + 1), 1, (), 1, ONE)],
        [entry(b"w", 1, (1,) * 8, 1, ONE)],
    ],
)
def test_impossible_entries_are_refused_before_memory_is_taken(entries: list[bytes]) -> None:
    bare = replace(sample(), learned=(), rows={}, domains={}, own_rows={}).content
    content = bare[:-4] + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(2)
    tracemalloc.start()
    with pytest.raises(BundleError, match="cannot be used"):
        parse_delta(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def own(number: int, *entries: bytes) -> bytes:
    return struct.pack("<IH", number, len(entries)) + b"".join(entries)


def gone(*indices: int) -> bytes:
    return struct.pack(f"<{1 + len(indices)}I", len(indices), *indices)


GOOD = entry(b"w", 3, (), 1, struct.pack("<I", 1) + ONE)


@pytest.mark.parametrize(
    "domains",
    [
        [own(0, GOOD + gone())],
        [own(2, GOOD + gone()), own(1, GOOD + gone())],
        [own(1, GOOD + gone())] * 2,
        [own(1)],
        [own(1, GOOD + gone()), own(2)],
        [own(1, GOOD + gone(), GOOD + gone())],
        [own(1, GOOD + gone(1))],
        [own(1, GOOD + gone(3))],
        [own(1, GOOD + gone(2, 0))],
        [own(1, GOOD + gone(2, 2))],
        [own(1, GOOD + struct.pack("<I", HUGE))],
        [own(1, GOOD)],
        [own(1, entry(b"w", 3, (), 0, b"") + gone())],
        [own(1, entry(b"w", HUGE, (), HUGE, ONE) + gone())],
        [own(1, entry(b"w", HUGE, (HUGE, HUGE), 0, b"") + struct.pack("<I", HUGE))],
        [own(1, entry(b"w", 3, (0,), 0, b"") + gone(0))],
        [own(1, entry(b"w", 1, (), 1, struct.pack("<f", float("nan"))) + gone())],
    ],
)
def test_impossible_rows_of_domains_are_refused_before_memory_is_taken(
    domains: list[bytes],
) -> None:
    bare = bytearray(replace(sample(), learned=(), rows={}, domains={}, own_rows={}).content)
    bare[4] = 2
    content = bytes(bare) + struct.pack("<H", len(domains)) + b"".join(domains)
    good = bytes(bare) + struct.pack("<H", 1) + own(1, GOOD + gone(0))
    assert parse_delta(good).content == good
    tracemalloc.start()
    with pytest.raises(BundleError, match="cannot be used"):
        parse_delta(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    ("offset", "new", "words"),
    [
        (0, b"SELX", "it is no delta"),
        (4, b"\x03\x00", "has version 3"),
        (4, b"\x00\x00", "reads versions 1 and 2"),
        (6, b"\x02\x00", "its flags are 2"),
        (120, b"\xff\xff", "65535 entries"),
    ],
)
def test_another_kind_or_version_is_refused(offset: int, new: bytes, words: str) -> None:
    content = bytearray(sample().content)
    content[offset : offset + len(new)] = new
    with pytest.raises(BundleError, match=words):
        parse_delta(bytes(content))


def test_a_class_that_is_named_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="names a class twice"):
        parse_delta(replace(sample(), learned=("x", "x")).content)


@pytest.mark.parametrize("name", ["", "x" * (MAX_TEXT_BYTES + 1), "\udc80"])
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="cannot be stored"):
        _ = replace(sample(), learned=(name,)).content


def test_only_trusted_keys_and_untouched_bytes_are_read(key: PrivateKey, tmp_path: Path) -> None:
    content = sample().signed(key)
    assert told(open_delta(content, {key.public})) == told(sample())
    with pytest.raises(BundleError, match="signed by the unknown key"):
        open_delta(content, {open_key(tmp_path / "other.pem").public})
    with pytest.raises(BundleError):
        open_delta(sample().content, {key.public})
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(BundleError):
            open_delta(bytes(changed), {key.public})


@pytest.mark.parametrize("content", [b"", b"x", bytes(96), bytes(97)])
def test_files_that_are_too_short_are_refused(key: PrivateKey, content: bytes) -> None:
    with pytest.raises(BundleError):
        open_delta(content, {key.public})


def test_the_network_hash_is_frozen() -> None:
    """Devices in the field name their networks by it."""
    changed = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    norm = {"w": (np.ones(2, np.float32), np.zeros(2, np.float32))}
    assert network_hash(A, (), {}, {}) == FROZEN[0]
    domain = Domain(np.arange(3, dtype=np.float32), 64, norm)
    assert network_hash(A, ("x",), changed, {1: domain}) == FROZEN[1]
    rows = {
        "w": (np.array([1]), np.ones((1, 3), np.float32)),
        "b": (np.arange(1), np.ones(1, np.float32)),
    }
    owning = replace(domain, rows=rows)
    assert network_hash(A, ("x",), changed, {1: domain, 2: owning}) == FROZEN[2]
    others = [{1: owning}, {1: owning, 2: domain}, {1: domain, 2: domain}, {2: owning}]
    assert FROZEN[2] not in {network_hash(A, ("x",), changed, other) for other in others}
