"""A video may not have others opened, and limits are forgotten once a file is open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from sel_edge.data.video_files import by_ffmpeg
from sel_edge.watch.video import Clip

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def test_a_playlist_leads_to_no_address(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        playlist = tmp_path / "video.mp4"
        address = f"http://127.0.0.1:{server.getsockname()[1]}/secret.ts"
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", address, "#EXT-X-ENDLIST"]
        playlist.write_text("\n".join(lines) + "\n")
        assert not by_ffmpeg(str(playlist), "file").isOpened()
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("limits", ["rtsp_transport;udp", None])
def test_others_keep_limits_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: str | None
):
    monkeypatch.delenv(OPTIONS, raising=False)
    if limits is not None:
        monkeypatch.setenv(OPTIONS, limits)
    clip = Clip(tmp_path / "clip.mp4", 5.0, 64, 48)
    clip.add(np.zeros((48, 64, 3), np.uint8))
    clip.close()
    by_ffmpeg(str(clip.path), "file")
    assert os.environ.get(OPTIONS) == limits
