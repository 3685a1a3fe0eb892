"""A camera: by picamera2, which knows those of a Raspberry Pi, or else by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sel_edge.core.errors import DataError
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.sources.interface import Rest, Source
from sel_edge.serve.sources.opencv import CameraSource

USUAL_SIZE = (640, 480)


def open_camera(name: str, number: int, size: tuple[int, int] | None, fps: float | None) -> Source:
    """A camera.

    Args:
        name: as the user named it.
        number: of the camera.
        size: width and height in pixels to ask it for.
        fps: frames per second to ask it for.

    Raises:
        MissingDependencyError: neither picamera2 nor OpenCV is installed.
    """
    try:
        from picamera2 import Picamera2
    except ImportError:
        return CameraSource(name, number, size, fps)
    if number >= len(Picamera2.global_camera_info()):  # one at USB that only OpenCV may know
        return CameraSource(name, number, size, fps)
    return PiCameraSource(name, number, size or USUAL_SIZE, fps, Picamera2)


class PiCameraSource:
    """A camera that libcamera knows.

    Args:
        name: as the user named it.
        number: of the camera.
        size: width and height in pixels.
        fps: frames per second; None for what it gives.
        library: the class Picamera2.
    """

    signal_shape: tuple[int, ...] | None = None
    is_patient = False

    def __init__(
        self, name: str, number: int, size: tuple[int, int], fps: float | None, library: Any
    ) -> None:
        self.name, self._number, self._size, self._fps = name, number, size, fps
        self._library = library

    def arrivals(self, rest: Rest) -> Iterator[Arrival | None]:
        """See `Source`."""
        try:
            yield from self._pictures(rest)
        except (RuntimeError, IndexError) as error:  # as libcamera's binding says it
            raise DataError(
                f"The camera {self._number} cannot be used: {error}.",
                "",
                "Connect it, and see that nothing else uses it.",
            ) from error

    def _pictures(self, rest: Rest) -> Iterator[Arrival]:
        camera = self._library(self._number)
        try:
            controls = {} if self._fps is None else {"FrameRate": self._fps}
            # The format is named by the bytes of a little-endian word: BGR888 is R, G, B in memory
            # (Picamera2 manual, "Image formats").
            main = {"size": self._size, "format": "BGR888"}
            camera.configure(camera.create_video_configuration(main=main, controls=controls))
            camera.start()
            while not rest(0):
                yield Arrival(camera.capture_array("main"), time.time())
        finally:
            camera.close()
