"""`sel-edge serve` on an emulated 64-bit Arm board, asked over HTTP."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sel_edge.bundle.bundle import open_bundle
from tests.e2e.test_arm64 import BUNDLE, MISSING_DEPENDENCY, SCRIPT, TIMEOUT_S
from tests.tools_needed import missing_tool

SERVE = "from sel_edge.cli.main import main; main()"
ANSWER_S = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def board(tmp_path: Path) -> Iterator[str]:
    """The address of a daemon on the board that is ready."""
    port = free_port()
    with (tmp_path / "said").open("wb") as said:
        daemon = subprocess.Popen(
            [
                SCRIPT, "--python", "-c", SERVE, "serve", BUNDLE, "--source", "http",
                "--state", tmp_path / "state", "--port", str(port),
            ],
            env=os.environ | {"PYTHON": sys.executable},
            stdout=said,
            stderr=said,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + TIMEOUT_S
        while not _is_ready(address):
            if daemon.poll() == MISSING_DEPENDENCY:
                missing_tool((tmp_path / "said").read_text().strip())
            assert daemon.poll() is None and time.monotonic() < until, (
                tmp_path / "said"
            ).read_text()
            time.sleep(1)
        yield address
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(ANSWER_S)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=ANSWER_S) as answer:  # noqa: S310
            return bool(json.load(answer)["ready"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.proof
def test_a_board_answers_a_frame_over_http(board):
    picture = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "PNG")
    request = urllib.request.Request(  # noqa: S310
        f"{board}/api/v1/frames", picture.getvalue(), {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
        told = json.load(answer)
    assert told["prediction"] in open_bundle(BUNDLE).manifest.classes
    assert 0 < told["confidence"] <= 1
    with urllib.request.urlopen(f"{board}/", timeout=ANSWER_S) as page:  # noqa: S310
        assert b"<!doctype html>" in page.read(200).lower()
