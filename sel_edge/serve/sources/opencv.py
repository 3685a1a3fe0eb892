"""Cameras, video files and network cameras through OpenCV."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.data.video_files import by_ffmpeg, opencv
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.sources.interface import Rest
from sel_edge.serve.sources.pace import Pace

TIMEOUT_MS = 5_000
"""To connect to a network camera, and without a frame of it. Longer, and the end of the service
would have to wait for it."""
USUAL_FPS = 25.0
"""Of a video file that does not say how fast it is."""
_SECRET = re.compile(r"//.*@")
"""A password may have any character, also those that should have been percent-encoded."""


class _Capturing:
    """What all of them have in common.

    Args:
        name: as the user named it.
    """

    signal_shape: tuple[int, ...] | None = None
    is_patient = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._cv2 = opencv()
        self._cv2.setNumThreads(1)  # decoding and conversion are done by the thread that asks

    def _pictures(self, opened: Any) -> Iterator[NDArray[np.uint8]]:
        """Frames uint8 [H, W, 3], RGB, until there are no more."""
        while True:
            try:
                is_there, picture = opened.read()
            except self._cv2.error as error:
                raise DataError(
                    f"{self.name} cannot be read: {error}.", "", "Look at it."
                ) from error
            if not is_there:
                return
            yield _rgb(picture)

    def _live(self, opened: Any, what: str, rest: Rest) -> Iterator[Arrival]:
        """Frames of a camera, which are not to end."""
        try:
            for picture in self._pictures(opened):
                yield Arrival(picture, time.time())
                if rest(0):
                    return
        finally:
            opened.release()
        raise DataError(f"{what} gives no frames any more.", "", "Look at the camera.")

    def _opened(self, open_it: Callable[[], Any], what: str, action: str) -> Any:
        opened = open_it()
        if not opened.isOpened():
            opened.release()
            raise DataError(f"{what} cannot be opened.", "", action)
        return opened

    def _by_ffmpeg(self, place: str, protocols: str) -> Any:
        """Open a file or an address, and do not wait for it for ever."""
        cv2 = self._cv2
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        params = [value for limit in limits for value in (limit, TIMEOUT_MS)]
        return by_ffmpeg(place, protocols, params)


class CameraSource(_Capturing):
    """A camera that Video4Linux knows.

    Args:
        name: as the user named it.
        number: of the camera.
        size: width and height in pixels to ask it for; None for what it gives.
        fps: to ask it for; None for what it gives.
    """

    def __init__(
        self, name: str, number: int, size: tuple[int, int] | None, fps: float | None
    ) -> None:
        super().__init__(name)
        self._number, self._size, self._fps = number, size, fps

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        """See `Source`."""
        cv2 = self._cv2
        opened = self._opened(
            lambda: cv2.VideoCapture(self._number, cv2.CAP_V4L2),
            f"The camera {self._number}",
            "Connect it, and see that nothing else uses it and this user may (group video).",
        )
        for key, value in self._wishes().items():
            opened.set(key, value)
        yield from self._live(opened, f"The camera {self._number}", rest)

    def _wishes(self) -> dict[int, float]:
        cv2, wishes = self._cv2, {self._cv2.CAP_PROP_BUFFERSIZE: 1.0}
        if self._size is not None:
            width, height = self._size
            wishes |= {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height}
        if self._fps is not None:
            wishes[cv2.CAP_PROP_FPS] = self._fps
        return wishes


class VideoSource(_Capturing):
    """A video file.

    Args:
        name: as the user named it.
        path: of a file.
        fps: frames per second; None for those of the file, 0 for as fast as they are answered.
        is_endless: whether it begins again at its end.
    """

    def __init__(self, name: str, path: Path, fps: float | None, is_endless: bool) -> None:
        super().__init__(name)
        self._path, self._fps, self._is_endless = path, fps, is_endless
        self.is_patient = fps == 0

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        """See `Source`."""
        while True:
            is_empty = True
            for arrival in self._once(rest):
                is_empty = False
                yield arrival
            if is_empty:
                raise DataError(f"The video {self._path} has no frames.", "", "Choose another.")
            if not self._is_endless or rest(0):
                return

    def _once(self, rest: Rest) -> Iterator[Arrival]:
        opened = self._opened(
            lambda: self._by_ffmpeg(str(self._path), "file"),
            f"The video {self._path}",
            "Choose a video file of a usual kind.",
        )
        try:
            own = opened.get(self._cv2.CAP_PROP_FPS)
            fps = (own if 0 < own < 1000 else USUAL_FPS) if self._fps is None else self._fps
            pace = Pace(fps, rest)
            for picture in self._pictures(opened):
                if pace.wait():
                    return
                yield Arrival(picture, time.time())
        finally:
            opened.release()


class RtspSource(_Capturing):
    """A network camera; the name that others see is without user, password and query.

    Args:
        address: rtsp://... or rtsps://...
    """

    def __init__(self, address: str) -> None:
        super().__init__(_SECRET.sub("//", address).partition("?")[0])
        self._address = address

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        """See `Source`."""
        opened = self._opened(
            lambda: self._by_ffmpeg(self._address, "rtsp,rtsps,rtp,udp,tcp,tls"),
            self.name,
            "Check the address, and that the camera is on.",
        )
        yield from self._live(opened, self.name, rest)


def _rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's BGR or gray as uint8 [H, W, 3], RGB."""
    if picture.ndim == 2:
        return np.repeat(picture[..., np.newaxis], 3, axis=2)
    return np.ascontiguousarray(picture[..., 2::-1])
