"""`sel-edge serve`: what it refuses before anything starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import Bundle
from tests.simulate.gratings import make_bundle

Call = Callable[..., Any]

WALL = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Wall())
from sel_edge.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def refused(call: Call, gratings: Bundle, tmp_path: Path) -> Call:
    """Call it with options that it refuses."""

    def refused(*options: object, source: str = "http") -> Any:
        place = () if "--state" in options else ("--state", tmp_path / "state")
        return call("serve", gratings.path, "--source", source, *place, "--port", 0, *options)

    return refused


def test_a_state_inside_the_bundle(refused: Call, gratings: Bundle) -> None:
    result = refused("--state", gratings.path / "state")
    assert result.code == 6
    result.says("--state", "lies inside the bundle")


def test_a_source_that_is_none(refused: Call) -> None:
    result = refused(source="inbox:/nowhere/at/all")
    assert result.code == 3
    result.says("inbox:/nowhere/at/all", "existing folder")


def test_other_machines_without_a_token(refused: Call) -> None:
    result = refused("--host", "0.0.0.0")  # noqa: S104
    assert result.code == 6
    result.says("token")


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        (b"0123456789abcdef0123456789abcdef\n", 0o644, "read by everybody"),
        (b"", 0o600, "no secret"),
        (b"two\nlines\n", 0o600, "no secret"),
        (b"\xff\xfe", 0o600, "cannot be read"),
        (b"x" * 5000, 0o600, "no secret"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_token_that_is_no_secret(
    refused: Call, tmp_path: Path, content: bytes | None, mode: int, word: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    result = refused("--token-file", path)
    assert result.code == 6
    result.says(word)
    assert "0123456789abcdef" not in result.err


def test_a_key_that_is_none(refused: Call, tmp_path: Path) -> None:
    (tmp_path / "key.pub.pem").write_text("no key")
    assert refused("--trust", tmp_path / "key.pub.pem").code == 4


@pytest.mark.parametrize(
    ("blocked", "options"),
    [
        (("starlette",), []),
        (("uvicorn",), []),
        (("cv2", "picamera2"), ["--source", "camera"]),
        (("paho",), ["--mqtt", "mqtt://127.0.0.1"]),
    ],
)
def test_a_missing_package_names_the_extra_to_install(
    gratings: Bundle, tmp_path: Path, blocked: tuple[str, ...], options: list[str]
) -> None:
    arguments = ["serve", gratings.path, "--source", "http", "--state", tmp_path, "--port", 0]
    done = subprocess.run(
        [sys.executable, "-c", WALL.format(blocked=blocked), *map(str, [*arguments, *options])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 7 and "Traceback" not in done.stderr
    assert "pip install 'sel-edge[serve]'" in " ".join(done.stderr.split())
