"""OpenCV, which the edge install leaves out, and files and addresses that it opens by FFmpeg."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import Any

from sel_edge.core.errors import MissingDependencyError

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOUDNESS = "OPENCV_FFMPEG_LOGLEVEL"
_opening = threading.Lock()


def opencv() -> Any:
    """The module cv2, silent, without its types, which are too vague to say what is returned.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault(_LOUDNESS, "-8")  # AV_LOG_QUIET: what fails is said by this program
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError(
            "Cameras and videos need OpenCV, which is not installed.",
            "The edge install leaves it out on purpose.",
            "Install it with: pip install 'sel-edge[serve]'.",
        ) from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2


def by_ffmpeg(place: str, protocols: str, params: Sequence[int] = ()) -> Any:
    """Open a file or an address to read frames from.

    FFmpeg is told which protocols it may use: a file that is a playlist could name others.

    Args:
        place: path of a file, or an address.
        protocols: such as "file" or "rtsp,tcp".
        params: of OpenCV, names and values by turns.

    Returns:
        A cv2.VideoCapture, which may not be open.
    """
    cv2 = opencv()
    with _opening:
        before = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = f"protocol_whitelist;{protocols}|rtsp_transport;tcp"
        try:
            return cv2.VideoCapture(place, cv2.CAP_FFMPEG, list(params))
        finally:  # whoever opens a video next has limits of their own
            if before is None:
                del os.environ[_OPTIONS]
            else:
                os.environ[_OPTIONS] = before
