"""Streams are repeatable, independent of the batch size, and exactly what their SPEC says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.core.rng import generator
from sel_edge.data import stream as stream_module
from sel_edge.data.corruptions import CORRUPTIONS, corrupt
from sel_edge.data.sources import load_splits
from sel_edge.data.stream import FrameBatch, Stream, open_stream

pytest.importorskip("sklearn")


def whole(stream: Stream, size: int = 100) -> FrameBatch:
    batches = list(stream.batches(size))
    return FrameBatch(
        start=0,
        frames=np.concatenate([batch.frames for batch in batches]),
        labels=tuple(label for batch in batches for label in batch.labels),
        truths=tuple(truth for batch in batches for truth in batch.truths),
        segment=",".join(dict.fromkeys(batch.segment for batch in batches)),
    )


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(tuple(CORRUPTIONS)),
    size=st.integers(1, 700),
    seed=st.integers(0, 99),
    n=st.integers(1, 600),
)
def test_batch_size_changes_nothing(kind: str, size: int, seed: int, n: int) -> None:
    spec = f"digits:train?corrupt={kind}:3&labels=0.2&seed={seed}&n={n}+digits:test?n=30"
    stream = open_stream(spec)
    reference, other = whole(stream, 64), whole(stream, size)
    assert np.array_equal(reference.frames, other.frames)
    assert reference.labels == other.labels
    assert reference.truths == other.truths
    assert len(other.truths) == stream.n_frames == n + 30
    start = 0
    for batch in stream.batches(size):
        assert batch.start == start
        assert len(batch.frames) == len(batch.labels) == len(batch.truths) <= size
        assert batch.start >= n or batch.start + len(batch.truths) <= n, "segments never mix"
        start += len(batch.truths)


@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_labels_are_true_and_as_many_as_asked(share: float, seed: int) -> None:
    frames = whole(open_stream(f"digits?labels={share!r}&seed={seed}"))
    given_labels = [label for label in frames.labels if label is not None]
    assert len(given_labels) == round(share * 797)
    assert all(
        label in (None, truth) for label, truth in zip(frames.labels, frames.truths, strict=True)
    )


def test_orders() -> None:
    test = load_splits("digits").test
    names = [test.classes[label] for label in test.labels]
    original, by_class, mixed = (
        whole(open_stream(f"digits?order={order}")) for order in ("original", "sorted", "random")
    )
    assert list(original.truths) == names
    assert np.array_equal(original.frames, test.frames)
    assert list(by_class.truths) == sorted(names)
    assert list(mixed.truths) != names
    assert Counter(mixed.truths) == Counter(names)
    assert whole(open_stream("digits?seed=1")).truths != mixed.truths


def test_skip_and_n_cut_one_order_into_pieces() -> None:
    everything = whole(open_stream("digits?seed=5"))
    pieces = whole(open_stream("digits?seed=5&n=200+digits?seed=5&skip=200"))
    assert np.array_equal(everything.frames, pieces.frames)


def test_all_is_training_then_test_set() -> None:
    splits = load_splits("digits")
    frames = whole(open_stream("digits:all?order=original"))
    assert np.array_equal(frames.frames, np.concatenate([splits.train.frames, splits.test.frames]))


def test_corruption_is_drawn_per_block_of_256() -> None:
    clean = whole(open_stream("digits:train?seed=3")).frames
    noisy = whole(open_stream("digits:train?seed=3&corrupt=gaussian_noise:2")).frames
    expected = [
        corrupt(clean[at : at + 256], "gaussian_noise", 2, generator(3, "gaussian_noise", number))
        for number, at in enumerate(range(0, len(clean), 256))
    ]
    assert np.array_equal(noisy, np.concatenate(expected))


def test_segments_are_named_and_classes_filtered() -> None:
    stream = open_stream(
        "digits?classes=2,1&n=10+digits?corrupt=blur:2&n=10+digits?n=10+digits?n=5&name=new%20ones"
    )
    frames = whole(stream)
    assert frames.segment == "1: classes=2,1,2: corrupt=blur:2,3: clean test,4: new ones"
    assert set(frames.truths[:10]) == {"1", "2"}
    assert open_stream("digits?classes=7,3+digits?classes=5").classes == ("3", "7", "5")


def test_each_data_set_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    real = stream_module.load_source
    monkeypatch.setattr(
        stream_module, "load_source", lambda spec: (loaded.append(spec), real(spec))[1]
    )
    open_stream("digits?n=5+digits:train?classes=1,2+digits:all?corrupt=fog:1")
    assert len(loaded) == 1


def test_hash_is_of_the_content_and_not_of_names() -> None:
    hashes = {
        spec: open_stream(spec).sha256
        for spec in ("digits", "digits:test", "digits?name=x", "digits?seed=1", "digits:train")
    }
    assert hashes["digits"] == hashes["digits:test"] == hashes["digits?name=x"]
    assert len(set(hashes.values())) == 3


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("digits?classes=cat", "no class named 'cat'"),
        ("digits?corrupt=snow:3", "snow:3"),
        ("digits?skip=797", "takes frames"),
        ("digits?n=798", "takes frames"),
    ],
)
def test_refused_streams(spec: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_stream(spec)


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """Signals of two channels that hold their own number, and three classes."""
    path = tmp_path / "signals.npz"
    x = np.arange(60, dtype=np.float32)[:, None, None] + np.zeros((1, 2, 5), np.float32)
    np.savez(
        path, x_train=x[:40], y_train=np.arange(40) % 3, x_test=x[40:], y_test=np.arange(40, 60) % 3
    )
    return path


def test_signals_stream_as_images_do(signals: Path) -> None:
    stream = open_stream(f"npz:{signals}:all?order=original&labels=0.5&skip=3&n=50")
    frames = whole(stream, 7)
    assert stream.frame_shape == (2, 5)
    assert frames.frames.dtype == np.float32
    assert frames.frames[:, 0, 0].tolist() == list(range(3, 53))
    assert frames.truths == tuple(str(number % 3) for number in range(3, 53))
    assert sum(label is not None for label in frames.labels) == 25
    by_class = whole(open_stream(f"npz:{signals}:all?order=sorted"))
    assert list(by_class.truths) == sorted(frame for frame in by_class.truths)
    mixed = whole(open_stream(f"npz:{signals}:all?seed=4"), 13)
    assert sorted(mixed.frames[:, 1, 2].tolist()) == list(range(60))
    assert np.array_equal(mixed.frames, whole(open_stream(f"npz:{signals}:all?seed=4"), 60).frames)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_are_of_images(kind: str, signals: Path) -> None:
    with pytest.raises(DataError, match=rf"signals .*corruption {kind} takes images"):
        open_stream(f"npz:{signals}?corrupt={kind}:1")
    frames = np.zeros((3, 2, 5), np.float32)
    with pytest.raises(DataError, match="takes images"):
        corrupt(frames, kind, 1, generator(0, kind))


def test_one_stream_is_of_one_kind(signals: Path) -> None:
    with pytest.raises(DataError, match=r"images of .* signals of channels, length \[2, 5\]"):
        open_stream(f"npz:{signals}+digits")


def test_a_batch_holds_at_least_one_frame() -> None:
    with pytest.raises(ValueError, match="batch size 0"):
        next(open_stream("digits").batches(0))
