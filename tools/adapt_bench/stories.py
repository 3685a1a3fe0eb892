"""The thirteen stories of the core suite: streams of frames with few labels, and exams.

Every story is made from test images that the network has never seen: one part streams past, the
other waits for the exams. Corruptions are those of sel_edge.data.corruptions at severity 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.rng import generator
from sel_edge.data.corruptions import corrupt
from sel_edge.data.dataset import Dataset

Frames = NDArray[np.uint8]
Change = Callable[[Frames, NDArray[np.int64], np.random.Generator], Frames]

HIGH = 5
SHIFTS = ("gaussian_noise", "contrast", "fog", "blur")
NEW_CLASSES = ("cat", "truck")
DRIFTING = ("bird", "ship")
LABELS = 500
WRONG_SHARE = 0.3
DELAY_FRAMES = 300


@dataclass(frozen=True)
class Label:
    """An answer: what frame `frame` shows, known once `arrives` frames have been seen."""

    frame: int
    name: str
    arrives: int


@dataclass(frozen=True)
class Exam:
    """Frames that are scored once `after` frames of the stream have been seen.

    Attributes:
        name: "new" for the changed situation, "old" for the one before.
        truths: class names.
    """

    name: str
    after: int
    frames: Frames
    truths: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """What happens.

    Attributes:
        name: of the scenario.
        network: "ten" or "eight": how many classes it was trained on.
        frames: uint8 [N, H, W, C].
        truths: class name of every frame, for scoring only.
        labels: at most `LABELS`, in the order in which they arrive.
        exams: by the time they are held.
        onset: frame at which the change begins; N where nothing changes.
    """

    name: str
    network: str
    frames: Frames
    truths: tuple[str, ...]
    labels: tuple[Label, ...]
    exams: tuple[Exam, ...]
    onset: int


@dataclass(frozen=True)
class Size:
    """How large the stories are: frames of a stream, of its quiet beginning, and of an exam."""

    frames: int = 2000
    quiet: int = 256
    exam: int = 1500
    still: int = 20_000
    labels: int = LABELS


QUICK = Size(frames=800, quiet=128, exam=400, still=4000, labels=200)


class _Pool:
    """Test images in a random order: exam frames first, the rest for the stream."""

    def __init__(self, test: Dataset, classes: tuple[str, ...], size: Size, seed: int) -> None:
        wanted = [test.classes.index(name) for name in classes]
        order = generator(seed, "pool").permutation(np.flatnonzero(np.isin(test.labels, wanted)))
        self._test, self.size, self.seed = test, size, seed
        self.exam, self.stream = order[: size.exam], order[size.exam :]

    def images(self, indices: NDArray[np.int64]) -> Frames:
        return self._test.frames[indices].astype(np.uint8)

    def numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._test.labels[indices]

    def names(self, indices: NDArray[np.int64]) -> tuple[str, ...]:
        return tuple(self._test.classes[number] for number in self._test.labels[indices])

    def changed(self, indices: NDArray[np.int64], change: Change, purpose: str) -> Frames:
        rng = generator(self.seed, "change", purpose)
        return change(self.images(indices), self.numbers(indices), rng)

    def number(self, name: str) -> int:
        return self._test.classes.index(name)


def tell(name: str, test: Dataset, size: Size, seed: int) -> Story:
    """The story of this name.

    Args:
        name: a key of `STORIES`.
        test: all test images of CIFAR-10.
        size: how large.
        seed: of everything that is left to chance.
    """
    return replace(STORIES[name](test, size, seed), name=name)


def _shift(kind: str) -> Change:
    return lambda images, _, rng: corrupt(images, kind, HIGH, rng)


def _mixed(images: Frames, _: NDArray[np.int64], rng: np.random.Generator) -> Frames:
    kinds, found = rng.integers(len(SHIFTS), size=len(images)), images.copy()
    for number, kind in enumerate(SHIFTS):
        found[kinds == number] = corrupt(images[kinds == number], kind, HIGH, rng)
    return found


def _same(images: Frames, _: NDArray[np.int64], __: np.random.Generator) -> Frames:
    return images


def _ten(test: Dataset, size: Size, seed: int, change: Change) -> Story:
    """A quiet beginning, then the change for good."""
    return _changed(_Pool(test, test.classes, size, seed), change)


def _changed(pool: _Pool, change: Change, order: NDArray[np.int64] | None = None) -> Story:
    size = pool.size
    quiet = pool.stream[: size.quiet]
    later = pool.stream[size.quiet : size.frames] if order is None else order
    frames = np.concatenate([pool.images(quiet), pool.changed(later, change, "stream")])
    truths = pool.names(np.concatenate([quiet, later]))
    new = pool.changed(pool.exam, change, "exam")
    end, exam_names = len(frames), pool.names(pool.exam)
    return Story(
        name="",
        network="ten",
        frames=frames,
        truths=truths,
        labels=_labels(truths, size.labels, pool.seed),
        exams=(
            Exam("new", end, new, exam_names),
            Exam("old", end, pool.images(pool.exam), exam_names),
        ),
        onset=size.quiet,
    )


def _labels(truths: tuple[str, ...], count: int, seed: int) -> tuple[Label, ...]:
    """Labels of frames at random, each as soon as its frame was seen."""
    chosen = generator(seed, "labels").permutation(len(truths))[:count]
    return tuple(Label(int(at), truths[at], int(at)) for at in np.sort(chosen))


def _gradual(test: Dataset, size: Size, seed: int) -> Story:
    """Fog thickens from nothing to severity 5, stays, and lifts at once."""
    pool = _Pool(test, test.classes, size, seed)
    chosen = pool.stream[: size.frames]
    quiet, back = size.quiet, size.frames * 3 // 4
    severities = np.zeros(size.frames, np.int64)
    severities[quiet:back] = np.minimum(1 + np.arange(back - quiet) * 7 // (back - quiet), HIGH)
    frames = pool.images(chosen)
    for severity in range(1, HIGH + 1):
        at = severities == severity
        frames[at] = corrupt(frames[at], "fog", severity, generator(seed, "fog", severity))
    new = pool.changed(pool.exam, _shift("fog"), "exam")
    truths, exam_names = pool.names(chosen), pool.names(pool.exam)
    return Story(
        name="",
        network="ten",
        frames=frames,
        truths=truths,
        labels=_labels(truths, size.labels, seed),
        exams=(
            Exam("new", back, new, exam_names),
            Exam("old", size.frames, pool.images(pool.exam), exam_names),
        ),
        onset=quiet,
    )


def _sorted(test: Dataset, size: Size, seed: int) -> Story:
    """Contrast falls, and from then on all frames of a class come in a row."""
    pool = _Pool(test, test.classes, size, seed)
    later = pool.stream[size.quiet : size.frames]
    order = later[np.argsort(pool.numbers(later), kind="stable")]
    return _changed(pool, _shift("contrast"), order)


def _new_classes(test: Dataset, size: Size, seed: int) -> Story:
    """Two classes appear that the network was never trained on."""
    everything = _Pool(test, test.classes, size, seed)
    fresh = [test.classes.index(name) for name in NEW_CLASSES]
    is_old = ~np.isin(everything.numbers(everything.stream), fresh)
    quiet = everything.stream[is_old][: size.quiet]
    later = everything.stream[~np.isin(everything.stream, quiet)]
    order = np.concatenate([quiet, later[: size.frames - size.quiet]])
    truths = everything.names(order)
    old = everything.exam[~np.isin(everything.numbers(everything.exam), fresh)]
    new = np.setdiff1d(everything.exam, old)
    return Story(
        name="",
        network="eight",
        frames=everything.images(order),
        truths=truths,
        labels=_labels(truths, size.labels, seed),
        exams=tuple(
            Exam(name, size.frames, everything.images(part), everything.names(part))
            for name, part in (("new", everything.exam), ("old", old), ("learned", new))
        ),
        onset=size.quiet,
    )


def _two_classes(test: Dataset, size: Size, seed: int) -> Story:
    """Two classes change their looks: one is seen through noise, of the other only negatives."""
    pool = _Pool(test, test.classes, size, seed)
    noisy, negative = (pool.number(name) for name in DRIFTING)

    def change(images: Frames, numbers: NDArray[np.int64], rng: np.random.Generator) -> Frames:
        found = images.copy()
        found[numbers == noisy] = corrupt(images[numbers == noisy], "gaussian_noise", HIGH, rng)
        found[numbers == negative] = 255 - images[numbers == negative]
        return found

    return _changed(pool, change)


def _wrong_labels(test: Dataset, size: Size, seed: int) -> Story:
    """Fog, and three labels of ten name another class."""
    story = _ten(test, size, seed, _shift("fog"))
    rng = generator(seed, "wrong")
    wrong = rng.random(len(story.labels)) < WRONG_SHARE
    labels = tuple(
        replace(label, name=str(rng.choice([n for n in test.classes if n != label.name])))
        if is_wrong
        else label
        for label, is_wrong in zip(story.labels, wrong, strict=True)
    )
    return replace(story, labels=labels)


def _still(test: Dataset, size: Size, seed: int) -> Story:
    """Nothing changes, for long; the test images come again and again in new orders."""
    pool = _Pool(test, test.classes, size, seed)
    rounds = -(-size.still // len(pool.stream))
    rng = generator(seed, "still")
    chosen = np.concatenate([rng.permutation(pool.stream) for _ in range(rounds)])[: size.still]
    truths, exam_names = pool.names(chosen), pool.names(pool.exam)
    old = Exam("old", size.still, pool.images(pool.exam), exam_names)
    labels = _labels(truths, size.labels, seed)
    return Story("", "ten", pool.images(chosen), truths, labels, (old,), size.still)


def _late_labels(test: Dataset, size: Size, seed: int) -> Story:
    """Blur, and every label comes 300 frames after its frame."""
    story = _ten(test, size, seed, _shift("blur"))
    late = (replace(label, arrives=label.frame + DELAY_FRAMES) for label in story.labels)
    return replace(story, labels=tuple(label for label in late if label.arrives < size.frames))


def _one_label(test: Dataset, size: Size, seed: int) -> Story:
    """Noise, and after its onset one single label of every class."""
    story = _ten(test, size, seed, _shift("gaussian_noise"))
    first: dict[str, Label] = {}
    for label in story.labels:
        if label.frame >= story.onset:
            first.setdefault(label.name, label)
    return replace(story, labels=tuple(sorted(first.values(), key=lambda label: label.arrives)))


def _shifted(kind: str) -> Callable[[Dataset, Size, int], Story]:
    return lambda test, size, seed: _ten(test, size, seed, _shift(kind))


STORIES: Mapping[str, Callable[[Dataset, Size, int], Story]] = {
    **{kind: _shifted(kind) for kind in SHIFTS},
    "mixed": lambda test, size, seed: _ten(test, size, seed, _mixed),
    "gradual": _gradual,
    "sorted": _sorted,
    "new_classes": _new_classes,
    "two_classes": _two_classes,
    "wrong_labels": _wrong_labels,
    "still": _still,
    "late_labels": _late_labels,
    "one_label": _one_label,
}
"""Scenario -> how its story is told; the keys are the suite's thirteen scenarios in order."""
