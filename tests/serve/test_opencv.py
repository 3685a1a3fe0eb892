"""Videos and cameras: real files by OpenCV, a network camera that goes away and comes back."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sel_edge.core.errors import DataError
from sel_edge.serve.capture import Capture
from sel_edge.serve.mailbox import Arrival, Mailbox
from sel_edge.serve.sources.named import open_source
from sel_edge.serve.sources.opencv import CameraSource
from tests.serve.devices import WAIT_S
from tests.serve.network_camera import NetworkCamera

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'sel-edge[serve]'")

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
"""RGB of the frames of a video, over and over."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames at 50 frames a second."""
    path = tmp_path_factory.mktemp("video") / "colours.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    assert writer.isOpened()
    for number in range(12):
        writer.write(np.full((48, 64, 3), COLOURS[number % 3][::-1], np.uint8))
    writer.release()
    return path


def colours(arrivals: Iterator[Arrival]) -> list[int]:
    """Which of the three each frame is."""
    found = []
    for one in arrivals:
        assert one.picture.shape == (48, 64, 3) and one.picture.dtype == np.uint8
        near = [abs(one.picture.mean(axis=(0, 1)) - colour).max() < 12 for colour in COLOURS]
        found.append(near.index(True))
    return found


class TestVideo:
    def test_every_frame_comes_in_its_colours(self, video: Path, tmp_path: Path) -> None:
        source = open_source(f"video:{video}?fps=0", tmp_path)
        assert source.is_patient
        assert colours(source.arrivals(lambda _: False)) == [0, 1, 2] * 4

    def test_it_begins_again_if_it_is_to(self, video: Path, tmp_path: Path) -> None:
        source = open_source(f"video:{video}?fps=0&loop=1", tmp_path)
        found = islice(source.arrivals(lambda _: False), 30)
        assert colours(found) == [0, 1, 2] * 10

    def test_it_comes_as_fast_as_it_was_taken(self, video: Path, tmp_path: Path) -> None:
        """By the waits that it asks for."""
        waits: list[float] = []

        def rest(seconds: float) -> bool:
            waits.append(seconds)
            time.sleep(seconds)
            return False

        source = open_source(f"video:{video}", tmp_path)
        assert not source.is_patient
        begun = time.monotonic()
        assert len(list(source.arrivals(rest))) == 12
        assert time.monotonic() - begun >= 11 / 50
        assert 0 < max(waits) <= 1 / 50

    def test_the_end_is_told_and_ends_the_source(self, video: Path, tmp_path: Path) -> None:
        mailbox = Mailbox(64)
        capture = Capture(open_source(f"video:{video}?fps=0", tmp_path), mailbox)
        capture.start()
        capture._thread.join(WAIT_S)
        assert capture.state == "ended" and len(mailbox.close()) == 12

    def test_a_playlist_leads_nowhere(self, video: Path, tmp_path: Path) -> None:
        """A file that is said to be a video may not have others opened, or addresses."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.5)
            port = server.getsockname()[1]
            playlist = tmp_path / "list.m3u8"
            playlist.write_text(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
                f"http://127.0.0.1:{port}/secret.ts\n#EXT-X-ENDLIST\n"
            )
            with pytest.raises(DataError):
                list(open_source(f"video:{playlist}", tmp_path).arrivals(lambda _: False))
            with pytest.raises(TimeoutError):
                server.accept()

    @pytest.mark.parametrize("content", [b"", b"no video", b"RIFF\0\0\0\0AVI LIST"])
    def test_what_is_no_video_is_said(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "broken.avi").write_bytes(content)
        with pytest.raises(DataError):
            list(open_source(f"video:{tmp_path}/broken.avi", tmp_path).arrivals(lambda _: False))


class TestCamera:
    def test_one_that_is_not_there_is_tried_again(self, tmp_path: Path) -> None:
        source = open_source("camera:99?size=640x480&fps=5", tmp_path)
        assert isinstance(source, CameraSource)
        capture = Capture(source, Mailbox(4))
        capture.start()
        deadline = time.monotonic() + WAIT_S
        while "Tried again" not in capture.state and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "The camera 99 cannot be opened." in capture.state
        assert capture.stop(WAIT_S) and not capture.is_broken

    def test_a_pi_camera_is_asked_for_rgb_in_memory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Against a stand-in, because no such camera is here; the names are those of its manual."""
        asked: dict[str, object] = {}

        class Picamera2:
            def __init__(self, number: int) -> None:
                asked["number"] = number

            @staticmethod
            def global_camera_info() -> list[dict[str, object]]:
                return [{"Num": 0}, {"Num": 1}]

            def create_video_configuration(self, **what: object) -> dict[str, object]:
                return what

            def configure(self, what: dict[str, object]) -> None:
                asked.update(what)

            def start(self) -> None:
                asked["started"] = True

            def capture_array(self, name: str) -> np.ndarray:
                width, height = asked[name]["size"]
                return np.full((height, width, 3), COLOURS[0], np.uint8)

            def close(self) -> None:
                asked["closed"] = True

        module = ModuleType("picamera2")
        module.Picamera2 = Picamera2
        monkeypatch.setitem(sys.modules, "picamera2", module)
        source = open_source("camera:1?size=64x48&fps=5", tmp_path)
        arrivals = source.arrivals(lambda _: False)
        assert colours(islice(arrivals, 3)) == [0, 0, 0]
        arrivals.close()
        assert asked == {
            "number": 1,
            "main": {"size": (64, 48), "format": "BGR888"},
            "controls": {"FrameRate": 5.0},
            "started": True,
            "closed": True,
        }
        assert isinstance(open_source("camera:2", tmp_path), CameraSource)


class TestNetworkCamera:
    @pytest.mark.parametrize("secret", ["s3cret", "a/s3cret", "a?s3cret", "a@s3cret", "//s3cret"])
    def test_its_password_is_nowhere(self, tmp_path: Path, secret: str) -> None:
        source = open_source(f"rtsp://me:{secret}@127.0.0.1:1/live?key=s3cret", tmp_path)
        assert source.name == "rtsp://127.0.0.1:1/live"
        with pytest.raises(DataError) as error:
            list(source.arrivals(lambda _: False))
        assert "s3cret" not in str(error.value)

    def test_its_pictures_come_and_it_is_called_again_when_it_hangs_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sel_edge.serve.capture.FIRST_PAUSE_S", 0.01)
        camera = NetworkCamera([np.full((48, 64, 3), one, np.uint8) for one in COLOURS * 3])
        mailbox, found = Mailbox(64), []
        capture = Capture(open_source(camera.address, tmp_path), mailbox)
        capture.start()
        deadline = time.monotonic() + WAIT_S
        while len(found) < 14 and time.monotonic() < deadline:
            found += mailbox.take(64, 0.0, 1.0)
        assert capture.stop(WAIT_S) and not capture.is_broken
        camera.close()
        assert camera.calls >= 2
        seen = colours(iter(found))
        assert set(seen) == {0, 1, 2}
        steps = [(b - a) % 3 for a, b in pairwise(seen)]
        assert steps.count(1) > len(steps) / 2  # in their order, but for where it hung up

    def test_one_that_is_off_is_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sel_edge.serve.capture.FIRST_PAUSE_S", 0.01)
        camera = NetworkCamera([])
        camera.close()
        capture = Capture(open_source(camera.address, tmp_path), Mailbox(4))
        capture.start()
        deadline = time.monotonic() + WAIT_S
        while "cannot be opened" not in capture.state and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "cannot be opened" in capture.state
        assert capture.stop(WAIT_S)
