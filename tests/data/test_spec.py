"""SPEC strings parse to what they say, print to what parses, and refuse everything else."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data.spec import DataSpec, SegmentSpec, parse_data, parse_stream

text = st.text(string.printable + "äé犬", min_size=1, max_size=12)
paths = text.map(lambda tail: "/" + tail)
names = st.lists(text, unique=True, max_size=3).map(tuple)
data_specs = st.one_of(
    st.builds(
        DataSpec,
        kind=st.sampled_from(("cifar10", "folder", "npz", "path")),
        path=paths,
        classes=names,
        size=st.none() | st.integers(1, 4096),
        mode=st.sampled_from((None, "rgb", "gray")),
        skip_bad=st.booleans(),
    ),
    st.builds(DataSpec, kind=st.sampled_from(("digits", "cifar10")), classes=names),
    st.builds(
        DataSpec,
        kind=st.just("signals"),
        path=paths,
        classes=names,
        label=st.sampled_from(("first", "last")),
        channels=st.integers(1, 10**6),
    ),
)
segments = st.builds(
    SegmentSpec,
    source=data_specs,
    split=st.sampled_from(("train", "test", "all")),
    corrupt=st.none() | st.tuples(st.sampled_from(("fog", "blur")), st.integers(1, 5)),
    order=st.sampled_from(("random", "sorted", "original")),
    labels=st.floats(0, 1),
    seed=st.integers(0, 2**31 - 1),
    skip=st.integers(0, 10**6),
    n=st.none() | st.integers(1, 10**6),
    name=st.just("") | text,
)


@given(data_specs)
def test_data_spec_survives_printing(spec: DataSpec) -> None:
    assert parse_data(str(spec)) == spec


@given(st.lists(segments, min_size=1, max_size=3))
def test_stream_spec_survives_printing(parts: list[SegmentSpec]) -> None:
    assert parse_stream("+".join(str(part) for part in parts)) == tuple(parts)


@given(st.text(string.ascii_lowercase + ":?&=+,%/.0123456789", max_size=30))
def test_any_text_parses_or_is_refused_in_words(spec: str) -> None:
    for parse in (parse_data, parse_stream):
        try:
            parse(spec)
        except DataError as error:
            assert error.found
            assert error.action


def test_the_example_of_the_documentation() -> None:
    (segment,) = parse_stream(
        "cifar10:/d/c.tar.gz:test?classes=cat,dog&corrupt=fog:4&order=sorted&labels=0.1&seed=3"
    )
    assert segment == SegmentSpec(
        source=DataSpec("cifar10", "/d/c.tar.gz", classes=("cat", "dog")),
        split="test",
        corrupt=("fog", 4),
        order="sorted",
        labels=0.1,
        seed=3,
    )


def test_kind_and_split_are_only_taken_where_they_stand() -> None:
    assert parse_data("/data/x.zip") == DataSpec("path", "/data/x.zip")
    assert parse_data("cifar10") == DataSpec("cifar10")
    assert parse_stream("digits")[0].split == "test"
    assert parse_stream("digits:all?n=5")[0] == SegmentSpec(DataSpec("digits"), "all", n=5)
    assert parse_data("folder:/a%2Bb%3Fc").path == "/a+b?c"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "names no path"),
        ("folder:", "names no path"),
        ("npz", "names no path"),
        ("digits:/x", "built-in digits"),
        ("digits:test", "chooses a split"),
        ("/data/set.tar:all", "chooses a split"),
        ("digits?colour=red", "unknown key 'colour'"),
        ("digits?corrupt=fog:4", "unknown key 'corrupt'"),
        ("digits?classes=1,2&classes=3", "repeated key 'classes'"),
        ("digits?classes=1,,2", "classes="),
        ("digits?classes=1,1", "classes="),
        ("/x?size=0", "size=0"),
        ("/x?size=big", "size=big"),
        ("/x?mode=cmyk", "mode=cmyk"),
        ("/x?", "unknown key ''"),
        ("/a+b", "%2B"),
        ("signals:", "names no path"),
        ("signals:/x?size=4", "of images are size, mode, bad"),
        ("npz:/x?channels=2", "signals:PATH are label, channels"),
        ("/x?label=first", "signals:PATH are label, channels"),
        ("signals:/x?bad=skip", "sets bad="),
        ("/x?bad=keep", "bad=keep"),
        ("signals:/x?label=middle", "label=middle"),
        ("signals:/x?channels=0", "channels=0"),
    ],
)
def test_refused_data_specs(spec: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        parse_data(spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("digits+", "names no path"),
        ("digits?corrupt=fog", "corrupt=fog"),
        ("digits?corrupt=fog:9", "corrupt=fog:9"),
        ("digits?labels=1.5", "labels=1.5"),
        ("digits?labels=nan", "labels=nan"),
        ("digits?order=up", "order=up"),
        ("digits?seed=-1", "seed=-1"),
        ("digits?n=0", "n=0"),
        ("digits:dev", "'dev'"),
    ],
)
def test_refused_stream_specs(spec: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        parse_stream(spec)


@pytest.mark.parametrize("parse", [parse_data, parse_stream])
def test_a_spec_that_is_not_utf8(parse: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match=r"'/caf\\udce9'"):
        parse("/caf\udce9")
