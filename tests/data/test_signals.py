"""Signals in text files: what is written is read back, and everything else is refused in words."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data import limits, signals
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits

RELAXED = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
names = st.text("abcxyzäé-", min_size=1, max_size=5)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Splits]:
    """Load what stands in a file."""

    def load(content: str | bytes, keys: str = "") -> Splits:
        path = tmp_path / "rows.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_splits(f"signals:{path}{keys}")

    return load


def everything(splits: Splits) -> list[tuple[str, bytes]]:
    """Class and samples of every signal, sorted."""
    return sorted(
        (data.classes[label], frame.tobytes())
        for data in (splits.train, splits.test)
        for label, frame in zip(data.labels, data.frames, strict=True)
    )


@RELAXED
@given(data=st.data())
def test_what_is_written_is_read_back(data: st.DataObject, load: Callable[..., Splits]) -> None:
    """For every separator, place of the label, line end, and with and without compression."""
    channels, length = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    classes = data.draw(st.lists(names, min_size=2, max_size=4, unique=True))
    labels = [name for name in classes for _ in range(data.draw(st.integers(2, 4)))]
    size = channels * length
    row = st.lists(floats, min_size=size, max_size=size)
    rows = data.draw(st.lists(row, min_size=len(labels), max_size=len(labels)))
    x = np.array(rows, np.float32)
    place = data.draw(st.sampled_from(("first", "last")))
    between = data.draw(st.sampled_from((",", " , ", ";", "\t", "   ")))
    end = data.draw(st.sampled_from(("\n", "\r\n", "\n\n", " \n")))
    lines = []
    for name, values in zip(labels, x, strict=True):
        texts = [repr(float(value)) for value in values]
        lines.append(between.join([name, *texts] if place == "first" else [*texts, name]))
    content = data.draw(st.sampled_from(("", "\ufeff"))) + end.join(lines)
    raw = content.encode()
    zipped = data.draw(st.booleans())
    splits = load(gzip.compress(raw) if zipped else raw, f"?label={place}&channels={channels}")
    assert splits.train.frames.shape[1:] == (channels, length)
    assert splits.train.frames.dtype == np.float32
    assert splits.train.classes == splits.test.classes == tuple(sorted(classes))
    written = [(name, values.tobytes()) for name, values in zip(labels, x, strict=True)]
    assert everything(splits) == sorted(written)
    for part in (splits.train, splits.test):
        assert set(part.labels) == set(range(len(classes))), "every class on either side"


@RELAXED
@given(
    content=st.binary(max_size=120)
    | st.text("0123456789.,;-+einfa_ \t\n", max_size=120).map(str.encode)
)
def test_any_file_is_read_or_refused_in_words(content: bytes, load: Callable[..., Splits]) -> None:
    for keys in ("", "?label=last", "?channels=2"):
        try:
            assert np.isfinite(load(content, keys).train.frames).all()
        except DataError as error:
            assert error.found
            assert error.action


def table(labels: list[str]) -> str:
    return "".join(f"{label},{number},{number}\n" for number, label in enumerate(labels * 2))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["2.0000000e+00", "1.0e0", "10"], ("1", "2", "10")),
        (["-1", "1", "0.0"], ("-1", "0", "1")),
        (["1.5", "1", "2"], ("1", "1.5", "2")),
        (["R", "M"], ("M", "R")),
        (["nan", "1"], ("1", "nan")),
        (["1e300", "2"], ("1e300", "2")),
        (["1_0", "9"], ("1_0", "9")),
    ],
)
def test_labels_that_are_whole_numbers_are_named_and_ordered_as_such(
    labels: list[str], classes: tuple[str, ...], load: Callable[..., Splits]
) -> None:
    assert load(table(labels)).train.classes == classes


def test_the_split_is_stratified_and_always_the_same(load: Callable[..., Splits]) -> None:
    content = table(["a"] * 20 + ["b"] * 5)
    first, again = load(content), load(content)
    assert np.bincount(first.test.labels).tolist() == [8, 2]
    assert everything(first) == everything(again)
    assert np.array_equal(first.test.frames, again.test.frames)


def test_a_row_holds_one_channel_after_the_other(load: Callable[..., Splits]) -> None:
    splits = load("a 1 2 3 4 5 6\nb 1 2 3 4 5 6\n" * 2, "?channels=2")
    assert splits.train.frames[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_classes_are_kept_and_numbered_anew(load: Callable[..., Splits]) -> None:
    splits = load(table(["a", "b", "c"]), "?classes=c,a")
    assert splits.train.classes == ("a", "c")
    assert set(splits.train.labels) == {0, 1}


REFUSED = {
    "nothing": ("", "no rows"),
    "blank lines": ("\n \n\n", "no rows"),
    "a header": ("class,t0,t1\n" + table(["a", "b"]), "Line 1 of .* 't0' where a sample"),
    "ragged": ("a,1,2\nb,1,2\na,1\nb,1,2\n", "Line 3 of .* 1 samples, and rows before it 2"),
    "a missing sample": ("a,1,2\nb,,2\n", "Line 2 of .* ''"),
    "a question mark": ("a,1,?\n", "'\\?'"),
    "NaN": ("a,1,2\nb,1,nan\n", "Line 2 of .* NaN"),
    "infinite": ("a,1,-inf\n", "infinite"),
    "beyond float32": ("a,1,1e39\n", "beyond float32"),
    "digits with an underscore": ("a,1_0,2\n", "'1_0'"),
    "another separator": ("a,1,2\nb 1 2\n", "Line 2"),
    "no label": (",1,2\n", "Line 1 of .* no label"),
    "no samples": ("a\nb\n", "a label and no samples"),
    "a label where none is said": ("1,2,R\n3,4,M\n", "'R' where .*label=last"),
    "one class": (table(["a", "a"]), "fewer than two classes"),
    "a single signal": (table(["a"]) + "b,1,2\n", "a single signal of class b"),
    "not UTF-8": (b"a,1,2\n\xff\xfe,1,2\n", "cannot be read"),
    "zeros": (b"\0" * 100, "Line 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_files(name: str, load: Callable[..., Splits]) -> None:
    content, says = REFUSED[name]
    with pytest.raises(DataError, match=says):
        load(content)


def test_channels_that_do_not_divide_a_row(load: Callable[..., Splits]) -> None:
    with pytest.raises(DataError, match="2 samples for 3 channels"):
        load(table(["a", "b"]), "?channels=3")


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "typo", tmp_path):
        with pytest.raises(DataError):
            load_splits(f"signals:{path}")


def test_damaged_gzip(load: Callable[..., Splits]) -> None:
    zipped = gzip.compress(table(["a", "b"] * 500).encode())
    for content in (zipped[:-9], zipped[:40] + b"\xff" + zipped[41:]):
        with pytest.raises(DataError):
            load(content)


def test_a_file_without_end_is_refused_early(
    load: Callable[..., Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "MAX_LINE_BYTES", 2**16)
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: 2**20)
    bombs = {
        "longer than": gzip.compress(b"1 " * 2**24),
        "MiB": gzip.compress(b"a,1,1,1\n" * 2**22),
    }
    for says, content in bombs.items():
        tracemalloc.start()
        with pytest.raises(DataError, match=says):
            load(content)
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()


def test_a_bare_path_says_how_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(table(["a", "b"]) * 100)
    with pytest.raises(DataError, match="signals:PATH"):
        load_splits(str(tmp_path / "rows.csv"))


def test_the_signals_of_others(shared_data: Path) -> None:
    beats = load_splits(f"signals:{shared_data / 'ecg5000-train.txt.gz'}")
    assert beats.train.frames.shape == (400, 1, 140)
    assert beats.train.classes == ("1", "2", "3", "4", "5")
    assert np.bincount(beats.test.labels).tolist() == [58, 35, 2, 4, 1]
    echoes = load_splits(f"signals:{shared_data / 'sonar.csv'}?label=last")
    assert (len(echoes.train), len(echoes.test)) == (166, 42)
    assert echoes.train.classes == ("M", "R")
    assert 0 <= echoes.train.frames.min() < echoes.train.frames.max() <= 1
