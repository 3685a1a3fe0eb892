"""The demo's stream: nothing changes, the image domain shifts, two unseen classes appear."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sel_edge.core.errors import DataError
from sel_edge.core.frames import require_images
from sel_edge.data.dataset import Splits
from sel_edge.data.spec import SegmentSpec, parse_data

NEW_CLASSES = 2
SHIFT = ("contrast", 3)
SEED = 1

# Shares of the known classes' test images for the first two segments, and of all images of the
# unseen classes for the third; what is left makes the probes.
UNCHANGED, SHIFTED, NEW = 0.25, 0.45, 0.7
MAX_FRAMES, MAX_NEW_FRAMES = 2000, 1000
MIN_UNCHANGED, MIN_NEW = 50, 50

# Share of the frames that come with a label.
LABELS = 0.25


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
    """Divide a data set into the demo's training data, segments and probes.

    The last two classes are the unseen ones: no image of theirs is trained on, so all of them may
    appear on the stream. Of the other classes the stream shows test images only.

    Raises:
        DataError: fewer than four classes, too few images, or signals.
    """
    require_images(splits.train.frames, "`sel-edge demo`")
    base, classes = parse_data(data), splits.test.classes
    frames = _count_frames(data, splits)
    known = replace(base, classes=classes[:-NEW_CLASSES])
    new = replace(base, classes=classes[-NEW_CLASSES:])
    old_probe = SegmentSpec(
        source=known,
        split="test",
        seed=SEED,
        skip=frames.unchanged + frames.shifted,
        n=frames.old_probe,
    )
    new_probe = replace(
        old_probe, source=new, split="all", skip=frames.appearing, n=frames.new_probe
    )
    segments = (
        replace(old_probe, skip=0, n=frames.unchanged, labels=LABELS, name="unchanged"),
        replace(
            old_probe,
            corrupt=SHIFT,
            skip=frames.unchanged,
            n=frames.shifted,
            labels=LABELS,
            name=f"shifted by {SHIFT[0]}",
        ),
        replace(
            new_probe,
            skip=0,
            n=frames.appearing,
            labels=LABELS,
            name=f"new classes {' and '.join(new.classes)}",
        ),
    )
    return DemoStream(
        known=str(known),
        source="+".join(map(str, segments)),
        probes={
            "old": str(old_probe),
            "shifted": str(replace(old_probe, corrupt=SHIFT)),
            "new": str(new_probe),
        },
        unchanged_frames=frames.unchanged,
    )


@dataclass(frozen=True)
class _Frames:
    """Lengths of the segments and of the probes."""

    unchanged: int
    shifted: int
    appearing: int
    old_probe: int
    new_probe: int


def _count_frames(data: str, splits: Splits) -> _Frames:
    classes = splits.test.classes
    if len(classes) < NEW_CLASSES + 2:
        raise DataError(
            f"{data} has {len(classes)} classes.",
            f"The demo keeps {NEW_CLASSES} of them for later and needs at least 2 to begin with.",
            "Choose data with four classes or more.",
        )
    test, train = (
        np.bincount(s.labels, minlength=len(classes)) for s in (splits.test, splits.train)
    )
    known = int(test[:-NEW_CLASSES].sum())
    new = int((test + train)[-NEW_CLASSES:].sum())
    unchanged = min(MAX_FRAMES, int(UNCHANGED * known))
    shifted = min(MAX_FRAMES, int(SHIFTED * known))
    appearing = min(MAX_NEW_FRAMES, int(NEW * new))
    if unchanged < MIN_UNCHANGED or appearing < MIN_NEW:
        raise DataError(
            f"{data} has {known} test images of its first classes and {new} images of its last "
            f"{NEW_CLASSES}.",
            f"The demo needs {int(MIN_UNCHANGED / UNCHANGED)} and {int(MIN_NEW / NEW) + 1}.",
            "Choose data with more images.",
        )
    return _Frames(
        unchanged=unchanged,
        shifted=shifted,
        appearing=appearing,
        old_probe=min(MAX_FRAMES, known - unchanged - shifted),
        new_probe=min(MAX_FRAMES, new - appearing),
    )
