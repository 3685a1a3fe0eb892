"""What is usual goes, then the most boring, the oldest first; the index says what is there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import StorageError
from sel_edge.watch import shelf as shelf_module
from sel_edge.watch.impressions import Impression
from sel_edge.watch.shelf import INDEX_FILE, UNDECIDED_TIMES, Segment, Shelf
from sel_edge.watch.usual import Visit

FPS = 5.0


class Worths:
    """Stands where `Usual` does; a visit is worth what its strangeness says."""

    def worth(self, visit: Visit) -> float:
        return visit.seen.strangeness

    def times(self, visit: Visit) -> float:
        return 1.0


def segment(folder: Path, number: int, size: int, worth: float) -> Segment:
    path = folder / f"{number}.mp4"
    path.write_bytes(bytes(size))
    seen = Impression(np.ones(1, np.float32), worth, 0)
    return Segment(path, 10 * number, 10, size, (Visit(seen),))


def made(folder: Path, cap: int) -> Shelf:
    return Shelf(folder, FPS, cap, Worths(), ("cat",))


clips = st.lists(st.tuples(st.integers(1, 50), st.floats(-2, 6)), min_size=1, max_size=12)


@given(clips, st.integers(1, 200))
def test_the_cap_is_held_and_files_index_and_shelf_agree(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, float]], cap: int
):
    folder = tmp_path_factory.mktemp("shelf")
    shelf = made(folder, cap)
    for number, (size, worth) in enumerate(sizes):
        shelf.add(segment(folder, number, size, worth))
        assert shelf.bytes <= UNDECIDED_TIMES * cap
    shelf.end()
    assert shelf.bytes <= cap
    if any(size <= cap and worth > 0 for size, worth in sizes[-1:]):
        assert shelf.segments
    assert all(shelf.worth(one) > 0 for one in shelf.segments)
    there = sorted(path.name for path in folder.glob("*.mp4"))
    assert there == sorted(one.path.name for one in shelf.segments)
    index = json.loads((folder / INDEX_FILE).read_text())
    assert sorted(row["file"] for row in index) == there
    assert len(sizes) == len(shelf.segments) + shelf.settled + shelf.crowded_out


def test_the_most_boring_goes_first_and_of_those_the_oldest(tmp_path: Path):
    shelf = made(tmp_path, 30)
    for number, worth in enumerate([2.0, 1.1, 0.9, 3.0]):
        shelf.add(segment(tmp_path, number, 10, worth))
    shelf.end()
    assert [one.first for one in shelf.segments] == [0, 20, 30]


def test_what_became_usual_goes_though_there_is_room(tmp_path: Path):
    shelf = made(tmp_path, 1000)
    clip = segment(tmp_path, 0, 10, 1.0)
    shelf.add(clip)
    clip.visits[0].seen = Impression(np.ones(1, np.float32), -1.0, 0)
    shelf.tidy()
    assert shelf.segments == []
    assert shelf.settled == 1
    assert not clip.path.exists()


def test_a_full_disk_costs_the_boring_and_is_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shelf = made(tmp_path, 1000)
    for number, worth in enumerate([1.0, 3.0]):
        shelf.add(segment(tmp_path, number, 10, worth))

    def usage(folder: Path) -> SimpleNamespace:
        missing = 1 if len(list(tmp_path.glob("*.mp4"))) > 1 else 0
        return SimpleNamespace(free=shelf_module.RESERVE_BYTES - missing)

    monkeypatch.setattr(shelf_module.shutil, "disk_usage", usage)
    shelf.tidy()
    assert [one.first for one in shelf.segments] == [10]
    monkeypatch.setattr(shelf_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(StorageError, match="full"):
        shelf.tidy()
    shelf.end()
    assert [one.first for one in shelf.segments] == [10]
    assert [row["start_s"] for row in json.loads((tmp_path / INDEX_FILE).read_text())] == [2.0]


def test_one_clip_without_room_does_not_cost_the_others(tmp_path: Path):
    shelf = made(tmp_path, 30)
    for number, (size, worth) in enumerate([(10, 1.0), (10, 1.0), (61, 9.0)]):
        shelf.add(segment(tmp_path, number, size, worth))
    assert [one.bytes for one in shelf.segments] == [10, 10]
