"""Streams: the frames a deployed network sees, made from data sets by a stream SPEC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.files import canonical_json, sha256_bytes
from sel_edge.core.frames import Frames, described, require_images
from sel_edge.core.rng import generator
from sel_edge.data.corruptions import check_corruption, corrupt
from sel_edge.data.dataset import Dataset, Splits, class_numbers
from sel_edge.data.sources import load_source
from sel_edge.data.spec import DataSpec, SegmentSpec, parse_stream

BLOCK_FRAMES = 256


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive frames of one segment.

    Attributes:
        start: index of the first frame in the whole stream.
        frames: images uint8 [n, H, W, C], or signals float32 [n, channels, length].
        labels: the class name that the learner is given for each frame, or None.
        truths: the true class name of each frame, or None if unknown; for scoring only, no
            decision may read it.
        segment: which part of the stream the frames are from, such as "2: corrupt=fog:4".
    """

    start: int
    frames: Frames
    labels: tuple[str | None, ...]
    truths: tuple[str | None, ...]
    segment: str


@dataclass(frozen=True)
class Stream:
    """A finite, repeatable sequence of frames.

    Attributes:
        spec: as the user wrote it.
        n_frames: length of the whole stream.
        classes: every class name that can occur, in the order of the data sets.
        note: what every record made with this stream must say ("" if nothing).
        sha256: of what the stream consists of: equal for equal content, wherever it lies.
    """

    spec: str
    n_frames: int
    classes: tuple[str, ...]
    note: str
    sha256: str
    segments: tuple[_Segment, ...]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of every frame: height, width, channels of an image; channels, length of a signal."""
        return self.segments[0].frame_shape

    def batches(self, size: int) -> Iterator[FrameBatch]:
        """All frames in batches of at most `size` (>= 1); a batch never spans two segments.

        What a frame looks like does not depend on `size`. Besides the data sets, at most
        `size` + 256 frames are held in memory.
        """
        if size < 1:
            raise ValueError(f"batch size {size} is smaller than 1")
        start = 0
        for segment in self.segments:
            for batch in segment.batches(size):
                yield replace(batch, start=start + batch.start)
            start += len(segment)


def open_stream(spec: str) -> Stream:
    """Open the stream that a SPEC names (grammar: `spec`); each data set is loaded once.

    Raises:
        DataError: the SPEC or a data set cannot be used; the message says what to do.
        MissingDependencyError: a built-in data set needs a package or download that is not there.
    """
    segments = []
    loaded: dict[DataSpec, Splits] = {}
    for number, part in enumerate(parse_stream(spec), start=1):
        if part.corrupt:
            check_corruption(*part.corrupt)
        source = replace(part.source, classes=())
        if source not in loaded:
            loaded[source] = load_source(source)
        if part.corrupt:
            require_images(loaded[source].train.frames, f"The corruption {part.corrupt[0]}")
        segments.append(_Segment(number, part, loaded[source]))
    _check_same_shape(segments)
    names = dict.fromkeys(name for segment in segments for name in segment.classes)
    notes = dict.fromkeys(splits.note for splits in loaded.values() if splits.note)
    return Stream(
        spec=spec,
        n_frames=sum(len(segment) for segment in segments),
        classes=tuple(names),
        note="; ".join(notes),
        sha256=sha256_bytes(canonical_json([segment.identity() for segment in segments])),
        segments=tuple(segments),
    )


class _Segment:
    """The frames of one segment: an order over a data set, with labels and a corruption."""

    def __init__(self, number: int, spec: SegmentSpec, splits: Splits) -> None:
        self.spec = spec
        self.name = f"{number}: {_describe(spec)}"
        self._sha256 = splits.sha256
        self._parts = [
            dataset
            for name, dataset in (("train", splits.train), ("test", splits.test))
            if spec.split in (name, "all")
        ]
        all_names = splits.train.classes
        wanted = class_numbers(all_names, spec.source.classes or all_names, str(spec))
        self.classes = tuple(all_names[number] for number in wanted)
        labels = np.concatenate([part.labels for part in self._parts])
        self._indices = _ordered(spec, labels, wanted)
        self._truths = [all_names[label] for label in labels[self._indices]]
        self._given = _given_labels(spec, len(self._indices))

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self._parts[0].frames.shape[1:]

    def identity(self) -> list[object]:
        """What the frames depend on, without the place where the data set lies."""
        keys = self.spec.keys() | {"split": self.spec.split}
        return [self._sha256, {key: value for key, value in keys.items() if key != "name"}]

    def batches(self, size: int) -> Iterator[FrameBatch]:
        """Batches whose `start` counts from the beginning of the segment."""
        block = lru_cache(maxsize=1)(self._block)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            pieces = []
            for number in range(start // BLOCK_FRAMES, (stop - 1) // BLOCK_FRAMES + 1):
                first = number * BLOCK_FRAMES
                pieces.append(block(number)[max(start - first, 0) : stop - first])
            truths = tuple(self._truths[start:stop])
            given = self._given[start:stop]
            yield FrameBatch(
                start=start,
                frames=np.concatenate(pieces),
                labels=tuple(
                    truth if known else None for truth, known in zip(truths, given, strict=True)
                ),
                truths=truths,
                segment=self.name,
            )

    def _block(self, number: int) -> Frames:
        """Frames of block `number`; the corruption's random numbers belong to the block."""
        at = slice(number * BLOCK_FRAMES, (number + 1) * BLOCK_FRAMES)
        frames = _gather(self._parts, self._indices[at])
        if self.spec.corrupt is None:
            return frames
        kind, severity = self.spec.corrupt
        return corrupt(frames, kind, severity, generator(self.spec.seed, kind, number))


def _ordered(spec: SegmentSpec, labels: NDArray[np.int64], wanted: list[int]) -> NDArray[np.int64]:
    """Indices of the segment's frames in their order."""
    indices = np.flatnonzero(np.isin(labels, wanted))
    if spec.order == "random":
        indices = generator(spec.seed, "order").permutation(indices)
    elif spec.order == "sorted":
        indices = indices[np.argsort(labels[indices], kind="stable")]
    stop = len(indices) if spec.n is None else spec.skip + spec.n
    if spec.skip >= stop or stop > len(indices):
        raise DataError(
            f"The segment {spec} takes frames {spec.skip} to {stop - 1} of {len(indices):,}.",
            "skip= and n= stay within the frames that there are, and leave at least one.",
            "Make skip= or n= smaller.",
        )
    return indices[spec.skip : stop]


def _given_labels(spec: SegmentSpec, n_frames: int) -> NDArray[np.bool_]:
    """Which frames come with their label: exactly the asked share, at random places."""
    given = np.zeros(n_frames, dtype=bool)
    chosen = generator(spec.seed, "labels").permutation(n_frames)[: round(spec.labels * n_frames)]
    given[chosen] = True
    return given


def _gather(parts: list[Dataset], indices: NDArray[np.int64]) -> Frames:
    """Frames at `indices` of the parts laid end to end, without joining the parts."""
    like = parts[0].frames
    frames = np.empty((len(indices), *like.shape[1:]), dtype=like.dtype)
    first = 0
    for part in parts:
        here = (indices >= first) & (indices < first + len(part))
        frames[here] = part.frames[indices[here] - first]
        first += len(part)
    return frames


def _describe(spec: SegmentSpec) -> str:
    """The given name, else the keys that change what is seen, else the data set and split."""
    if spec.name:
        return spec.name
    seen = {key: text for key, text in spec.keys().items() if key in ("classes", "corrupt")}
    return "&".join(f"{key}={text}" for key, text in seen.items()) or f"clean {spec.split}"


def _check_same_shape(segments: list[_Segment]) -> None:
    for segment in segments:
        if segment.frame_shape != segments[0].frame_shape:
            raise DataError(
                f"Segment {segment.name!r} has {described(segment.frame_shape)}, "
                f"{segments[0].name!r} has {described(segments[0].frame_shape)}.",
                "All frames of a stream are of one kind and shape.",
                "Add size= or mode= to the segments of images that need it.",
            )
