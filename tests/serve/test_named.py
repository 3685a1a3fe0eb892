"""SOURCE names: what is accepted, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError, SelEdgeError
from sel_edge.serve.sources.http import HttpSource
from sel_edge.serve.sources.inbox import InboxSource
from sel_edge.serve.sources.named import open_source
from sel_edge.serve.sources.stream import StreamSource


@pytest.mark.parametrize(
    ("text", "frames", "is_patient"),
    [
        ("digits:test?n=3", 3, False),
        ("stream:digits:test?n=3", 3, False),
        ("stream:digits:test?n=3&pace=0", 3, True),
        ("stream:digits:test?pace=0&n=3&labels=1", 3, True),
        ("digits:test?n=3+digits:test?n=2&pace=0", 5, True),
        ("digits:test?n=3+digits:test?pace=0&n=2&loop=0", 5, True),
    ],
)
def test_streams_take_a_pace(tmp_path: Path, text: str, frames: int, is_patient: bool) -> None:
    source = open_source(text, tmp_path)
    assert isinstance(source, StreamSource)
    assert source.name == text and source.is_patient is is_patient
    assert len(list(source.arrivals(lambda _: False))) == frames


def test_a_stream_gives_the_labels_that_it_names(tmp_path: Path) -> None:
    source = open_source("digits:test?n=40&labels=0.25&pace=0", tmp_path)
    arrivals = list(source.arrivals(lambda _: False))
    assert sum(one.label is not None for one in arrivals) == 10
    assert all(one.truth is not None for one in arrivals)
    assert all(one.label in (None, one.truth) for one in arrivals)


def test_a_stream_can_begin_again(tmp_path: Path) -> None:
    source = open_source("digits:test?n=3&pace=0&loop=1", tmp_path)
    frames = source.arrivals(lambda _: False)
    first, again = ([next(frames) for _ in range(3)] for _ in range(2))
    assert all((a.picture == b.picture).all() for a, b in zip(first, again, strict=True))


def test_http_and_folders(tmp_path: Path) -> None:
    odd = tmp_path / "what? 100%"
    odd.mkdir()
    assert isinstance(open_source("http", tmp_path), HttpSource)
    assert isinstance(open_source(f"inbox:{tmp_path}/what%3F 100%25", tmp_path), InboxSource)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inbox",
        "inbox:",
        "inbox:/nowhere/at/all",
        "inbox:/etc/hostname",
        "inbox:/tmp?loop=1",
        "video",
        "video:",
        "video:/nowhere.avi",
        "video:/tmp",
        "video:http://127.0.0.1/x.avi",
        "video:concat:/etc/hostname",
        "video:/tmp/%00.avi",
        "video:" + "x" * 5000,
        "camera:-1",
        "camera:/dev/video0",
        "camera:0?size=640",
        "camera:0?size=1x1",
        "camera:0?size=99999x99999",
        "camera:0?fps=nan",
        "camera:0?fps=1e9",
        "camera:0?fps=5&fps=6",
        "camera:0?zoom=2",
        "digits:test?pace=-1",
        "digits:test?pace=0&loop=yes",
        "digits:test?speed=3",
        "http://127.0.0.1/",
        "file:///etc/passwd",
    ],
)
def test_what_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        open_source(text, tmp_path)


@pytest.mark.parametrize("text", ["", "htp", "http:8080", "https://host/", "folder:nowhere:test"])
def test_whoever_mistypes_a_kind_is_told_which_there_are(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError) as refused:
        open_source(text, tmp_path)
    assert "inbox:DIR, http, or a stream SPEC" in refused.value.action


@given(st.sampled_from(["camera", "video:", "inbox:", "stream:", "http", ""]), st.text(max_size=30))
def test_no_text_ends_in_anything_but_a_source_or_an_error_in_words(kind: str, text: str) -> None:
    try:
        open_source(kind + text, Path("nowhere"))
    except SelEdgeError as error:
        assert error.found and error.action
