"""The demo's stream: nothing changes, the image domain shifts, two unseen classes appear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sel_edge.core.errors import DataError
from sel_edge.data.dataset import Splits
from sel_edge.data.spec import DataSpec, SegmentSpec, parse_data

NEW_CLASSES = 2
MAX_SEGMENT_FRAMES = 2000
SHIFT = ("gaussian_noise", 3)
SEED = 1

# Share of the frames that come with a label: few while all is well, more when someone is asked.
LABELS_UNCHANGED, LABELS_SHIFTED, LABELS_NEW = 0.1, 0.25, 0.25


@dataclass(frozen=True)
class DemoStream:
    """What the demo trains on, shows and asks.

    Attributes:
        known: data SPEC of the classes that pretraining sees.
        source: stream SPEC of the three segments.
        probes: name -> stream SPEC of frames that the stream never shows: "old" (known classes,
            unchanged), "shifted" (the same frames, corrupted) and "new" (the unseen classes).
        unchanged_frames: length of the first segment, in which no trigger is right.
    """

    known: str
    source: str
    probes: dict[str, str]
    unchanged_frames: int


def plan_stream(data: str, splits: Splits) -> DemoStream:
    """Divide a data set's test images into the demo's segments and probes.

    The last two classes are the unseen ones. Of the others' test images at most three tenths go to
    each of the first two segments, and the rest (as many again at most) to the probes.

    Raises:
        DataError: fewer than four classes, or too few test images.
    """
    base, classes = parse_data(data), splits.test.classes
    if len(classes) < NEW_CLASSES + 2:
        raise DataError(
            f"{data} has {len(classes)} classes.",
            f"The demo keeps {NEW_CLASSES} of them for later and needs at least 2 to begin with.",
            "Choose data with four classes or more.",
        )
    counts = np.bincount(splits.test.labels, minlength=len(classes))
    known_frames = int(counts[:-NEW_CLASSES].sum())
    new_frames = int(counts[-NEW_CLASSES:].sum())
    part = min(MAX_SEGMENT_FRAMES, known_frames * 3 // 10)
    new_part = min(MAX_SEGMENT_FRAMES // 2, new_frames // 2)
    if part < 50 or new_part < 20:
        raise DataError(
            f"{data} has {known_frames} test images of its first classes and {new_frames} of its "
            f"last {NEW_CLASSES}.",
            "The demo needs at least 170 and 40.",
            "Choose data with more test images.",
        )
    known, new = classes[:-NEW_CLASSES], classes[-NEW_CLASSES:]

    def segment(
        names: tuple[str, ...],
        skip: int,
        n: int,
        corrupt: tuple[str, int] | None = None,
        labels: float = 0.0,
        name: str = "",
    ) -> SegmentSpec:
        source = DataSpec(base.kind, base.path, names, base.size, base.mode)
        return SegmentSpec(
            source=source,
            split="test",
            corrupt=corrupt,
            labels=labels,
            seed=SEED,
            skip=skip,
            n=n,
            name=name,
        )

    rest = min(part, known_frames - 2 * part)
    stream = (
        segment(known, 0, part, None, LABELS_UNCHANGED, "unchanged"),
        segment(known, part, part, SHIFT, LABELS_SHIFTED, f"shifted by {SHIFT[0]}"),
        segment(new, 0, new_part, None, LABELS_NEW, f"new classes {' and '.join(new)}"),
    )
    probes = {
        "old": segment(known, 2 * part, rest),
        "shifted": segment(known, 2 * part, rest, SHIFT),
        "new": segment(new, new_part, min(MAX_SEGMENT_FRAMES, new_frames - new_part)),
    }
    return DemoStream(
        known=str(DataSpec(base.kind, base.path, known, base.size, base.mode)),
        source="+".join(str(part) for part in stream),
        probes={name: str(probe) for name, probe in probes.items()},
        unchanged_frames=part,
    )
