"""Clips come back as they were written; what is no video is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.core.errors import DataError, StorageError
from sel_edge.watch.video import Clip, open_video


def written(path: Path, count: int = 12, width: int = 64, height: int = 48) -> Path:
    clip = Clip(path, 5.0, width, height)
    for number in range(count):
        clip.add(np.full((height, width, 3), 20 * number % 256, np.uint8))
    clip.close()
    return path


def test_a_clip_comes_back(tmp_path: Path):
    video = open_video(written(tmp_path / "clip.mp4"))
    assert (video.fps, video.width, video.height, video.announced) == (5.0, 64, 48, 12)
    levels = [frame.mean() for frame in video.frames()]
    np.testing.assert_allclose(levels, 20 * np.arange(12), atol=4)


@pytest.mark.parametrize(
    "content", [b"", b"no video", bytes(5000), b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"]
)
def test_no_video(tmp_path: Path, content: bytes):
    path = tmp_path / "what.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"what\.mp4"):
        open_video(path)


@pytest.mark.parametrize(
    "name", ["none.mp4", "http://127.0.0.1:9/x.mp4", "concat:a|b", "frame_%03d.png", "."]
)
def test_no_file(name: str):
    with pytest.raises(DataError):
        open_video(Path(name))


def test_too_small(tmp_path: Path):
    with pytest.raises(DataError, match="16 x 16"):
        open_video(written(tmp_path / "small.mp4", width=16, height=16))


def test_a_damaged_file_ends_where_it_cannot_be_read_on(tmp_path: Path):
    path = written(tmp_path / "clip.avi", count=200)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = open_video(path)
    assert 0 < len(list(video.frames())) < 200


def test_a_place_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(StorageError):
        Clip(tmp_path / "none" / "clip.mp4", 5.0, 64, 48)


def test_a_clip_that_lost_frames_is_an_error(tmp_path: Path):
    clip = Clip(tmp_path / "clip.mp4", 5.0, 64, 48)
    clip.add(np.zeros((48, 64, 3), np.uint8))
    clip.frames += 1
    with pytest.raises(StorageError, match="could not be written"):
        clip.close()


@pytest.mark.parametrize("fps", [1.0, 29.97, 71.43, 120.0])
def test_usual_and_unusual_rates_come_back(tmp_path: Path, fps: float):
    clip = Clip(tmp_path / "clip.mp4", fps, 64, 48)
    for _ in range(10):
        clip.add(np.zeros((48, 64, 3), np.uint8))
    clip.close()
    assert open_video(clip.path).fps == pytest.approx(fps, rel=0.01)


def test_a_clip_that_is_not_whole_is_not_left(tmp_path: Path):
    clip = Clip(tmp_path / "clip.mp4", 5.0, 64, 48)
    clip.add(np.zeros((48, 64, 3), np.uint8))
    clip.frames += 1
    with pytest.raises(StorageError):
        clip.close()
    assert list(tmp_path.iterdir()) == []
