"""A short video from end to end: what comes again is let go, what comes once is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.preprocessing import SignalPreprocessing
from sel_edge.core.errors import DataError
from sel_edge.data.sources import load_splits
from sel_edge.watch.onlooker import Onlooker
from sel_edge.watch.video import Clip, open_video

WIDTH, HEIGHT, FPS = 160, 120, 5.0
SIDE, PASS_FRAMES = 40, 25
REGULARS, ROUNDS = 3, 4
GAP_FRAMES = 20
NOVEL_ROUND = 2


def pictures() -> np.ndarray:
    """Three digits in colours of their own, and a novel thing, uint8 [4, 40, 40, 3]."""
    digits = load_splits("digits?classes=0,1,2,3").test
    found = []
    for label, colour in enumerate([(255, 60, 60), (60, 255, 60), (60, 60, 255)]):
        digit = digits.images[digits.labels == label][0].repeat(5, axis=0).repeat(5, axis=1)
        found.append((digit / 255 * colour).astype(np.uint8))
    stripes = (np.indices((SIDE, SIDE)).sum(axis=0) // 4 % 2 * 255).astype(np.uint8)
    found.append(np.stack([stripes, 255 - stripes, np.full_like(stripes, 40)], axis=2))
    return np.stack(found)


def crossing(place: np.ndarray, thing: np.ndarray) -> list[np.ndarray]:
    frames = []
    for number in range(PASS_FRAMES):
        frame = place.copy()
        left = 2 + round(number * (WIDTH - SIDE - 4) / PASS_FRAMES)
        frame[50 : 50 + SIDE, left : left + SIDE] = thing
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Path:
    """Three things that come four times each, and one that comes once; the light changes."""
    rng = np.random.default_rng(0)
    place = rng.uniform(60, 150, (12, 16, 3)).repeat(10, axis=0).repeat(10, axis=1)
    things, frames, times = pictures(), [place] * 30, []
    for turn in range(ROUNDS):
        for number in [*range(REGULARS), *([REGULARS] if turn == NOVEL_ROUND else [])]:
            if number == REGULARS:
                times.append((len(frames) / FPS, (len(frames) + PASS_FRAMES) / FPS))
            frames += crossing(place, things[number]) + [place] * GAP_FRAMES
        frames += [place] * 60
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    clip = Clip(path, FPS, WIDTH, HEIGHT)
    for number, frame in enumerate(frames):
        light = 0.85 + 0.25 * np.sin(number / 80)
        noisy = frame * light + rng.normal(0, 2, frame.shape)
        clip.add(np.clip(noisy, 0, 255).astype(np.uint8))
    clip.close()
    with path.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file).writerows([("start_s", "end_s"), *times])
    return path


def watched(
    call: Callable[..., Any], workshop: Path, film: Path, out: Path, *more: object
) -> dict[str, Any]:
    told = call(
        *("watch", film, "--bundle", workshop / "bundle", "--out", out, "--threads", 1),
        *("--truth", film.with_suffix(".csv"), "--json", *more),
    )
    assert told.code == 0, told.err
    found: dict[str, Any] = json.loads(told.out)
    return found


def test_what_comes_once_is_kept_and_what_comes_again_goes(
    call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path
):
    out = tmp_path / "out"
    found = watched(call, workshop, film, out, "--cap", "100%")
    assert found["truth"]["missed"] == found["truth"]["missed_by_motion_only"] == 0
    assert found["passes"] == REGULARS * ROUNDS + 1
    assert found["things"] == REGULARS + 1
    assert found["became_usual"] > 0
    assert found["time_saved"] > found["time_saved_by_motion_only"] > 0
    assert found["complete"]
    assert json.loads((out / "report.json").read_text()) == found
    index = json.loads((out / "index.json").read_text())
    assert sum(row["bytes"] for row in index) == found["kept"]["bytes"]
    assert len({row["file"] for row in index}) == len(index) == found["kept"]["clips"]
    for row in index:
        clip = open_video(out / row["file"])
        assert clip.bytes == row["bytes"]
        assert len(list(clip.frames())) == round(row["seconds"] * FPS)


def test_clips_show_the_frames_of_the_video(
    call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path
):
    watched(call, workshop, film, tmp_path / "out", "--cap", "100%")
    frames = np.stack(list(open_video(film).frames())).astype(int)
    for row in json.loads((tmp_path / "out" / "index.json").read_text()):
        first = round(row["start_s"] * FPS)
        clip = np.stack(list(open_video(tmp_path / "out" / row["file"]).frames()))
        shifts = [n for n in range(-3, 4) if 0 <= first + n <= len(frames) - len(clip)]
        apart = [np.abs(clip - frames[first + n : first + n + len(clip)]).mean() for n in shifts]
        assert shifts[int(np.argmin(apart))] == 0
        assert min(apart) < 10


def test_rolls_are_kept(call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path):
    event = float(film.with_suffix(".csv").read_text().splitlines()[1].split(",")[0])
    for pre_roll_s in (0, 3):
        out = tmp_path / str(pre_roll_s)
        watched(call, workshop, film, out, "--cap", "100%", "--pre-roll", pre_roll_s)
        starts = [row["start_s"] for row in json.loads((out / "index.json").read_text())]
        begun = max(start for start in starts if start <= event + 0.6)
        assert abs(event - pre_roll_s - begun) <= 0.6


def test_the_cap_is_held(call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path):
    cap = film.stat().st_size // 8
    found = watched(call, workshop, film, tmp_path / "out", "--cap", f"{cap}B")
    assert 0 < found["kept"]["bytes"] <= cap
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.mp4")) <= cap


def test_the_same_video_is_watched_the_same_way_with_and_without_truth(
    call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path
):
    watched(call, workshop, film, tmp_path / "with", "--cap", "40%")
    arguments = ["watch", film, "--bundle", workshop / "bundle", "--out", tmp_path / "without"]
    told = call(*arguments, "--threads", 1, "--cap", "40%")
    assert told.code == 0
    assert "unknown" in told.out
    one, other = ((tmp_path / name / "index.json").read_text() for name in ("with", "without"))
    assert one == other


@pytest.mark.parametrize("cap", ["", "0%", "lots", "-3%", "5 PB", "nan", "1e9"])
def test_no_cap(call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path, cap: str):
    arguments = ["watch", film, "--bundle", workshop / "bundle", "--out", tmp_path / "out"]
    call(*arguments, "--cap", cap).says("--cap")
    assert not (tmp_path / "out").exists()


def test_a_directory_that_holds_something_is_left_alone(
    call: Callable[..., Any], workshop: Path, film: Path, tmp_path: Path
):
    (tmp_path / "kept").write_text("mine")
    told = call("watch", film, "--bundle", workshop / "bundle", "--out", tmp_path)
    assert told.code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_bundle_for_signals_is_refused(workshop: Path):
    bundle = open_bundle(workshop / "bundle")
    view = SignalPreprocessing(channels=1, length=64, mean=(0.0,), std=(1.0,))
    other = replace(bundle, manifest=replace(bundle.manifest, preprocessing=view))
    with pytest.raises(DataError, match="network for images"):
        Onlooker(other, threads=1)
