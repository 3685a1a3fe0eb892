"""Video files: frames in, clips out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError, StorageError
from sel_edge.data.video_files import by_ffmpeg
from sel_edge.watch.opencv import cv2

MIN_SIDE, MAX_PIXELS = 32, 40_000_000
"""Of a frame."""
MIN_FPS, MAX_FPS = 1.0, 240.0
CODEC = "mp4v"
"""MPEG-4 part 2: of those that every OpenCV can write, it needs the fewest bytes and the least
time."""

MAX_TIMEBASE = 65_535
"""Of that codec; OpenCV counts a rate that is not whole in thousandths."""

Pixels: TypeAlias = NDArray[np.uint8]
"""A picture of OpenCV: blue, green and red, [H, W, 3]."""


@dataclass(frozen=True)
class Video:
    """A video file that can be read.

    Attributes:
        path: of the file.
        fps: frames per second.
        width, height: of a frame, in pixels.
        announced: frames that the file says it has; 0 if it does not say.
        bytes: size of the file.
    """

    path: Path
    fps: float
    width: int
    height: int
    announced: int
    bytes: int

    def frames(self) -> Iterator[Pixels]:
        """The frames, one at a time; a damaged file ends where it cannot be read on.

        Raises:
            DataError: one has another size.
        """
        capture = _capture(self.path)
        try:
            while True:
                arrived, frame = capture.read()
                if not arrived:
                    return
                if frame.shape != (self.height, self.width, 3):
                    raise DataError(
                        f"{self.path} changes the size of its frames.",
                        f"All are expected to be {self.width} x {self.height} pixels.",
                        "Convert it.",
                    )
                yield frame
        finally:
            capture.release()


def open_video(path: Path) -> Video:
    """Look at a video file.

    Raises:
        DataError: there is no such file, it is no video, or its frames have an impossible size or
            rate.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is not there, or is no file.", "A video file is expected.", "Check the path."
        )
    capture = _capture(path)
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    arrived, frame = capture.read()
    announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    if not arrived or frame.ndim != 3 or frame.shape[2] != 3:
        raise DataError(
            f"{path} holds no frame that OpenCV can read.",
            "A video in a format of FFmpeg is expected, such as .mp4, .mkv or .avi.",
            "Check that the file is complete, or convert it.",
        )
    height, width = frame.shape[:2]
    if (
        not (MIN_FPS <= fps <= MAX_FPS)
        or min(width, height) < MIN_SIDE
        or width * height > MAX_PIXELS
    ):
        raise DataError(
            f"{path} has frames of {width} x {height} pixels, {fps:g} a second.",
            f"At least {MIN_SIDE} pixels a side, at most {MAX_PIXELS:,} in all, and {MIN_FPS:g} to "
            f"{MAX_FPS:g} frames a second are expected.",
            "Convert it.",
        )
    count = int(announced) if math.isfinite(announced) and announced > 0 else 0
    return Video(path, fps, width, height, count, path.stat().st_size)


class Clip:
    """A video file that is being written.

    Args:
        path: of the file; what is there is replaced.
        fps: frames per second.
        width, height: of a frame, in pixels.

    Attributes:
        path: as given.
        frames: written so far.

    Raises:
        StorageError: it cannot be written there.
    """

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        self.path, self.frames = path, 0
        rate = fps if 1000 * fps <= MAX_TIMEBASE else round(fps)
        self._writer = cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), rate, (width, height)
        )
        if not self._writer.isOpened():
            raise _unwritable(path)

    @property
    def bytes(self) -> int:
        """Size of the file so far."""
        return self.path.stat().st_size

    def add(self, frame: Pixels) -> None:
        """Write one more frame."""
        self._writer.write(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            StorageError: it does not hold all of its frames; OpenCV says nothing of a full disk.
        """
        self._writer.release()
        capture = _capture(self.path)
        held = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if held != self.frames:
            self.path.unlink(missing_ok=True)
            raise _unwritable(self.path)


def _capture(path: Path) -> Any:
    # The absolute path of a file: OpenCV would take other texts for addresses or for patterns.
    return by_ffmpeg(str(path.resolve()), "file")


def _unwritable(path: Path) -> StorageError:
    return StorageError(
        f"The clip {path} could not be written.",
        "Clips that were complete before are untouched.",
        "Free some space, then run the command again with another --out.",
    )
