"""Truths that make no sense are refused; events are scored by the share of them that was kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from sel_edge.core.errors import DataError
from sel_edge.watch.spans import Spans
from sel_edge.watch.truth import Event, Missed, missed, read_truth


@pytest.mark.parametrize(
    "content",
    [
        b"begin,end\n1,2\n",
        b"start_s,end_s\n1\n",
        b"start_s,end_s\n1,x\n",
        b"start_s,end_s\n2,1\n",
        b"start_s,end_s\n1,nan\n",
        b"start_s,end_s\n1,inf\n",
        b"start_s,end_s\n-1,2\n",
        b"start_s,end_s\n\xff\xfe,2\n",
        b"start_s,end_s\n" + b"9" * 200_000 + b",2\n",
    ],
)
def test_nonsense_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "truth.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"truth\.csv"):
        read_truth(path)


def test_a_truth_that_is_not_there(tmp_path: Path):
    with pytest.raises(DataError):
        read_truth(tmp_path / "none.csv")


def test_groups_and_names_may_be_left_out(tmp_path: Path):
    path = tmp_path / "truth.csv"
    path.write_text("start_s,end_s,group\n1,2,near\n3,4.5,\n")
    assert read_truth(path) == [Event(1, 2, "near", ""), Event(3, 4.5, "", "")]


def test_an_event_is_missed_if_less_than_half_of_it_was_kept():
    kept, moved = Spans(), Spans()
    kept.add(10, 14)
    moved.add(0, 100)
    events = [Event(2, 4, "a", ""), Event(2.6, 4.6, "a", ""), Event(30, 31, "b", "")]
    assert missed(events, kept, moved, fps=5) == {
        "a": Missed(events=2, novel=1, motion=0),
        "b": Missed(events=1, novel=1, motion=1),
    }
