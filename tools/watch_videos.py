"""Make videos of a place: known things that come and go in changing light, and a few novel ones.

    python -m tools.watch_videos DATA --out FOLDER [--unseen cat,truck] [--seeds 0,1,2]
        [--minutes 60] [--fresh 0.05] [--residents 30] [--passes-per-minute 3]

DATA is a SPEC of CIFAR-10 or of another data set of colour images. Everything that moves is a real
image: known things are test images of the classes that a network knows, near novel ones are images
of --unseen classes, far ones are drawn digits and pieces of a photograph of a flower. The place is
a photograph, too. Writes SEED.mp4 and SEED.csv, the times of the novel things.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sel_edge.core.rng import generator
from sel_edge.data.dataset import Dataset
from sel_edge.data.sources import load_splits

WIDTH, HEIGHT = 320, 240
NOISE_LEVELS = 2.5
"""Standard deviation of the sensor's noise, of 255."""
FEATHER = 0.06
"""Share of a thing's side over which it fades into the place."""
NOVEL_SHARE = 0.02
"""Of the time, less than which novel things are there."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Story:
    """What happens at a place.

    Attributes:
        seed: of everything that is drawn at random.
        seconds: how long.
        fps: frames per second.
        passes_per_minute: known things that come, on average.
        residents: how many known things come again and again.
        fresh: share of the passes that are by known things that never came before.
        near, far: novel things of either kind, each of which comes once; far ones are by turns a
            digit and a piece of a flower.
    """

    seed: int = 0
    seconds: float = 3600.0
    fps: float = 5.0
    passes_per_minute: float = 3.0
    residents: int = 30
    fresh: float = 0.05
    near: int = 4
    far: int = 2


@dataclass(frozen=True)
class Cast:
    """Who may come: RGB images uint8 [n, H, W, 3], far ones of two kinds, and near ones' names."""

    known: Pixels
    near: Pixels
    far: tuple[Pixels, Pixels]
    near_names: tuple[str, ...]


@dataclass(frozen=True)
class Pass:
    """One thing that crosses the place.

    Attributes:
        image: RGB uint8 [H, W, 3].
        start_s, end_s: when.
        side: pixels in the middle of its way.
        growth: its side at the end as a share of that at the start.
        height: of its middle, share of the place's height.
        wobble: share of the place's height by which it goes up and down.
        backwards: from right to left.
    """

    image: Pixels
    start_s: float
    end_s: float
    side: float
    growth: float
    height: float
    wobble: float
    backwards: bool


@dataclass(frozen=True)
class Event:
    """A novel thing that is there from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    group: str
    name: str


def main() -> None:
    """Make the videos and say where they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unseen", default="cat,truck", help="classes the network never saw")
    parser.add_argument("--seeds", default="0", help="one video each, such as 0,1,2")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--fresh", type=float, default=Story.fresh)
    parser.add_argument("--residents", type=int, default=Story.residents)
    parser.add_argument("--passes-per-minute", type=float, default=Story.passes_per_minute)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cast = make_cast(load_splits(options.data).test, options.unseen.split(","))
    for seed in map(int, options.seeds.split(",")):
        story = Story(
            seed=seed,
            seconds=60 * options.minutes,
            fresh=options.fresh,
            residents=options.residents,
            passes_per_minute=options.passes_per_minute,
        )
        print(make_video(options.out / f"{seed}.mp4", story, cast))


def make_cast(images: Dataset, unseen: Sequence[str]) -> Cast:
    """Known and near things from a data set of RGB images, far ones from what scikit-learn has."""
    names = np.array(images.classes)[images.labels]
    is_near = np.isin(names, list(unseen))
    known, near = images.images[~is_near], images.images[is_near]
    return Cast(known, near, far_things(), tuple(names[is_near].tolist()))


@cache
def far_things() -> tuple[Pixels, Pixels]:
    """Drawn digits, and pieces of a photograph of a flower, RGB uint8 [n, 32, 32, 3] each."""
    digits = load_splits("digits?size=32&mode=rgb").test.images
    photograph = _photograph("flower.jpg")
    side = 128
    pieces = [
        cv2.resize(photograph[y : y + side, x : x + side], (32, 32), interpolation=cv2.INTER_AREA)
        for y in range(64, photograph.shape[0] - side, 48)
        for x in range(96, photograph.shape[1] - side, 48)
    ]
    return digits, np.stack(pieces)


def make_video(path: Path, story: Story, cast: Cast) -> Path:
    """Write a video (mp4v) and, beside it, a .csv with the events; returns the video's path."""
    passes, events = plan(story, cast)
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, story.fps, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise SystemExit(f"OpenCV cannot write {path}.")
    for frame in frames(story, passes):
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    with path.with_suffix(".csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["start_s", "end_s", "group", "name"])
        rows.writerows(
            [f"{one.start_s:.1f}", f"{one.end_s:.1f}", one.group, one.name] for one in events
        )
    return path


def plan(story: Story, cast: Cast) -> tuple[list[Pass], list[Event]]:
    """Who comes when; novel things are never there together."""
    rng = generator(story.seed, "watch")
    order = rng.permutation(len(cast.known))
    residents, others = order[: story.residents], iter(order[story.residents :])
    passes = []
    for _ in range(round(story.passes_per_minute * story.seconds / 60)):
        is_fresh = rng.random() < story.fresh
        who = next(others) if is_fresh else rng.choice(residents)
        length = rng.uniform(6, 12)
        passes.append(_pass(rng, cast.known[who], rng.uniform(0, story.seconds - length), length))
    events, far = [], 0
    for start, group in zip(_starts(rng, story), _groups(rng, story), strict=True):
        if group == "near":
            number = int(rng.integers(len(cast.near)))
            image, name = cast.near[number], cast.near_names[number]
        else:
            image, name = rng.choice(cast.far[far % 2]), ("digit", "flower")[far % 2]
            far += 1
        passes.append(_pass(rng, image, start, _novel_length(story)))
        events.append(Event(start, passes[-1].end_s, group, name))
    return sorted(passes, key=lambda one: one.start_s), sorted(events, key=lambda e: e.start_s)


def frames(story: Story, passes: Sequence[Pass]) -> Iterator[Pixels]:
    """The frames, RGB uint8 [240, 320, 3]."""
    place = cv2.resize(_photograph("china.jpg"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    light = _Light(story)
    noise = generator(story.seed, "noise")
    for number in range(round(story.seconds * story.fps)):
        now = number / story.fps
        scene = place.astype(np.float32)
        for one in passes:
            if one.start_s <= now < one.end_s:
                _paste(scene, one, (now - one.start_s) / (one.end_s - one.start_s))
        scene *= light.at(now)
        scene += noise.standard_normal(scene.shape, dtype=np.float32) * NOISE_LEVELS
        yield np.clip(np.rint(scene), 0, 255).astype(np.uint8)


class _Light:
    """The sun over the hour, its colour, clouds, a side that is brighter, a lamp."""

    def __init__(self, story: Story) -> None:
        rng = generator(story.seed, "light")
        hours = story.seconds / 3600
        self._phase = rng.uniform(0, 2 * math.pi, 3)
        self._clouds = [
            (rng.uniform(0, story.seconds), rng.uniform(10, 40), rng.uniform(0.15, 0.4))
            for _ in range(math.ceil(12 * hours))
        ]
        self._lamp = sorted(rng.uniform(0, story.seconds, 2 * math.ceil(2 * hours)))
        self._across = np.linspace(-1, 1, WIDTH, dtype=np.float32)[np.newaxis, :, np.newaxis]

    def at(self, now: float) -> Floats:
        """What every pixel is multiplied by, float32 [1, 320, 3]."""
        slow = 2 * math.pi * now / 3600
        sun = 0.85 + 0.3 * math.sin(slow + self._phase[0])
        warm = 0.1 * math.sin(2 * slow + self._phase[1])
        side = 0.2 * math.sin(1.5 * slow + self._phase[2])
        for middle, length, depth in self._clouds:
            sun *= 1 - depth * math.exp(-(((now - middle) / length) ** 4))
        if sum(switch <= now for switch in self._lamp) % 2:
            sun *= 1.25
        colour = np.array([1 + warm, 1, 1 - warm], np.float32)
        return np.float32(sun) * (1 + np.float32(side) * self._across) * colour


def _pass(rng: np.random.Generator, image: Pixels, start: float, length: float) -> Pass:
    return Pass(
        image=image[:, ::-1] if rng.random() < 0.5 else image,
        start_s=start,
        end_s=start + length,
        side=rng.uniform(48, 84),
        growth=rng.uniform(0.8, 1.25),
        height=rng.uniform(0.3, 0.75),
        wobble=rng.uniform(0, 0.05),
        backwards=bool(rng.random() < 0.5),
    )


def _novel_length(story: Story) -> float:
    return 0.9 * NOVEL_SHARE * story.seconds / (story.near + story.far)


def _starts(rng: np.random.Generator, story: Story) -> list[float]:
    """A start in each of as many equal parts of the time as there are novel things."""
    count = story.near + story.far
    part = story.seconds / count
    return [n * part + rng.uniform(0, part - 2 * _novel_length(story)) for n in range(count)]


def _groups(rng: np.random.Generator, story: Story) -> list[str]:
    groups = ["near"] * story.near + ["far"] * story.far
    return [groups[index] for index in rng.permutation(len(groups))]


def _paste(scene: Floats, one: Pass, way: float) -> None:
    """Put a thing into the scene, float32 [240, 320, 3], `way` (0 to 1) along its path."""
    side = max(8, round(one.side * one.growth ** (way - 0.5)))
    along = 1 - way if one.backwards else way
    left = round((WIDTH + side) * along - side)
    top = round(HEIGHT * (one.height + one.wobble * math.sin(6 * way)) - side / 2)
    image = cv2.resize(one.image, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    x0, x1 = max(left, 0), min(left + side, WIDTH)
    y0, y1 = max(top, 0), min(top + side, HEIGHT)
    if x0 >= x1 or y0 >= y1:
        return
    shown = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    here = scene[y0:y1, x0:x1]
    here += _cover(side)[shown] * (image[shown] - here)


@cache
def _cover(side: int) -> Floats:
    """How much of the place a thing hides, float32 [side, side, 1]."""
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.clip(from_edge / (FEATHER * side), 0, 1).astype(np.float32)
    return (ramp[:, np.newaxis] * ramp)[..., np.newaxis]


def _photograph(name: str) -> Pixels:
    """One of the photographs that come with scikit-learn, RGB uint8 [427, 640, 3]."""
    from sklearn.datasets import load_sample_image

    image: Any = load_sample_image(name)
    return np.asarray(image, np.uint8)


if __name__ == "__main__":
    main()
