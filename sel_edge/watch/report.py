"""What watching saved and what it missed, beside recorders of motion and of everything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sel_edge.watch.spans import Spans
from sel_edge.watch.truth import Event, missed
from sel_edge.watch.video import Video
from sel_edge.watch.watch import Watched

FEW_FRAMES = 0.99
"""Of what a file announces; with less it is damaged."""


def kept_spans(watched: Watched) -> Spans:
    """The frames in the clips that are kept."""
    spans = Spans()
    for segment in sorted(watched.shelf.segments, key=lambda one: one.first):
        spans.add(segment.first, segment.first + segment.frames - 1)
    return spans


def report(video: Video, watched: Watched, events: list[Event] | None) -> dict[str, Any]:
    """Everything as one JSON object.

    A recorder of motion is the one of this program: it knows light from motion, and has the same
    pre- and post-roll. How many bytes it would keep is estimated from those that a second of the
    clips has.

    Args:
        video: that was watched.
        watched: what came of it.
        events: what was novel, if somebody knows.
    """
    kept, shelf = kept_spans(watched), watched.shelf
    seconds, kept_s = watched.frames / video.fps, kept.frames(watched.frames) / video.fps
    moved_s = watched.moved.frames(watched.frames) / video.fps
    clips_s = sum(segment.frames for segment in shelf.segments) / video.fps
    moved_bytes = min(video.bytes, shelf.bytes * moved_s / clips_s) if clips_s else None
    return {
        "seconds": seconds,
        "bytes": video.bytes,
        "complete": watched.frames >= FEW_FRAMES * video.announced,
        "kept": {"clips": len(shelf.segments), "seconds": kept_s, "bytes": shelf.bytes},
        "motion_only": {"seconds": moved_s, "bytes_estimated": moved_bytes},
        "storage_saved": 1 - shelf.bytes / video.bytes,
        "time_saved": 1 - kept_s / seconds,
        "storage_saved_by_motion_only": None
        if moved_bytes is None
        else 1 - moved_bytes / video.bytes,
        "time_saved_by_motion_only": 1 - moved_s / seconds,
        "moved_and_not_kept_s": moved_s - _common(kept, watched.moved, watched.frames) / video.fps,
        "passes": watched.passes,
        "things": watched.things,
        "became_usual": shelf.settled,
        "crowded_out": shelf.crowded_out,
        "truth": None if events is None else _scores(events, kept, watched.moved, video.fps),
        "frames_per_s": watched.frames / watched.seconds,
    }


def _scores(events: list[Event], kept: Spans, moved: Spans, fps: float) -> dict[str, Any]:
    groups = missed(events, kept, moved, fps)
    return {
        "events": len(events),
        "missed": sum(group.novel for group in groups.values()),
        "missed_by_motion_only": sum(group.motion for group in groups.values()),
        "missed_by_keep_all": 0,
        "groups": {name: asdict(group) for name, group in groups.items()},
    }


def _common(one: Spans, other: Spans, count: int) -> int:
    """Frames that both keep, of the first `count`."""
    both = Spans()
    for span in (one, other):
        for first, last in span.runs:
            both.runs.append((first, last))
    both.runs.sort()
    union = Spans()
    for first, last in both.runs:
        union.add(first, last)
    return one.frames(count) + other.frames(count) - union.frames(count)
