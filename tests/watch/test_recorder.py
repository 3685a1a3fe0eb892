"""Clips hold what was novel, from a little before it to a little after it, in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sel_edge.watch.recorder as recorder_module
from sel_edge.watch.impressions import Impression
from sel_edge.watch.recorder import MAX_CLIP_S, UNDECIDED_S, Recorder
from sel_edge.watch.scene import Box
from sel_edge.watch.shelf import Shelf
from sel_edge.watch.tracks import Track
from sel_edge.watch.usual import Visit
from sel_edge.watch.video import Video, open_video

FPS = 5.0
WIDTH, HEIGHT = 64, 48


class AllNovel:
    """Stands where `Usual` does."""

    def worth(self, visit: Visit) -> float:
        return 1.0

    def times(self, visit: Visit) -> float:
        return 1.0


def thing(start_s: float) -> Track:
    track = Track([Box(0, 0, 9, 9)], start_s, start_s, everywhere=False)
    track.visit = Visit(Impression(np.ones(1, np.float32), 1.0, 0))
    return track


def frame(number: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8)


def recorded(
    folder: Path, seen: dict[int, list[Track]], count: int, pre_s: float, post_s: float
) -> list[tuple[int, int]]:
    """First frame and number of frames of every clip; `seen` tells the things of each frame."""
    video = Video(folder / "video.mp4", FPS, WIDTH, HEIGHT, count, 1)
    shelf = Shelf(folder, FPS, 1 << 40, AllNovel(), ("cat",))
    recorder = Recorder(video, folder, shelf, pre_s, post_s)
    for number in range(count):
        for track in seen.get(number, []):
            track.last_s = number / FPS
        recorder.add(number, frame(number), seen.get(number, []))
    recorder.end([])
    for one in shelf.segments:
        levels = [picture.mean() for picture in open_video(one.path).frames()]
        expected = one.first + np.arange(one.frames)
        np.testing.assert_allclose(levels, expected % 256, atol=4)
    return [(one.first, one.frames) for one in shelf.segments]


@pytest.mark.parametrize("post_s", [0.0, 0.5, 2.0])
def test_a_thing_is_in_one_clip(tmp_path: Path, post_s: float):
    cat = thing(4.0)
    seen = {number: [cat] for number in range(26, 41)}
    ((first, frames),) = recorded(tmp_path, seen, 80, 1.0, post_s)
    assert first == 15
    assert 40 + round(post_s * FPS) <= first + frames - 1 <= 42 + round(post_s * FPS)


def test_a_thing_that_is_decided_late_is_kept_from_where_it_came(tmp_path: Path):
    early, later = thing(2.0), thing(8.0)
    seen = {number: [later] for number in range(42, 50)}
    seen |= {number: [later, early] for number in range(50, 55)}
    clips = recorded(tmp_path, seen, 80, 1.0, 1.0)
    assert clips == [(35, 15), (5, 55)]


def test_a_thing_that_stays_is_in_clips_that_follow_each_other(tmp_path: Path):
    cat, longest = thing(0.0), round(MAX_CLIP_S * FPS)
    clips = recorded(tmp_path, {number: [cat] for number in range(longest + 20)}, 400, 1.0, 0.0)
    assert clips == [(0, longest), (longest, 21)]


def test_what_is_decided_in_the_end_is_kept(tmp_path: Path):
    video = Video(tmp_path / "video.mp4", FPS, WIDTH, HEIGHT, 20, 1)
    shelf = Shelf(tmp_path, FPS, 1 << 40, AllNovel(), ("cat",))
    recorder = Recorder(video, tmp_path, shelf, 1.0, 1.0)
    for number in range(20):
        recorder.add(number, frame(number), [])
    recorder.end([thing(3.0)])
    assert [(one.first, one.frames) for one in shelf.segments] == [(10, 10)]


def test_frames_that_wait_need_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng, limit = np.random.default_rng(0), 20_000
    monkeypatch.setattr(recorder_module, "WAITING_BYTES", limit)
    video = Video(tmp_path / "video.mp4", FPS, WIDTH, HEIGHT, 100, 1)
    shelf = Shelf(tmp_path, FPS, 1 << 40, AllNovel(), ("cat",))
    recorder = Recorder(video, tmp_path, shelf, UNDECIDED_S, 1.0)
    for number in range(100):
        recorder.add(number, rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), [])
        assert sum(packed.nbytes for _, packed in recorder._waiting) <= limit
    assert len(recorder._waiting) > 1
