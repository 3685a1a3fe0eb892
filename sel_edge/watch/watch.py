"""Watches a video: follows what moves, looks at it, and has the novel kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import SelEdgeError
from sel_edge.watch.impressions import impression
from sel_edge.watch.onlooker import Onlooker, cut_out
from sel_edge.watch.recorder import Recorder
from sel_edge.watch.scene import Box, Scene
from sel_edge.watch.shelf import Shelf
from sel_edge.watch.spans import Spans
from sel_edge.watch.tracks import Track, Tracker
from sel_edge.watch.usual import Usual, Visit
from sel_edge.watch.video import Pixels, Video


@dataclass(frozen=True)
class WatchSettings:
    """How to watch.

    Attributes:
        pre_roll_s, post_roll_s: seconds to keep before and after a novel thing.
        cap_bytes: that all clips together may have in the end.
        threads: of the engine; None for all cores.
    """

    pre_roll_s: float = 2.0
    post_roll_s: float = 2.0
    cap_bytes: int = 1 << 62
    threads: int | None = None


@dataclass(frozen=True)
class Watched:
    """What came of it.

    Attributes:
        frames: that were seen.
        seconds: that it took.
        shelf: the clips that are kept.
        moved: frames with something that moves, and those before and after that a recorder of
            motion would keep.
        passes: things that came and were looked at.
        things: how many of them are different.
        looks: at them.
    """

    frames: int
    seconds: float
    shelf: Shelf
    moved: Spans
    passes: int
    things: int
    looks: int


def watch(
    video: Video,
    bundle: Bundle,
    out: Path,
    settings: WatchSettings,
    progress: Callable[[int], None] = lambda frames: None,
) -> Watched:
    """Watch a video to its end.

    Args:
        video: to watch.
        bundle: of images; its network tells what is known.
        out: existing directory for the clips and their index.
        settings: how.
        progress: is told how many frames were seen.

    Raises:
        DataError, BundleError: the bundle cannot be used for images.
        StorageError: a clip could not be written.
    """
    watcher = Watcher(video, bundle, out, settings)
    begun, number = time.perf_counter(), -1
    try:
        for number, frame in enumerate(video.frames()):
            watcher.see(number, frame)
            progress(number + 1)
    except BaseException:  # also Ctrl-C: clips and index are whole, whatever ends it
        with suppress(SelEdgeError):
            watcher.end()
        raise
    watcher.end()
    return Watched(
        frames=number + 1,
        seconds=time.perf_counter() - begun,
        shelf=watcher.shelf,
        moved=watcher.moved,
        passes=watcher.passes,
        things=watcher.usual.things,
        looks=watcher.looks,
    )


class Watcher:
    """Sees a video frame by frame; arguments and errors as of `watch`."""

    def __init__(self, video: Video, bundle: Bundle, out: Path, settings: WatchSettings) -> None:
        self._fps = video.fps
        self._whole = Box(0, 0, video.width, video.height)
        self._scene = Scene(video.width, video.height, video.fps)
        self._tracker = Tracker(self._whole)
        self._onlooker = Onlooker(bundle, settings.threads)
        self.usual = Usual(self._onlooker.usual_strangeness, self._onlooker.likeness)
        classes = bundle.manifest.classes
        self.shelf = Shelf(out, video.fps, settings.cap_bytes, self.usual, classes)
        rolls = settings.pre_roll_s, settings.post_roll_s
        self._recorder = Recorder(video, out, self.shelf, *rolls)
        self.moved = Spans(*(round(roll * video.fps) for roll in rolls))
        self.passes = self.looks = 0

    def see(self, number: int, frame: Pixels) -> None:
        """See the next frame."""
        now_s = number / self._fps
        boxes = self._scene.see(frame)
        if boxes:
            self.moved.add(number)
        gone = self._tracker.follow(boxes, now_s)
        gone += self._look(frame, now_s)
        for track in gone:
            self._part(track)
        there = [track for track in (*self._tracker.tracks, *gone) if track.visit is not None]
        self._recorder.add(number, frame, there)

    def end(self) -> None:
        """The video is over."""
        for track in self._tracker.tracks:
            self._part(track)
        self._recorder.end([track for track in self._tracker.tracks if track.visit is not None])
        self.shelf.end()

    def _look(self, frame: Pixels, now_s: float) -> list[Track]:
        """Look at the things for which it is time, and decide about them.

        Returns:
            The tracks that have ended because another thing is there now.
        """
        tracks = [track for track in self._tracker.tracks if track.wants_look(now_s)]
        pictures = [self._scene.usual_light(cut_out(frame, track.box)) for track in tracks]
        over = []
        for track, look in zip(tracks, self._onlooker.look(pictures), strict=True):
            track.add_look(look, now_s, track.box.inside(self._whole))
            if track.is_another(self._onlooker.likeness.none):
                self._tracker.divide(track)
                over.append(track)
            elif track.visit is None and (evidence := track.evidence):
                visit = Visit(impression(evidence), track.is_clear, track.start_s)
                track.visit = visit if self.usual.worth(visit) > 0 else None
        self.looks += len(tracks)
        return over

    def _part(self, track: Track) -> None:
        """A thing has gone: remember it; its clip may turn out to be of something usual."""
        evidence = track.evidence
        if not evidence:
            return
        self.passes += 1
        seen = impression(evidence)
        visit = track.visit or Visit(seen, start_s=track.start_s)
        visit.seen, visit.clear = seen, track.is_clear
        self.usual.came(visit, track.start_s, track.last_s)
        track.visit = visit if self.usual.worth(visit) > 0 else track.visit
