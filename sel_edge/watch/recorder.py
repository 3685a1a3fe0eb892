"""Writes clips: from a little before something novel to a little after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.watch.opencv import cv2
from sel_edge.watch.shelf import Segment, Shelf
from sel_edge.watch.tracks import Track
from sel_edge.watch.usual import Visit
from sel_edge.watch.video import Clip, Pixels, Video

UNDECIDED_S = 12.0
"""How long after a thing came it can be decided to keep it from its beginning on."""
MAX_CLIP_S = 60.0
"""Longer ones are divided, so that part of them can go."""
JPEG_QUALITY = 95
"""Of frames that wait in memory."""
WAITING_BYTES = 64_000_000
"""That they may have together; large frames wait for a shorter time."""


class Recorder:
    """Holds the last seconds in memory and writes what turns out to be novel.

    Args:
        video: that is watched.
        folder: for the clips.
        shelf: for those that are complete.
        pre_roll_s, post_roll_s: seconds to keep before and after a thing.
    """

    def __init__(
        self, video: Video, folder: Path, shelf: Shelf, pre_roll_s: float, post_roll_s: float
    ) -> None:
        self._video, self._folder, self._shelf = video, folder, shelf
        self._pre, self._post = round(pre_roll_s * video.fps), round(post_roll_s * video.fps)
        waiting = self._pre + round(UNDECIDED_S * video.fps)
        self._waiting: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=max(1, waiting))
        self._waiting_bytes = 0
        self._clip: Clip | None = None
        self._visits: dict[int, Visit] = {}
        self._before: dict[int, Visit] = {}
        self._first = self._until = self._next = self._opened = 0

    def add(self, number: int, frame: Pixels, novel: Sequence[Track]) -> None:
        """Take in a frame.

        Args:
            number: of the frame.
            frame: as it came.
            novel: the novel things that are there, or have just gone.

        Raises:
            StorageError: the clip cannot be written.
        """
        self._wait(number, frame)
        if novel:
            self._keep(novel)
        if self._clip is None:
            return
        self._catch_up(number)
        self._clip.add(frame)
        self._next = number + 1
        is_over = not novel and number >= self._until
        if is_over or self._clip.frames >= MAX_CLIP_S * self._video.fps:
            self.close()

    def end(self, novel: Sequence[Track]) -> None:
        """There are no more frames; `novel` is what turned out to be novel in the end.

        Raises:
            StorageError: a clip could not be written.
        """
        if novel and self._waiting:
            self._keep(novel)
            self._catch_up(self._waiting[-1][0] + 1)
        self.close()

    def close(self) -> None:
        """Finish the clip that is being written, if there is one.

        Raises:
            StorageError: it could not be written.
        """
        clip, self._clip = self._clip, None
        if clip is None:
            return
        clip.close()
        visits = tuple(self._visits.values())
        self._before, self._visits = self._visits, {}
        self._shelf.add(Segment(clip.path, self._first, clip.frames, clip.bytes, visits))

    def _wait(self, number: int, frame: Pixels) -> None:
        _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if len(self._waiting) == self._waiting.maxlen:
            self._forget()
        self._waiting.append((number, packed))
        self._waiting_bytes += packed.nbytes
        while self._waiting_bytes > WAITING_BYTES and len(self._waiting) > 1:
            self._forget()

    def _forget(self) -> None:
        _, packed = self._waiting.popleft()
        self._waiting_bytes -= packed.nbytes

    def _keep(self, novel: Sequence[Track]) -> None:
        """Have a clip with these things in it, from where they came."""
        fps = self._video.fps
        self._until = max(
            self._until, round(max(track.last_s for track in novel) * fps) + self._post
        )
        late = [track for track in novel if id(track.visit) not in self._visits]
        if self._clip is not None and any(track.start_s * fps < self._first for track in late):
            self.close()
            self._open(late)
        elif self._clip is None:
            self._open(novel)
        self._visits |= {id(track.visit): track.visit for track in novel if track.visit}

    def _catch_up(self, number: int) -> None:
        """Write what waits from where the clip stands, up to the frame before `number`."""
        assert self._clip is not None  # noqa: S101 - it has been opened
        for waiting, content in self._waiting:
            if self._next <= waiting < number:
                self._clip.add(cv2.imdecode(content, cv2.IMREAD_COLOR))
        self._next = number

    def _open(self, novel: Sequence[Track]) -> None:
        """Begin a clip where things came, or as near to that as can be.

        It shares frames with the clip before, which may not stay, unless it only goes on with it.
        """
        self._shelf.make_room()
        came = round(min(track.start_s for track in novel) * self._video.fps)
        goes_on = any(id(track.visit) in self._before for track in novel)
        self._first = max(came - self._pre, self._waiting[0][0], self._next if goes_on else 0)
        self._next = self._first
        self._opened += 1
        name = f"{self._opened:05d}-at-{self._first / self._video.fps:.1f}s.mp4"
        video = self._video
        self._clip = Clip(self._folder / name, video.fps, video.width, video.height)
